"""What earlier runs know: the same answers, and only the work that a change asks for."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import FrameType

import pytest

from fwctl.errors import InputError
from fwctl.gitrepo import Cache, Files
from fwctl.manifests.diagnostic import Diagnostic
from fwctl.reconcile.commit import check_files, compiled, load_repo
from fwctl.rollouts.compile import Compiled, mandate_of
from fwctl.rollouts.kept import from_bytes, to_bytes
from fwctl_agent.protocol.lock import Lock

_COUNT = 3000
_ROLLOUTS = ("one", "two", "three")
_FIRMWARE = """\
apiVersion: fwctl/v1
kind: Firmware
spec:
  model: model-{name}
  version: "2.5.0"
  hardware: [rev-a]
  image: {{digest: "sha256:{zeros}", length: 10}}
  releaseCounter: 1
"""
_GROUP = """\
apiVersion: fwctl/v1
kind: DeviceGroup
metadata: {{name: {name}}}
spec: {{models: [model-{name}], selector: {{matchLabels: {{ring: prod}}}}}}
"""
_ROLLOUT = """\
apiVersion: fwctl/v1
kind: Rollout
metadata: {{name: {name}}}
spec:
  firmware: {{model: model-{name}, version: "2.5.0"}}
  targets: {{groups: [{name}]}}
  strategy: {{type: Canary, initialPercentage: 10, increments: [100]}}
