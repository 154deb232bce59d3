"""The columns of an inventory, and devices made of them: nothing is lost, and work grows with what differs."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fwctl.manifests import (
    Contents,
    Device,
    InventoryTable,
    Loaded,
    ManifestPath,
    Parsed,
    Profile,
    group_ids,
    group_members,
    load,
    parse_file,
    resolve_targets,
    target_ids,
)
from fwctl.manifests.models import Selector

words = st.text(alphabet="abc12", min_size=1, max_size=4)
labels = st.dictionaries(words, words, max_size=2).map(lambda found: tuple(found.items()))
maybe = st.none() | words
profiles = st.builds(Profile, words, words, words, maybe, maybe, maybe, labels)


@st.composite
def tables(draw: st.DrawFn) -> InventoryTable:
    given_profiles = draw(st.lists(profiles, max_size=6))
    ids = draw(st.lists(words, min_size=len(given_profiles), max_size=len(given_profiles)))
    addresses = draw(st.dictionaries(st.integers(0, max(len(ids) - 1, 0)), words, max_size=3)) if ids else {}
    return InventoryTable.of(ids, given_profiles, addresses)


@settings(deadline=2000)
@given(tables())
def test_bytes_give_the_same_table(table: InventoryTable) -> None:
    assert InventoryTable.from_bytes(table.to_bytes()) == table


@settings(deadline=2000)
@given(tables(), st.data())
def test_damaged_bytes_give_a_table_or_a_value_error(table: InventoryTable, data: st.DataObject) -> None:
    raw = table.to_bytes()
    start = data.draw(st.integers(0, len(raw)))
    end = data.draw(st.integers(start, len(raw)))
    damaged = raw[:start] + data.draw(st.binary(max_size=8)) + raw[end:]
    try:
        found = InventoryTable.from_bytes(damaged)
    except ValueError:
        return
    assert len(found.ids) == len(found.numbers)
    assert all(number < len(found.profiles) for number in found.numbers)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[" * 100_000,
        b"{}\n",
        b'{"format":"fwctl-inventory-0","devices":0,"profiles":[],"addresses":{}}\n',
        b'{"format":"fwctl-inventory-1","devices":-1,"profiles":[],"addresses":{}}\n',
        b'{"format":"fwctl-inventory-1","devices":1,"profiles":[],"addresses":{}}\n\x00\x00\x00\x00a',
        b'{"format":"fwctl-inventory-1","devices":0,"profiles":[["m"]],"addresses":{}}\n',
        b'{"format":"fwctl-inventory-1","devices":0,"profiles":[],"addresses":{"0":"a:1"}}\n',
    ],
)
def test_what_is_no_table(raw: bytes) -> None:
    with pytest.raises(ValueError):
        InventoryTable.from_bytes(raw)


def _contents(loaded: Loaded) -> Contents:
    assert loaded.repo is not None, loaded.diagnostics
    return loaded.repo


def _fleet(clean: dict[str, bytes], devices: int) -> dict[str, bytes]:
    lines = "".join(f"dev-{n:04d},sensor-v1,rev-a,dev,{'ab'[n % 2]}\n" for n in range(devices))
    return {**clean, "devices/a.csv": b"id,model,hardware,env,labels.ring\n" + lines.encode()}


def test_devices_are_a_mapping_sorted_by_id(clean: dict[str, bytes]) -> None:
    clean["devices/0.csv"] = b"id,model,hardware,env,address\nzz,sensor-v1,rev-a,dev,h:1\naa,sensor-v1,rev-a,dev,\n"
    devices = _contents(load(clean)).devices
    assert list(devices) == ["aa", "dev-1", "dev-2", "dev-3", "zz"] == sorted(devices.keys())
    assert len(devices) == 5
    assert "zz" in devices
    assert "x" not in devices
    assert devices.get("x") is None
    assert [d.id for d in devices.values()] == list(devices)
    assert (devices["zz"].address, devices["aa"].address) == ("h:1", "aa.example:8443")
    assert devices["aa"].origin == ("devices/0.csv", ("devices", 1))
    assert devices["dev-2"].origin == ("devices/a.yaml", ("spec", "devices", 1))
    assert devices.profile("dev-2").labels == (("ring", "b"),)
    with pytest.raises(KeyError):
        devices["x"]


def test_ids_and_devices_of_targets_agree(clean: dict[str, bytes]) -> None:
    repo = _contents(load(clean))
    rollout, group = repo.rollouts["dev/one"], repo.groups["all"]
    assert target_ids(repo, rollout) == tuple(d.id for d in resolve_targets(repo, rollout)) == tuple(repo.devices)
    assert group_ids(repo, group) == tuple(d.id for d in group_members(repo, group))


class _Counting(Selector):
    """A selector that remembers what it was asked about."""

    @property
    def asked(self) -> list[Mapping[str, str]]:
        found: list[Mapping[str, str]] = self.__dict__.setdefault("_asked", [])
        return found

    def matches_but_id(self, facts: Mapping[str, str]) -> bool:
        self.asked.append(facts)
        return super().matches_but_id(facts)


def test_a_selector_is_asked_once_per_profile(clean: dict[str, bytes]) -> None:
    asked = {}
    for devices in (10, 1000):
        repo = _contents(load(_fleet(clean, devices)))
        group = repo.groups["all"]
        counting = _Counting.model_validate({"matchLabels": {"ring": "a"}})
        object.__setattr__(group.model.spec, "selector", counting)
        repo.members.clear()
        assert len(group_ids(repo, group)) == devices // 2 + 1
        asked[devices] = len(counting.asked)
    assert asked[10] == asked[1000] == len(repo.devices.profiles) == 4


def test_finding_targets_makes_no_device(clean: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    original = Device.__init__

    def counted(self: Device, *args: object, **kwargs: object) -> None:
        made.append(str(kwargs["id"]))
        original(self, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(Device, "__init__", counted)
    repo = _contents(load(_fleet(clean, 200)))
    assert len(target_ids(repo, repo.rollouts["dev/one"])) == 203
    assert made == []
    assert repo.devices["dev-0001"].id == "dev-0001"
    assert made == ["dev-0001"]


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("{matchLabels: {id: dev-2}}", ["dev-2"]),
        ("{matchLabels: {id: dev-2, ring: a}}", []),
        ("{matchLabels: {ring: b}, matchExpressions: [{key: id, operator: NotIn, values: [dev-2]}]}", ["dev-3"]),
        ("{matchExpressions: [{key: id, operator: Exists}]}", ["dev-1", "dev-2", "dev-3"]),
        ("{matchExpressions: [{key: id, operator: DoesNotExist}]}", []),
        ("{matchExpressions: [{key: id, operator: In, values: [dev-1, dev-3]}]}", ["dev-1", "dev-3"]),
    ],
)
def test_selectors_by_id(clean: dict[str, bytes], selector: str, expected: list[str]) -> None:
    clean["groups/by-id.yaml"] = (
        f"apiVersion: fwctl/v1\nkind: DeviceGroup\nmetadata: {{name: by-id}}\nspec: {{selector: {selector}}}\n".encode()
    )
    repo = _contents(load(clean))
    group = repo.groups["by-id"]
    assert list(group_ids(repo, group)) == expected
    chosen = group.spec.selector
    assert chosen is not None
    assert [d.id for d in repo.devices.values() if chosen.matches(d.facts)] == expected


def test_an_inventory_that_is_remembered_is_not_read(clean: dict[str, bytes]) -> None:
    class Files(dict[str, bytes]):
        def __getitem__(self, path: str) -> bytes:
            assert not path.startswith("devices/"), "read although it is remembered"
            return super().__getitem__(path)

    path = ManifestPath("devices/a.yaml", "DeviceInventory", ())
    kept = parse_file(path, clean["devices/a.yaml"])

    def recall(asked: ManifestPath) -> Parsed | None:
        return kept if asked == path else None

    assert _contents(load(Files(clean), recall=recall)).devices == _contents(load(clean)).devices
