"""A device that was out of reach and answers again may be asked, and starts only if its place can spare it."""

from __future__ import annotations

from datetime import timedelta

from fwctl.rollouts.actions import Install, Leave
from fwctl.rollouts.decide import decide, next_step
from fwctl.rollouts.view import DeviceView, WaveView
from tests.unit.rollouts.fleets import NOW, view_of
from tests.unit.rollouts.test_planner import plan_with

LIMITS = "maxConcurrent: 9, disruption: {groupBy: [site], maxUnavailable: 1}"
AGO = NOW - timedelta(minutes=1)


def test_it_is_asked_and_left_while_another_of_its_place_is_out_of_service() -> None:
    plan = plan_with(8, "{type: Direct}", LIMITS, "")  # d00 and d04 are at one site
    first, second = (DeviceView(id=name, unreachable_since=AGO, misses=1) for name in ("d00", "d04"))
    view = view_of(first, second, waves={"wave-1": WaveView("open", opened_at=AGO)})
    assert {"d00", "d04"} & {getattr(one, "device", "") for one in decide(plan, view, NOW).actions}
    back = DeviceView(id="d00", observed_at=NOW)
    step = next_step(plan, view, back, NOW)
    assert isinstance(step, Leave)
    assert step.reason == "site site-0 has 1 of at most 1 out of service: d04"
    alone = view_of(first, DeviceView(id="d04"), waves=view.waves)
    assert isinstance(next_step(plan, alone, back, NOW), Install)
