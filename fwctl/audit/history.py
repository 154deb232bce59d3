"""Judge the slice of the event chain: no link missing, none changed, no outcome without its event or the reverse."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Any

from fwctl.audit import folder
from fwctl.audit.folder import Folder
from fwctl.audit.result import Check
from fwctl.state.events import row_hash, to_json

Received = tuple[str, str, int]
"""device, order, counter of an outcome"""


def check_events(where: Folder, rollout: str, mandate: str, received: AbstractSet[Received]) -> Check:
    """Return whether the chain holds, naming its first broken link, and tells of the same outcomes as `received`."""
    first, seq, previous = 0, 0, ""
    told: set[Received] = set()
    for _, event in where.lines(folder.EVENTS):
        number, broken = _link(event, seq, previous)
        if broken:
            return Check.of("events", "", [f"the chain is broken at event {number}: {broken}"])
        first, seq, previous = first or number, number, event["hash"]
        data = event["data"]
        if event["kind"] == "outcome.received" and data.get("mandate") == mandate:
            told.add((event["device"], event["order"], int(data.get("counter", 0))))
    if not first:
        return Check.of("events", "", [f"none about {rollout}"])
    wrong = [f"{_named(one)}: the outcome that an event tells of is not here" for one in sorted(told - received)[:5]]
    wrong += [f"{_named(one)}: no event tells of this outcome" for one in sorted(received - told)[:5]]
    found = f"{first} to {seq}, unbroken; they tell of the same {len(told)} outcomes"
    remark = "A chain shows accidents and later changes, not what its writer left out from the start."
    return Check.of("events", found, wrong, remark)


def _link(event: dict[str, Any], seq: int, previous: str) -> tuple[int, str]:
    """Return the number of an event, and why it does not follow the one before it."""
    number = event.get("seq")
    if type(number) is not int or number < 1:
        return seq + 1, "it has no number"
    if seq and number != seq + 1:
        return seq + 1, "it is missing"
    names = ("at", "kind", "rollout", "device", "order", "reason", "actor")
    texts = [event.get(name) for name in (*names, "prev", "hash")]
    data = event.get("data")
    if not isinstance(data, dict) or not all(isinstance(text, str) for text in texts):
        return number, "it is malformed"
    if seq and event["prev"] != previous:
        return number, "it does not name the event before it"
    row = (number, *(event[name] for name in names), to_json(data), event["prev"])
    return number, "" if row_hash(row) == event["hash"] else "its content was changed"


def _named(one: Received) -> str:
    return f"{one[0]}, order {one[1].removeprefix('sha256:')[:12]}"
