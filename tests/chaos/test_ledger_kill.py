"""`kill -9` of a process that writes batches: the file is sound, the chain holds, what was acknowledged is there."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fwctl.state import Event, Ledger, acquire_lease
from tests.unit.state.support import NOW, TTL, later

_WRITER = """
import asyncio, itertools, sys
from pathlib import Path
from fwctl.state import BatchWriter, Ledger, OrderMoved, OrderStatus, acquire_lease
from tests.unit.state.support import NOW, TTL, intended, order_id, rollout, seen

async def work(writer, turn, n):
    number = turn * 1000 + n
    device = f"device-{number}"
    await writer.write(intended(number, device=device), seen(device))
    await writer.write(OrderMoved(at=NOW, order=order_id(number), status=OrderStatus.SENT))
    print(number, flush=True)

async def main(ledger, lease):
    async with BatchWriter(ledger, lease) as writer:
        await writer.write(rollout())
        start = len(ledger.orders()) + 1
        for turn in itertools.count(start):
            await asyncio.gather(*(work(writer, turn, n) for n in range(50)))

ledger = Ledger.open(Path(sys.argv[1]))
asyncio.run(main(ledger, acquire_lease(ledger, holder="writer", now=NOW, ttl=TTL)))
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "ledger.db"
    Ledger.create(path).close()
    return path


def written_until_killed(path: Path, seconds: float) -> set[int]:
    """Run the writer, kill it, and return the numbers that it had acknowledged."""
    child = subprocess.Popen([sys.executable, "-c", _WRITER, str(path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    first = child.stdout.readline()
    time.sleep(seconds)
    child.send_signal(signal.SIGKILL)
    rest, _ = child.communicate()
    lines = (first + rest).split("\n")[:-1]  # a line cut by the kill was not acknowledged
    return {int(line) for line in lines}


def test_killed_writers_lose_nothing_that_they_acknowledged(path: Path) -> None:
    acknowledged: set[int] = set()
    for turn in range(5):
        acknowledged |= written_until_killed(path, 0.03 + 0.11 * turn)
        with Ledger.open(path) as ledger:
            assert ledger.integrity() == ()
            assert ledger.verify_chain() is None
            orders = {order.device: order for order in ledger.orders()}
            for number in acknowledged:
                assert orders[f"device-{number}"].status == "sent"
            # a group is whole or absent: every order has its device, and every state its event
            assert set(orders) == {device.id for device in ledger.devices()}
            sent = sum(order.status == "sent" for order in orders.values())
            assert sum(event.kind == "order.sent" for event in ledger.events()) == sent
            with acquire_lease(ledger, holder="check", now=later(1), ttl=TTL) as lease:
                assert lease.epoch == 2 * turn + 2
                note = Event(at=NOW, kind="note", reason=f"checked after kill {turn}")
                ledger.apply([note], epoch=lease.epoch)
    assert len(acknowledged) >= 250
