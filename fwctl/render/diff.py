"""Differences as text, JSON and markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from fwctl.render.words import counted, document, some

if TYPE_CHECKING:
    from fwctl.cli.comparing import Difference, FieldChange, ObjectChange, Touch

_LEGEND = {"+": "added", "~": "changed", "-": "removed"}
_SHOWN = 20
MARKER = "<!-- fwctl diff -->"
"""hidden in the markdown, so that a later run can find its comment and edit it"""


def text(difference: Difference) -> str:
    """Return the difference for people: `path` lines with `± field` below, then devices, then the count."""
    title = f"From {difference.base} to {_head(difference)}"
    if difference.empty:
        return f"{title}: nothing changes."
    lines = [f"{title}:", ""]
    for change in _shown(difference.changes):
        lines += [_title(change), *(f"    {_field(field)}" for field in change.fields)]
    hidden = len(difference.changes) - len(_shown(difference.changes))
    lines += [f"... and {counted(hidden, 'more device')} (--format json lists all)"] if hidden else []
    for touch in difference.touches:
        lines += ["", *_touch(touch)]
    return "\n".join([*lines, "", _legend(difference), _count(difference)])


def as_json(difference: Difference) -> str:
    """Return the difference for programs; all devices are listed."""
    return document(
        {
            "base": difference.base,
            "head": difference.head,
            "changes": [
                {
                    "change": _LEGEND[change.symbol],
                    "kind": change.kind,
                    "name": change.name,
                    "path": change.path,
                    "fields": [
                        {
                            "change": _LEGEND[one.symbol],
                            "field": one.field,
                            "old": one.old or None,
                            "new": one.new or None,
                        }
                        for one in change.fields
                    ],
                }
                for change in difference.changes
            ],
            "devices": [
                {
                    "rollout": touch.rollout,
                    "before": touch.before or None,
                    "after": touch.after or None,
                    "gets": list(touch.gets),
                    "leaves": list(touch.leaves),
                    "notCovered": list(touch.not_covered),
                }
                for touch in difference.touches
            ],
        }
    )


def markdown(difference: Difference) -> str:
    """Return the difference as a comment on a pull request: the summary first, details folded."""
    if difference.empty:
        return f"{MARKER}\n### fwctl: nothing changes\n"
    lines = [MARKER, f"### fwctl: {_count(difference)}", ""]
    if difference.touches:
        lines += ["| rollout | before | after | devices get it | devices leave |", "|---|---|---|---:|---:|"]
        for one in difference.touches:
            cells = (f"`{one.rollout}`", one.before or "-", one.after or "removed", len(one.gets), len(one.leaves))
            lines.append("| " + " | ".join(str(cell) for cell in cells) + " |")
        lines.append("")
    body = text(difference)
    fence = "`" * (1 + max((len(run) for run in _runs(body)), default=2))
    folded = ["<details><summary>What changes</summary>", "", fence, body, fence, "", "</details>"]
    return "\n".join([*lines, *folded, "", "Look at the plan: `fwctl plan`"])


RENDERERS: Mapping[str, Callable[[Difference], str]] = {"text": text, "json": as_json, "markdown": markdown}


def _shown(changes: Sequence[ObjectChange]) -> list[ObjectChange]:
    """Leave out devices of which there are many alike; everything else is shown."""
    seen: Counter[str] = Counter()
    found = []
    for change in changes:
        seen[change.symbol] += change.kind == "device"
        if change.kind != "device" or seen[change.symbol] <= _SHOWN:
            found.append(change)
    return found


def _head(difference: Difference) -> str:
    uncommitted = " (uncommitted files included)" if difference.head == "work tree" else ""
    return f"{difference.head}{uncommitted}"


def _title(change: ObjectChange) -> str:
    return f"{change.symbol} {change.path}" + ("" if change.name == change.path else f" ({change.kind} {change.name})")


def _field(one: FieldChange) -> str:
    if one.symbol == "~":
        return f"~ {one.field} {one.old} -> {one.new}"
    return f"{one.symbol} {one.field} {one.new or one.old}"


def _touch(touch: Touch) -> list[str]:
    if not touch.after:
        lines = [f"Rollout {touch.rollout} ({touch.before}) is removed; its devices stay on what they run"]
    else:
        was = f", before {touch.before}" if touch.before not in ("", touch.after) else ""
        lines = [f"Rollout {touch.rollout} means {touch.after}{was}"]
    lines += _devices("+", f"to run {touch.after}", touch.gets)
    lines += _devices("-", "no longer in the rollout", touch.leaves)
    return lines + _devices("·", "match, but wait for a new lock", touch.not_covered)


def _devices(symbol: str, what: str, ids: Sequence[str]) -> list[str]:
    if not ids:
        return []
    return [f"  {counted(len(ids), 'device')} {what}:", *(f"    {symbol} {line}" for line in some(ids))]


def _legend(difference: Difference) -> str:
    used = {change.symbol for change in difference.changes} | {
        field.symbol for change in difference.changes for field in change.fields
    }
    used |= {"+"} if any(touch.gets for touch in difference.touches) else set()
    used |= {"-"} if any(touch.leaves for touch in difference.touches) else set()
    waiting = ["· waiting"] if any(touch.not_covered for touch in difference.touches) else []
    return ", ".join([*(f"{symbol} {word}" for symbol, word in _LEGEND.items() if symbol in used), *waiting])


def _count(difference: Difference) -> str:
    counts: Counter[str] = Counter(change.symbol for change in difference.changes)
    parts = [f"{counts[symbol]} {word}" for symbol, word in _LEGEND.items() if counts[symbol]]
    gets = {device for touch in difference.touches for device in touch.gets}
    leaves = {device for touch in difference.touches for device in touch.leaves}
    devices = f"{counted(len(gets), 'device')} to update, {len(leaves)} no longer in a rollout"
    return f"{', '.join(parts) or 'No file changes'}; {devices}."


def _runs(body: str) -> list[str]:
    import re

    return re.findall(r"`{2,}", body)
