"""docs/mutation.md: the survivors that are explained, by the id of their change."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from tests.mutation.staging import TOP

PAGE: Final = TOP / "docs" / "mutation.md"
_ROW: Final = re.compile(
    r"^\| `(?P<id>[0-9a-f]{10})` \| `(?P<where>[^`]+)` \| (?P<change>.+) \| (?P<why>[^|]+) \|$", re.M
)


def explained(page: Path = PAGE) -> dict[str, str]:
    """Return the reason of each explained change."""
    rows = list(_ROW.finditer(page.read_text("utf-8"))) if page.exists() else []
    return {row["id"]: row["why"].strip() for row in rows}


def row(id_: str, where: str, gone: tuple[str, ...], came: tuple[str, ...], why: str) -> str:
    """Return a row of the table."""
    change = f"{_code(gone)} → {_code(came)}"
    return f"| `{id_}` | `{where}` | {change} | {why} |"


def _code(lines: tuple[str, ...]) -> str:
    text = " ⏎ ".join(lines).replace("|", "¦").replace("`", "'")
    return f"`` {text} ``" if text else "nothing"
