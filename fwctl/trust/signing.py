"""Make the signed statements: release, approval, order."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from securesystemslib.signer import Signer

from fwctl_agent.protocol import canonical
from fwctl_agent.protocol.statements import (
    APPROVAL,
    ORDER,
    RELEASE,
    Approval,
    FollowUp,
    FollowVerb,
    Order,
    Release,
)
from fwctl_agent.trust.envelope import seal
from fwctl_agent.trust.verifier import MAX_ORDER_LIFE

ORDER_LIFE = min(timedelta(hours=12), MAX_ORDER_LIFE)


def sign_release(release: Release, signer: Signer) -> dict[str, Any]:
    """Return the release statement under one signature."""
    return seal(release.payload, RELEASE, signer)


def sign_approval(approval: Approval, signer: Signer) -> dict[str, Any]:
    """Return the approval under its signer's signature."""
    return seal(canonical.encode(approval.to_wire()), APPROVAL, signer)


class Installing(Protocol):
    """What a follow-up says of the install order that it is about."""

    @property
    def id(self) -> str: ...
    @property
    def device(self) -> str: ...
    @property
    def mandate(self) -> str: ...
    @property
    def release(self) -> str: ...
    @property
    def attempt(self) -> int: ...


@dataclass(frozen=True)
class OrderSigner:
    """The reconciler's pen: all orders of one pass carry the same epoch."""

    signer: Signer
    epoch: int

    def sign(self, order: Order) -> dict[str, Any]:
        """Return the order as a signed envelope."""
        return seal(canonical.encode(order.to_wire()), ORDER, self.signer)

    def lifetime(self, now: datetime) -> dict[str, Any]:
        """Return the freshness fields that every order carries."""
        return {"epoch": self.epoch, "issued_at": now, "expires": now + ORDER_LIFE}

    def follow_up(self, verb: FollowVerb, install: Installing, *, attempt: int, now: datetime) -> FollowUp:
        """Return an order about the one that `install` began."""
        return FollowUp(
            device=install.device,
            mandate=install.mandate,
            release=install.release,
            attempt=attempt,
            verb=verb,
            refers_to=install.id,
            **self.lifetime(now),
        )