"""


def fleet(count: int = _COUNT) -> dict[str, bytes]:
    """Return a fleet with three rollouts, locked; its inventory and locks are large files."""
    lines = ["apiVersion: fwctl/v1", "kind: DeviceInventory", "spec:", "  devices:"]
    for number in range(count):
        name = _ROLLOUTS[number % 3]
        fields = f"id: device-{number:06d}, model: model-{name}, hardware: rev-a, env: dev, labels: {{ring: prod}}"
        lines.append(f"    - {{{fields}}}")
    texts = {
        "fleet.yaml": "apiVersion: fwctl/v1\nkind: Fleet\nmetadata: {name: acme}\n"
        'spec: {repoId: acme, deviceAddress: "{id}:8443"}\n',
        "devices/all.yaml": "\n".join(lines) + "\n",
    }
    for name in _ROLLOUTS:
        texts[f"firmware/model-{name}/2.5.0.yaml"] = _FIRMWARE.format(name=name, zeros="0" * 64)
        texts[f"groups/{name}.yaml"] = _GROUP.format(name=name)
        texts[f"rollouts/dev/{name}.yaml"] = _ROLLOUT.format(name=name)
    files = {path: text.encode() for path, text in texts.items()}
    repo = load_repo(files)
    locks = {f"rollouts/{key}.lock": compiled(repo, one, files).plan.lock().raw for key, one in repo.rollouts.items()}
    return files | locks


class Store:
    """Files with a cache, as another process would open them; says which large ones were read."""

    def __init__(self, content: Mapping[str, bytes], cache: Path) -> None:
        self.read: set[str] = set()
        ids = Files.of(content)

        def fetch(paths: Collection[str]) -> Mapping[str, bytes]:
            self.read |= {path for path in paths if len(content[path]) > 64 * 1024}
            return {path: content[path] for path in paths}

        blobs = {path: (ids.blob_id(path), len(data)) for path, data in content.items()}
        self.files = Files(blobs, fetch, cache=Cache(cache, code="1"))

    def check(self) -> tuple[Diagnostic, ...]:
        return check_files(self.files)[1]


@pytest.fixture(scope="module")
def content() -> dict[str, bytes]:
    return fleet()


@pytest.fixture
def cache(tmp_path: Path, content: dict[str, bytes]) -> Path:
    """A cache that has seen the fleet."""
    cold = Store(content, tmp_path / "cache.db")
    assert cold.check() == ()
    assert cold.read == {"devices/all.yaml", *(f"rollouts/dev/{name}.lock" for name in _ROLLOUTS)}
    return tmp_path / "cache.db"


def test_files_that_were_checked_are_not_read_again(content: dict[str, bytes], cache: Path) -> None:
    warm = Store(content, cache)
    assert warm.check() == ()
    assert warm.read == set()


def test_the_repository_is_the_same_cold_and_warm(content: dict[str, bytes], cache: Path) -> None:
    cold, warm = load_repo(content), load_repo(Store(content, cache).files)
    assert dict(warm.devices) == dict(cold.devices)
    assert warm.fleet == cold.fleet
    assert warm.groups == cold.groups
    assert warm.rollouts == cold.rollouts


def test_a_changed_rollout_is_compiled_alone_and_no_inventory_is_parsed(content: dict[str, bytes], cache: Path) -> None:
    path = "rollouts/dev/two.yaml"
    edited = content | {path: content[path].replace(b"initialPercentage: 10", b"initialPercentage: 20")}
    store = Store(edited, cache)
    assert store.check() == ()
    assert store.read == {"rollouts/dev/two.lock"}


def test_a_new_rollout_reads_nothing_large(content: dict[str, bytes], cache: Path) -> None:
    added = content["rollouts/dev/two.yaml"].replace(b"{name: two}", b"{name: four}")
    store = Store(content | {"rollouts/dev/four.yaml": added + b"  replaces: two\n"}, cache)
    assert store.check() == ()
    assert store.read == set()


_CHANGES: dict[str, Callable[[dict[str, bytes]], dict[str, bytes]]] = {
    "group": lambda c: {"groups/two.yaml": c["groups/two.yaml"].replace(b"ring: prod", b"ring: none")},
    "group, smaller": lambda c: {
        "groups/two.yaml": c["groups/two.yaml"].replace(
            b"selector: {matchLabels: {ring: prod}}", b"devices: [device-000001]"
        )
    },
    "inventory": lambda c: {"devices/all.yaml": c["devices/all.yaml"].replace(b"id: device-000001", b"id: other")},
    "second inventory": lambda c: {
        "devices/b.yaml": b"apiVersion: fwctl/v1\nkind: DeviceInventory\nspec:\n  devices:\n"
        b"    - {id: more, model: model-two, hardware: rev-a, env: dev, labels: {ring: prod}}\n"
    },
    "firmware": lambda c: {
        "firmware/model-two/2.5.0.yaml": c["firmware/model-two/2.5.0.yaml"].replace(b"length: 10", b"length: 11")
    },
    "lock": lambda c: {"rollouts/dev/two.lock": c["rollouts/dev/two.lock"].split(b"\n", 1)[1]},
    "broken lock": lambda c: {"rollouts/dev/two.lock": c["rollouts/dev/two.lock"] + b"x"},
    "control": lambda c: {"control/dev/two.yaml": _control(c)},
    "rollout": lambda c: {
        "rollouts/dev/two.yaml": c["rollouts/dev/two.yaml"].replace(b"100]}", b"100], approvalBefore: [wave-2]}")
    },
    "not enforced": lambda c: {"rollouts/dev/two.yaml": c["rollouts/dev/two.yaml"] + b"  lateJoiners: {max: 5}\n"},
    "fleet": lambda c: {"fleet.yaml": c["fleet.yaml"].replace(b"repoId: acme", b"repoId: other")},
    "broken inventory": lambda c: {"devices/all.yaml": c["devices/all.yaml"] + b"    - {id: Bad!}\n"},
}


def _control(content: Mapping[str, bytes]) -> bytes:
    repo = load_repo(content)
    made = compiled(repo, repo.rollouts["dev/two"], content)
    assert made.mandate is not None
    return (
        "apiVersion: fwctl/v1\nkind: RolloutControl\nmetadata: {name: two}\nspec:\n"
        f"  mandate: {made.mandate.id}\n  state: running\n  promoted: [wave-9]\n  reason: because\n  actor: alice\n"
    ).encode()


@pytest.mark.parametrize("change", _CHANGES.values(), ids=_CHANGES)
def test_every_change_has_the_findings_it_has_without_a_cache(
    content: dict[str, bytes], cache: Path, change: Callable[[dict[str, bytes]], dict[str, bytes]]
) -> None:
    changed = content | change(content)
    assert changed != content
    expected = check_files(changed)[1]
    assert Store(changed, cache).check() == expected
    again = Store(changed, cache)
    assert again.check() == expected, "what was found is found again, at the same places"
    assert Store(content, cache).check() == ()


def test_without_a_lock_there_is_another_answer(content: dict[str, bytes], cache: Path) -> None:
    stale = content | _CHANGES["rollout"](content)
    assert [found.code for found in Store(stale, cache).check()] == ["E_LOCK_STALE"]
    assert Store({path: data for path, data in stale.items() if path != "rollouts/dev/two.lock"}, cache).check() == ()


def test_a_plan_is_compiled_once_for_the_same_files(content: dict[str, bytes], cache: Path) -> None:
    store = Store(content, cache)
    repo = load_repo(store.files)
    rollout = repo.rollouts["dev/two"]
    assert compiled(repo, rollout, store.files) is compiled(repo, rollout, store.files)
    assert store.read == set()


@pytest.mark.parametrize("name", _ROLLOUTS)
def test_a_plan_and_its_mandate_are_the_same_cold_and_warm(content: dict[str, bytes], cache: Path, name: str) -> None:
    cold = _made(content, name)
    first, warm = Store(content, cache), Store(content, cache)
    assert _made(first.files, name).mandate == cold.mandate
    assert first.read == {f"rollouts/dev/{name}.lock"}, "the mandate is of the tree over the lock"
    made = _made(warm.files, name)
    assert (made.plan, made.plan.digest, made.mandate) == (cold.plan, cold.plan.digest, cold.mandate)
    assert warm.read == set()
    assert made.lock == cold.lock
    assert made.lock is not None
    assert (made.lock.digest, made.lock.chains) == (_lock(cold).digest, _lock(cold).chains)
    assert warm.read == {f"rollouts/dev/{name}.lock"}


def test_members_that_left_and_came_are_the_same_cold_and_warm(content: dict[str, bytes], tmp_path: Path) -> None:
    changed = content | {"devices/all.yaml": content["devices/all.yaml"].replace(b"id: device-000001", b"id: other")}
    cold = _made(changed, "two").plan
    for _ in range(2):
        plan = _made(Store(changed, tmp_path / "cache.db").files, "two").plan
        assert (plan.dropped, plan.not_covered) == (cold.dropped, cold.not_covered) == (("device-000001",), ("other",))


def test_a_lock_that_is_not_what_was_read_before_is_refused(content: dict[str, bytes], cache: Path) -> None:
    store, path = Store(content, cache), "rollouts/dev/two.lock"
    made = _made(store.files, "two")
    content = dict(content)
    ids = Files.of(content)
    damaged = content | {path: content[path].split(b"\n", 1)[1]}
    blobs = {name: (ids.blob_id(name), len(data)) for name, data in content.items()}
    files = Files(blobs, lambda paths: {name: damaged[name] for name in paths}, cache=Cache(cache, code="1"))
    late = _made(files, "two")
    assert late.plan == made.plan
    with pytest.raises(InputError, match="not what it was") as refused:
        _lock(late).tree()
    assert (refused.value.code, refused.value.place) == ("E_LOCK_INVALID", path)


@pytest.mark.parametrize(
    "change",
    [
        lambda kept: kept.replace(b'"devices":100', b'"devices":101', 1),
        lambda kept: kept[:-1] + b"x",
        lambda kept: kept.replace(b"fwctl-plan-2", b"fwctl-plan-1"),
        lambda kept: kept.replace(b'"stage":1', b'"stage":2', 1),
        lambda _: b"",
        lambda _: b"[]",
        lambda kept: kept + b"\xff",
    ],
)
def test_another_plan_than_the_manifests_have_is_not_kept(
    content: dict[str, bytes], change: Callable[[bytes], bytes]
) -> None:
    repo, made = load_repo(content), _made(content, "two")
    kept, rollout = to_bytes(made), repo.rollouts["dev/two"]

    def again(data: bytes) -> Compiled | None:
        return from_bytes(data, repo, rollout, lock=lambda: _lock(made), place="rollouts/dev/two.lock")

    assert again(kept) == made
    assert change(kept) != kept
    assert again(change(kept)) is None


def _made(files: Mapping[str, bytes], name: str) -> Compiled:
    repo = load_repo(files)
    return compiled(repo, repo.rollouts[f"dev/{name}"], files)


def _lock(made: Compiled) -> Lock:
    assert made.lock is not None
    return made.lock


def _calls(work: Callable[[], object]) -> int:
    """Count the calls of functions, Python's and C's, that some work takes."""
    count = 0

    def tick(_frame: FrameType, event: str, _what: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(tick)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def test_work_grows_with_the_fleet_and_not_faster() -> None:
    def work(count: int) -> int:
        files = {path: data for path, data in fleet(count).items() if not path.endswith(".lock")}
        repo = load_repo(files)
        rollout = repo.rollouts["dev/two"]

        def compile_and_lock() -> None:
            plan = compiled(repo, rollout, files).plan
            lock = Lock.parse(plan.lock().raw)
            assert mandate_of(plan, manifest=rollout.raw, lock=lock).lock_size == count // 3
            assert lock.tree().proof(1).hashes

        return _calls(compile_and_lock)

    small, large = work(600), work(2400)
    assert large < 4 * small


def test_a_person_is_told_what_takes_long() -> None:
    said: list[str] = []
    content = {"fleet.yaml": b"", "devices/all.yaml": b"# comment\n" * 200_000}
    check_files(Files.of(content, notice=said.append))
    assert said == ["Reading devices/all.yaml, 2 MB ...", ""]
