"""Order of firmware versions: dotted numbers, then pre-release, by the precedence of Semantic Versioning 2.0."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Key = tuple[tuple[int, ...], bool, tuple[tuple[bool, int, str], ...]]


def version_key(version: str) -> Key:
    """Return a sort key. Missing numbers count as 0, build metadata (`+...`) not at all."""
    core, _, pre = version.partition("+")[0].partition("-")
    numbers = tuple(int(part) for part in core.split("."))
    numbers += (0,) * (4 - len(numbers))
    parts = tuple((not part.isdigit(), int(part) if part.isdigit() else 0, part) for part in pre.split("."))
    return numbers, not pre, parts if pre else ()


@dataclass(frozen=True, slots=True)
class VersionRange:
    """From `at_least` on (inclusive), below `below` (exclusive); None leaves that side open."""

    at_least: str | None
    below: str | None

    def __contains__(self, version: str) -> bool:
        key = version_key(version)
        return (self.at_least is None or version_key(self.at_least) <= key) and (
            self.below is None or key < version_key(self.below)
        )

    def __str__(self) -> str:
        sides = [f">= {self.at_least}" if self.at_least else "", f"< {self.below}" if self.below else ""]
        return " and ".join(side for side in sides if side) or "any version"

    def to_wire(self) -> dict[str, Any]:
        return {"atLeast": self.at_least, "below": self.below}
