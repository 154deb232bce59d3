"""The work behind `device list` and `device show`: which devices, and all that is known of one."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from fwctl.cli.looking import STATES, Book, DeviceLine, unknown
from fwctl.errors import UsageError
from fwctl.manifests.repo import Device, LoadedFirmware
from fwctl.rollouts.compile import release_of
from fwctl.state import EventRow, OrderRow, OutcomeRow


@dataclass(frozen=True)
class Filter:
    """Which devices are asked for; empty means any."""

    group: str = ""
    model: str = ""
    env: str = ""
    state: str = ""


@dataclass(frozen=True)
class DeviceDetail:
    """One device with its history."""

    line: DeviceLine
    release: str
    orders: tuple[OrderRow, ...]
    last_outcome: OutcomeRow | None
    evidence: tuple[Mapping[str, object], ...]
    events: tuple[EventRow, ...]
    now: datetime


def select(book: Book, wanted: Filter) -> tuple[DeviceLine, ...]:
    """Return the devices that pass all filters.

    Raises:
        InputError: a group that does not exist.
        UsageError: a state that no device can have. Silence would look like "none".
    """
    if wanted.group and wanted.group not in book.repo.groups:
        raise unknown(
            wanted.group,
            list(book.repo.groups),
            what="group",
            code="E_NO_GROUP",
            place="--group",
            see="fwctl group list",
        )
    if wanted.state and wanted.state not in STATES:
        raise UsageError(
            f"no device can be {wanted.state[:40]!r}",
            code="E_USAGE",
            place="--state",
            remedy=f"One of: {', '.join(STATES)}",
        )
    return tuple(
        line
        for line in book.devices()
        if (not wanted.group or wanted.group in line.groups)
        and (not wanted.model or line.device.model == wanted.model)
        and (not wanted.env or line.device.env == wanted.env)
        and (not wanted.state or wanted.state in (line.state, "quarantined" if line.quarantine else ""))
    )


def device_detail(book: Book, name: str) -> DeviceDetail:
    """Return one device with its orders, its last outcome and its newest events.

    Raises:
        InputError: `E_NO_DEVICE`.
    """
    device = found(
        book.repo.devices, name, what="device", code="E_NO_DEVICE", place="devices/", see="fwctl device list"
    )
    line = book.line(device)
    with book.settings.ledger(book.repo.fleet.spec.repo_id) as ledger:
        orders = ledger.orders(device=name) if ledger else ()
        outcomes = [
            outcome
            for mandate in dict.fromkeys(order.mandate for order in orders)
            for outcome in (ledger.outcomes(mandate) if ledger else ())
            if outcome.device == name
        ]
        events = tuple(ledger.events(device=name)) if ledger else ()
    last = max(outcomes, key=lambda one: one.counter, default=None)
    release = next((f"{m} {v}" for (m, v), one in book.repo.firmware.items() if _runs(line, one)), "")
    return DeviceDetail(line, release, orders, last, _evidence(last), events[-10:], book.now)


def found(known: Mapping[str, Device], name: str, *, what: str, code: str, place: str, see: str) -> Device:
    """Return what has that name.

    Raises:
        InputError: nothing has, with the closest name there is.
    """
    if name in known:
        return known[name]
    raise unknown(name, list(known), what=what, code=code, place=place, see=see)


def _runs(line: DeviceLine, firmware: LoadedFirmware) -> bool:
    return line.row is not None and line.row.running_release == release_of(firmware.model).digest


def _evidence(outcome: OutcomeRow | None) -> tuple[Mapping[str, object], ...]:
    """Return the probe results that the device signed with its last outcome."""
    if outcome is None:
        return ()
    payload = outcome.envelope.get("payload")
    try:
        return tuple(json.loads(base64.b64decode(str(payload))).get("evidence", ()))
    except (ValueError, AttributeError):
        return ()
