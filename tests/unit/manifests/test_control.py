"""Control files: what they may say, and that one about nothing is an error."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fwctl.manifests import Diagnostic, load
from tests.unit.manifests.conftest import Files

PATH = "control/dev/one.yaml"
MANDATE = '"sha256:' + "1" * 64 + '"'
Edit = Callable[..., tuple[Diagnostic, ...]]


def control(spec: str, name: str = "one") -> str:
    return f"apiVersion: fwctl/v1\nkind: RolloutControl\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n"


@pytest.mark.parametrize(
    "spec",
    [
        "state: paused, reason: why not, actor: alice",
        "state: running, actor: alice",
        f"state: running, actor: alice, promoted: [wave-1, wave-2], mandate: {MANDATE}",
        f"state: aborted, revert: true, reason: bad, actor: alice, mandate: {MANDATE}",
        f"state: rolledBack, reason: bad, actor: alice, mandate: {MANDATE}",
    ],
)
def test_what_a_person_may_decide(spec: str, clean: Files) -> None:
    loaded = load(clean | {PATH: control(spec).encode()})
    assert loaded.diagnostics == ()
    assert loaded.repo is not None
    assert loaded.repo.controls["dev/one"].model.spec.actor == "alice"


@pytest.mark.parametrize(
    ("spec", "field", "words"),
    [
        ("state: paused, actor: alice", "spec.reason", "say why"),
        ('state: paused, reason: "  ", actor: alice', "spec.reason", "say why"),
        ("state: paused, reason: why", "spec.actor", "actor"),
        ("state: paused, reason: why, actor: alice, revert: true", "spec.revert", "goes with `aborted` only"),
        ("state: aborted, reason: why, actor: alice", "spec", "need the `mandate`"),
        ("state: rolledBack, reason: why, actor: alice", "spec", "need the `mandate`"),
        ("state: running, actor: alice, promoted: [wave-1]", "spec", "need the `mandate`"),
        ("state: stopped, reason: why, actor: alice", "spec.state", "paused"),
        ("state: paused, reason: why, actor: alice, until: monday", "spec.until", "until"),
    ],
)
def test_what_cannot_be_decided(spec: str, field: str, words: str, edit: Edit) -> None:
    (found,) = edit("fleet.yaml", more={PATH: control(spec)})
    assert found.severity == "error"
    assert (found.path, found.field) == (PATH, field)
    assert words in found.message


def test_a_control_of_no_rollout_would_be_taken_for_a_stop(edit: Edit) -> None:
    spec = "state: paused, reason: why, actor: alice"
    (found,) = edit("fleet.yaml", more={"control/dev/onne.yaml": control(spec, "onne")})
    assert (found.code, found.line) == ("E_DANGLING", 3)
    assert found.message == "there is no rollout `dev/onne` to control"
    assert found.remedy == "Did you mean `dev/one`? Rename the file, or remove it."


def test_the_name_is_the_files(edit: Edit) -> None:
    (found,) = edit("fleet.yaml", more={PATH: control("state: paused, reason: why, actor: alice", "two")})
    assert (found.code, found.field) == ("E_PATH", "metadata.name")
