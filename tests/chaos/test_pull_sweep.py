"""D01, D03, D05 for images that a device fetches: the power fails at each operation of the disk in turn."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from fwctl_agent.protocol.statements import InstallOrder, Pull
from fwctl_agent.runtime import intake, steps
from fwctl_agent.runtime.pull import Tries, fetch
from fwctl_agent.runtime.pull_http import Answer, Trouble
from fwctl_agent.trust.addresses import Address
from tests.support.signing import Fleet
from tests.unit.agent.bench import IMAGE, Bench, PowerCut

LISTED = {"scheme": "https", "host": "images.example.com", "port": 443, "cidr": None}
URL = "https://images.example.com/fw"
PIECE = 700


@dataclass
class MemorySource:
    """The storage in memory; with `breaks` it breaks off after each second piece."""

    image: bytes
    breaks: bool

    @asynccontextmanager
    async def get(self, address: Address, *, offset: int, length: int) -> AsyncIterator[Answer]:
        assert (address.place, length) == (URL, len(self.image))
        yield Answer(offset, self._pieces(offset))

    async def _pieces(self, offset: int) -> AsyncIterator[bytes]:
        for number, start in enumerate(range(offset, len(self.image), PIECE)):
            if self.breaks and number == 2:
                raise Trouble("E_STORAGE_CUT", "it broke off")
            yield self.image[start : start + PIECE]


async def here(action: Callable[..., Any], *args: object) -> Any:
    return action(*args)


async def strive(bench: Bench, order: InstallOrder, source: MemorySource) -> None:
    """Fetch, and do what follows, until the image is on trial."""
    for _ in range(8):
        if isinstance(bench.device.advance(), steps.Probe):
            return
        await fetch(bench.device, order.id, call=here, source=source, tries=Tries(barren=20, first=0.0))
    raise AssertionError("the image did not arrive")


def failing_from(number: int) -> Callable[[int, str], None]:
    def trap(at: int, what: str) -> None:
        if at >= number:
            raise PowerCut

    return trap


@pytest.mark.parametrize("breaks", [False, True], ids=["in one go", "in pieces"])
@pytest.mark.parametrize("torn", [False, True], ids=["lost", "torn"])
async def test_d01_d03_d05_power_fails_at_each_operation_of_a_download(
    breaks: bool, torn: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "CHECKPOINT", 1000)
    number, cuts = 0, 0
    while True:
        bench = Bench(fleet=Fleet(policy={"storage": [LISTED]}))
        order, source = bench.accept(delivery=Pull(URL)), MemorySource(IMAGE, breaks)
        number += 1
        bench.disk.trap = failing_from(bench.disk.operations + number)
        try:
            await strive(bench, order, source)
            break
        except PowerCut:
            cuts += 1
        bench.disk.trap = lambda number, what: None
        bench.disk.cut_power(torn=torn)
        bench.clock.reboot()
        bench.power_on()
        bench.check_bootable()
        await strive(bench, order, source)
        assert bench.disk.read("slots/b.img") == IMAGE
        bench.check_bootable()
    assert cuts > 15
