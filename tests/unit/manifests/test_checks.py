"""What must hold between manifests."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fwctl.manifests import Diagnostic, load

Edit = Callable[..., tuple[Diagnostic, ...]]
ONE = "rollouts/dev/one.yaml"
ALL = "groups/all.yaml"
TARGETS = "targets: {groups: [all]}"
HEAD = "apiVersion: fwctl/v1\n"
SECOND = HEAD + (
    "kind: Rollout\nmetadata: {name: two}\nspec:\n  firmware: {model: sensor-v1, version: '1.0'}\n"
    "  targets: {devices: [dev-2]}\n"
)
BY_LABEL = "selector: {matchLabels: {env: dev}}"
FIRMWARE = "firmware/sensor-v1/1.0.yaml"
DEVICES = "devices/a.yaml"

CASES = {
    "unknown group": (ONE, ("[all]", "[al]"), ("E_DANGLING", 6, 22)),
    "unknown excluded group": (ONE, ("[all]", "[all], exclude: {groups: [x]}"), ("E_DANGLING", 6, 47)),
    "unknown device": (ONE, (TARGETS, "targets: {devices: [dev-1, dev-9]}"), ("E_DANGLING", 6, 30)),
    "unknown device in a group": (ALL, (BY_LABEL, "devices: [dev-9]"), ("E_DANGLING", 4, 18)),
    "unknown version": (ONE, ("'1.0'", "'1.1'"), ("E_DANGLING", 5, 41)),
    "unknown model": (ONE, ("sensor-v1", "sensor-v9"), ("E_DANGLING", 5, 21)),
    "group twice": (ONE, ("[all]", "[all, all]"), ("E_REPEATED", 6, 27)),
    "device twice": (ONE, (TARGETS, "targets: {devices: [dev-1, dev-1]}"), ("E_REPEATED", 6, 30)),
    "unknown replaced": (ONE, (TARGETS, TARGETS + "\n  replaces: zero"), ("E_DANGLING", 7, 13)),
    "replaces itself": (ONE, (TARGETS, TARGETS + "\n  replaces: one"), ("E_REPLACES", 7, 13)),
    "nobody": (ONE, (TARGETS, "targets: {selector: {matchLabels: {ring: z}}}"), ("E_NO_TARGETS", 6, 3)),
    "all excluded": (ONE, ("[all]", "[all], exclude: {groups: [all]}"), ("E_NO_TARGETS", 6, 3)),
    "hardware": (DEVICES, ("id: dev-3", "id: dev-3, hardware: rev-b"), ("E_HW_MISMATCH", 6, 22)),
    "model": (DEVICES, ("id: dev-3", "id: dev-3, model: other"), ("E_MODEL_MISMATCH", 6, 22)),
    "declared twice": (DEVICES, ("id: dev-3", "id: dev-1"), ("E_DUPLICATE", 8, 12)),
    "group of another model": (ALL, (BY_LABEL, "devices: [dev-1], models: [x]"), ("E_MODEL_MISMATCH", 4, 18)),
    "group of another env": (ALL, (BY_LABEL, "devices: [dev-1], env: prod"), ("E_ENV_MISMATCH", 4, 18)),
    "no site for the template": ("fleet.yaml", ("{id}.", "{id}.{site}."), ("E_ADDRESS", 6, 12)),
}  # fmt: skip


@pytest.mark.parametrize(("path", "change", "expected"), CASES.values(), ids=CASES.keys())
def test_located(edit: Edit, path: str, change: tuple[str, str], expected: tuple[str, int, int]) -> None:
    found = edit(path, change)
    assert (found[0].code, found[0].line, found[0].column) == expected
    assert {d.code for d in found} == {expected[0]}
    assert found[0].remedy


def test_a_rollout_reaches_its_own_env_only(edit: Edit) -> None:
    found = edit(DEVICES, ("id: dev-3", "id: dev-3, env: prod"), ("id: dev-2", "id: dev-2, env: prod"))
    assert found == ()  # the group selects by env
    change = ("matchLabels: {env: dev}", "matchLabels: {model: sensor-v1}")
    more = {ALL: HEAD + f"kind: DeviceGroup\nmetadata: {{name: all}}\nspec: {{selector: {{{change[1]}}}}}\n"}
    found = edit(DEVICES, ("id: dev-3", "id: dev-3, env: prod"), ("id: dev-2", "id: dev-2, env: prod"), more=more)
    assert [(d.code, d.path, d.line, d.column) for d in found] == [("E_ENV_MISMATCH", ONE, 6, 22)]
    assert "2 devices, `dev-2` first" in found[0].message


def test_two_rollouts_on_one_device(edit: Edit) -> None:
    path = "rollouts/dev/two.yaml"
    found = edit(ONE, (TARGETS, TARGETS), more={path: SECOND})
    assert [(d.code, d.path, d.line, d.column) for d in found] == [("E_OVERLAP", path, 6, 3)]
    assert found[0].related[0].place.path == ONE


@pytest.mark.parametrize(("first", "second"), [("two", None), (None, "one")])
def test_replaces_makes_way(edit: Edit, first: str | None, second: str | None) -> None:
    text = SECOND + (f"  replaces: {second}\n" if second else "")
    change = (TARGETS, TARGETS + (f"\n  replaces: {first}" if first else ""))
    assert edit(ONE, change, more={"rollouts/dev/two.yaml": text}) == ()


def test_a_circle_of_replacements(edit: Edit) -> None:
    change = (TARGETS, TARGETS + "\n  replaces: two")
    found = edit(ONE, change, more={"rollouts/dev/two.yaml": SECOND + "  replaces: one\n"})
    assert [d.code for d in found] == ["E_REPLACES", "E_REPLACES"]


def test_a_longer_chain_of_replacements_is_no_overlap(edit: Edit) -> None:
    third = SECOND.replace("two", "three") + "  replaces: two\n"
    more = {"rollouts/dev/two.yaml": SECOND + "  replaces: one\n", "rollouts/dev/three.yaml": third}
    assert edit(ONE, (TARGETS, TARGETS), more=more) == ()


@pytest.mark.parametrize("path", [ALL, DEVICES, FIRMWARE, "fleet.yaml"])
def test_a_broken_file_is_not_blamed_on_those_that_refer_to_it(clean: dict[str, bytes], path: str) -> None:
    loaded = load({**clean, path: b"a: ["})
    assert loaded.repo is None
    assert {(d.path, d.code) for d in loaded.diagnostics} == {(path, "E_YAML_SYNTAX")}


def test_did_you_mean(edit: Edit) -> None:
    assert edit(ONE, ("[all]", "[al]"))[0].remedy == "Did you mean `all`?"


@pytest.mark.parametrize("files", [{}, {"README.md": b"x"}, {"src/fleet.yaml": b"x"}, {"trust/root.json": b"{}"}])
def test_nothing_collected_is_an_error(files: dict[str, bytes]) -> None:
    loaded = load(files)
    assert loaded.repo is None
    assert [d.code for d in loaded.diagnostics] == ["E_NOTHING_COLLECTED"]


def test_a_fleet_is_needed(clean: dict[str, bytes]) -> None:
    del clean["fleet.yaml"]
    assert [d.code for d in load(clean).diagnostics] == ["E_NO_FLEET"]


def test_the_reference_fleet_is_clean(reference: dict[str, bytes]) -> None:
    loaded = load(reference)
    assert loaded.diagnostics == ()
    assert loaded.repo is not None
    sensors = [d for d in loaded.repo.devices.values() if d.model == "sensor-v1"]
    assert len(sensors) == 22
    assert {"device-001", "device-002"} <= loaded.repo.devices.keys()


def test_images_of_the_reference_fleet_are_what_their_comment_says(reference: dict[str, bytes]) -> None:
    import hashlib

    loaded = load(reference)
    assert loaded.repo is not None
    for (model, version), firmware in loaded.repo.firmware.items():
        image = f"fwctl reference image: {model} {version}\n".encode()
        assert firmware.model.spec.image.digest == f"sha256:{hashlib.sha256(image).hexdigest()}"
        assert firmware.model.spec.image.length == len(image)
