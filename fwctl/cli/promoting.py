"""The work behind `firmware promote`, `deprecate` and `withdraw`: one step of the life cycle, written into the file."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

from fwctl.cli.context import Context
from fwctl.cli.controlling import one_line
from fwctl.cli.releasing import find_firmware
from fwctl.cli.rewriting import with_state
from fwctl.errors import UsageError
from fwctl.files import write_atomic
from fwctl.manifests.lifecycle import TRANSITIONS, State
from fwctl.manifests.models.firmware import Deprecation
from fwctl.manifests.repo import FleetRepo, LoadedFirmware
from fwctl.manifests.scalars import DATE_PATTERN
from fwctl.reconcile.commit import load_repo
from fwctl.rollouts.compile import release_of

_STEPS: Final[tuple[State, ...]] = ("draft", "candidate", "released")


@dataclass(frozen=True)
class Moved:
    """A step that was written into the work tree."""

    name: str
    old: State
    new: State
    path: Path
    rollouts: tuple[str, ...]
    """those that name it"""
    unjudged: bool = False
    """no root of trust is pinned here, so nobody knows whether its release is signed well enough"""
    reason: str = ""

    @property
    def commit(self) -> str:
        """The command that commits it."""
        subject = f"{self.name}: {self.new}" + (f": {self.reason}" if self.reason else "")
        return f"git add {self.path} && git commit -m {shlex.quote(subject)}"


def promote(settings: Context, name: str, to: State | None) -> Moved:
    """Move firmware on: to the next state, or to a later one that is named.

    Raises:
        UsageError: `E_FIRMWARE_MOVE`: the life cycle has no such step.
        TrustRefused: to `released`, and the policy does not accept its release: what is missing.
    """
    repo, firmware = _find(settings, name)
    old, path = firmware.model.spec.state, firmware.path
    if to is None:
        at = _STEPS.index(old) + 1 if old in _STEPS else len(_STEPS)
        new: State = _STEPS[at] if at < len(_STEPS) else "released"
        _check_move(name, old, new, path=path)
    else:
        new = to
        if not (old in _STEPS and new in _STEPS and _STEPS.index(old) < _STEPS.index(new)):
            _check_move(name, old, new, path=path)
    unjudged = new == "released" and not _signed(settings, repo, firmware)
    return _write(settings, repo, firmware, new, None, unjudged=unjudged)


def deprecate(settings: Context, name: str, *, sunset: str, reason: str, successor: str) -> Moved:
    """Deprecate firmware, with the day of its sunset; again, to move that day.

    Raises:
        UsageError: `E_FIRMWARE_MOVE`; `E_USAGE` for what is no day; a successor that is not registered, or it itself.
    """
    repo, firmware = _find(settings, name)
    spec, reason = firmware.model.spec, one_line(reason)
    if spec.state != "deprecated":
        _check_move(name, spec.state, "deprecated", path=firmware.path)
    _check_day(sunset)
    version = successor.removeprefix(f"{spec.model}@")
    if version:
        find_firmware(repo, f"{spec.model}@{version}")
    if version == spec.version:
        raise UsageError(
            "it cannot be its own successor",
            code="E_USAGE",
            place="--successor",
            remedy="Name the version that devices are to go to.",
        )
    ends = Deprecation(sunset=sunset, reason=reason, successor=version or None)
    return _write(settings, repo, firmware, "deprecated", ends, reason=reason)


def withdraw(settings: Context, name: str, reason: str) -> Moved:
    """Withdraw firmware in the manifests: its rollouts are held by the next pass.

    Raises:
        UsageError: `E_FIRMWARE_MOVE`: it is withdrawn already.
    """
    repo, firmware = _find(settings, name)
    _check_move(name, firmware.model.spec.state, "withdrawn", path=firmware.path)
    return _write(settings, repo, firmware, "withdrawn", firmware.model.spec.deprecation, reason=one_line(reason))


def _check_move(name: str, old: State, new: State, *, path: str) -> None:
    """Refuse a step that the life cycle does not have.

    Raises:
        UsageError: `E_FIRMWARE_MOVE`, with the steps that there are.
    """
    if new in TRANSITIONS[old]:
        return
    further = ", ".join(TRANSITIONS[old])
    if old in ("sunset", "withdrawn"):
        remedy = "Register a new version: what has been taken away from devices does not come back under its old name."
    elif old == new:
        remedy = f"Nothing to do. What may follow: {further}."
    else:
        remedy = f"What may follow {old}: {further}."
    raise UsageError(
        f"{name} is {old} already" if old == new else f"{name} is {old}, and {new} does not follow it",
        code="E_FIRMWARE_MOVE",
        place=path,
        remedy=remedy,
    )


def _check_day(text: str) -> None:
    try:
        date.fromisoformat(text)
    except ValueError:
        text = ""
    if not re.fullmatch(DATE_PATTERN[1:-1], text):
        raise UsageError("that is no day", code="E_USAGE", place="--sunset", remedy="Write it like 2027-03-01.")


def _find(settings: Context, name: str) -> tuple[FleetRepo, LoadedFirmware]:
    repo = load_repo(settings.edited())
    return repo, find_firmware(repo, name)


def _signed(settings: Context, repo: FleetRepo, firmware: LoadedFirmware) -> bool:
    """Say whether the policy accepts the release; False where nobody can judge that here."""
    authority = settings.authority(repo.fleet.spec.repo_id, settings.edited())
    if authority is None:
        return False
    authority.check_release(release_of(firmware.model))
    return True


def _write(
    settings: Context,
    repo: FleetRepo,
    firmware: LoadedFirmware,
    new: State,
    ends: Deprecation | None,
    *,
    unjudged: bool = False,
    reason: str = "",
) -> Moved:
    spec = firmware.model.spec
    write_atomic(settings.worktree / firmware.path, with_state(firmware, new, ends))
    users = tuple(
        key
        for key, one in repo.rollouts.items()
        if (one.model.spec.firmware.model, one.model.spec.firmware.version) == (spec.model, spec.version)
    )
    name = f"{spec.model}@{spec.version}"
    return Moved(name, spec.state, new, Path(firmware.path), users, unjudged, reason)
