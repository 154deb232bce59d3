"""What to type next, by where a rollout stands: one table for every command that shows a state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fwctl.cli.context import Context
    from fwctl.reconcile.reports import PassReport

NEXT: Mapping[str, tuple[str, ...]] = {
    "not-approved": ("fwctl approve {key}",),
    "waiting": ("fwctl reconcile --once",),
    "progressing": ("fwctl reconcile --once", "fwctl status {key} --watch"),
    "paused": ("fwctl resume {key} --reason WHY", "fwctl explain {key}"),
    "held": ("fwctl explain {key}",),
    "stopped": ("fwctl explain {key}", "fwctl rollback {key} --reason WHY"),
    "aborted": ("fwctl rollout report {key}", "fwctl events --for {key}"),
    "rolling-back": ("fwctl reconcile --once", "fwctl status {key} --watch"),
    "rolled-back": ("fwctl explain {key}", "fwctl rollout report {key}"),
    "complete": ("fwctl rollout report {key}",),
}


CURES: Mapping[str, tuple[str, str]] = {
    "E_CERT_EXPIRED": ("a new certificate for its key", "fwctl device renew {devices}"),
    "E_REVOKED": ("a new key: its present one is revoked", "fwctl device enroll {device} --request FILE --out DIR"),
    "E_CA_EXPIRED": ("a new device CA, and new certificates from it", "fwctl doctor"),
    "E_TLS": ("somebody who finds out who answers there", "fwctl device show {device}"),
}
"""code under which devices are not reached -> what lets them in again, and the command for it"""
_NAMED = 10


def cure(code: str, devices: Sequence[str]) -> tuple[str, str] | None:
    """Return what lets devices in again that were not reached under this code, and the command for it."""
    if code not in CURES or not devices:
        return None
    what, command = CURES[code]
    return what, command.format(device=devices[0], devices=" ".join(devices[:_NAMED]))


def next_commands(key: str, state: str) -> tuple[str, ...]:
    """Return the literal commands that make sense for a rollout in this state."""
    return tuple(command.format(key=key) for command in NEXT.get(state, ("fwctl status {key}",)))


def next_for(key: str, state: str, *, locked: bool, wants_approval: bool) -> tuple[str, ...]:
    """Return what to type next about a rollout, with what stands before any state: a plan, an approval."""
    if not locked:
        return (f"fwctl plan {key} --lock",)
    if wants_approval and state in ("waiting", "progressing"):
        return (f"fwctl approve {key}",)
    return next_commands(key, state)


def shared(settings: Context) -> tuple[str, ...]:
    """Return what hands a new commit to others; nothing where the repository has no remote."""
    command = settings.repo.push_command()
    return (command,) if command else ()


def after_pass(report: PassReport) -> tuple[str, ...]:
    """Return what to type after a pass: about the first rollout that needs somebody, else the status."""
    needy = [one for one in report.rollouts if one.state not in ("waiting", "progressing", "complete")]
    return next_commands(needy[0].key, needy[0].state) if needy else ("fwctl status",)
