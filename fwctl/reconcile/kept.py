"""Orders as the ledger keeps them: signed envelopes, without what may be a secret."""

from __future__ import annotations

from dataclasses import replace

from fwctl.state import Ledger
from fwctl_agent.protocol.statements import ORDER, InstallOrder, Order, Pull, order_from_wire
from fwctl_agent.trust.addresses import without_query
from fwctl_agent.trust.envelope import Sealed


def without_secret(order: Order) -> Order:
    """Return the order as the ledger keeps it: the same id, and no token in the address of the image."""
    if not isinstance(order, InstallOrder) or not isinstance(order.delivery, Pull):
        return order
    plain = without_query(order.delivery.url)
    return order if plain == order.delivery.url else replace(order, delivery=Pull(plain))


def kept_order(ledger: Ledger, order: str) -> Order | None:
    """Return an order by its id; None if the ledger does not have it."""
    body = ledger.order_body(order)
    return None if body is None else order_from_wire(Sealed.open(body, ORDER).statement())


def kept_install(ledger: Ledger, order: str) -> InstallOrder:
    """Return an install order that was written before it was sent."""
    found = kept_order(ledger, order)
    if not isinstance(found, InstallOrder):
        raise TypeError("an install order that was sent has its envelope in the ledger")
    return found
