"""A wave from which everybody has dropped out proves nothing to the waves after it; the last one protects nobody."""

from __future__ import annotations

from dataclasses import replace

from fwctl.rollouts.decide import decide
from fwctl.rollouts.view import Control, DeviceView, WaveView
from tests.unit.rollouts.fleets import NOW, plan_of, view_of

CANARY = ["strategy: {type: Canary, initialPercentage: 25, increments: [100], soak: 0s}"]


def test_a_canary_of_devices_in_quarantine_holds_until_a_person_promotes_it() -> None:
    plan = plan_of([f"d{n}" for n in range(4)], CANARY)
    (one,) = plan.waves[0].devices
    view = view_of(DeviceView(id=one, quarantined="broken"), waves={"wave-1": WaveView("open")})
    held = decide(plan, view, NOW)
    assert held.actions == ()
    assert held.holding == (
        "wave-1, minReached: all 1 are in quarantine or without a legal path; nobody is left to look at"
    )
    word = Control("running", "we looked at it", "alice", promoted=frozenset({"wave-1"}))
    (moved,) = decide(plan, replace(view, control=word), NOW).actions
    assert (moved.wave, moved.state) == ("wave-1", "passed")  # type: ignore[union-attr]


def test_the_last_wave_may_be_empty() -> None:
    plan = plan_of(["d0"], ["strategy: {type: Direct}"])
    view = view_of(DeviceView(id="d0", quarantined="broken"))
    (moved,) = decide(plan, view, NOW).actions
    assert (moved.wave, moved.state) == ("wave-1", "passed")  # type: ignore[union-attr]
