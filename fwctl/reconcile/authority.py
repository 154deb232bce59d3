"""What a pass signs with: freshness that rises, and orders under one epoch. Both learn from devices, on proof only."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from securesystemslib.signer import CryptoSigner, Signer

from fwctl.state import BatchWriter, Lease, Ledger, SetMeta
from fwctl.trust.authority import Authority
from fwctl.trust.repository import mint_freshness
from fwctl.trust.signing import OrderSigner
from fwctl_agent.errors import Refusal
from fwctl_agent.protocol.messages import DeviceDocument
from fwctl_agent.protocol.statements import Order
from fwctl_agent.trust.verifier import open_order

_VERSION = "timestamp_version"
T = TypeVar("T")
Clock = Callable[[], datetime]


async def _signed(signer: Signer, sign: Callable[[], T]) -> T:
    """Sign at once with a key in memory, aside with one in a token: its answer may take long, and be tried again."""
    return sign() if isinstance(signer, CryptoSigner) else await asyncio.to_thread(sign)


class Freshness:
    """Snapshot and timestamp of this pass: minted once, and again only if a device proves that it has seen newer."""

    def __init__(self, authority: Authority, signer: Signer, ledger: Ledger, writer: BatchWriter) -> None:
        self._authority = authority
        self._signer = signer
        self._writer = writer
        self._version = int(ledger.meta(_VERSION) or 0)
        self._files: dict[str, str] = {}
        self._lock = asyncio.Lock()

    async def bundle(self, document: DeviceDocument, now: datetime) -> dict[str, str]:
        """Return the trust files for a device, with freshness above what it has proved to hold."""
        async with self._lock:
            seen = self._proved(document)
            if not self._files or seen >= self._version:
                self._version = max(self._version, seen) + 1
                # Recorded first: a crash may skip a version, it can never use one twice.
                await self._writer.write(SetMeta(at=now, key=_VERSION, value=str(self._version)))
                mint = partial(mint_freshness, self._authority.trusted, self._signer, version=self._version, now=now)
                self._files = await _signed(self._signer, mint)
        return self._authority.bundle(document.trust.root) | self._files

    def _proved(self, document: DeviceDocument) -> int:
        """A version that a device merely claims moves nothing; the timestamp that our own key signed does."""
        text = document.highest_timestamp
        if text is None or document.trust.timestamp < self._version:
            return 0
        try:
            return self._authority.trusted.timestamp_version(text)
        except Refusal:
            return 0


class Pen:
    """Signs orders under the lease's epoch."""

    def __init__(self, signer: Signer, lease: Lease, authority: Authority) -> None:
        self._signer = signer
        self._lease = lease
        self._authority = authority
        self._lock = asyncio.Lock()

    @property
    def orders(self) -> OrderSigner:
        return OrderSigner(self._signer, self._lease.epoch)

    async def sign(self, order: Order) -> dict[str, Any]:
        """Return the order in its envelope.

        Raises:
            WorldError: `E_SIGNER` if the key lies in a token that does not sign; nothing was sent.
        """
        return await _signed(self._signer, partial(self.orders.sign, order))

    async def learn(self, document: DeviceDocument, now: datetime) -> None:
        """Go beyond an epoch that a device proves with an order signed by our own key (CONTRACTS, Epoch).

        Raises:
            Busy: it moved again within one lease: somebody else orders with our key.
        """
        async with self._lock:
            for envelope in document.highest_orders:
                try:
                    order, key = open_order(envelope, self._authority.policy)
                except Refusal:
                    continue
                if key == self._signer.public_key.keyid and order.epoch > self._lease.epoch:
                    await asyncio.to_thread(self._lease.adopt_epoch, order.epoch, now)
