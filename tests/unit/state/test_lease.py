"""Two reconcilers: real processes, real locks, a fencing epoch."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from datetime import datetime
from pathlib import Path

import pytest

from fwctl.errors import Busy
from fwctl.state import Lease, Ledger, SetMeta, acquire_lease
from tests.unit.state.support import NOW, TTL, later, seen

_HOLDER = """
import sys, time
from pathlib import Path
from fwctl.state import Ledger, acquire_lease
from tests.unit.state.support import NOW, TTL
ledger = Ledger.open(Path(sys.argv[1]))
print(acquire_lease(ledger, holder="other", now=NOW, ttl=TTL).epoch, flush=True)
time.sleep(60)
"""


def hold(path: Path) -> subprocess.Popen[str]:
    child = subprocess.Popen([sys.executable, "-c", _HOLDER, str(path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline().strip() == "1"
    return child


def elsewhere(ledger: Ledger, *, epoch: int, expires: datetime) -> None:
    """Write the lease that a reconciler on another host would hold."""
    conn = sqlite3.connect(ledger.path)
    conn.execute(
        "UPDATE lease SET holder = 'other', host = 'elsewhere', pid = 1, epoch = ?, acquired_at = ?, renewed_at = ?,"
        " expires_at = ?",
        (epoch, "2026-01-02T03:00:00Z", "2026-01-02T03:00:00Z", expires.strftime("%Y-%m-%dT%H:%M:%SZ")),
    )
    conn.commit()
    conn.close()


def test_the_second_reconciler_is_told_who_the_first_is(ledger: Ledger) -> None:
    child = hold(ledger.path)
    try:
        with pytest.raises(Busy) as caught:
            acquire_lease(ledger, holder="me", now=later(3600), ttl=TTL)  # expiry does not matter on one host
        assert caught.value.code == "E_LOCKED"
        for part in ("other", socket.gethostname(), str(child.pid), "2026-01-02T03:04:05Z"):
            assert part in caught.value.message
    finally:
        child.kill()
        child.communicate()


def test_a_killed_reconciler_is_succeeded_at_once_and_fenced(ledger: Ledger) -> None:
    child = hold(ledger.path)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    with acquire_lease(ledger, holder="me", now=later(1), ttl=TTL) as lease:
        assert lease.epoch == 2
        assert [event.kind for event in ledger.events()] == ["lease.taken-over"]
        with pytest.raises(Busy, match="E_FENCED"):
            ledger.apply([seen()], epoch=1)
        ledger.apply([seen()], epoch=2)
    assert len(ledger.devices()) == 1


def test_a_lease_of_another_host_must_expire_first(ledger: Ledger) -> None:
    elsewhere(ledger, epoch=4, expires=later(60))
    with pytest.raises(Busy) as caught:
        acquire_lease(ledger, holder="me", now=later(59), ttl=TTL)
    assert "elsewhere" in caught.value.message
    assert "2026-01-02T03:05:05Z" in caught.value.remedy
    with acquire_lease(ledger, holder="me", now=later(60), ttl=TTL) as lease:
        assert lease.epoch == 5


def test_whoever_was_overtaken_can_neither_write_nor_release(ledger: Ledger, lease: Lease) -> None:
    elsewhere(ledger, epoch=lease.epoch + 1, expires=later(60))
    with pytest.raises(Busy, match="E_FENCED"):
        ledger.apply([seen()], epoch=lease.epoch)
    with pytest.raises(Busy, match="E_FENCED"):
        lease.renew(later(1), TTL)
    lease.release()
    assert (ledger.lease().holder, ledger.devices()) == ("other", ())


def test_a_lease_is_renewed_and_given_back(ledger: Ledger) -> None:
    with acquire_lease(ledger, holder="me", now=NOW, ttl=TTL) as lease:
        lease.renew(later(100), TTL)
        row = ledger.lease()
        assert (row.holder, row.pid, row.renewed_at, row.expires_at) == (
            "me",
            os.getpid(),
            later(100),
            later(100) + TTL,
        )
    lease.release()
    assert ledger.lease().holder == ""
    with acquire_lease(ledger, holder="me", now=later(1), ttl=TTL) as again:
        assert again.epoch == 2
    assert list(ledger.events()) == []


def test_an_epoch_is_adopted_once_and_then_the_loop_stops(ledger: Ledger, lease: Lease) -> None:
    assert lease.adopt_epoch(0, NOW) == 1
    assert lease.adopt_epoch(41, NOW) == 42
    assert [event.data for event in ledger.events()] == [{"from": 1, "to": 42}]
    ledger.apply([seen()], epoch=lease.epoch)
    assert lease.adopt_epoch(41, NOW) == 42
    with pytest.raises(Busy, match="E_EPOCH_MOVED"):
        lease.adopt_epoch(43, NOW)
    assert ledger.lease().epoch == 42


def test_what_waits_to_be_written_while_an_epoch_is_adopted_is_no_takeover(ledger: Ledger) -> None:
    """Another thread writes at any moment of it, many times over: it never finds its own lease overtaken."""
    with acquire_lease(ledger, holder="one", now=NOW, ttl=TTL) as lease:
        failed: list[BaseException] = []
        stop = threading.Event()

        def write() -> None:
            number = 0
            while not stop.is_set():
                number += 1
                try:
                    lease.apply_groups([[SetMeta(at=NOW, key="k", value=str(number))]])
                except Busy as error:
                    failed.append(error)
                    return

        writers = [threading.Thread(target=write) for _ in range(3)]
        for writer in writers:
            writer.start()
        lease.adopt_epoch(7, NOW)
        stop.set()
        for writer in writers:
            writer.join(20)
        assert (failed, lease.epoch) == ([], 8)
