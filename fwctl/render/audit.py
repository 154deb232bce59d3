"""Evidence as text and JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from fwctl.render.words import columns, counted, document, labelled, stamp

if TYPE_CHECKING:
    from fwctl.audit.export import Exported
    from fwctl.audit.result import Judged


def exported_text(made: Exported) -> str:
    """Return what was written."""
    first, last = made.events
    pairs = [
        ("rollout", made.rollout),
        ("mandate", made.mandate),
        ("commit", made.commit[:12]),
        ("outcomes", str(made.outcomes)),
        ("events", f"{first} to {last}" if first else "none"),
    ]
    newer = [f"Approved since, and not run yet: mandate {made.newer}. It is not part of this."] if made.newer else []
    return "\n".join([f"Evidence written to {made.path}", *labelled(pairs), *newer])


def exported_json(made: Exported) -> str:
    first, last = made.events
    return document(
        {
            "folder": str(made.path),
            "rollout": made.rollout,
            "mandate": made.mandate,
            "commit": made.commit,
            "outcomes": made.outcomes,
            "events": {"first": first, "last": last},
            "newer": made.newer or None,
        }
    )


def judged_text(judged: Judged) -> str:
    """Return a line per check, what is wrong below it, and the verdict."""
    rows = [(("ok" if one.holds else "FAILED"), one.name, one.found) for one in judged.checks]
    lines = [f"Evidence about {judged.rollout}, as of {judged.as_of:%Y-%m-%d %H:%M:%S}Z", ""]
    for check, row in zip(judged.checks, columns(rows), strict=True):
        lines += [row.rstrip(), *(f"        {why}" for why in check.wrong)]
        lines += [f"        {check.remark}"] if check.remark else []
    bad = sum(1 for check in judged.checks if not check.holds)
    verdict = f"{counted(bad, 'check')} failed: this evidence does not hold." if bad else "The evidence holds."
    return "\n".join([*lines, "", f"mandate {judged.mandate}", verdict])


def judged_json(judged: Judged) -> str:
    return document(
        {
            "rollout": judged.rollout,
            "mandate": judged.mandate,
            "commit": judged.commit,
            "asOf": stamp(judged.as_of),
            "holds": judged.holds,
            "checks": [
                {
                    "name": one.name,
                    "holds": one.holds,
                    "found": one.found,
                    "wrong": list(one.wrong),
                    "remark": one.remark or None,
                }
                for one in judged.checks
            ],
        }
    )


EXPORTED: Mapping[str, Callable[[Exported], str]] = {"text": exported_text, "json": exported_json}
JUDGED: Mapping[str, Callable[[Judged], str]] = {"text": judged_text, "json": judged_json}
