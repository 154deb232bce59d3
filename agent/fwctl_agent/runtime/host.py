"""The asynchronous face of one device: serialises changes, drives what is under way, wakes those who wait."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from typing import Final, TypeVar

from fwctl_agent.protocol.messages import OrderReply
from fwctl_agent.runtime import probes, steps
from fwctl_agent.runtime.device import Device
from fwctl_agent.runtime.ports import InstallFailed
from fwctl_agent.runtime.pull import Source, Tries, fetch
from fwctl_agent.runtime.pull_http import HttpsSource
from fwctl_agent.runtime.senses import OwnSenses, Senses

T = TypeVar("T")
log = logging.getLogger("fwctl_agent")

SETTLE: Final = 2.0
"""seconds that a request waits for what it set off, before it answers 202"""
MAX_PAUSE: Final = 60.0


class Host:
    """Drives a device while something is under way; no task exists while it is idle."""

    def __init__(
        self,
        device: Device,
        *,
        restart: Callable[[Host], None],
        offload: bool = True,
        senses: Senses | None = None,
        source: Source | None = None,
        tries: Tries | None = None,
        rested: Callable[[Host], None] | None = None,
    ) -> None:
        """`restart` is called when only a reboot leads on, `rested` when a spell of work has ended."""
        self.device = device
        self.senses = senses or OwnSenses(device.settings.facts, device.settings.facts_command)
        self._source = source or HttpsSource()
        self._tries = tries or Tries()
        self._restart = restart
        self._offload = offload
        self._lock = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._changed = asyncio.Event()
        self._rested = asyncio.Event()
        self._at_rest = rested
        self._visitors = 0
        self.started = time.monotonic()
        self.renewed: Callable[[], None] = _nothing
        """called when the device has a new certificate to show"""
        self.reachable = True
        """False while a simulated reboot lasts, and once this object has been given up for another one"""

    @contextlib.contextmanager
    def visited(self) -> Iterator[None]:
        """Mark a request that is being answered: the device is not at rest meanwhile."""
        self._visitors += 1
        try:
            yield
        finally:
            self._visitors -= 1
            self._ended()

    @property
    def resting(self) -> bool:
        """True when nothing is under way: no request, no order, no timer, and no reboot to come."""
        job = self.device.record.job
        busy = self._visitors or (self._task is not None and not self._task.done())
        return not busy and (job is None or not job.active)

    def _ended(self) -> None:
        if self._at_rest is not None:
            self._at_rest(self)

    async def call(self, action: Callable[..., T], *args: object) -> T:
        """Run one change of the device, alone; in a thread, because it waits for disks and commands."""
        async with self._lock:
            if not self._offload:
                return action(*args)
            work = asyncio.ensure_future(asyncio.to_thread(action, *args))
            try:
                return await asyncio.shield(work)
            except asyncio.CancelledError:
                # The thread cannot be stopped: nobody else may begin before it has ended.
                await asyncio.wait([work])
                raise

    def kick(self) -> None:
        """Something has changed: look what is to be done next."""
        self._rested.clear()
        self._wake.set()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._drive())
            self._task.add_done_callback(lambda _: self._ended())

    async def settle(self) -> None:
        """Kick, and wait a little until there is nothing to do but wait."""
        self.kick()
        await asyncio.sleep(0)
        if self._rested.is_set():
            return  # where nothing waits for a disk or a probe, that was all
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SETTLE):
                await self._rested.wait()

    async def wait(self, order: str, seconds: float) -> OrderReply | None:
        """Return the order's reply once it wants something of the reconciler, or after `seconds`."""
        end = time.monotonic() + seconds
        while True:
            changed = self._changed
            reply = self.device.reply(order)
            left = end - time.monotonic()
            if reply is None or left <= 0 or self.device.waits_for(order):
                return reply
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await changed.wait()

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _drive(self) -> None:
        failures = 0
        while True:
            self._wake.clear()
            try:
                rest = await self.call(self.device.advance)
                failures = 0
                if not await self._rest(rest) and not self._wake.is_set():
                    return
            except (OSError, InstallFailed) as error:
                # A full disk or a boot loader that says no: what runs keeps running, and it is tried again.
                failures += 1
                log.warning("cannot go on, will try again: %s", error)
                await self._give_way(failures)
            except Exception as error:  # noqa: BLE001  a bug must not leave an update without its revert
                failures += 1
                log.error("bug, will try again: %s: %s", type(error).__name__, error)
                await self._give_way(failures)

    async def _give_way(self, failures: int) -> None:
        self._notify(rested=True)
        await self._pause(min(MAX_PAUSE, 2.0 ** min(failures, 6)))

    async def _rest(self, rest: steps.Rest) -> bool:
        """Wait for what `rest` names; False when only a request can lead on."""
        self._notify(rested=not isinstance(rest, steps.Probe) or rest.watch)
        match rest:
            case steps.AwaitConfirm(seconds):
                await self._pause(seconds)
            case steps.Probe(name, limits, seconds, watch=False):
                verdict = await probes.judge(
                    self.device.settings.probes[name], limits, seconds=seconds, probe=self.senses.probe
                )
                await self.call(self.device.probed, *verdict)
            case steps.Probe(name, limits, seconds, watch=True):
                await self._watch(name, limits, seconds)
            case steps.Fetch(order):
                await self._fetch(order)
            case steps.Restart():
                self._restart(self)
                return False
            case _:
                return False
        return True

    async def _fetch(self, order: str) -> None:
        """Fetch the image beside everything else; whoever kicks may have ended the order meanwhile."""
        work = fetch(self.device, order, call=self.call, source=self._source, tries=self._tries)
        fetching = asyncio.create_task(work)
        fetching.add_done_callback(lambda _: self._wake.set())
        try:
            while not fetching.done():
                self._wake.clear()
                if self.device.fetches(order) is None:
                    break
                self._notify(rested=True)
                await self._wake.wait()
            else:
                await fetching
        finally:
            fetching.cancel()
            await asyncio.gather(fetching, return_exceptions=True)

    async def _watch(self, name: str, limits: probes.Limits, seconds: float) -> None:
        """One round; in watch a single bad one reverts, so that flapping does (D09)."""
        probe_set = self.device.settings.probes[name]
        if not self.senses.watches(probe_set):
            # Ten thousand devices without probes would otherwise be woken up for nothing, again and again.
            await self._pause(seconds)
            return
        verdict = await self.senses.probe(probe_set, limits)
        await self.call(self.device.probed, *verdict)
        if verdict[0]:
            await self._pause(min(probe_set.interval, seconds))

    async def _pause(self, seconds: float) -> None:
        """Sleep until `seconds` have passed or somebody kicks."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.01, seconds)):
                await self._wake.wait()

    def _notify(self, *, rested: bool) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
        if rested and not self._wake.is_set():
            self._rested.set()


def _nothing() -> None:
    pass
