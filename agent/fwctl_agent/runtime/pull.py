"""Fetch an image: try after try through the same intake as a pushed one, until it is there or there is no hope.

Bytes that have arrived count whatever becomes of their connection: the next try asks for the rest.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Final, Protocol

from fwctl_agent.errors import Refusal
from fwctl_agent.runtime.device import Device
from fwctl_agent.runtime.intake import Fetched
from fwctl_agent.runtime.pull_http import Answer, Trouble
from fwctl_agent.trust.addresses import Address, check_address

log = logging.getLogger("fwctl_agent")
LEAST: Final = 1 << 16
"""bytes that a try must bring to count as progress"""


class Source(Protocol):
    """Where images are fetched. Raises nothing but `Refusal` and `Trouble`."""

    def get(self, address: Address, *, offset: int, length: int) -> AbstractAsyncContextManager[Answer]: ...


class Call(Protocol):
    """Runs one change of the device, alone."""

    def __call__(self, action: Callable[..., Any], *args: object) -> Awaitable[Any]: ...


@dataclass(frozen=True, kw_only=True)
class Tries:
    """How often, and how far apart in seconds."""

    barren: int = 8
    """tries in a row that brought nothing"""
    most: int = 1000
    anew: int = 8
    """times that a storage may begin at the first byte again: each may write the whole slot, and flash wears"""
    first: float = 1.0
    longest: float = 60.0

    def pause(self, failures: int) -> float:
        """Return the wait after so many failures in a row: devices that failed together must not return together."""
        return min(self.longest, self.first * 2.0 ** min(failures - 1, 16)) * random.uniform(0.5, 1.0)  # noqa: S311


@dataclass
class _Anew:
    """How often the storage may still begin at the first byte again."""

    left: int

    def spend(self, name: str) -> None:
        if not self.left:
            raise Refusal("E_RANGE", f"{name} begins at the first byte again and again")
        self.left -= 1


async def fetch(device: Device, order: str, *, call: Call, source: Source, tries: Tries) -> None:
    """Fetch the image of an order until it is all there, or end the order with class `download`.

    Raises:
        OSError: the journal failed; what is durable is kept.
    """
    failures, number, anew = 0, 0, _Anew(tries.anew)
    while (wanted := device.fetches(order)) is not None:
        before, number, trouble = _durable(device), number + 1, Trouble("E_STORAGE_CUT", "nothing arrived")
        try:
            await _once(device, order, wanted, call, source, anew)
            if device.fetches(order) is None:
                return
        except Refusal as refusal:
            await call(device.fetch_failed, order, refusal.code, refusal.message)
            return
        except Trouble as error:
            trouble = error
        failures = 1 if _durable(device) - before >= LEAST else failures + 1
        log.warning("the image did not arrive (%s), try %d", trouble, number)
        if failures >= tries.barren or number >= tries.most:
            await call(device.fetch_failed, order, trouble.code, trouble.message)
            return
        await asyncio.sleep(tries.pause(failures))


async def _once(device: Device, order: str, wanted: Fetched, call: Call, source: Source, anew: _Anew) -> None:
    # Checked again: the policy may have changed since the order was accepted.
    address = check_address(wanted.url, wanted.allow)
    intake = await call(device.open_fetch, order)
    if intake is None:
        return
    try:
        async with source.get(address, offset=intake.offset, length=wanted.length) as answer:
            if answer.offset != intake.offset:
                anew.spend(address.netloc)
                intake = await call(device.fetch_again, intake)
            async for piece in answer.pieces:
                if intake is None or not await call(device.feed, intake, piece):
                    return
        if intake is not None and intake.offset < wanted.length:
            raise Trouble("E_STORAGE_CUT", f"{address.netloc} sent too little")
    finally:
        if intake is not None:
            await call(device.close_image, intake)


def _durable(device: Device) -> int:
    job = device.record.job
    return job.offset if job is not None else 0
