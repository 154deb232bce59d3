"""Regional: the waves it cuts, how stages are counted over regions, what is told of devices it would not reach."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fwctl.errors import InputError
from fwctl.rollouts.actions import GoBack, MoveWave, Stop
from fwctl.rollouts.cohorts import by_lot
from fwctl.rollouts.compile import compile_rollout
from fwctl.rollouts.decide import decide
from fwctl.rollouts.plan import Plan
from fwctl.rollouts.view import DeviceView, RolloutView, WaveView
from fwctl_agent.protocol.lock import Lock
from tests.unit.rollouts.fleets import KEY, NOW, check_plans, files, repo_of

LOCK = "rollouts/dev/sensors.lock"
CANARY = "{type: Canary, initialPercentage: 10, increments: [50, 100], soak: 5m}"


def sources(members: Mapping[str, str], strategy: str, *more: str) -> dict[str, bytes]:
    """Return a fleet whose devices have these regions; an empty one is none."""
    made = files(["unused"], [f"strategy: {strategy}", *more])
    head = made["devices/all.yaml"].decode().partition("    - ")[0]
    lines = [f'    - {{id: "{id_}"{f", region: {region}" if region else ""}}}\n' for id_, region in members.items()]
    return {**made, "devices/all.yaml": (head + "".join(lines)).encode()}


def plan(members: Mapping[str, str], strategy: str, *more: str) -> Plan:
    repo = repo_of(sources(members, strategy, *more))
    return compile_rollout(repo, repo.rollouts[KEY])


def fleet(**sizes: int) -> dict[str, str]:
    return {f"{region}-{n:02}": region for region, size in sizes.items() for n in range(size)}


def regional(regions: str, more: str = "") -> str:
    return f"{{type: Regional, regions: [{regions}], inner: {CANARY}, soak: 1h{more}}}"


SEQUENCE = regional("{name: eu}, {name: us}, {name: asia}")
PARALLEL = regional("{name: eu}, {name: us}, {name: asia}", ", order: Parallel")


def test_each_region_is_cut_by_shares_of_its_own_members_in_the_order_of_their_lots() -> None:
    members = fleet(eu=20, us=10, asia=1)
    made = plan(members, SEQUENCE)
    assert [(wave.name, len(wave.devices)) for wave in made.waves] == [
        ("eu/wave-1", 2),
        ("eu/wave-2", 8),
        ("eu/wave-3", 10),
        ("us/wave-1", 1),
        ("us/wave-2", 4),
        ("us/wave-3", 5),
        ("asia/wave-1", 1),
    ]
    lots = by_lot([device for device, region in members.items() if region == "eu"], "sensors")
    assert made.waves[0].devices == tuple(sorted(lots[:2]))
    assert {(wave.region, wave.track) for wave in made.waves} == {("eu", ""), ("us", ""), ("asia", "")}
    assert {wave.region for wave in made.waves for device in wave.devices if members[device] != wave.region} == set()


def test_the_last_wave_of_a_region_soaks_at_least_as_long_as_a_region_does() -> None:
    made = plan(fleet(eu=20, us=1), SEQUENCE)
    soaks = {wave.name: wave.soak for wave in made.waves}
    assert soaks == {"eu/wave-1": 300, "eu/wave-2": 300, "eu/wave-3": 3600, "us/wave-1": 3600}
    short = plan(fleet(eu=20), f"{{type: Regional, regions: [{{name: eu}}], inner: {CANARY}, soak: 1s}}")
    assert [wave.soak for wave in short.waves] == [300, 300, 300]


def test_regions_in_parallel_have_a_track_each_and_no_region_can_take_that_of_late_joiners() -> None:
    made = plan(fleet(eu=10, late=10), regional("{name: eu}, {name: late}", ", order: Parallel"))
    assert [[wave.name for wave in waves] for waves in made.tracks.values()] == [
        ["eu/wave-1", "eu/wave-2", "eu/wave-3"],
        ["late/wave-1", "late/wave-2", "late/wave-3"],
    ]
    assert "late" not in made.tracks


def test_a_region_has_its_own_strategy_and_its_own_window() -> None:
    window = "window: {allow: [{cron: '0 1 * * *', duration: 4h, timeZone: Europe/Berlin}]}"
    rolling = "strategy: {type: Rolling, batchSize: 4, maxUnavailable: 2, soak: 1m}"
    made = plan(fleet(eu=10, us=3), regional(f"{{name: eu, {window}, {rolling}}}, {{name: us}}"))
    first, *_ = made.waves
    assert [(wave.name, len(wave.devices), wave.max_unavailable) for wave in made.waves if wave.region == "eu"] == [
        ("eu/wave-1", 4, 2),
        ("eu/wave-2", 4, 2),
        ("eu/wave-3", 2, 2),
    ]
    assert first.window is not None
    assert first.window.allow[0].time_zone == "Europe/Berlin"
    assert {wave.window for wave in made.waves if wave.region == "us"} == {None}


STAGES: Sequence[tuple[str, dict[str, int], dict[str, int]]] = [
    (
        regional("{name: eu}, {name: us}", ", approvalBefore: [us]"),
        {"eu": 4, "us": 4},
        {"eu/wave-1": 1, "eu/wave-2": 1, "eu/wave-3": 1, "us/wave-1": 2, "us/wave-2": 2, "us/wave-3": 2},
    ),
    (
        regional("{name: eu}, {name: us}", ", approvalBefore: [eu/wave-2, us/wave-1]"),
        {"eu": 4, "us": 4},
        {"eu/wave-1": 1, "eu/wave-2": 2, "eu/wave-3": 2, "us/wave-1": 3, "us/wave-2": 3, "us/wave-3": 3},
    ),
    # in parallel every region counts for itself: the approval of one holds no other
    (
        regional("{name: eu}, {name: us}", ", order: Parallel, approvalBefore: [eu/wave-2]"),
        {"eu": 4, "us": 4},
        {"eu/wave-1": 1, "eu/wave-2": 2, "eu/wave-3": 2, "us/wave-1": 1, "us/wave-2": 1, "us/wave-3": 1},
    ),
    # a wave that adds nobody hands its approval on, also to the next region
    (
        regional("{name: eu}, {name: us}", ", approvalBefore: [eu/wave-3]"),
        {"eu": 1, "us": 4},
        {"eu/wave-1": 1, "us/wave-1": 2, "us/wave-2": 2, "us/wave-3": 2},
    ),
    (
        regional("{name: none}, {name: us}", ", approvalBefore: [none]"),
        {"us": 1},
        {"us/wave-1": 2},
    ),
    # an approval that the inner strategy wants
    (
        "{type: Regional, regions: [{name: eu}, {name: us, strategy: {type: Direct}}], inner: "
        "{type: Rolling, batchSize: 50%, approvalBefore: [wave-2]}}",
        {"eu": 4, "us": 4},
        {"eu/wave-1": 1, "eu/wave-2": 2, "us/wave-1": 2},
    ),
]


@pytest.mark.parametrize(("strategy", "sizes", "stages"), STAGES)
def test_stages_are_counted_over_the_regions_of_a_track(
    strategy: str, sizes: dict[str, int], stages: dict[str, int]
) -> None:
    assert {wave.name: wave.stage for wave in plan(fleet(**sizes), strategy).waves} == stages


@pytest.mark.parametrize(
    ("point", "strategy"),
    [
        ("asia", regional("{name: eu}", ", approvalBefore: [asia]")),
        ("eu/wave-4", regional("{name: eu}", ", approvalBefore: [eu/wave-4]")),
        (
            "eu/wave-9",
            "{type: Regional, regions: [{name: eu}], inner: {type: Rolling, batchSize: 1, approvalBefore: [wave-9]}}",
        ),
    ],
)
def test_an_approval_before_a_wave_that_there_is_not_is_an_error(point: str, strategy: str) -> None:
    with pytest.raises(InputError) as caught:
        plan(fleet(eu=3), strategy)
    assert caught.value.code == "E_NO_WAVE"
    assert caught.value.message.startswith(f"an approval is wanted before {point}, but the waves are eu, eu/wave-1")


def test_devices_that_no_region_would_reach_are_an_error_that_names_them_and_says_what_to_do() -> None:
    made = sources({"a": "", "b": "us", "c": "us", "d": "eu"}, regional("{name: eu}"))
    (found,) = check_plans(repo_of(made), made)
    assert (found.code, found.field, found.severity) == ("E_REGION", "spec.strategy.regions", "error")
    assert found.message == "a is in no region; b, c are in region us: the strategy would never reach them"
    assert found.remedy == (
        "Give devices their `region` in the inventory, list us in `regions`, "
        "or leave these devices out with `targets.exclude`."
    )


def test_many_such_devices_are_told_in_short() -> None:
    with pytest.raises(InputError) as caught:
        plan({f"d{n:02}": f"r{n % 8}" for n in range(64)}, regional("{name: eu}"))
    assert "d00, d08, d16, d24, d32 and 3 more are in region r0; " in caught.value.message
    assert "; and in 3 more regions" in caught.value.message


def test_a_region_without_devices_is_a_warning() -> None:
    made = sources(fleet(eu=2), regional("{name: eu}, {name: us}"))
    (found,) = check_plans(repo_of(made), made)
    assert (found.code, found.severity, found.field) == (
        "W_REGION_EMPTY",
        "warning",
        "spec.strategy.regions[1].name",
    )
    assert found.message == "no target is in region `us`"


def locked(members: Mapping[str, str], strategy: str, lock: Lock, *more: str) -> Plan:
    repo = repo_of(sources(members, strategy, *more))
    return compile_rollout(repo, repo.rollouts[KEY], lock=lock)


def test_who_is_targeted_no_longer_drops_out_of_its_region_and_the_plan_stays_what_it_was() -> None:
    members = fleet(eu=10, us=5)
    before = plan(members, SEQUENCE)
    lock = before.lock()
    made = sources(members, SEQUENCE)
    text = made["rollouts/dev/sensors.yaml"].decode().replace("{all: true}", "{all: true, exclude: {devices: [eu-00]}}")
    repo = repo_of({**made, "rollouts/dev/sensors.yaml": text.encode()})
    after = compile_rollout(repo, repo.rollouts[KEY], lock=lock)
    assert (after.waves, after.dropped) == (before.waves, ("eu-00",))


def test_a_locked_device_that_has_left_the_inventory_changes_the_plan_so_that_it_waits_for_a_new_approval() -> None:
    """Git of today does not tell its region, so nobody can say that these are the waves which were approved."""
    members = fleet(eu=10, us=5)
    before = plan(members, SEQUENCE)
    del members["eu-00"]
    after = locked(members, SEQUENCE, before.lock())
    assert after.dropped == ("eu-00",)
    assert sorted(after.members) == sorted(before.members)
    assert after.digest != before.digest


def test_digests_of_plans_tell_regions_and_tracks_apart() -> None:
    members = fleet(eu=4, us=4)
    digests = {plan(members, one).digest for one in (SEQUENCE, PARALLEL, regional("{name: us}, {name: eu}"))}
    assert len(digests) == 3


@given(
    regions=st.lists(st.sampled_from(["eu", "us", "asia"]), min_size=1, max_size=30),
    parallel=st.booleans(),
    inner=st.sampled_from([CANARY, "{type: Rolling, batchSize: 3}", "{type: Direct}"]),
)
def test_every_member_is_in_one_wave_of_its_own_region_and_regions_keep_their_order(
    regions: list[str], parallel: bool, inner: str
) -> None:
    members = {f"d{n:02}": region for n, region in enumerate(regions)}
    order = "Parallel" if parallel else "Sequential"
    listed = "regions: [{name: us}, {name: eu}, {name: asia}]"
    made = plan(members, f"{{type: Regional, {listed}, order: {order}, inner: {inner}}}")
    assert sorted(made.members) == sorted(members)
    assert all(members[device] == wave.region for wave in made.waves for device in wave.devices)
    seen = list(dict.fromkeys(wave.region for wave in made.waves))
    assert seen == [region for region in ("us", "eu", "asia") if region in regions]
    assert len(made.tracks) == (len(seen) if parallel else 1)
    for waves in made.tracks.values():
        stages = [wave.stage for wave in waves]
        assert stages == sorted(stages)


def reached(made: Plan, *waves: str) -> dict[str, DeviceView]:
    return {
        device: DeviceView(id=device, running=made.release.digest, by_mandate=True, install="o", observed_at=NOW)
        for wave in made.waves
        if wave.name in waves
        for device in wave.devices
    }


def test_in_sequence_the_next_region_opens_only_when_the_one_before_has_passed() -> None:
    made = plan(fleet(eu=1, us=1), SEQUENCE)
    passed = {"eu/wave-1": WaveView("soaking", "", NOW)}
    rollout = RolloutView(approved_stage=1, waves=passed, devices=reached(made, "eu/wave-1"))
    assert [one.wave for one in decide(made, rollout, NOW).actions if isinstance(one, MoveWave)] == []
    rollout = RolloutView(approved_stage=1, waves={"eu/wave-1": WaveView("passed")}, devices=reached(made, "eu/wave-1"))
    (action,) = decide(made, rollout, NOW).actions
    assert isinstance(action, MoveWave)
    assert (action.wave, action.state) == ("us/wave-1", "open")


def test_in_parallel_all_regions_open_at_once() -> None:
    made = plan(fleet(eu=1, us=1), PARALLEL)
    actions = decide(made, RolloutView(approved_stage=1, devices={}), NOW).actions
    assert [one.wave for one in actions if isinstance(one, MoveWave)] == ["eu/wave-1", "us/wave-1"]


@pytest.mark.parametrize("automatic", [True, False])
def test_one_region_that_fails_stops_the_others_in_parallel_too(automatic: bool) -> None:
    made = plan(fleet(eu=1, us=1, asia=1), PARALLEL, f"rollback: {{automatic: {str(automatic).lower()}}}")
    spent = {"us-00": DeviceView(id="us-00", spent=True, attempts=1, install="o", observed_at=NOW)}
    rollout = RolloutView(
        approved_stage=1,
        waves={"eu/wave-1": WaveView("open"), "us/wave-1": WaveView("open")},
        devices={**reached(made, "eu/wave-1"), **spent},
    )
    moves = [one for one in decide(made, rollout, NOW).actions if isinstance(one, MoveWave | GoBack | Stop)]
    assert [(one.wave, one.state) for one in moves if isinstance(one, MoveWave)] == [("us/wave-1", "failed")]
    assert isinstance(moves[-1], GoBack if automatic else Stop)
    assert moves[-1].reason == "us/wave-1: 1 of 1 failed (100 %), allowed are 2 %"
