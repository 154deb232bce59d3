"""From ledger rows to the views that `decide` judges. Facts only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Literal, TypedDict, cast

from fwctl.reconcile.commit import Prepared
from fwctl.reconcile.elsewhere import Elsewhere
from fwctl.reconcile.sampling import samples_of
from fwctl.rollouts.actions import Finish
from fwctl.rollouts.paths import reversal
from fwctl.rollouts.view import DeviceView, Failure, OpenOrder, OrderState, RolloutView, WaveView, WaveWord
from fwctl.state import DeviceRow, Ledger, OrderRow, OrderStatus, RolloutRow, RolloutState, WaveRow
from fwctl_agent.protocol.statements import FailureClass, Verb

_STOPPED = (RolloutState.HELD, RolloutState.STOPPED, RolloutState.ABORTED)
"""these stay, whatever git says, until something else is approved; a pause lasts as long as git says so"""


class Live:
    """One rollout as the ledger has it. Between decisions only what is new is read again, not the whole fleet."""

    def __init__(self, ledger: Ledger, prepared: Prepared) -> None:
        self._ledger = ledger
        self._prepared = prepared
        self._mandate = prepared.mandate.id if prepared.mandate else ""
        self._members = prepared.plan.wave_of
        self.devices: dict[str, DeviceView] = {}
        self._new = True
        limited = prepared.plan.limits.disruption is not None
        self._elsewhere = Elsewhere(ledger, self._mandate) if limited else None
        self._ask_slots = reversal.matters(prepared.plan)

    def look(self, news: Iterable[str], visiting: frozenset[str]) -> tuple[RolloutView, frozenset[str] | None]:
        """Read `news` again; return the view, whose `devices` stay the same mapping, and which members are new in it.

        None: all of them, the first time.
        """
        changed = None if self._new else frozenset(device for device in news if device in self._members)
        with self._ledger.snapshot():
            if changed is None or changed:
                self._read(changed)
            self._new = False
            down = self._elsewhere.look(news) if self._elsewhere is not None else frozenset[str]()
            return self._view(visiting, down), changed

    def _view(self, visiting: frozenset[str], down: frozenset[str]) -> RolloutView:
        prepared, mandate = self._prepared, self._mandate
        row = self._ledger.rollout(prepared.key)
        waves = self._ledger.waves(prepared.key, mandate) if mandate else ()
        return RolloutView(
            approved_stage=prepared.approved_stage,
            not_approved=prepared.not_approved,
            stopped=_stopped(row, prepared),
            back_since=row.back_since if row and row.mandate == mandate else None,
            back_keeps=bool(row and row.mandate == mandate and row.back_keeps),
            finished=_finish(row, mandate),
            control=prepared.control,
            freezes=prepared.guarded.freezes,
            visiting=visiting,
            down_elsewhere=down,
            waves={wave.wave: _wave(wave) for wave in waves},
            samples=samples_of(self._ledger, prepared, waves),
            devices=self.devices,
        )

    def _read(self, some: frozenset[str] | None) -> None:
        ledger, mandate = self._ledger, self._mandate
        rows = {row.id: row for row in ledger.devices(list(self._members) if some is None else some)}
        orders = _by_device(self._orders(some)) if mandate else {}
        held = {row.device: row.reason for row in ledger.quarantine()}
        freed = ledger.releases()
        for device in self._members if some is None else some:
            if device in rows or device in orders or device in held:
                view = device_view(
                    device,
                    rows.get(device),
                    orders.get(device, ()),
                    mandate,
                    quarantined=held.get(device),
                    released=freed.get(device),
                )
                self.devices[device] = self._with_standby(view)

    def _with_standby(self, view: DeviceView) -> DeviceView:
        """Add what a device would go back to, where that decides whether it may."""
        if not self._ask_slots or not view.by_mandate:
            return view
        return replace(view, standby=standby_of(self._ledger.document(view.id)))

    def _orders(self, some: frozenset[str] | None) -> Iterable[OrderRow]:
        if some is None:
            return self._ledger.orders(mandate=self._mandate)
        return self._ledger.orders_of(self._mandate, some)


def rollout_view(ledger: Ledger, prepared: Prepared) -> RolloutView:
    """Return the view of one rollout, of all devices in its plan."""
    return Live(ledger, prepared).look((), frozenset())[0]


def device_view(
    device: str,
    row: DeviceRow | None,
    orders: Iterable[OrderRow],
    mandate: str,
    *,
    quarantined: str | None = None,
    released: datetime | None = None,
) -> DeviceView:
    """Return the view of one device within one mandate."""
    orders = tuple(orders)
    backs = [order for order in orders if order.verb in ("revert", "cancel")]
    back = max(backs, key=lambda order: order.intended_at, default=None)
    installs = [order for order in orders if order.verb == "install"]
    last = max(installs, key=lambda order: order.attempt, default=None)
    settled = last is not None and last.status is OrderStatus.SETTLED
    open_order = last if last is not None and not settled else None
    due = [moment for moment in (open_order.due_at if open_order else None, row.next_due if row else None) if moment]
    return DeviceView(
        id=device,
        observed_at=row.observed_at if row else None,
        running=(row.running_release or None) if row else None,
        by_mandate=bool(row and row.running_mandate == mandate),
        quarantined=quarantined,
        forgiven=_forgiven(installs, released),
        install=last.id if last else None,
        ordered=last.release if last else None,
        started_at=last.intended_at if last else None,
        version=row.running_version if row else "",
        staged=bool(last and last.status is OrderStatus.STAGED and row and row.state == "staged"),
        **_passed(installs),
        back=_open(back) if back is not None and back.status is not OrderStatus.SETTLED else None,
        taken_back=any(one.status is OrderStatus.SETTLED and not one.failure_class for one in backs),
        back_refused=f"{back.code}: {back.reason}" if back is not None and back.failure_class == "refused" else None,
        spent=bool(row and mandate in row.spent),
        attempts=last.attempt if last else 0,
        order=_open(open_order) if open_order else None,
        failure=_failure(last) if last is not None and settled and last.failure_class else None,
        confirmed=settled and last is not None and not last.failure_class,
        deferred_since=row.deferred_since if row else None,
        unreachable_since=row.unreachable_since if row and not row.reachable else None,
        misses=row.failure_count if row and not row.reachable else 0,
        unreachable_code=why_unreached(row) if row else "",
        due_at=max(due, default=None),
        back_due_at=back.due_at if back is not None and back.status is not OrderStatus.SETTLED else None,
    )


class _Passed(TypedDict):
    passed: tuple[str, ...]
    passed_attempt: int
    taken: str | None


def _passed(installs: Iterable[OrderRow]) -> _Passed:
    """Return which orders brought a release that was confirmed, and the last one that the device took."""
    rising = sorted(installs, key=lambda order: order.attempt)
    done = [one for one in rising if one.status is OrderStatus.SETTLED and not one.failure_class]
    taken = [one for one in rising if one.failure_class != "refused" and one.code != "E_NEVER_ARRIVED"]
    return {
        "passed": tuple(dict.fromkeys(one.release for one in done)),
        "passed_attempt": done[-1].attempt if done else 0,
        "taken": taken[-1].id if taken else None,
    }


def standby_of(document: Mapping[str, Any] | None) -> str | None:
    """Return the digest of the image in the slot that does not run, as the device said it last."""
    running = (document or {}).get("running", {}).get("image")
    images = [slot.get("image") for slot in (document or {}).get("slots", ())]
    return next((image for image in images if image and image != running), None)


def why_unreached(row: DeviceRow) -> str:
    """Return the code under which a device was not reached last; nothing where nobody answered, or it was reached."""
    code = "" if row.reachable else row.reason.partition(":")[0]
    return code if code.startswith("E_") and code != "E_UNREACHABLE" else ""


def _forgiven(installs: Iterable[OrderRow], released: datetime | None) -> int | None:
    """Return the last attempt that had ended when the device left quarantine."""
    if released is None:
        return None
    return max((one.attempt for one in installs if one.finished_at and one.finished_at <= released), default=0)


def _open(order: OrderRow) -> OpenOrder:
    accepted = order.status not in (OrderStatus.INTENDED, OrderStatus.SENT)
    state = cast(OrderState, str(order.status))
    return OpenOrder(order.id, order.attempt, state, order.intended_at, accepted, cast(Verb, order.verb))


def _wave(row: WaveRow) -> WaveView:
    state = cast(WaveWord, str(row.state))
    return WaveView(state, row.reason, row.soak_since, row.opened_at, row.judged_at)


def _failure(order: OrderRow) -> Failure:
    at = order.finished_at or order.intended_at
    return Failure(order.attempt, cast(FailureClass, order.failure_class), order.code, at)


def _by_device(orders: Iterable[OrderRow]) -> Mapping[str, list[OrderRow]]:
    found: dict[str, list[OrderRow]] = {}
    for order in orders:
        found.setdefault(order.device, []).append(order)
    return found


def _stopped(row: RolloutRow | None, prepared: Prepared) -> str:
    """A stop belongs to one mandate: new content, newly approved, starts afresh."""
    mandate = prepared.mandate.id if prepared.mandate else ""
    if row is None or row.mandate != mandate:
        return ""
    paused = prepared.control is not None and prepared.control.state == "paused"
    if row.state not in _STOPPED and not (paused and row.state is RolloutState.PAUSED):
        return ""
    return f"{row.state} by rule {row.rule}: {row.reason}" if row.rule else f"{row.state}: {row.reason}"


def _finish(row: RolloutRow | None, mandate: str) -> Finish | None:
    if row is None or row.mandate != mandate or row.finished_at is None:
        return None
    words: dict[RolloutState, Literal["complete", "failed", "rolled-back"]]
    words = {RolloutState.COMPLETE: "complete", RolloutState.ROLLED_BACK: "rolled-back"}
    return Finish(words.get(row.state, "failed"), row.reason)


def bare_view(ledger: Ledger, prepared: Prepared) -> RolloutView:
    """Return the view of one rollout without its devices, for whoever judges some of them one by one."""
    mandate = prepared.mandate.id if prepared.mandate else ""
    row = ledger.rollout(prepared.key)
    waves = ledger.waves(prepared.key, mandate) if mandate else ()
    return RolloutView(
        approved_stage=prepared.approved_stage,
        not_approved=prepared.not_approved,
        stopped=_stopped(row, prepared),
        back_since=row.back_since if row and row.mandate == mandate else None,
        back_keeps=bool(row and row.mandate == mandate and row.back_keeps),
        finished=_finish(row, mandate),
        control=prepared.control,
        freezes=prepared.guarded.freezes,
        waves={wave.wave: _wave(wave) for wave in waves},
        samples=samples_of(ledger, prepared, waves),
        devices={},
    )
