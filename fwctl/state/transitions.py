"""Which state may follow which. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from fwctl.errors import WorldError


class RolloutState(StrEnum):
    """Where a rollout stands under one mandate."""

    WAITING = "waiting"
    PROGRESSING = "progressing"
    HELD = "held"
    PAUSED = "paused"
    COMPLETE = "complete"
    STOPPED = "stopped"
    ROLLING_BACK = "rolling-back"
    ROLLED_BACK = "rolled-back"
    ABORTED = "aborted"


class WaveState(StrEnum):
    """Where a wave stands: its devices may start, switch to what they hold, are watched, or it has been judged."""

    OPEN = "open"
    SWITCHING = "switching"
    SOAKING = "soaking"
    PASSED = "passed"
    FAILED = "failed"


class OrderStatus(StrEnum):
    """Where an order stands: meant, sent, known to the device, at work, held on the device, asked to switch, over."""

    INTENDED = "intended"
    SENT = "sent"
    ACCEPTED = "accepted"
    RUNNING = "running"
    STAGED = "staged"
    SWITCHING = "switching"
    SETTLED = "settled"


_R = RolloutState
_UNDER_WAY = frozenset({_R.WAITING, _R.PROGRESSING, _R.HELD, _R.PAUSED})
_ENDS = frozenset({_R.COMPLETE, _R.STOPPED, _R.ROLLING_BACK, _R.ABORTED})
# A stopped or aborted rollout moves on only backwards; forwards needs a new approval, which is a new mandate.
_ROLLOUT: Mapping[RolloutState, frozenset[RolloutState]] = {
    _R.WAITING: _UNDER_WAY | _ENDS | {_R.ROLLED_BACK},
    _R.PROGRESSING: _UNDER_WAY | _ENDS,
    _R.HELD: _UNDER_WAY | _ENDS,
    _R.PAUSED: _UNDER_WAY | _ENDS,
    _R.COMPLETE: _UNDER_WAY | _ENDS,  # stragglers and late joiners reopen it, under the same gates
    _R.STOPPED: frozenset({_R.ROLLING_BACK, _R.ABORTED}),
    _R.ABORTED: frozenset({_R.ROLLING_BACK}),
    _R.ROLLING_BACK: frozenset({_R.ROLLED_BACK}),
    _R.ROLLED_BACK: frozenset({_R.ROLLING_BACK}),  # a person takes back what waves have kept
}
FINISHED = frozenset({_R.COMPLETE, _R.STOPPED, _R.ROLLED_BACK, _R.ABORTED})
_ORDER = tuple(OrderStatus)
_HELD = frozenset({OrderStatus.STAGED, OrderStatus.SWITCHING})
_AT_WORK = frozenset({OrderStatus.ACCEPTED, OrderStatus.RUNNING, OrderStatus.STAGED})
OPEN_ORDERS = tuple(status for status in OrderStatus if status is not OrderStatus.SETTLED)


def check_rollout(key: str, old: RolloutState, new: RolloutState) -> None:
    """Raise WorldError E_LEDGER_TRANSITION unless a rollout may go from `old` to `new` under one mandate."""
    if new is not old and new not in _ROLLOUT[old]:
        raise transition_error(f"rollout {key}", f"it is {old} and cannot become {new} without a new approval")


_WAVE = tuple(WaveState)


def check_wave(wave: str, old: WaveState, new: WaveState) -> None:
    """Raise WorldError E_LEDGER_TRANSITION when a judged wave would be judged again, or a soak forgotten.

    One that has passed may fail after all, when stragglers catch up; what has failed stays so.
    """
    if new is not old and (old is WaveState.FAILED or _WAVE.index(new) < _WAVE.index(old)):
        raise transition_error(wave, f"it is {old} and cannot become {new}")


def check_order(order: str, old: OrderStatus, new: OrderStatus) -> None:
    """Raise WorldError E_LEDGER_TRANSITION when an order would go backwards; a device may lose what it has staged."""
    if old in _HELD and new in _AT_WORK:
        return
    if _ORDER.index(new) < _ORDER.index(old):
        raise transition_error(f"order {order}", f"it is {old} and cannot become {new} again")


def transition_error(place: str, why: str) -> WorldError:
    """Build the error for a change that contradicts what the ledger holds."""
    return WorldError(
        f"the ledger refuses this change: {why}",
        code="E_LEDGER_TRANSITION",
        place=place,
        remedy="Look at what is recorded: fwctl events; then run fwctl reconcile --once again.",
    )
