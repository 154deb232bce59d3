"""Drift: what git does not explain is told once, and what is on its way is not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fwctl.rollouts.drift import (
    KINDS,
    PERIODS,
    Astray,
    Drift,
    Promise,
    Silent,
    Stranger,
    off,
    ordered,
    promises,
    silent,
    strangers,
    unheard,
)

NOW = datetime(2026, 11, 23, tzinfo=UTC)
DAY = timedelta(days=1)
PROMISE = Promise("dev/sensors", "m1", "release-2", "2.5.0")


@pytest.mark.parametrize(
    ("state", "mandate", "back", "holds"),
    [
        ("complete", "m1", None, True),
        ("stopped", "m1", None, True),
        ("aborted", "m1", None, True),
        ("complete", "m0", None, False),
        ("waiting", "m1", None, False),
        ("progressing", "m1", None, False),
        ("held", "m1", None, False),
        ("paused", "m1", None, False),
        ("rolling-back", "m1", NOW, False),
        ("rolled-back", "m1", NOW, False),
        ("stopped", "m1", NOW, False),
    ],
)
def test_only_what_is_settled_promises_anything(state: str, mandate: str, back: datetime | None, holds: bool) -> None:
    found = promises([PROMISE], [("dev/sensors", mandate, state, back), ("dev/other", "m1", "complete", None)])
    assert found == ((PROMISE,) if holds else ())


def astray(*, running: str, before: bool) -> Astray:
    return Astray("a", running, "sha256:image", "2.4.0" if running else "", NOW, before)


def test_what_does_not_run_what_was_confirmed_went_back_or_was_flashed() -> None:
    back, other = (next(off(PROMISE, [astray(running="release-1", before=before)])) for before in (True, False))
    assert (back.kind, other.kind) == ("went-back", "other-firmware")
    assert back.reason == "runs 2.4.0, what it ran before; dev/sensors confirmed 2.5.0 on it"
    assert other.reason == "runs 2.4.0, what no rollout brought; dev/sensors confirmed 2.5.0 on it"
    assert "runs something," in next(off(PROMISE, [astray(running="", before=False)])).reason
    assert not list(off(PROMISE, [astray(running="release-2", before=True)]))


@pytest.mark.parametrize(
    ("seen", "kinds"),
    [(None, ["never-seen"]), (NOW - PERIODS * DAY, []), (NOW - PERIODS * DAY - timedelta(seconds=1), ["vanished"])],
)
def test_who_does_not_answer_has_vanished_after_two_periods(seen: datetime | None, kinds: list[str]) -> None:
    found = list(silent([Silent("a", seen, NOW, 1, "E_UNREACHABLE")], period=DAY, now=NOW))
    assert [one.kind for one in found] == kinds
    assert all(one.reason == "tried once: E_UNREACHABLE" for one in found)


def test_a_device_that_left_git_is_forgotten_when_nobody_has_contacted_it_for_long() -> None:
    known = [Stranger("a", "1", NOW - DAY), Stranger("b", "1", NOW - 3 * DAY)]
    assert [one.device for one in strangers(known, period=DAY, now=NOW)] == ["a"]


drifts = st.builds(Drift, st.sampled_from("abcdef"), st.sampled_from(KINDS), st.just("why"))


@given(st.lists(drifts, max_size=20))
def test_the_order_is_that_of_kinds_and_names_and_a_device_that_vanished_is_only_that(found: list[Drift]) -> None:
    told = ordered(found)
    assert list(told) == sorted(told, key=lambda one: (KINDS.index(one.kind), one.device))
    gone = {one.device for one in found if one.kind == "vanished"}
    assert {one.device for one in told} == {one.device for one in found}
    assert all(one.kind == "vanished" for one in told if one.device in gone)
    assert told == ordered(reversed(found))


def test_who_was_never_tried_is_never_seen() -> None:
    assert [(one.device, one.kind) for one in unheard(["a"])] == [("a", "never-seen")]
