"""The life cycle of firmware, and what each state means for rollouts."""

from __future__ import annotations

from datetime import date
from typing import get_args

import pytest

from fwctl.manifests import FleetRepo, load
from fwctl.manifests.lifecycle import TRANSITIONS, State, findings, refusal, state_on, told
from tests.unit.manifests.conftest import Files, clean_files

FIRMWARE = "firmware/sensor-v1/1.0.yaml"
TODAY = date(2026, 11, 23)
ENDS = '  state: deprecated\n  deprecation: {sunset: "2026-12-01", reason: flash wear, successor: "1.1"}\n'


def repo(lines: str) -> FleetRepo:
    files: Files = clean_files()
    text = files[FIRMWARE].decode()
    files[FIRMWARE] = text.replace("  hardware", f"{lines}  hardware").encode()
    files["firmware/sensor-v1/1.1.yaml"] = text.replace("1.0", "1.1").encode()
    found = load(files)
    assert found.repo is not None, found.diagnostics
    return found.repo


def codes(lines: str, today: date, *, locked: bool) -> list[str]:
    return [one.code for one in findings(repo(lines), lambda _: locked, today)]


CASES = {
    "draft": (["E_FIRMWARE_STATE"], ["E_FIRMWARE_STATE"]),
    "candidate": (["I_FIRMWARE_CANDIDATE"], ["I_FIRMWARE_CANDIDATE"]),
    "released": ([], []),
    "deprecated": (["W_FIRMWARE_DEPRECATED"], ["W_FIRMWARE_DEPRECATED"]),
    "sunset": (["E_FIRMWARE_STATE"], ["W_FIRMWARE_SUNSET"]),
    "withdrawn": (["E_FIRMWARE_STATE"], ["W_FIRMWARE_WITHDRAWN"]),
}


@pytest.mark.parametrize("state", get_args(State))
def test_each_state_means_something_for_a_new_rollout_and_for_a_locked_one(state: str) -> None:
    new, locked = CASES[state]
    assert codes(f"  state: {state}\n", TODAY, locked=False) == new
    assert codes(f"  state: {state}\n", TODAY, locked=True) == locked


def test_no_state_makes_a_commit_unreadable_so_that_withdrawing_stops_nobody_else() -> None:
    for state in get_args(State):
        assert repo(f"  state: {state}\n").rollouts


def test_a_finding_stands_at_the_version_with_a_remedy_and_the_place_of_the_state() -> None:
    (found,) = findings(repo("  state: draft\n"), lambda _: False, TODAY)
    assert (found.path, found.line, found.column) == ("rollouts/dev/one.yaml", 5, 41)
    assert found.remedy == "Promote it first: fwctl firmware promote sensor-v1@1.0"
    assert [one.place.path for one in found.related] == [FIRMWARE]


@pytest.mark.parametrize(
    ("today", "state", "words"),
    [
        (date(2026, 11, 30), "deprecated", "deprecated: sunset on 2026-12-01, go to 1.1 (flash wear)"),
        (date(2026, 12, 1), "sunset", "sunset: since 2026-12-01, go to 1.1 (flash wear)"),
        (date(2027, 12, 1), "sunset", "sunset: since 2026-12-01, go to 1.1 (flash wear)"),
        (None, "deprecated", "deprecated: sunset on 2026-12-01, go to 1.1 (flash wear)"),
    ],
)
def test_from_its_day_on_deprecated_firmware_is_sunset(today: date | None, state: str, words: str) -> None:
    spec = repo(ENDS).firmware["sensor-v1", "1.0"].model.spec
    assert (state_on(spec, today), told(spec, today)) == (state, words)


def test_the_day_makes_a_new_rollout_impossible_and_lets_a_locked_one_go_on() -> None:
    assert codes(ENDS, date(2026, 11, 30), locked=False) == ["W_FIRMWARE_DEPRECATED"]
    assert codes(ENDS, date(2026, 12, 1), locked=False) == ["E_FIRMWARE_STATE"]
    assert codes(ENDS, date(2026, 12, 1), locked=True) == ["W_FIRMWARE_SUNSET"]
    (found,) = findings(repo(ENDS), lambda _: False, date(2026, 12, 1))
    assert found.remedy == "Roll out its successor, 1.1."


def test_only_drafts_and_withdrawn_firmware_are_held_where_they_were_approved() -> None:
    held = {}
    for state in get_args(State):
        firmware = repo(f"  state: {state}\n").firmware["sensor-v1", "1.0"]
        error = refusal(firmware.model.spec, firmware.path)
        held[state] = error.code if error else ""
    assert {state for state, code in held.items() if code} == {"draft", "withdrawn"}
    assert held["withdrawn"] == "E_FIRMWARE_STATE"


def test_withdrawn_is_the_end_and_can_be_reached_from_everywhere() -> None:
    assert TRANSITIONS["withdrawn"] == ()
    assert all("withdrawn" in after for state, after in TRANSITIONS.items() if state != "withdrawn")
    assert set(TRANSITIONS) == set(get_args(State))
