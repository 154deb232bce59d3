"""What the pages say about the project is so: links, rooms, states, decisions, test folders."""

from __future__ import annotations

import re
from itertools import chain
from pathlib import Path
from typing import get_args

import pytest

from fwctl_agent.protocol.messages import State
from tests.docs.blocks import ROOT

TOP = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "agent/README.md", "examples/README.md")
PAGES = sorted(chain((ROOT / name for name in TOP), (ROOT / "docs").rglob("*.md")))
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text("utf-8")


def anchors(page: Path) -> set[str]:
    """Return the anchors that headings get on GitHub."""
    titles = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```$|`[^`\n]*`(?!\])", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    for target in set(re.findall(r"\]\(([^)\s]+)\)", text)):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


@pytest.mark.parametrize("top", ["fwctl", "agent/fwctl_agent"])
def test_every_room_is_named_and_every_named_room_is_there(top: str) -> None:
    named = set(re.findall(rf"^\| `({top}/\w+)` \|", ARCHITECTURE, re.MULTILINE))
    there = {f"{top}/{init.parent.name}" for init in (ROOT / top).glob("*/__init__.py")}
    assert named == there


def test_the_state_diagram_has_the_states_of_the_agent() -> None:
    block = re.search(r"```mermaid\nstateDiagram-v2\n(.*?)```", ARCHITECTURE, re.DOTALL)
    assert block
    drawn = {name for line in block[1].splitlines() for name in re.findall(r"\b[a-z]+\b", line.partition(":")[0])}
    assert drawn == set(get_args(State)) - {"idle"}


def test_every_diagram_is_one_that_github_draws() -> None:
    step = re.compile(r"    (participant \w+ as .+|\w--?>>\w: .+|  *\w--?>>\w: .+|loop .+|end)")
    for block in re.findall(r"```mermaid\n(.*?)```", ARCHITECTURE, re.DOTALL):
        kind, *lines = block.splitlines()
        assert kind in ("sequenceDiagram", "stateDiagram-v2")
        if kind == "sequenceDiagram":
            assert [line for line in lines if not step.fullmatch(line) or ";" in line] == []


def test_every_decision_is_in_the_index() -> None:
    index = (ROOT / "docs" / "adr" / "README.md").read_text("utf-8")
    for page in (ROOT / "docs" / "adr").glob("[0-9]*.md"):
        number, title = re.match(r"# (\d{4}): (.+)", page.read_text("utf-8")).groups()  # type: ignore[union-attr]
        assert f"| [{number}]({page.name}) | {title} |" in index


def test_every_folder_of_tests_is_explained() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    top = {path.name for path in (ROOT / "tests").iterdir() if any(path.rglob("test_*.py"))}
    assert "unit" in top
    assert {name for name in top if f"| `tests/{name}` |" not in text} == set()


def test_every_how_to_is_in_its_index() -> None:
    index = (ROOT / "docs" / "how-to" / "README.md").read_text("utf-8")
    pages = {page.name for page in (ROOT / "docs" / "how-to").glob("*.md")} - {"README.md"}
    assert pages == set(re.findall(r"\(([\w-]+\.md)\)", index))
