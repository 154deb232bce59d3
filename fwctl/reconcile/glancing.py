"""The view of a rollout for whoever only shows it: of most devices there is nothing to tell but that they arrived."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime

from fwctl.reconcile.commit import Prepared
from fwctl.reconcile.views import bare_view, device_view, rollout_view
from fwctl.rollouts.view import DeviceView, RolloutView
from fwctl.state import Ledger, OrderRow
from fwctl.state.glance import arrived, ordered, telling


def glance(ledger: Ledger, prepared: Prepared) -> RolloutView:
    """Return a view on which everybody is judged as on `rollout_view`; nothing else of its devices is complete.

    Going forward, those that run the firmware with nothing open share a view, and those that were never asked have
    none. A way back hangs on every device's orders, and a chain of stops on what each runs: then it is the whole view.
    """
    with ledger.snapshot():
        view = bare_view(ledger, prepared)
        if view.back_since is not None or not prepared.plan.paths.direct:
            devices: Mapping[str, DeviceView] | None = None
        else:
            devices = _devices(ledger, prepared)
    return rollout_view(ledger, prepared) if devices is None else replace(view, devices=devices)


def _devices(ledger: Ledger, prepared: Prepared) -> dict[str, DeviceView]:
    mandate, members = prepared.mandate.id if prepared.mandate else "", prepared.plan.wave_of
    there = arrived(ledger, prepared.plan.release.digest)
    held = {row.device: row.reason for row in ledger.quarantine()}
    some = telling(ledger, mandate) | (ordered(ledger, mandate) - there.keys()) | held.keys()
    alike: dict[datetime | None, DeviceView] = {}
    release = prepared.plan.release.digest
    found = {
        device: alike.get(seen) or alike.setdefault(seen, DeviceView(id=device, observed_at=seen, running=release))
        for device, seen in there.items()
        if device in members and device not in some
    }
    found |= _whole(ledger, mandate, [device for device in members if device in some], held)
    return {device: found[device] for device in members if device in found}


def _whole(ledger: Ledger, mandate: str, some: list[str], held: Mapping[str, str]) -> dict[str, DeviceView]:
    rows, freed = {row.id: row for row in ledger.devices(some)}, ledger.releases()
    orders = _by_device(ledger.orders_of(mandate, some)) if mandate else {}
    return {
        device: device_view(
            device,
            rows.get(device),
            orders.get(device, ()),
            mandate,
            quarantined=held.get(device),
            released=freed.get(device),
        )
        for device in some
    }


def _by_device(orders: Iterable[OrderRow]) -> dict[str, list[OrderRow]]:
    found: dict[str, list[OrderRow]] = {}
    for order in orders:
        found.setdefault(order.device, []).append(order)
    return found
