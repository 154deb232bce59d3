"""`fwctl-agent simulate`: many enrolled devices in one process, each with the real core behind real TLS.

One listener serves all; the name that the client asks for (SNI) chooses the device and its certificate. On Linux all
of 127/8 is this machine, so every device can have an address of its own; peers from elsewhere are dropped.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
import socket
import ssl
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from math import ceil, inf
from pathlib import Path
from typing import Any, Final

from fwctl_agent import faults
from fwctl_agent.config import ConfigError
from fwctl_agent.enrolled import Identities, SettingsReader, enrolled
from fwctl_agent.fault_file import read_script
from fwctl_agent.faulty import FaultyApp, FaultyClock, FaultyFs, FaultyReady, FaultySenses, Subject
from fwctl_agent.protocol import enrolment
from fwctl_agent.protocol.statements import ProbeResult
from fwctl_agent.runtime.assemble import assemble, own_disk
from fwctl_agent.runtime.boot import FileBoot
from fwctl_agent.runtime.clock import SystemClock
from fwctl_agent.runtime.device import Device
from fwctl_agent.runtime.fs import MemoryFs, Pool
from fwctl_agent.runtime.host import Host
from fwctl_agent.runtime.ports import AlwaysReady, Fs
from fwctl_agent.runtime.pull_http import Places, source_of
from fwctl_agent.runtime.senses import OwnSenses, ReadyCommand
from fwctl_agent.runtime.settings import Settings
from fwctl_agent.server.run import listen, locked
from fwctl_agent.server.serve import AgentServer, serve
from fwctl_agent.server.tls import oldest_tls, server_context
from fwctl_agent.trust.verification import SharedVerification, Verification

log = logging.getLogger("fwctl_agent")

PULSE: Final = 0.1
"""seconds between two looks at the devices that a fault may strike without being asked"""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command line asks for; `in_memory` and `shared` are shortcuts for density, printed at the start."""

    folder: Path
    devices: int
    host: str
    port: int
    boot_delay: float
    in_memory: bool
    shared: bool = False
    faults: Path | None = None

    @property
    def shortcuts(self) -> str:
        taken = ["journal and slots in memory"] if self.in_memory else []
        taken += ["identical bytes verified once, devices at rest put away"] if self.shared else []
        return ", ".join(taken) or "none"


@dataclass(frozen=True, slots=True)
class Rested:
    """What a device at rest has beside its files."""

    started: float
    measured: tuple[ProbeResult, ...]


def simulate(options: Options) -> int:
    """Serve the first `devices` folders below `folder`, by name, until SIGTERM; return the exit code.

    Raises:
        ConfigError, Unavailable, Locked: before anything is served.
    """
    folders = enrolled(options.folder, options.devices)
    with locked(options.folder):
        listener = _loopback(listen(options.host, options.port))
        _allow_many_connections()
        new_loop = _new_loop(listener)
        with asyncio.Runner(loop_factory=new_loop) as runner:
            return runner.run(Simulation(options, folders, listener, "uvloop" if new_loop else "asyncio").main())


