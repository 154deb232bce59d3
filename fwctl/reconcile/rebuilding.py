"""An install order that a device has and the ledger does not: its identity, from what the device says of itself.

A ledger that was lost, or restored from an older copy, cannot name the order that a device waits in: a slot that it
holds, or bytes that never came. An order's id is the digest of what it is about, so parts that give the id that the
device names are the order's own, whoever said them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from fwctl_agent.errors import Refusal
from fwctl_agent.protocol.messages import DeviceDocument
from fwctl_agent.protocol.statements import ORDER, Order, order_from_wire, order_id
from fwctl_agent.trust.envelope import Sealed


@dataclass(frozen=True)
class Begun:
    """What a follow-up needs to know of the install order that it is about."""

    device: str
    mandate: str
    release: str
    attempt: int

    @property
    def id(self) -> str:
        return order_id(
            device=self.device, mandate=self.mandate, verb="install", release=self.release, attempt=self.attempt
        )


def rebuilt(document: DeviceDocument, running: str, releases: Iterable[str]) -> Begun | None:
    """Return the install order with the id `running`; None if nothing that the device says gives this id.

    Its mandate and attempt are in the device's marks. `releases` are digests that it may have been about, beside those
    of the orders that the device keeps.
    """
    return next((one for one in _candidates(document, releases) if one.id == running), None)


def _candidates(document: DeviceDocument, releases: Iterable[str]) -> Iterator[Begun]:
    kept = [order.release for order in map(_order, document.highest_orders) if order is not None]
    about = list(dict.fromkeys([*kept, *releases]))
    for mark in document.marks:
        if mark.verb == "install":
            yield from (Begun(document.id, mark.mandate, release, mark.attempt) for release in about)


def _order(envelope: dict[str, Any]) -> Order | None:
    try:
        return order_from_wire(Sealed.open(envelope, ORDER).statement())
    except Refusal:
        return None
