"""What all generated pages share."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HEAD = "<!-- Written by `make docs` from the code. Do not edit. -->\n\n"


def cell(text: str) -> str:
    """Return text that may stand in a table's cell."""
    return text.replace("|", "\\|").replace("<", "&lt;")


def replace_block(page: str, name: str, text: str) -> str:
    """Put `text` between the markers `<!-- generated: NAME -->` and `<!-- end -->` of a page.

    Raises:
        ValueError: the page has no such markers.
    """
    before, start, rest = page.partition(f"<!-- generated: {name} -->\n")
    _, end, after = rest.partition("<!-- end -->")
    if not start or not end:
        raise ValueError(f"no markers for {name}")
    return before + start + text + end + after