class Simulation:
    """The devices by TLS name: each starts on its first connection, and those at rest are put away if that is asked."""

    def __init__(self, options: Options, folders: dict[str, str], listener: socket.socket, loop: str) -> None:
        self._options = options
        self._listener = listener
        self._loop = loop
        self._folders = folders
        self._awake: dict[str, Host] = {}
        self._names: dict[Host, str] = {}
        self._rested: dict[str, Rested] = {}
        self._memory: dict[str, MemoryFs] = {}
        self._pool = Pool()
        self._settings = SettingsReader()
        self._identities = Identities()
        self._places = Places()
        self._clock = SystemClock()
        self._verification = SharedVerification() if options.shared else Verification()
        self._disks: dict[str, FaultyFs] = {}
        names = {name.partition(".")[0]: name for name in folders} if options.faults else {}
        self._script = read_script(options.faults, names) if options.faults else None
        found = faults.assign(self._script, names) if self._script else {}
        self._subjects = {
            names[device]: Subject(names[device], some, self._folder(names[device]) / enrolment.KEY, self._clock)
            for device, some in found.items()
        }
        self._ids = {device: self._subjects[names[device]] for device in found}
        self._reboots: set[asyncio.Task[None]] = set()
        self._restarting: Counter[str] = Counter()
        # Any device's context may greet the client: SNI replaces it before a certificate is shown.
        first = self._folder(next(iter(folders)))
        # What it admits holds for all: the version of TLS is settled before the name is known.
        self._front = server_context(
            first / enrolment.CERTIFICATE,
            first / enrolment.KEY,
            first / enrolment.CONTROLLER_CA,
            oldest=oldest_tls(self._settings.read(first)),
        )
        self._front.sni_callback = self._choose
        # A ticket that carries the session costs a third of a handshake. Ours names it, and OpenSSL keeps the newest
        # 20,480 sessions, each less than 7 KB.
        self._front.options |= ssl.OP_NO_TICKET
        self._server = AgentServer(
            listener,
            self._front,
            connections=None,
            ready=self._ready,
            around=self._around,
            left=self._put_away,
            quick=True,
        )

    async def main(self) -> int:
        # Whatever was interrupted goes on at once: a device does not wait to be asked.
        for name in () if self._options.in_memory else self._folders:
            if (self._folder(name) / "state").is_dir():
                self._start(name).kick()
                await asyncio.sleep(0)
        pulse = asyncio.create_task(self._pulse())
        try:
            return await serve(self._server)
        finally:
            pulse.cancel()
            for host in list(self._awake.values()):
                await host.stop()

    def _ready(self) -> None:
        host, port = self._listener.getsockname()[:2]
        sys.stdout.write(
            f"fwctl-agent: {len(self._folders)} simulated devices on {self._loop} listening on {host}:{port} "
            f"(shortcuts: {self._options.shortcuts})\n"
        )
        if self._script is not None:
            ids = [name.partition(".")[0] for name in self._folders]
            lines = (f"seed {self._script.seed}", *faults.summary(self._script, ids))
            sys.stdout.writelines(f"fwctl-agent: {line}\n" for line in lines)
        sys.stdout.flush()

    def _folder(self, name: str) -> Path:
        return self._options.folder / self._folders[name]

    def _choose(self, connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> int | None:
        if name is None or name not in self._folders:
            return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
        try:
            host = self._start(name)
            if not host.reachable or self._refuses(name):
                return ssl.ALERT_DESCRIPTION_INTERNAL_ERROR
            self._identities.show(connection, self._folder(name), partial(self._find, name))
        except ConfigError as error:
            log.error("%s", error)
            return ssl.ALERT_DESCRIPTION_INTERNAL_ERROR
        return None

    def _find(self, name: str) -> Host | None:
        """Return the device once its peer is known: it may have been put away since it was asked for."""
        try:
            return self._start(name)
        except ConfigError as error:
            log.error("%s", error)
            return None

    def _start(self, name: str) -> Host:
        host = self._awake.get(name)
        if host is None:
            host = self._power_on(name)
            rested = self._rested.pop(name, None)
            if rested is not None:
                host.started, host.device.measured = rested.started, rested.measured
        return host

    def _put_away(self, host: Host) -> None:
        """Keep only the files of a device that nobody asks and that has nothing to do; its next start reads them."""
        name = self._names.get(host)
        if name is None or not self._options.shared or name in self._subjects or self._restarting[name]:
            return
        told = host.device.settings.facts_command is not None
        if told or not host.reachable or not host.resting or self._server.visited(host):
            return
        host.reachable = False
        self._forget(name)
        self._rested[name] = Rested(host.started, host.device.measured)
        if name in self._memory:
            self._memory[name].settle(self._pool)

    def _forget(self, name: str) -> None:
        del self._names[self._awake.pop(name)]

    def _disk(self, name: str) -> Fs:
        if self._options.in_memory:
            return self._memory.setdefault(name, MemoryFs(self._folder(name)))
        return own_disk(self._folder(name))

    def _power_on(self, name: str) -> Host:
        folder = self._folder(name)
        settings = self._settings.read(folder)
        if settings.id != name.partition(".")[0]:
            place = f"{folder / enrolment.SETTINGS}: [device] id"
            raise ConfigError(place, f"is not the device of the folder, {name}", "enroll the device again")
        if self._options.boot_delay:
            settings = replace(settings, reboot="exit", boot_seconds=max(1, ceil(self._options.boot_delay)))
        subject = self._subjects.get(name)
        host = self._plain(name, settings) if subject is None else self._faulty(name, subject, settings)
        self._awake[name] = host
        self._names[host] = name
        return host

    def _plain(self, name: str, settings: Settings) -> Host:
        device = assemble(
            self._folder(name),
            settings=settings,
            fs=self._disk(name),
            clock=self._clock,
            verification=self._verification,
        )
        offload = not self._options.in_memory
        return Host(
            device,
            restart=lambda _: self._reboot(name),
            offload=offload,
            source=source_of(self._folder(name), settings, self._places),
            rested=self._put_away,
        )

    def _faulty(self, name: str, subject: Subject, settings: Settings) -> Host:
        """As `_plain`, with each port wrapped."""
        disk = self._disks[name] = FaultyFs(self._disk(name), subject)
        ready = ReadyCommand(settings.readiness) if settings.readiness else AlwaysReady()
        device = subject.device = assemble(
            self._folder(name),
            settings=settings,
            fs=disk,
            clock=FaultyClock(self._clock, subject),
            ready=FaultyReady(ready, subject),
            verification=self._verification,
        )
        senses = FaultySenses(OwnSenses(settings.facts, settings.facts_command), subject)
        offload = not self._options.in_memory
        source = source_of(self._folder(name), settings, self._places)
        return Host(device, restart=lambda _: self._reboot(name), offload=offload, senses=senses, source=source)

    def _reboot(self, name: str, *, delay: float | None = None, other_slot: bool = False) -> None:
        """Go away for a while and come back from the journal, as after a power cycle."""
        delay = self._options.boot_delay if delay is None else delay
        self._restarting[name] += 1
        task = asyncio.create_task(self._boot(name, delay, other_slot=other_slot))
        self._reboots.add(task)
        task.add_done_callback(partial(self._rebooted, name))

    def _rebooted(self, name: str, task: asyncio.Task[None]) -> None:
        self._reboots.discard(task)
        self._restarting[name] -= 1
        if not self._restarting[name]:
            del self._restarting[name]

    async def _boot(self, name: str, delay: float, *, other_slot: bool) -> None:
        # The answer that announces the reboot still leaves.
        await asyncio.sleep(0.05)
        host = self._awake.get(name)
        if host is None or not host.reachable:
            return  # it is away already
        host.reachable = False
        self._server.drop_connections(host)
        if name in self._disks:
            self._disks[name].cut()
        await host.stop()
        await asyncio.sleep(delay)
        if other_slot and host.device.settings.installer == "slots":
            FileBoot(self._disk(name)).go_back(host.device.record.standby.name)
        self._forget(name)
        try:
            self._power_on(name).kick()
        except ConfigError as error:
            log.error("%s", error)

    # -- faults -------------------------------------------------------------------------------------------------

    def _around(self, app: Any) -> Any:
        if not self._subjects:
            return app
        return FaultyApp(app, self._subject_of, check=self._vanish, cut=self._cut)

    def _subject_of(self, device: Device) -> Subject | None:
        return self._ids.get(device.settings.id)

    def _refuses(self, name: str) -> bool:
        subject = self._subjects.get(name)
        if subject is None:
            return False
        self._vanish(subject)
        refusal = subject.find(faults.Refuse)
        return subject.gone or (refusal is not None and refusal.how == "hello")

    async def _pulse(self) -> None:
        """Let faults strike that nobody needs to ask for: a device that goes away, or back to its old slot."""
        own = (faults.Vanish, faults.SilentRevert)
        struck = {
            name: subject
            for name, subject in self._subjects.items()
            if any(isinstance(fault.what, own) for fault in subject.faults)
        }
        spent = 0.0
        while struck:
            # Many devices take their time: looking at them stays a small part of what is done.
            await asyncio.sleep(max(PULSE, 30 * spent))
            begun = time.monotonic()
            for name, subject in struck.items():
                self._vanish(subject)
                if subject.strike(faults.SilentRevert, per_order=True) is not None:
                    self._reboot(name, other_slot=True)
            spent = time.monotonic() - begun

    def _vanish(self, subject: Subject) -> None:
        away = subject.strike(faults.Vanish, per_order=False)
        if away is None:
            return
        seconds = inf if away.seconds is None else away.seconds
        subject.gone_until = time.monotonic() + seconds
        self._cut(subject)
        if away.how == "power" and subject.device is not None:
            self._reboot(subject.name, delay=seconds)

    def _cut(self, subject: Subject) -> None:
        host = self._awake.get(subject.name)
        if host is not None:
            self._server.drop_connections(host)


class _LoopbackSocket(socket.socket):
    """Drops connections from other machines as they are accepted."""

    def accept(self) -> tuple[socket.socket, object]:
        connection, address = super().accept()
        if not address[0].startswith("127.") and address[0] != "::1":
            connection.close()
            raise ConnectionAbortedError
        return connection, address


def _loopback(listener: socket.socket) -> socket.socket:
    family, kind, proto = listener.family, listener.type, listener.proto
    guarded = _LoopbackSocket(family, kind, proto, listener.detach())
    guarded.setblocking(False)
    with contextlib.suppress(OSError):
        # The kernel then does not even answer the others; where this is not allowed, `accept` above drops them.
        guarded.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo")
    return guarded


def _new_loop(listener: socket.socket) -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return the maker of a faster event loop if one is installed; it accepts by itself, so the kernel must guard."""
    if not listener.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16):
        return None
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def _allow_many_connections() -> None:
    """Raise the limit on open files as far as the system lets us."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
