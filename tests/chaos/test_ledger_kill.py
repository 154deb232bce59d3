"""`kill -9` of a process that writes batches: the file is sound, the chain holds, what was acknowledged is there."""

from __future__ import annotations

import shutil
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
    async with BatchWriter(lease) as writer:
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


_COMMITS = """
import sys
from pathlib import Path
from fwctl.errors import FwctlError
from fwctl.state import Ledger, acquire_lease
from tests.unit.state.support import NOW, TTL, later, seen
def work(ledger):
    lease = acquire_lease(ledger, holder="swept", now=later(9), ttl=TTL)
    for n in range(4):
        try:
            ledger.apply([seen(f"device-{n}-{m}") for m in range(3)], epoch=lease.epoch)
        except FwctlError as error:
            print(error.code, flush=True)
        else:
            print(n, flush=True)

try:
    with Ledger.open(Path(sys.argv[1])) as ledger:
        work(ledger)
except FwctlError as error:
    print(error.code, flush=True)
"""


def swept(path: Path, fault: str) -> list[str]:
    """Run four commits while the kernel fails one call, and return what they said."""
    done = subprocess.run(
        ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"inject={fault}", sys.executable, "-c", _COMMITS, str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout.split("\n")[:-1]


def check_whole(path: Path, said: list[str]) -> None:
    with Ledger.open(path) as ledger:
        assert (ledger.integrity(), ledger.verify_chain()) == ((), None)
        there = {device.id for device in ledger.devices()}
        groups = {name.split("-")[1] for name in there}
        assert there == {f"device-{n}-{m}" for n in groups for m in range(3)}, "a commit is whole or absent"
        assert groups >= {line for line in said if line.isdecimal()}, "an acknowledged commit was lost"


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace to inject faults")
@pytest.mark.parametrize("call", ["fdatasync", "pwrite64"])
def test_a_kill_at_any_write_of_a_commit_leaves_before_or_after(path: Path, call: str) -> None:
    """THREATS R07: the N-th call kills, for growing N, on one and the same ledger."""
    cut_short = 0
    for when in (1, 2, 3, 4, 6, 9, 14):
        said = swept(path, f"{call}:signal=SIGKILL:when={when}")
        cut_short += len(said) < 4
        check_whole(path, said)
    assert cut_short >= 3


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace to inject faults")
@pytest.mark.parametrize("fault", ["fdatasync:error=EIO", "pwrite64:error=ENOSPC", "pwrite64:error=EIO"])
def test_after_a_failed_disk_nothing_more_is_written(path: Path, fault: str) -> None:
    """THREATS R09: one failed call is enough, although the disk would take the next one."""
    failed = 0
    for when in (1, 2, 3, 4, 6, 9):
        said = swept(path, f"{fault}:when={when}")
        codes = [line for line in said if not line.isdecimal()]
        assert set(codes) <= {"E_DISK"}
        assert said == sorted(said, key=lambda line: not line.isdecimal()), "it wrote on after the disk had failed"
        failed += bool(codes)
        check_whole(path, said)
    assert failed
