"""What is generated says what the code says."""

from __future__ import annotations

import pytest

from docs.generator import ROOT, pages
from docs.generator.codes import scan


@pytest.fixture(scope="module")
def generated() -> dict[str, str]:
    return pages()


def test_generated_pages_are_what_the_code_says_today(generated: dict[str, str]) -> None:
    stale = [path for path, text in generated.items() if (ROOT / path).read_text("utf-8") != text]
    assert stale == [], "run: make docs"


def test_every_code_in_the_sources_is_explained(generated: dict[str, str]) -> None:
    _, _, everything = scan()
    assert len(everything) > 100
    page = generated["docs/reference/codes.md"]
    assert [code for code in sorted(everything) if f"| `{code}` |" not in page] == []


def test_every_command_is_in_the_reference(generated: dict[str, str]) -> None:
    import typer

    from fwctl.cli.main import app

    top = typer.main.get_command(app)
    for name, command in top.commands.items():  # type: ignore[attr-defined]
        for path in [f"{name} {sub}" for sub in getattr(command, "commands", {})] or [name]:
            assert f"## `fwctl {path}`" in generated["docs/reference/cli.md"]


@pytest.mark.parametrize("kind", ["Fleet", "DeviceInventory", "DeviceGroup", "Firmware", "Rollout", "RolloutControl"])
def test_every_kind_is_in_the_reference(kind: str, generated: dict[str, str]) -> None:
    assert f"\n## {kind}\n" in generated["docs/reference/manifests.md"]
