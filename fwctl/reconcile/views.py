"""From ledger rows to the views that `decide` judges. Facts only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import cast

from fwctl.reconcile.commit import Prepared
from fwctl.rollouts.actions import Finish
from fwctl.rollouts.view import DeviceView, Failure, OpenOrder, OrderState, RolloutView
from fwctl.state import DeviceRow, Ledger, OrderRow, OrderStatus, RolloutRow, RolloutState
from fwctl_agent.protocol.statements import FailureClass

_STOPPED = (RolloutState.HELD, RolloutState.STOPPED, RolloutState.ABORTED, RolloutState.PAUSED)


def rollout_view(ledger: Ledger, prepared: Prepared) -> RolloutView:
    """Return the view of one rollout, of all devices in its plan."""
    mandate = prepared.mandate.id if prepared.mandate else ""
    orders = _by_device(ledger.orders(mandate=mandate)) if mandate else {}
    rows = {row.id: row for row in ledger.devices(prepared.plan.members)}
    devices = {
        device: device_view(device, rows.get(device), orders.get(device, ()), mandate)
        for device in prepared.plan.members
        if device in rows or device in orders
    }
    row = ledger.rollout(prepared.key)
    return RolloutView(
        approved_stage=prepared.approved_stage,
        not_approved=prepared.not_approved,
        stopped=_stopped(row, mandate),
        finished=_finish(row, mandate),
        devices=devices,
    )


def device_view(device: str, row: DeviceRow | None, orders: Iterable[OrderRow], mandate: str) -> DeviceView:
    """Return the view of one device within one mandate."""
    installs = [order for order in orders if order.verb == "install"]
    last = max(installs, key=lambda order: order.attempt, default=None)
    settled = last is not None and last.status is OrderStatus.SETTLED
    open_order = last if last is not None and not settled else None
    due = [moment for moment in (open_order.due_at if open_order else None, row.next_due if row else None) if moment]
    return DeviceView(
        id=device,
        observed_at=row.observed_at if row else None,
        running=(row.running_release or None) if row else None,
        spent=bool(row and mandate in row.spent),
        attempts=last.attempt if last else 0,
        order=_open(open_order) if open_order else None,
        failure=_failure(last) if last is not None and settled and last.failure_class else None,
        confirmed=settled and last is not None and not last.failure_class,
        unreachable_since=row.unreachable_since if row and not row.reachable else None,
        misses=row.failure_count if row and not row.reachable else 0,
        due_at=max(due, default=None),
    )


def _open(order: OrderRow) -> OpenOrder:
    accepted = order.status in (OrderStatus.ACCEPTED, OrderStatus.RUNNING)
    state = cast(OrderState, str(order.status))
    return OpenOrder(order.id, order.attempt, state, order.intended_at, accepted)


def _failure(order: OrderRow) -> Failure:
    at = order.finished_at or order.intended_at
    return Failure(order.attempt, cast(FailureClass, order.failure_class), order.code, at)


def _by_device(orders: Iterable[OrderRow]) -> Mapping[str, list[OrderRow]]:
    found: dict[str, list[OrderRow]] = {}
    for order in orders:
        found.setdefault(order.device, []).append(order)
    return found


def _stopped(row: RolloutRow | None, mandate: str) -> str:
    """A stop belongs to one mandate: new content, newly approved, starts afresh."""
    if row is None or row.mandate != mandate or row.state not in _STOPPED:
        return ""
    return f"{row.state} by rule {row.rule}: {row.reason}" if row.rule else f"{row.state}: {row.reason}"


def _finish(row: RolloutRow | None, mandate: str) -> Finish | None:
    if row is None or row.mandate != mandate or row.finished_at is None:
        return None
    return Finish("complete" if row.state is RolloutState.COMPLETE else "failed", row.reason)
