"""What the pages say about the project is so: links, rooms, states, decisions, test folders."""

from __future__ import annotations

import re
from itertools import chain
from pathlib import Path
from typing import get_args

import pytest

from fwctl.rollouts.view import WaveWord
from fwctl.state import RolloutState
from fwctl_agent.protocol.messages import State
from tests.docs.blocks import ROOT

TOP = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "agent/README.md", "examples/README.md")
PAGES = sorted(chain((ROOT / name for name in TOP), (ROOT / "docs").rglob("*.md")))
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text("utf-8")


def section(title: str) -> str:
    """Return what stands below a heading of the architecture page."""
    found = re.search(rf"^##+ {re.escape(title)}\n(.*?)(?=^##+ |\Z)", ARCHITECTURE, re.MULTILINE | re.DOTALL)
    assert found, title
    return found[1]


def drawn_below(title: str) -> set[str]:
    """Return the states in the diagram of a section, by the names that a reader sees."""
    block = re.search(r"```mermaid\nstateDiagram-v2\n(.*?)```", section(title), re.DOTALL)
    assert block, title
    shown = {short: name for name, short in re.findall(r'state "([a-z-]+)" as (\w+)', block[1])}
    arrows = re.findall(r"^    (\S+) --> ([^\s:]+)", block[1], re.MULTILINE)
    return {shown.get(end, end) for ends in arrows for end in ends if end != "[*]"}


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
    assert drawn_below("The agent") == set(get_args(State)) - {"idle"}


def test_the_state_diagrams_of_waves_and_rollouts_have_their_states() -> None:
    assert drawn_below("Waves") == set(get_args(WaveWord))
    assert drawn_below("A rollout, there and back") == {state.value for state in RolloutState}


def test_every_table_of_the_ledger_is_explained() -> None:
    text = section("The ledger")
    named = set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))
    assert named == set(re.findall(r"CREATE TABLE (\w+)", (ROOT / "fwctl" / "state" / "schema.py").read_text("utf-8")))


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
