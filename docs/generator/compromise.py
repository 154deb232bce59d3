"""The compromise table: who holds what can do what, and which tests hold what they cannot."""

from __future__ import annotations

import tomllib

from docs.generator.text import ROOT
from docs.generator.threats import link, tests_by_name


def compromise() -> str:
    """Return a part for each holder of `docs/compromise.toml`."""
    table = tomllib.loads((ROOT / "docs" / "compromise.toml").read_text("utf-8"))
    tests = tests_by_name()
    lines: list[str] = []
    for holder in table["holder"]:
        lines += [
            "",
            f"**Who holds {holder['who']}** can",
            "",
            *(f"* {one}" for one in holder["can"]),
            "",
            "cannot",
            "",
        ]
        for one in holder["cannot"]:
            unknown = [name for name in one["tests"] if name not in tests]
            if unknown or not one["tests"]:
                raise ValueError(f"docs/compromise.toml: {one['what']!r} needs tests that exist, not {unknown}")
            lines.append(f"* {one['what']} ({', '.join(link(name) for name in one['tests'])})")
    return "\n".join([*lines, "", ""])
