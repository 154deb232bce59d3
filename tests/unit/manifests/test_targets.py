"""Which devices a rollout targets."""

from __future__ import annotations

import pytest

from fwctl.manifests import group_members, load, resolve_targets

GROUPS = "targets: {groups: [all]}"
CASES = {
    "{groups: [all]}": ["dev-1", "dev-2", "dev-3"],
    "{all: true}": ["dev-1", "dev-2", "dev-3"],
    "{devices: [dev-3, dev-1]}": ["dev-1", "dev-3"],
    "{groups: [all], selector: {matchLabels: {ring: b}}}": ["dev-2", "dev-3"],
    "{devices: [dev-1, dev-2], selector: {matchLabels: {ring: b}}}": ["dev-2"],
    "{selector: {matchLabels: {region: eu}}}": ["dev-1"],
    "{selector: {matchLabels: {id: dev-2}}}": ["dev-2"],
    "{selector: {matchExpressions: [{key: region, operator: In, values: [eu, us]}]}}": ["dev-1", "dev-2"],
    "{selector: {matchExpressions: [{key: region, operator: NotIn, values: [eu]}]}}": ["dev-2", "dev-3"],
    "{selector: {matchExpressions: [{key: region, operator: Exists}]}}": ["dev-1", "dev-2"],
    "{selector: {matchExpressions: [{key: region, operator: DoesNotExist}]}}": ["dev-3"],
    "{all: true, exclude: {devices: [dev-2]}}": ["dev-1", "dev-3"],
    "{all: true, exclude: {selector: {matchLabels: {ring: b}}}}": ["dev-1"],
    "{groups: [all], exclude: {devices: [dev-1], selector: {matchLabels: {region: us}}}}": ["dev-3"],
}


@pytest.mark.parametrize(("targets", "expected"), CASES.items(), ids=CASES.keys())
def test_targets(clean: dict[str, bytes], targets: str, expected: list[str]) -> None:
    path = "rollouts/dev/one.yaml"
    clean[path] = clean[path].replace(GROUPS.encode(), f"targets: {targets}".encode())
    repo = load(clean).repo
    assert repo is not None
    assert [device.id for device in resolve_targets(repo, repo.rollouts["dev/one"])] == expected


def test_all_means_this_env_and_model(clean: dict[str, bytes]) -> None:
    clean["devices/a.yaml"] = (
        clean["devices/a.yaml"]
        .replace(b"id: dev-2", b"id: dev-2, env: prod")
        .replace(b"id: dev-3", b"id: dev-3, model: x")
    )
    path = "rollouts/dev/one.yaml"
    clean[path] = clean[path].replace(GROUPS.encode(), b"targets: {all: true}")
    repo = load(clean).repo
    assert repo is not None
    assert [device.id for device in resolve_targets(repo, repo.rollouts["dev/one"])] == ["dev-1"]


def test_a_group_adds_listed_devices_to_selected_ones(clean: dict[str, bytes]) -> None:
    clean["groups/all.yaml"] = clean["groups/all.yaml"].replace(
        b"{selector: {matchLabels: {env: dev}}}", b"{selector: {matchLabels: {region: us}}, devices: [dev-3]}"
    )
    repo = load(clean).repo
    assert repo is not None
    assert [device.id for device in group_members(repo, repo.groups["all"])] == ["dev-2", "dev-3"]


def test_devices_inherit_what_their_file_says(clean: dict[str, bytes]) -> None:
    clean["devices/a.yaml"] = clean["devices/a.yaml"].replace(
        b"env: dev}", b"env: dev, site: here, labels: {ring: c, owner: x}}"
    )
    clean["fleet.yaml"] = clean["fleet.yaml"].replace(b"{id}.", b"{id}.{site}.")
    repo = load(clean).repo
    assert repo is not None
    device = repo.devices["dev-1"]
    assert (device.labels, device.address) == ({"ring": "a", "owner": "x"}, "dev-1.here.example:8443")
