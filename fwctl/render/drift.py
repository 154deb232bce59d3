"""Drift as text and JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from fwctl.render.words import ago, columns, counted, document, some, stamp, visible
from fwctl.rollouts.drift import KINDS, Drift, Kind

if TYPE_CHECKING:
    from fwctl.cli.drifting import Found

LOOK = 20
"""devices of a kind that are told by name on a terminal"""
_WORDS: Mapping[Kind, tuple[str, str]] = {
    "went-back": (
        "confirmed the firmware and runs what it ran before",
        "See why with `fwctl device show NAME`. It gets the firmware again after "
        "`fwctl quarantine release NAME --reason WHY`; if several went back, approve other firmware instead.",
    ),
    "other-firmware": (
        "runs what no rollout has brought",
        "Somebody has flashed it by hand. Find out who and why, then release it into its rollout with "
        "`fwctl quarantine release NAME --reason WHY`, or describe in git what it is to run.",
    ),
    "vanished": (
        "has not answered for more than two periods of the sweep",
        "See since when and what was tried with `fwctl device show NAME`. "
        "If it is gone for good, remove it from the inventory.",
    ),
    "never-seen": (
        "is in git and has never answered",
        "Check that its agent runs and that `address` in the inventory leads to it, then `fwctl reconcile --once`.",
    ),
    "unknown-device": (
        "was managed here and is in no inventory any more",
        "Put it back into devices/, or do nothing: it is told for two periods of the sweep.",
    ),
}


class _Renderer(Protocol):
    def __call__(self, found: Found, *, limit: int | None) -> str: ...


def text(found: Found, *, limit: int | None) -> str:
    """Return the drift by kind; of each the first `limit` devices, all for None."""
    rest = f"oldest look {ago(found.oldest, found.now)}" if found.oldest else "no device has answered yet"
    number = len({one.device for one in found.drifts})
    if not number:
        return f"No drift among {counted(found.devices, 'device')}; {rest}."
    lines = [f"{counted(number, 'device')} drifted, {found.devices:,} in git; {rest}."]
    for kind in KINDS:
        of_kind = [one for one in found.drifts if one.kind == kind]
        if of_kind:
            meaning, remedy = _WORDS[kind]
            shown = columns([_row(one, found) for one in of_kind[:limit]], indent="  ")
            left = [""] * (len(of_kind) - len(shown))
            lines += ["", f"{kind} ({len(of_kind):,}): {meaning}", *some([*shown, *left], len(shown))]
            lines.append(f"  help: {remedy}")
    return "\n".join(lines)


def as_json(found: Found, *, limit: int | None) -> str:  # noqa: ARG001  one signature for all formats
    """Return all of it for programs."""
    counts = Counter(one.kind for one in found.drifts)
    return document(
        {
            "commit": found.commit,
            "devices": found.devices,
            "drifted": len(found.drifts),
            "counts": {kind: counts[kind] for kind in KINDS},
            "oldestLook": stamp(found.oldest),
            "drift": [
                {
                    "device": one.device,
                    "kind": one.kind,
                    "reason": one.reason,
                    "since": stamp(one.since),
                    "seenAt": stamp(one.seen),
                    "rollout": one.rollout or None,
                    "expectedVersion": one.expected or None,
                    "runningVersion": one.running or None,
                    "runningImage": one.image or None,
                    "quarantined": one.device in found.quarantined,
                }
                for one in found.drifts
            ],
        }
    )


RENDERERS: Mapping[str, _Renderer] = {"text": text, "json": as_json}


def next_commands(found: Found) -> tuple[str, ...]:
    """Return what to type next."""
    if not found.drifts:
        return ("fwctl status",)
    first = found.drifts[0]
    if first.kind == "unknown-device":
        return (f"fwctl events --for {first.device}",)
    return (f"fwctl device show {first.device}", f"fwctl explain {first.device}")


def _row(one: Drift, found: Found) -> tuple[str, str]:
    told = [visible(one.reason)]
    if one.seen is not None:
        told.append(f"seen {ago(one.seen, found.now)}")
    if one.since is not None:
        told.append(
            f"away since {stamp(one.since)}" if one.kind != "unknown-device" else f"last {ago(one.since, found.now)}"
        )
    if one.device in found.quarantined:
        told.append("in quarantine")
    return one.device, "; ".join(told)
