"""Many tasks, one transaction: who gets what when something goes wrong."""

from __future__ import annotations

import asyncio

import pytest

from fwctl.errors import Busy, FwctlError, WorldError
from fwctl.state import BatchWriter, Lease, Ledger, OrderMoved, OrderStatus
from tests.unit.state.support import NOW, intended, order_id, rollout, seen


async def test_what_was_acknowledged_is_there(ledger: Ledger, lease: Lease) -> None:
    async with BatchWriter(lease) as writer:
        await asyncio.gather(*(writer.write(seen(f"device-{n}")) for n in range(3000)))
        assert len(ledger.devices()) == 3000
    assert ledger.verify_chain() is None


async def test_leaving_commits_what_was_handed_in(ledger: Ledger, lease: Lease) -> None:
    async with BatchWriter(lease) as writer:
        tasks = [asyncio.create_task(writer.write(seen(f"device-{n}"))) for n in range(10)]
        await asyncio.sleep(0)
    await asyncio.gather(*tasks)
    assert len(ledger.devices()) == 10
    with pytest.raises(RuntimeError, match="closed"):
        await writer.write(seen())


async def test_a_wrong_change_fails_its_own_caller_alone(ledger: Ledger, lease: Lease) -> None:
    wrong = OrderMoved(at=NOW, order=order_id(99), status=OrderStatus.SENT)
    async with BatchWriter(lease) as writer:
        results = await asyncio.gather(
            writer.write(rollout(), intended(1)),
            writer.write(seen("half"), wrong),
            writer.write(seen("naive", at=NOW.replace(tzinfo=None))),
            writer.write(seen("good")),
            return_exceptions=True,
        )
    assert [type(result) for result in results] == [type(None), WorldError, ValueError, type(None)]
    assert [device.id for device in ledger.devices()] == ["good"]
    assert len(ledger.orders()) == 1
    assert ledger.verify_chain() is None


async def test_a_lost_lease_fails_everybody_and_ends_the_writer(ledger: Ledger, lease: Lease) -> None:
    with ledger.transaction(epoch=lease.epoch) as conn:
        conn.execute("UPDATE lease SET epoch = epoch + 1")
    async with BatchWriter(lease) as writer:
        results = await asyncio.gather(*(writer.write(seen(f"d{n}")) for n in range(3)), return_exceptions=True)
        assert [isinstance(result, Busy) for result in results] == [True] * 3
        with pytest.raises(FwctlError, match="E_FENCED"):
            await writer.write(seen())
    assert ledger.devices() == ()


async def test_a_caller_that_gave_up_does_not_disturb_the_others(ledger: Ledger, lease: Lease) -> None:
    async with BatchWriter(lease) as writer:
        first, second = (asyncio.create_task(writer.write(seen(f"device-{n}"))) for n in range(2))
        await asyncio.sleep(0)
        first.cancel()
        await second
    assert [device.id for device in ledger.devices()] == ["device-0", "device-1"]


class Gather:
    """A wait for more that somebody else ends."""

    def __init__(self) -> None:
        self.times = 0
        self.begun = asyncio.Event()
        self.go = asyncio.Event()

    async def __call__(self) -> None:
        self.times += 1
        self.begun.set()
        await self.go.wait()


async def many(writer: BatchWriter, name: str, number: int) -> None:
    await asyncio.gather(*(writer.write(seen(f"{name}-{n}")) for n in range(number)))


async def test_who_writes_alone_waits_for_nobody(ledger: Ledger, lease: Lease) -> None:
    gather, before = Gather(), ledger.revision()
    async with BatchWriter(lease, gather=gather) as writer:
        for n in range(5):
            await many(writer, f"device-{n}", 2)
    assert (gather.times, ledger.revision() - before) == (0, 5)


async def test_where_many_write_a_batch_waits_for_more_of_them(ledger: Ledger, lease: Lease) -> None:
    gather = Gather()
    async with BatchWriter(lease, gather=gather) as writer:
        await many(writer, "many", 10)
        assert gather.times == 0
        before = ledger.revision()
        waiting = [asyncio.create_task(writer.write(seen("first")))]
        await gather.begun.wait()
        waiting += [asyncio.create_task(writer.write(seen(f"more-{n}"))) for n in range(2)]
        await asyncio.sleep(0)
        assert ledger.revision() == before, "nothing is acknowledged that is not written"
        assert not any(one.done() for one in waiting)
        gather.go.set()
        await asyncio.gather(*waiting)
        assert (gather.times, ledger.revision() - before) == (1, 1)
    assert len(ledger.devices()) == 13


async def test_leaving_ends_a_wait_for_more_with_everything_written(ledger: Ledger, lease: Lease) -> None:
    gather = Gather()
    async with BatchWriter(lease, gather=gather) as writer:
        await many(writer, "many", 10)
        last = asyncio.create_task(writer.write(seen("last")))
        await gather.begun.wait()
        asyncio.get_running_loop().call_later(0.01, gather.go.set)
    await last
    assert len(ledger.devices()) == 11


async def test_whoever_waits_in_a_batch_learns_of_the_writers_end(ledger: Ledger, lease: Lease) -> None:
    gather = Gather()
    writer = BatchWriter(lease, gather=gather)
    with pytest.raises(asyncio.CancelledError):
        async with writer:
            await many(writer, "many", 10)
            waiting = [asyncio.create_task(writer.write(seen("first")))]
            await gather.begun.wait()
            waiting += [asyncio.create_task(writer.write(seen("second")))]
            await asyncio.sleep(0)
            (task,) = (one for one in asyncio.all_tasks() if one.get_name() == "ledger-writer")
            task.cancel()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert ["cancelled" in str(result) for result in results] == [True, True]
    assert len(ledger.devices()) == 10
