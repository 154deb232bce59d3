"""What the doctor found, as text and JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from fwctl.render.words import ICONS, document
from fwctl.trust.expiry import as_json as expiry_json

if TYPE_CHECKING:
    from fwctl.cli.examining import Check


def text(checks: Sequence[Check]) -> str:
    """Return a line per check, its remedy below, and a closing count."""
    width = max(len(check.name) for check in checks)
    lines = []
    for check in checks:
        lines.append(f"{ICONS[check.word]} {check.word:<4}  {check.name:<{width}}  {check.text}")
        if check.remedy:
            lines.append(f"{'':<{width + 10}}{check.remedy}")
    counts = Counter(check.word for check in checks)
    told = ", ".join(f"{counts[word]} {word}" for word in ("ok", "warn", "fail") if counts[word])
    return "\n".join([*lines, "", f"{len(checks)} checks: {told}."])


def as_json(checks: Sequence[Check]) -> str:
    """Return the checks for programs."""
    return document(
        {
            "ok": all(check.word != "fail" for check in checks),
            "expiry": expiry_json(end for check in checks for end in check.ends),
            "checks": [
                {"name": check.name, "status": check.word, "text": check.text, "remedy": check.remedy}
                for check in checks
            ],
        }
    )


RENDERERS: Mapping[str, Callable[[Sequence[Check]], str]] = {"text": text, "json": as_json}
