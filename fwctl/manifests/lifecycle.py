"""The life cycle of firmware: which states follow which, and what each means for rollouts. No clock: days come in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date
from typing import Final, Literal

from fwctl.errors import InputError
from fwctl.manifests.diagnostic import Diagnostic, Loc, Related, quoted
from fwctl.manifests.models.firmware import FirmwareSpec
from fwctl.manifests.repo import Contents, LoadedFirmware, LoadedRollout

State = Literal["draft", "candidate", "released", "deprecated", "sunset", "withdrawn"]

TRANSITIONS: Final[Mapping[State, tuple[State, ...]]] = {
    "draft": ("candidate", "withdrawn"),
    "candidate": ("released", "draft", "withdrawn"),
    "released": ("deprecated", "withdrawn"),
    "deprecated": ("sunset", "released", "withdrawn"),
    "sunset": ("withdrawn",),
    "withdrawn": (),
}
"""What may follow. `released` after `deprecated` takes that back; nothing brings back what is sunset or withdrawn."""
ENDING: Final[tuple[State, ...]] = ("deprecated", "sunset", "withdrawn")
"""states of which somebody should know who still runs it"""
HELD: Final[tuple[State, ...]] = ("draft", "withdrawn")
"""states in which nothing starts, not even in a rollout that was locked and approved"""


def state_on(spec: FirmwareSpec, today: date | None) -> State:
    """Return the state on a day (UTC): from its sunset on, deprecated firmware is sunset. None: as it is written."""
    if spec.state == "deprecated" and today is not None and (left := days_left(spec, today)) is not None and left <= 0:
        return "sunset"
    return spec.state


def days_left(spec: FirmwareSpec, today: date) -> int | None:
    """Return the days until its sunset, negative after it; None where no day is said."""
    if spec.deprecation is None or spec.state not in ENDING:
        return None
    return (date.fromisoformat(spec.deprecation.sunset) - today).days


def told(spec: FirmwareSpec, today: date | None) -> str:
    """Return the state in words: `deprecated: sunset on 2027-03-01, go to 2.5.0 (flash wear)`."""
    state, ends = state_on(spec, today), spec.deprecation if spec.state in ENDING else None
    if ends is None:
        return state
    when = f"since {ends.sunset}" if state == "sunset" else f"sunset on {ends.sunset}"
    parts = [when, *([f"go to {ends.successor}"] if ends.successor else [])]
    why = f" ({ends.reason})" if ends.reason else ""
    return f"{state}: {', '.join(parts)}{why}" if state != "withdrawn" else f"withdrawn{why}"


def refusal(spec: FirmwareSpec, path: str) -> InputError | None:
    """Return why nothing of a locked rollout of this firmware may start; None if it goes on."""
    if spec.state not in HELD:
        return None
    return InputError(
        f"{spec.model} {spec.version} is {told(spec, None)}",
        code="E_FIRMWARE_STATE",
        place=path,
        remedy=_REMEDIES[spec.state],
    )


def findings(repo: Contents, locked: Callable[[str], bool], today: date) -> tuple[Diagnostic, ...]:
    """Return what the states of firmware mean for the rollouts that name it; `locked` knows rollouts by their key."""
    return tuple(
        one for rollout in repo.rollouts.values() for one in of_rollout(repo, rollout, locked(rollout.key), today)
    )


def of_rollout(repo: Contents, rollout: LoadedRollout, locked: bool, today: date) -> Iterator[Diagnostic]:
    """Find what the state of its firmware means for one rollout, locked already or about to be."""
    ref = rollout.model.spec.firmware
    firmware = repo.firmware.get((ref.model, ref.version))
    if firmware is None:
        return
    state = state_on(firmware.model.spec, today)
    code, more = (_LOCKED if locked else _NEW)[state]
    if code:
        loc: Loc = ("spec", "firmware", "version")
        yield repo.sources.diagnostic(
            rollout.path,
            loc,
            code=code,
            message=f"{quoted(ref.model)} {quoted(ref.version)} is {told(firmware.model.spec, today)}{more}",
            remedy=_remedy(code, firmware.model.spec, state),
            related=(Related(repo.sources.place(firmware.path, _where(firmware)), "its state stands here"),),
        )


def errors(found: Iterable[Diagnostic]) -> tuple[Diagnostic, ...]:
    """Return those that forbid a new lock, a new rollout, a first approval."""
    return tuple(one for one in found if one.severity == "error")


_NEW: Final[Mapping[State, tuple[str, str]]] = {
    "draft": ("E_FIRMWARE_STATE", ""),
    "candidate": ("I_FIRMWARE_CANDIDATE", ""),
    "released": ("", ""),
    "deprecated": ("W_FIRMWARE_DEPRECATED", ""),
    "sunset": ("E_FIRMWARE_STATE", ""),
    "withdrawn": ("E_FIRMWARE_STATE", ""),
}
_LOCKED: Final[Mapping[State, tuple[str, str]]] = {
    **_NEW,
    "sunset": ("W_FIRMWARE_SUNSET", "; this rollout is locked and goes on"),
    "withdrawn": ("W_FIRMWARE_WITHDRAWN", "; this rollout is held"),
}
_REMEDIES: Final[Mapping[State, str]] = {
    "draft": "Promote it first: fwctl firmware promote MODEL@VERSION",
    "sunset": "Choose another version; what is locked already goes on.",
    "withdrawn": "Choose another version. To take devices back that have it: fwctl rollback ROLLOUT --reason TEXT",
}


def _remedy(code: str, spec: FirmwareSpec, state: State) -> str:
    if code == "I_FIRMWARE_CANDIDATE":
        return f"When it has proved itself: fwctl firmware promote {spec.model}@{spec.version}"
    if spec.deprecation is not None and spec.deprecation.successor and state in ("deprecated", "sunset"):
        return f"Roll out its successor, {spec.deprecation.successor}."
    if state == "draft":
        return f"Promote it first: fwctl firmware promote {spec.model}@{spec.version}"
    return _REMEDIES.get(state, "")


def _where(firmware: LoadedFirmware) -> Loc:
    spec = firmware.model.spec
    return ("spec", "state") if "state" in spec.model_fields_set else ("spec", "version")


__all__ = [
    "ENDING",
    "HELD",
    "TRANSITIONS",
    "State",
    "days_left",
    "errors",
    "findings",
    "of_rollout",
    "refusal",
    "state_on",
    "told",
]
