"""The work behind `rollout report`: one rollout under its mandate, from its first wave to its end, from the ledger."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from fwctl.cli import evidence
from fwctl.cli.context import Context
from fwctl.cli.evidence import Probe
from fwctl.cli.judging import RolloutStatus, rollout_status
from fwctl.cli.lineage import Approval, approvals_of
from fwctl.cli.planning import find_rollouts
from fwctl.errors import InputError
from fwctl.reconcile.waving import INTERRUPTED, WaveLine, WayBack, why_stopped
from fwctl.rollouts.failures import CLASSES
from fwctl.state import EventRow, Ledger, OrderRow, OrderStatus


@dataclass(frozen=True)
class FailedDevice:
    """A device whose attempt failed, with what it signed."""

    device: str
    wave: str
    attempt: int
    code: str
    at: datetime | None
    probes: tuple[Probe, ...]


@dataclass(frozen=True)
class FailureGroup:
    """The devices of one failure class."""

    klass: str
    counts: bool
    """against the gate"""
    devices: tuple[FailedDevice, ...]


@dataclass(frozen=True)
class Report:
    """One rollout. Times are the ledger's."""

    status: RolloutStatus
    approvals: tuple[Approval, ...]
    started: datetime | None
    finished: datetime | None
    confirmed: tuple[datetime, ...]
    """when devices confirmed, in order"""
    failed: tuple[datetime, ...]
    taken_back: tuple[datetime, ...]
    staged: tuple[datetime, ...]
    """when devices held the firmware in their other slot"""
    switched: Mapping[str, datetime]
    """wave -> when its first device was told to switch"""
    failures: tuple[FailureGroup, ...]
    cause: EventRow | None
    """what stopped it or sent it back"""
    now: datetime

    @property
    def waves(self) -> tuple[WaveLine, ...]:
        return self.status.waves

    @property
    def back(self) -> WayBack | None:
        return self.status.back

    @property
    def results(self) -> Counter[str]:
        return Counter(standing.state for standing in self.status.standings)

    @property
    def commit(self) -> str:
        return self.status.recorded.commit if self.status.recorded else ""

    @property
    def rule(self) -> str:
        return str(self.cause.data.get("rule", "")) if self.cause else ""

    @property
    def reason(self) -> str:
        """Why it stands where it stands: a rollback ends with a count, and began with a reason."""
        told = self.status.reason
        return f"{self.cause.reason}; {told}" if self.cause and self.cause.reason != told else told


def make_report(settings: Context, name: str) -> Report:
    """Return the report of one rollout as it stands now.

    Raises:
        InputError: `E_NO_ROLLOUT`; or `E_NO_REPORT`: no pass has begun with it under this mandate.
    """
    commit, files = settings.committed()
    state, now = settings.read(files, commit), settings.now()
    key = find_rollouts(state.repo, name)[0].key
    prepared = state.rollouts[key]
    with settings.ledger(state.repo.fleet.spec.repo_id) as ledger:
        status = rollout_status(prepared, ledger, now)
        if ledger is None or status.recorded is None or prepared.mandate is None:
            raise InputError(
                "nothing has happened yet under what is approved now",
                code="E_NO_REPORT",
                place=key,
                remedy=f"fwctl status {key}",
            )
        mandate = prepared.mandate.id
        return _report(ledger, status, approvals_of(files, mandate), mandate, now)


def _report(
    ledger: Ledger, status: RolloutStatus, approvals: tuple[Approval, ...], mandate: str, now: datetime
) -> Report:
    row, orders = status.recorded, ledger.orders(mandate=mandate)
    settled = [order for order in orders if order.status is OrderStatus.SETTLED and order.finished_at is not None]
    installs = [order for order in settled if order.verb == "install"]
    backs = [o for o in settled if o.verb in ("revert", "cancel") and o.failure_class != "refused"]
    # An order that was cancelled on the way back is no failure of its device.
    cancelled = {order.refers_to for order in backs if order.verb == "cancel"}
    failed = [order for order in installs if order.failure_class and order.id not in cancelled]
    switched: dict[str, datetime] = {}
    for order in orders:
        if order.verb == "activate":
            switched[order.wave] = min(order.intended_at, switched.get(order.wave, order.intended_at))
    return Report(
        status=status,
        approvals=approvals,
        started=row.started_at if row else None,
        finished=row.finished_at if row else None,
        confirmed=_times(order for order in installs if not order.failure_class),
        failed=_times(failed),
        taken_back=_times(backs),
        staged=tuple(sorted(o.received_at for o in ledger.outcomes(mandate) if o.result == "staged"))
        if switched
        else (),
        switched=switched,
        failures=_failures(ledger, mandate, status, failed),
        cause=why_stopped(ledger, status.key, mandate) if status.state in INTERRUPTED else None,
        now=now,
    )


def _times(orders: Iterable[OrderRow]) -> tuple[datetime, ...]:
    return tuple(sorted(order.finished_at for order in orders if order.finished_at is not None))


def _failures(
    ledger: Ledger, mandate: str, status: RolloutStatus, failed: Iterable[OrderRow]
) -> tuple[FailureGroup, ...]:
    last: dict[str, OrderRow] = {order.device: order for order in failed}
    judged = {one.device: one.klass for one in status.standings if one.klass is not None}
    said = evidence.failure_said(ledger, mandate, {*last, *judged})
    wave_of: Mapping[str, str] = {device: line.wave.name for line in status.waves for device in line.wave.devices}
    groups: dict[str, list[FailedDevice]] = {}
    for device in sorted({*last, *judged}):
        order, own = last.get(device), said.get(device)
        klass = judged.get(device) or (order.failure_class if order else "")
        found = FailedDevice(
            device,
            wave_of.get(device, ""),
            order.attempt if order else 1,
            (order.code if order else "") or (own.row.code if own else ""),
            order.finished_at if order else own.at if own else None,
            (own.bad or own.probes) if own else (),
        )
        groups.setdefault(klass, []).append(found)
    known: Mapping[str, bool] = {klass: rule.counts for klass, rule in CLASSES.items()}
    found_groups = [FailureGroup(klass, known.get(klass, True), tuple(rows)) for klass, rows in groups.items()]
    return tuple(sorted(found_groups, key=lambda group: (-len(group.devices), group.klass)))
