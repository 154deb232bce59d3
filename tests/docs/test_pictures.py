"""Each strategy has a page with the timeline of a real run of it (`make pictures`), and each picture is shown."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from docs.pictures import FOLDER, SCENES
from fwctl.rollouts.strategies import COMPILERS

PAGES = Path(__file__).parents[2] / "docs" / "how-to"
NAMES = {"BlueGreen": "blue-green"}


def shown(page: Path) -> set[str]:
    return set(re.findall(r"\(pictures/([a-z-]+)\.svg\)", page.read_text()))


@pytest.mark.parametrize("strategy", [*COMPILERS, "Regional"])
def test_a_strategy_has_a_page_with_its_picture(strategy: str) -> None:
    name = NAMES.get(strategy, strategy.lower())
    assert name in shown(PAGES / f"{name}.md")


def test_every_picture_is_shown_and_every_one_that_is_shown_is_there() -> None:
    drawn = {path.stem for path in FOLDER.glob("*.svg")}
    assert drawn == set(SCENES)
    assert set().union(*map(shown, PAGES.glob("*.md"))) == drawn


@pytest.mark.parametrize("name", sorted(SCENES))
def test_a_picture_tells_how_its_scene_had_to_end_and_loads_nothing(name: str) -> None:
    text = (FOLDER / f"{name}.svg").read_text()
    title = ElementTree.fromstring(text).findtext("{http://www.w3.org/2000/svg}title")
    strategy = re.search(r"type: (\w+)", SCENES[name].strategy)
    assert strategy is not None
    assert title is not None
    assert title.endswith(f", {strategy[1]}: {SCENES[name].ends}")
    assert not re.search(r"<script|href=|url\(", text)
