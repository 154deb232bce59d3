"""Many tasks, one transaction: who gets what when something goes wrong."""

from __future__ import annotations

import asyncio

import pytest

from fwctl.errors import Busy, FwctlError, WorldError
from fwctl.state import BatchWriter, Lease, Ledger, OrderMoved, OrderStatus
from tests.unit.state.support import NOW, intended, order_id, rollout, seen


async def test_what_was_acknowledged_is_there(ledger: Ledger, lease: Lease) -> None:
    async with BatchWriter(ledger, lease) as writer:
        await asyncio.gather(*(writer.write(seen(f"device-{n}")) for n in range(3000)))
        assert len(ledger.devices()) == 3000
    assert ledger.verify_chain() is None


async def test_leaving_commits_what_was_handed_in(ledger: Ledger, lease: Lease) -> None:
    async with BatchWriter(ledger, lease) as writer:
        tasks = [asyncio.create_task(writer.write(seen(f"device-{n}"))) for n in range(10)]
        await asyncio.sleep(0)
    await asyncio.gather(*tasks)
    assert len(ledger.devices()) == 10
    with pytest.raises(RuntimeError, match="closed"):
        await writer.write(seen())


async def test_a_wrong_change_fails_its_own_caller_alone(ledger: Ledger, lease: Lease) -> None:
    wrong = OrderMoved(at=NOW, order=order_id(99), status=OrderStatus.SENT)
    async with BatchWriter(ledger, lease) as writer:
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
    async with BatchWriter(ledger, lease) as writer:
        results = await asyncio.gather(*(writer.write(seen(f"d{n}")) for n in range(3)), return_exceptions=True)
        assert [isinstance(result, Busy) for result in results] == [True] * 3
        with pytest.raises(FwctlError, match="E_FENCED"):
            await writer.write(seen())
    assert ledger.devices() == ()


async def test_a_caller_that_gave_up_does_not_disturb_the_others(ledger: Ledger, lease: Lease) -> None:
    async with BatchWriter(ledger, lease) as writer:
        first, second = (asyncio.create_task(writer.write(seen(f"device-{n}"))) for n in range(2))
        await asyncio.sleep(0)
        first.cancel()
        await second
    assert [device.id for device in ledger.devices()] == ["device-0", "device-1"]
