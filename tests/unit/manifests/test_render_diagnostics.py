"""What people and programs see of findings."""

from __future__ import annotations

import json

import pytest
from syrupy.assertion import SnapshotAssertion

from fwctl.manifests import Diagnostic, load
from fwctl.render.diagnostics import FORMATS, full


@pytest.fixture
def findings(clean: dict[str, bytes]) -> tuple[Diagnostic, ...]:
    clean["rollouts/dev/one.yaml"] = (
        b"apiVersion: fwctl/v1\nkind: Rollout\nmetadata: {name: one}\nspec:\n"
        b"  firmware: {model: sensor-v1, version: 1.10}\n  targets: {groups: [al]}\n"
        b"  strateggy: {type: Direct}\n  round: 1\n  round: 2\n"
    )
    clean["rollouts/dev/two.yaml"] = (
        b"apiVersion: fwctl/v1\nkind: Rollout\nmetadata: {name: two}\nspec:\n"
        b"  firmware: {model: sensor-v1, version: '1.0'}\n  targets: {groups: [al]}\n"
    )
    clean["groups/notes.yml"] = b""
    clean["groups/a\x1b[31m\n.yaml"] = b""
    return load(clean).diagnostics


@pytest.mark.parametrize("style", sorted(FORMATS))
def test_formats(findings: tuple[Diagnostic, ...], style: str, snapshot: SnapshotAssertion) -> None:
    assert FORMATS[style](findings) == snapshot  # type: ignore[index]


@pytest.mark.parametrize("style", sorted(FORMATS))
def test_nothing_found(style: str, snapshot: SnapshotAssertion) -> None:
    assert FORMATS[style](()) == snapshot  # type: ignore[index]


def test_json_is_versioned_and_complete(findings: tuple[Diagnostic, ...]) -> None:
    document = json.loads(FORMATS["json"](findings))
    assert document["schemaVersion"] == 1
    assert len(document["diagnostics"]) == len(findings) == sum(document["counts"].values())


def test_colour_only_where_asked(findings: tuple[Diagnostic, ...]) -> None:
    assert "\x1b" not in full(findings)
    assert "\x1b[1;31merror[E_TYPE]\x1b[0m" in full(findings, color=True)


def test_the_carets_stand_under_the_value_after_wide_characters(clean: dict[str, bytes]) -> None:
    clean["groups/all.yaml"] = "a: 日本語 é&\nb: *x\n".replace("\nb: ", " # é\n日: ").encode()
    lines = full(load(clean).diagnostics).split("\n")
    source = next(line for line in lines if " | " in line and "*x" in line)
    carets = next(line for line in lines if "^^" in line)
    assert carets.index("^") == source.index("*") + 1  # one wide character before it


def test_a_very_long_line_is_cut_around_the_place(clean: dict[str, bytes]) -> None:
    clean["groups/all.yaml"] = b"a: [" + b"xyz, " * 2000 + b"*here, " + b"xyz, " * 2000 + b"]\n"
    lines = full(load(clean).diagnostics).split("\n")
    source = next(line for line in lines if " | " in line and "*here" in line)
    carets = next(line for line in lines if "^" in line)
    assert len(source) < 230
    assert carets.index("^") == source.index("*here")
    assert carets.count("^") == 5
