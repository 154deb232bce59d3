"""Writes `docs/reference/` and the tables of `docs/security.md` from the code, so that they cannot drift.

`make docs` runs it, a test compares. Nothing here is part of the product.
"""

from __future__ import annotations

from docs.generator.cli import cli
from docs.generator.codes import codes, exit_codes
from docs.generator.compromise import compromise
from docs.generator.manifests import manifests
from docs.generator.text import HEAD, ROOT, replace_block
from docs.generator.threats import threats

__all__ = ["ROOT", "pages", "stale"]


def pages() -> dict[str, str]:
    """Return every generated file: path below the project -> text."""
    security = (ROOT / "docs" / "security.md").read_text("utf-8")
    return {
        "docs/reference/cli.md": HEAD + cli(),
        "docs/reference/codes.md": HEAD + codes(),
        "docs/reference/exit-codes.md": HEAD + exit_codes(),
        "docs/reference/manifests.md": HEAD + manifests(),
        "docs/security.md": replace_block(replace_block(security, "compromise", compromise()), "threats", threats()),
    }


def stale() -> dict[str, str]:
    """Return the pages that differ from what stands in the files."""
    return {path: text for path, text in pages().items() if not _is(path, text)}


def _is(path: str, text: str) -> bool:
    file = ROOT / path
    return file.is_file() and file.read_text("utf-8") == text
