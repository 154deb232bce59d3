"""Many writers, one transaction: what waits together is committed together.

A commit costs a wait for the disk and writes whole pages, however little is in it. Where many are writing, a batch
waits a moment for more of them; who writes alone never waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Self

from fwctl.errors import FwctlError
from fwctl.state.changes import Change
from fwctl.state.lease import Lease

_MAX_GROUPS = 2000
_MANY = 3
"""groups in a batch from which on the next one waits for more"""
_GATHER = 0.01
"""seconds that it waits"""
Group = tuple[tuple[Change, ...], asyncio.Future[None]]


async def _moment() -> None:
    await asyncio.sleep(_GATHER)


class BatchWriter:
    """Write changes from many tasks through one; `write` returns when they are on disk.

    Use as an async context manager inside a lease. Leaving it commits what was handed in before.
    """

    def __init__(
        self,
        lease: Lease,
        *,
        gather: Callable[[], Awaitable[None]] = _moment,
    ) -> None:
        """Take by what right to write, and how to wait for more where many are writing."""
        self._lease = lease
        self._gather = gather
        self._queue: asyncio.Queue[Group | None] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None
        self._stopped: BaseException | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run(), name="ledger-writer")
        return self

    async def __aexit__(self, *_exc: object) -> None:
        if self._task is not None:
            self._queue.put_nowait(None)
            await self._task

    async def write(self, *changes: Change) -> None:
        """Commit the changes, all or none, and return when they are durable.

        Raises what is wrong with these changes, to this caller only; when the disk fails or the lease is lost,
        every waiting and every later caller gets that error, and nothing is tried again.
        """
        if self._stopped is not None:
            raise self._stopped
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.put_nowait((changes, done))
        await done

    async def _run(self) -> None:
        open_for_more = True
        batch: list[Group] = []
        try:
            while open_for_more:
                first, many = await self._queue.get(), len(batch) >= _MANY
                batch = []
                open_for_more = self._collect(first, batch)
                if many and open_for_more:
                    await self._gather()
                    if not self._queue.empty():
                        open_for_more = self._collect(self._queue.get_nowait(), batch)
                if batch:
                    await self._commit(batch)
        except BaseException as error:
            self._stop(error, batch)
            if not isinstance(error, FwctlError):
                raise  # cancelled, or a bug: the callers know, and so must whoever runs the writer
        else:
            self._stop(RuntimeError("the ledger writer was closed"), [])

    def _collect(
        self,
        item: Group | None,
        batch: list[Group],
    ) -> bool:
        """Move what waits into the batch; False when the end was asked for."""
        while item is not None:
            batch.append(item)
            if len(batch) >= _MAX_GROUPS or self._queue.empty():
                return True
            item = self._queue.get_nowait()
        return False

    async def _commit(self, batch: list[Group]) -> None:
        groups = [changes for changes, _ in batch]
        failed = await asyncio.to_thread(self._lease.apply_groups, groups)
        for (_, done), error in zip(batch, failed, strict=True):
            if done.done():
                continue  # its caller was cancelled; the change is recorded all the same
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)

    def _stop(self, error: BaseException, batch: list[Group]) -> None:
        if isinstance(error, asyncio.CancelledError):  # nobody may take the writer's end for their own
            error = RuntimeError("the ledger writer was cancelled")
        self._stopped = error
        waiting = [done for _, done in batch]
        while not self._queue.empty():
            item = self._queue.get_nowait()
            waiting += [item[1]] if item is not None else []
        for done in waiting:
            if not done.done():
                done.set_exception(error)
