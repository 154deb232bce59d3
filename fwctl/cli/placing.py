"""Where some devices stand in their rollouts, judged one by one: the work is that of the devices asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property

from fwctl.reconcile.commit import Prepared
from fwctl.reconcile.views import bare_view, device_view
from fwctl.rollouts.going_back import stand_back
from fwctl.rollouts.standing import Standing, stand
from fwctl.rollouts.view import DeviceView, RolloutView
from fwctl.state import DeviceRow, Ledger, OrderRow, QuarantineRow

Place = tuple[str, Standing]
"""the rollout that holds a device, and where it stands there"""


@dataclass(frozen=True)
class Judge:
    """One rollout, as far as the judgement on a single device needs it."""

    prepared: Prepared
    context: RolloutView
    ledger: Ledger | None
    held: Mapping[str, QuarantineRow]
    released: Mapping[str, datetime]
    now: datetime
    many: bool
    """it will be asked about many devices: then all open orders are read once, else each device's own"""
    known: Mapping[str, Sequence[OrderRow]] | None = None
    """the orders of the devices that it will be asked about, if they were read together"""

    def about(self, devices: Sequence[str]) -> Judge:
        """Return a judge of these few devices that reads their orders with one question."""
        found: dict[str, list[OrderRow]] = {}
        for order in self.ledger.orders_of(self._mandate, devices) if self.ledger and self._mandate else ():
            found.setdefault(order.device, []).append(order)
        return replace(self, known=found)

    def place(self, device: str, row: DeviceRow | None) -> Place | None:
        """Return where a device stands; None if this rollout has no part for it."""
        plan = self.prepared.plan
        if device not in plan.wave_of or device in self._dropped:
            return None
        view = self._view(device, row)
        seen = replace(self.context, devices={device: view} if view else {})
        judge = stand if self.context.back_since is None else stand_back
        return plan.key, judge(plan, seen, device, self.now)

    def _view(self, device: str, row: DeviceRow | None) -> DeviceView | None:
        orders = self._orders(device, row)
        held = self.held.get(device)
        if row is None and not orders and held is None:
            return None
        reason, freed = held.reason if held else None, self.released.get(device)
        return device_view(device, row, orders, self._mandate, quarantined=reason, released=freed)

    def _orders(self, device: str, row: DeviceRow | None) -> Sequence[OrderRow]:
        if self.known is not None:
            return self.known.get(device, ())
        if self.ledger is None or not self._mandate or (self.many and not self._any):
            return ()
        # What runs the firmware, has nothing under way and took nothing back has reached it, whatever was ordered.
        forward = self.many and self.context.back_since is None and device not in self._open
        if forward and row and row.running_release == self.prepared.plan.release.digest and not row.spent:
            return ()
        return self.ledger.orders(mandate=self._mandate, device=device)

    @property
    def _mandate(self) -> str:
        return self.prepared.mandate.id if self.prepared.mandate else ""

    @cached_property
    def _dropped(self) -> frozenset[str]:
        return frozenset(self.prepared.plan.dropped)

    @cached_property
    def _any(self) -> bool:
        return bool(self.ledger and next(self.ledger.stream_orders(mandate=self._mandate), None))

    @cached_property
    def _open(self) -> frozenset[str]:
        orders = self.ledger.orders(mandate=self._mandate, open_only=True) if self.ledger else ()
        return frozenset(order.device for order in orders)


def judges(
    prepared: Mapping[str, Prepared],
    ledger: Ledger | None,
    held: Mapping[str, QuarantineRow],
    now: datetime,
    *,
    judged: bool,
    many: bool,
) -> tuple[Judge, ...]:
    """Return the rollouts in the order in which they have a say: one that replaces another speaks last."""
    replaced = {
        f"{one.rollout.env}/{one.rollout.model.spec.replaces}"
        for one in prepared.values()
        if one.rollout.model.spec.replaces
    }
    released = ledger.releases() if ledger else {}
    return tuple(
        Judge(prepared[key], context_of(ledger, prepared[key], judged=judged), ledger, held, released, now, many)
        for key in sorted(prepared, key=lambda key: (key not in replaced, key))
    )


NOT_JUDGED = "approvals are not judged: no root of trust is pinned here"


def context_of(ledger: Ledger | None, prepared: Prepared, *, judged: bool) -> RolloutView:
    """Return the view of a rollout without its devices; where nobody can judge approvals, nothing is approved."""
    why = prepared.not_approved if judged or prepared.lock is None else NOT_JUDGED
    if ledger is None:
        freezes = prepared.guarded.freezes
        return RolloutView(approved_stage=prepared.approved_stage, not_approved=why, freezes=freezes, devices={})
    known = bare_view(ledger, prepared)
    if judged:
        return known
    return RolloutView(approved_stage=0, not_approved=why, stopped=known.stopped, finished=known.finished, devices={})
