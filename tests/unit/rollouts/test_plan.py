"""What a plan is worth in bytes: its digest and its lock, for any devices."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from fwctl.rollouts.plan import Plan, Wave
from fwctl_agent.protocol import canonical
from fwctl_agent.protocol.lock import Leaf, Lock
from tests.unit.rollouts.fleets import plan_of

ONE = plan_of(["a"])
IDS = st.from_regex(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True)
ODD = st.text(st.characters(min_codepoint=32, exclude_categories=("Cs", "Cc")))
WAVES = st.builds(
    Wave,
    name=st.sampled_from(["wave-1", "wave-2", '"devices":[]']),
    stage=st.integers(1, 3),
    devices=st.one_of(st.lists(IDS, unique=True), st.lists(ODD)).map(tuple),
    soak=st.integers(0, 90),
    activation=st.sampled_from(["now", "hold"]),
    max_unavailable=st.none() | st.integers(1, 9),
)


@given(st.lists(WAVES, max_size=4))
def test_the_digest_is_that_of_the_canonical_json(waves: list[Wave]) -> None:
    plan: Plan = replace(ONE, waves=tuple(waves))
    assert plan.digest == canonical.digest_of(plan.to_json())


@given(st.lists(IDS, unique=True, min_size=1), st.integers(0, 5))
def test_the_lock_holds_each_member_with_the_stage_of_its_wave(devices: list[str], first: int) -> None:
    waves = (Wave("wave-1", 1, tuple(devices[:first]), 0), Wave("wave-2", 2, tuple(devices[first:]), 0))
    plan = replace(ONE, waves=waves)
    leaves = [Leaf(device, wave.stage, plan.chain) for wave in waves for device in wave.devices]
    assert plan.lock() == Lock.of(leaves)
    assert Lock.parse(plan.lock().raw).leaves == tuple(sorted(leaves, key=lambda leaf: str(leaf).encode()))
