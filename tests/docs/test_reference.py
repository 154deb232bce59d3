"""What is generated says what the code says."""

from __future__ import annotations

import pytest

from docs.generator import pages, stale
from docs.generator.codes import codes, scan


def test_generated_pages_are_what_the_code_says_today() -> None:
    assert sorted(stale()) == [], "run: make docs"


def test_every_code_in_the_sources_is_explained() -> None:
    _, _, everything = scan()
    page = codes()
    assert len(everything) > 100
    assert [code for code in sorted(everything) if f"| `{code}` |" not in page] == []


def test_every_command_is_in_the_reference() -> None:
    import typer

    from fwctl.cli.main import app

    page = pages()["docs/reference/cli.md"]
    top = typer.main.get_command(app)
    for name, command in top.commands.items():  # type: ignore[attr-defined]
        for path in [f"{name} {sub}" for sub in getattr(command, "commands", {})] or [name]:
            assert f"## `fwctl {path}`" in page


@pytest.mark.parametrize("kind", ["Fleet", "DeviceInventory", "DeviceGroup", "Firmware", "Rollout"])
def test_every_kind_is_in_the_reference(kind: str) -> None:
    assert f"\n## {kind}\n" in pages()["docs/reference/manifests.md"]
