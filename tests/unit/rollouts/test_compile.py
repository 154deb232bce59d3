"""`compile`: the same plan from the same commit, whoever asks and in whatever order the files come."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fwctl.errors import InputError
from fwctl.manifests.load import load
from fwctl.rollouts.compile import compile_rollout, mandate_of, read_lock
from fwctl_agent.protocol.lock import Leaf, Lock
from tests.unit.rollouts.fleets import KEY, check_plans, files, plan_of, repo_of

DEVICES = st.sets(st.from_regex(r"[a-z][a-z0-9]{0,6}", fullmatch=True), min_size=1, max_size=12)


@given(devices=DEVICES, seed=st.integers())
def test_the_order_of_files_and_devices_changes_nothing(devices: set[str], seed: int) -> None:
    chance = random.Random(seed)
    ids = sorted(devices)
    shuffled = chance.sample(ids, len(ids))
    sources = list(files(shuffled).items())
    chance.shuffle(sources)
    repo = repo_of(dict(sources))
    plan = compile_rollout(repo, repo.rollouts[KEY])
    assert plan.digest == plan_of(ids).digest
    assert plan.members == tuple(ids)
    assert plan.lock().raw == plan_of(ids).lock().raw


@given(devices=DEVICES)
def test_compiling_over_its_own_lock_gives_the_same_plan(devices: set[str]) -> None:
    repo = repo_of(files(sorted(devices)))
    rollout = repo.rollouts[KEY]
    fresh = compile_rollout(repo, rollout)
    locked = compile_rollout(repo, rollout, lock=Lock.parse(fresh.lock().raw))
    assert locked.digest == fresh.digest
    assert (locked.dropped, locked.not_covered) == ((), ())


@given(devices=DEVICES, gone=st.integers(min_value=0), new=st.booleans())
def test_a_lock_may_shrink_and_never_grows(devices: set[str], gone: int, new: bool) -> None:
    ids = sorted(devices)
    lock = plan_of(ids).lock()
    left = [*ids[: gone % len(ids)], *ids[gone % len(ids) + 1 :], *(["zz-new"] if new else [])] or ["zz-other"]
    repo = repo_of(files(left))
    plan = compile_rollout(repo, repo.rollouts[KEY], lock=lock)
    assert plan.members == tuple(ids), "membership is what was locked"
    assert plan.dropped == (ids[gone % len(ids)],)
    assert set(plan.not_covered) == set(left) - set(ids)
    assert plan.digest == plan_of(ids).digest, "who drops out or comes later does not change what was approved"


def test_the_digest_covers_the_resolved_spec() -> None:
    plain = plan_of(["a"])
    explicit = plan_of(["a"], ["strategy: {type: Direct, soak: 0s}", "retry: {maxAttempts: 3}"])
    other = plan_of(["a"], ["strategy: {type: Direct}", "retry: {maxAttempts: 4}"])
    assert plain.digest == explicit.digest, "a default written out is the same plan"
    assert plain.digest != other.digest


def test_the_mandate_changes_with_every_byte_of_manifest_and_lock() -> None:
    plan, lock = plan_of(["a", "b"]), plan_of(["a", "b"]).lock()
    base = mandate_of(plan, manifest=b"one", lock=lock)
    assert mandate_of(plan, manifest=b"one", lock=lock).id == base.id
    assert mandate_of(plan, manifest=b"One", lock=lock).id != base.id
    smaller = Lock.of(lock.leaves[:1])
    assert mandate_of(plan, manifest=b"one", lock=smaller).id != base.id
    assert base.path == "rollouts/dev/sensors.yaml"


def test_without_a_strategy_it_is_a_canary() -> None:
    sources = files(["a"], [])
    assert check_plans(repo_of(sources), sources) == ()
    assert [wave.name for wave in plan_of([f"d{n}" for n in range(40)], []).waves] == [
        "wave-1",
        "wave-2",
        "wave-3",
        "wave-4",
    ]


def test_a_lock_for_another_release_is_stale() -> None:
    sources = files(["a"])
    sources["rollouts/dev/sensors.lock"] = Lock.of([Leaf("a", 1, ("sha256:" + "1" * 64,))]).raw
    found = check_plans(repo_of(sources), sources)
    assert [d.code for d in found] == ["E_LOCK_STALE"]
    assert "fwctl plan dev/sensors --lock" in found[0].remedy


def test_a_lock_with_another_stage_is_stale() -> None:
    sources = files(["a"])
    sources["rollouts/dev/sensors.lock"] = Lock.of([Leaf("a", 2, plan_of(["a"]).chain)]).raw
    assert [d.code for d in check_plans(repo_of(sources), sources)] == ["E_LOCK_STALE"]


def test_devices_beside_the_lock_are_information() -> None:
    sources = files(["a", "b"])
    sources["rollouts/dev/sensors.lock"] = plan_of(["a", "c"]).lock().raw
    found = check_plans(repo_of(sources), sources)
    assert [(d.code, d.severity) for d in found] == [("I_NOT_COVERED", "info"), ("I_DROPPED", "info")]


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"a 1 sha256:" + b"0" * 64,
        b"a 1 sha256:" + b"0" * 64 + b"\r\n",
        b"a 0 sha256:" + b"0" * 64 + b"\n",
        b"A 1 sha256:" + b"0" * 64 + b"\n",
        b"b 1 sha256:" + b"0" * 64 + b"\na 1 sha256:" + b"0" * 64 + b"\n",
        b"a 1 sha256:" + b"0" * 64 + b"\na 2 sha256:" + b"0" * 64 + b"\n",
        b"\xff\n",
    ],
)
def test_a_malformed_lock_is_a_finding_and_no_crash(raw: bytes) -> None:
    sources = files(["a"])
    sources["rollouts/dev/sensors.lock"] = raw
    assert [d.code for d in check_plans(repo_of(sources), sources)] == ["E_LOCK_INVALID"]
    with pytest.raises(InputError, match="E_LOCK_INVALID"):
        read_lock(raw, "rollouts/dev/sensors.lock")


def test_the_manifest_stands_for_the_release_that_is_signed() -> None:
    loaded = load(files(["a"]))
    assert loaded.repo is not None
    plan = plan_of(["a"])
    assert plan.release.hardware == ("rev-a",)
    assert plan.chain == (plan.release.digest,)


def test_what_is_enforced_passes() -> None:
    lines = ["strategy: {type: Direct}", "watch: 30s", "limits: {maxConcurrent: 5}", "retry: {maxAttempts: 2}"]
    lines += ["gates: {health: {probes: default, limits: {temperature: {max: 80}}}, timeoutPerDevice: 5m}"]
    lines += ["rollback: {allowed: false, automatic: false}"]
    sources = files(["a"], lines)
    assert check_plans(repo_of(sources), sources) == ()
