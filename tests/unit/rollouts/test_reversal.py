"""The way of devices over stops, round after round, and the way back: who may go, who stays and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from fwctl.manifests.models import Firmware
from fwctl.rollouts.actions import Finish, Install, Leave, TakeBack, Visit
from fwctl.rollouts.compile import release_of
from fwctl.rollouts.decide import decide, next_step
from fwctl.rollouts.going_back import stand_back
from fwctl.rollouts.paths.reversal import barred
from fwctl.rollouts.plan import Plan
from fwctl.rollouts.standing import stand
from fwctl.rollouts.view import DeviceView, Failure, OpenOrder, WaveView
from tests.unit.rollouts import fleets
from tests.unit.rollouts.fleets import NOW, view_of
from tests.unit.rollouts.stops_world import chain, fleet

V2 = {"data": {"writes": 2, "reads": [1]}}
KNOWN = fleet(v1_0={}, v2_0={"stop": True}, v2_5={})


def plan_over(known: Mapping[str, Firmware], target: str = "2.5", *devices: str) -> Plan:
    """Return a plan of devices along the chain of these releases."""
    found = chain(known, target)
    return replace(
        fleets.plan_of(devices or ("a", "b")),
        release=found.stops[-1],
        stops=found.stops[:-1],
        barriers=found.barriers,
        family=tuple(map(release_of, known.values())),
    )


def digest(version: str, known: Mapping[str, Firmware] = KNOWN) -> str:
    return release_of(known[version]).digest


def device(version: str, known: Mapping[str, Firmware] = KNOWN, **more: Any) -> DeviceView:
    running = digest(version, known) if version in known else None
    return DeviceView(id="a", version=version, running=running, facts={}, **more)


def at_stop(known: Mapping[str, Firmware] = KNOWN, **more: Any) -> DeviceView:
    """Return a device that this mandate has brought from 1.0 to 2.0."""
    stop = digest("2.0", known)
    facts: dict[str, Any] = {
        "by_mandate": True,
        "install": "order-1",
        "taken": "order-1",
        "ordered": stop,
        "confirmed": True,
        "attempts": 1,
        "passed": (stop,),
        "passed_attempt": 1,
    }
    return device("2.0", known, **facts | more)


def test_a_device_below_a_stop_gets_the_stop_and_then_the_target() -> None:
    plan = plan_over(KNOWN)
    first = next_step(plan, view_of(device("1.0")), device("1.0"), NOW)
    assert first == Install(1, "1 of 2: runs 1.0, next 2.0", plan.stops[0])
    second = next_step(plan, view_of(at_stop()), at_stop(), NOW)
    assert second == Install(2, "2 of 2: runs 2.0, next 2.5")


def test_a_device_above_the_stop_goes_directly() -> None:
    assert next_step(plan_over(KNOWN), view_of(device("2.2")), device("2.2"), NOW) == Install(1, "may start")


def test_a_stop_is_not_reached_and_its_wave_does_not_settle() -> None:
    decision = decide(plan_over(KNOWN, "2.5", "a"), view_of(at_stop()), NOW)
    assert decision.actions == (Visit("a", "2 of 2: runs 2.0, next 2.5"),)
    assert decision.counts == {"pending": 1}


def test_an_order_under_way_says_that_it_leads_to_a_stop() -> None:
    order = OpenOrder("order-1", 1, "running", NOW, accepted=True)
    moving = device("1.0", order=order, ordered=digest("2.0"), install="order-1", attempts=1)
    standing = stand(plan_over(KNOWN), view_of(moving), "a", NOW)
    assert (standing.state, standing.reason) == (
        "in-flight",
        "attempt 1 to 2.0, a stop on the way to 2.5: running",
    )


def test_who_confirmed_a_stop_and_runs_something_else_went_back_silently() -> None:
    gone = replace(at_stop(), running=digest("1.0"), version="1.0", by_mandate=False)
    standing = stand(plan_over(KNOWN), view_of(gone), "a", NOW)
    assert (standing.state, standing.klass) == ("failed", "silent-revert")


def test_attempts_that_ended_in_a_stop_do_not_count_against_the_limit() -> None:
    plan = plan_over(KNOWN)
    most = plan.retry.max_attempts
    failing = replace(
        at_stop(passed_attempt=most),
        attempts=most + 1,
        ordered=digest("2.5"),
        confirmed=False,
        failure=Failure(most + 1, "install", "E_INSTALLER", NOW),
    )
    assert stand(plan, view_of(failing), "a", NOW).state == "retry"
    spent = replace(failing, attempts=2 * most, failure=Failure(2 * most, "install", "E_INSTALLER", NOW))
    assert stand(plan, view_of(spent), "a", NOW).state == "failed"


def test_a_device_without_a_legal_path_is_held_by_name_and_drops_out() -> None:
    known = fleet(v1_0={}, v2_0={"requiresFrom": {"atLeast": "1.5"}}, v2_5={"requiresFrom": {"atLeast": "2.0"}})
    plan = plan_over(known, "2.5", "a", "b")
    lost = device("1.0", known)
    standing = stand(plan, view_of(lost), "a", NOW)
    assert (standing.state, standing.rule, standing.dropped_out) == ("held", "no_path", True)
    assert standing.reason.startswith("no legal path leads from 1.0 to 2.5: ")
    assert isinstance(next_step(plan, view_of(lost), lost, NOW), Leave)
    there = replace(device("2.5", known), id="b")
    decision = decide(plan, view_of(lost, there, waves={"wave-1": WaveView("passed")}), NOW)
    assert decision.actions == (Finish("complete", "1 of 2 reached, 1 without a legal path"),)


def test_what_was_never_seen_is_visited_before_anything_is_said_of_its_path() -> None:
    known = fleet(v2_5={"requiresFrom": {"atLeast": "2.0"}})
    assert decide(plan_over(known, "2.5", "a"), view_of(), NOW).actions == (Visit("a", "may start"),)


def back(*devices: DeviceView) -> Any:
    return replace(view_of(*devices), back_since=NOW)


def test_after_one_step_a_device_goes_back() -> None:
    plan = plan_over(KNOWN)
    assert next_step(plan, back(at_stop()), at_stop(), NOW) == TakeBack("order-1", "is taken back")


def test_after_two_steps_a_device_stays_and_the_end_says_how_many() -> None:
    plan = plan_over(KNOWN, "2.5", "a")
    through = replace(
        at_stop(passed=(digest("2.0"), digest("2.5")), passed_attempt=2, attempts=2),
        running=digest("2.5"), version="2.5", install="order-2", taken="order-2", ordered=digest("2.5"),
    )  # fmt: skip
    standing = stand_back(plan, back(through), "a", NOW)
    why = "it came over 2.0: its slots hold no older image"
    assert (standing.state, standing.rule, standing.reason) == ("failed", "no_way_back", f"stays: {why}")
    assert isinstance(next_step(plan, back(through), through, NOW), Leave)
    assert decide(plan, back(through), NOW).actions == (Finish("rolled-back", f"0 taken back, 1 stay: {why}"),)


def test_an_order_for_the_next_step_that_was_taken_has_overwritten_the_way_back() -> None:
    plan, at = plan_over(KNOWN), at_stop(install="order-2", ordered=digest("2.5"), confirmed=False, attempts=2)
    never = replace(at, failure=Failure(2, "unreachable", "E_NEVER_ARRIVED", NOW))
    assert next_step(plan, back(never), never, NOW) == TakeBack("order-1", "is taken back")
    taken = replace(at, taken="order-2", failure=Failure(2, "deferred", "", NOW))
    assert stand_back(plan, back(taken), "a", NOW).rule == "no_way_back"


def test_a_device_that_fell_back_to_a_stop_by_itself_is_told_to_run_it() -> None:
    standing = stand_back(plan_over(KNOWN), back(at_stop(spent=True)), "a", NOW)
    assert standing.reason == "stays: went back to 2.0, a stop, by itself: its slots hold no older image"


def test_data_that_the_image_before_cannot_read_keeps_a_device_where_it_is() -> None:
    known = fleet(v2_4={}, v2_5=V2)
    plan = plan_over(known, "2.5", "a")
    image = known["2.4"].spec.image.digest
    running = device(
        "2.5", known, by_mandate=True, install="o", taken="o", ordered=digest("2.5", known), confirmed=True,
        attempts=1, passed=(digest("2.5", known),), passed_attempt=1,
    )  # fmt: skip
    unknown = stand_back(plan, back(running), "a", NOW)
    assert unknown.state == "in-flight", "of a factory image nothing is known: as ever"
    kept = stand_back(plan, back(replace(running, standby=image)), "a", NOW)
    assert kept.reason == "stays: their data cannot be read by 2.4: 2.5 writes format 2"


@pytest.mark.parametrize(
    ("before", "ran", "floor", "code"),
    [
        ({}, [{}], 0, None),
        ({"data": {"writes": 1, "reads": [2]}}, [V2], 0, None),
        ({}, [V2], 0, "E_DATA_FORMAT"),
        ({}, [{}, {}], 0, "E_NO_WAY_BACK"),
        ({"securityVersion": 1}, [{}], 2, "E_ROLLBACK_FLOOR"),
        ({"securityVersion": 2}, [{}], 2, None),
    ],
)
def test_what_bars_a_way_back(before: dict[str, Any], ran: list[dict[str, Any]], floor: int, code: str | None) -> None:
    known = fleet(v1_0=before, **{f"v2_{n}": spec for n, spec in enumerate(ran)})
    releases = [release_of(known[f"2.{n}"]) for n in range(len(ran))]
    found = barred(release_of(known["1.0"]), releases, floor=floor)
    assert (found.code if found else None) == code
