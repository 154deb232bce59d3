"""A compiled rollout as bytes, for whoever keeps what follows from files: its waves without their strategy's work."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, Final

from fwctl.errors import InputError
from fwctl.manifests.models import Regional
from fwctl.manifests.models.rollout_parts import Window
from fwctl.manifests.repo import FleetRepo, LoadedRollout
from fwctl.rollouts.compile import Compiled, plan_of
from fwctl.rollouts.plan import Plan, Wave
from fwctl_agent.protocol.lock import Lock

_FORMAT: Final = "fwctl-plan-2"


class LateLock(Lock):
    """A lock that was read before: its file is read again when somebody asks for lines."""

    def __init__(self, digest: str, read: Callable[[], Lock], path: str) -> None:
        # no lines yet, so nothing of what the base class keeps
        self._known, self._read, self._path = digest, read, path

    @cached_property
    def lines(self) -> tuple[str, ...]:  # type: ignore[override]
        """The lines of the file.

        Raises:
            InputError: `E_LOCK_INVALID`: it is not the file any more that was read before.
        """
        lock = self._read()
        if lock.digest != self._known:
            raise InputError(
                "it is not what it was when it was last read",
                code="E_LOCK_INVALID",
                place=self._path,
                remedy="Run the command again; if it stays so, the repository is damaged: clone it anew.",
            )
        return lock.lines

    @property
    def digest(self) -> str:
        """Return the digest of the file."""
        return self._known


def to_bytes(made: Compiled) -> bytes:
    """Return a compiled rollout without what its manifests say anyway: one line of JSON, then the members as lines."""
    plan = made.plan
    head = {
        "format": _FORMAT,
        "plan": plan.digest,
        "chain": plan.chain,
        "lock": made.lock.digest if made.lock else None,
        "waves": [_head(wave) for wave in plan.waves],
        "dropped": plan.dropped,
        "notCovered": plan.not_covered,
    }
    return b"\n".join((json.dumps(head, separators=(",", ":")).encode(), "\n".join(plan.members).encode()))


def _head(wave: Wave) -> dict[str, Any]:
    return {
        "name": wave.name,
        "stage": wave.stage,
        "devices": len(wave.devices),
        "soak": wave.soak,
        "activation": wave.activation,
        "maxUnavailable": wave.max_unavailable,
        "region": wave.region,
        "track": wave.track,
    }


def from_bytes(
    data: bytes, repo: FleetRepo, rollout: LoadedRollout, *, lock: Callable[[], Lock], place: str
) -> Compiled | None:
    """Return what `to_bytes` wrote of the same manifests; None if it is anything else.

    `lock` reads the lock at `place`: done when somebody asks for lines, not before.
    """
    line, _, text = data.partition(b"\n")
    try:
        head = json.loads(line)
        if head["format"] != _FORMAT:
            return None
        members = tuple(text.decode("ascii").split("\n")) if text else ()
        plan = plan_of(
            repo,
            rollout,
            waves=_waves(head["waves"], members, _windows(rollout)),
            dropped=tuple(head["dropped"]),
            not_covered=tuple(head["notCovered"]),
            locked=tuple(head["chain"]),
        )
        return _same(plan, rollout, head, lock, place)
    except (ValueError, TypeError, KeyError, InputError):
        return None


def _same(
    plan: Plan, rollout: LoadedRollout, head: dict[str, Any], lock: Callable[[], Lock], place: str
) -> Compiled | None:
    # The digest is taken anew: the waves are those of the manifests that approvals are about.
    if plan.digest != head["plan"]:
        return None
    digest = head["lock"]
    return Compiled(rollout, plan, None if digest is None else LateLock(digest, lock, place))


def _windows(rollout: LoadedRollout) -> Mapping[str, Window | None]:
    """Return the window of each region."""
    strategy = rollout.model.spec.strategy
    return {step.name: step.window for step in strategy.regions} if isinstance(strategy, Regional) else {}


def _waves(
    heads: list[dict[str, Any]], members: tuple[str, ...], windows: Mapping[str, Window | None]
) -> tuple[Wave, ...]:
    waves, begin = [], 0
    for head in heads:
        end = begin + head["devices"]
        waves.append(
            Wave(
                head["name"],
                head["stage"],
                members[begin:end],
                head["soak"],
                head["activation"],
                head["maxUnavailable"],
                head["region"],
                head["track"],
                windows.get(head["region"]),
            )
        )
        begin = end
    if begin != len(members):
        raise ValueError("waves that do not hold their members")
    return tuple(waves)
