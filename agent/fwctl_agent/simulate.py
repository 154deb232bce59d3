"""`fwctl-agent simulate`: many enrolled devices in one process, each with the real core behind real TLS.

One listener serves all; the name that the client asks for (SNI) chooses the device and its certificate. On Linux all
of 127/8 is this machine, so every device can have an address of its own; peers from elsewhere are dropped.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
import sys
import time
from dataclasses import dataclass, replace
from math import ceil, inf
from pathlib import Path
from typing import Any, Final

from cryptography import x509

from fwctl_agent import faults
from fwctl_agent.config import ConfigError, read_settings
from fwctl_agent.fault_file import read_script
from fwctl_agent.faulty import FaultyApp, FaultyClock, FaultyFs, FaultyReady, FaultySenses, Subject
from fwctl_agent.protocol import enrolment
from fwctl_agent.protocol.fields import ID
from fwctl_agent.runtime.assemble import assemble
from fwctl_agent.runtime.boot import FileBoot
from fwctl_agent.runtime.clock import SystemClock
from fwctl_agent.runtime.device import Device
from fwctl_agent.runtime.fs import MemoryFs, OsFs
from fwctl_agent.runtime.host import Host
from fwctl_agent.runtime.ports import AlwaysReady, Fs
from fwctl_agent.runtime.senses import OwnSenses, ReadyCommand
from fwctl_agent.runtime.settings import Settings
from fwctl_agent.server.run import listen, locked
from fwctl_agent.server.serve import AgentServer, serve
from fwctl_agent.server.tls import HostContext, server_context

log = logging.getLogger("fwctl_agent")

PULSE: Final = 0.1
"""seconds between two looks at the devices that a fault may strike without being asked"""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command line asks for; `in_memory` is a shortcut for density, printed at the start."""

    folder: Path
    devices: int
    host: str
    port: int
    boot_delay: float
    in_memory: bool
    faults: Path | None = None


def simulate(options: Options) -> int:
    """Serve the first `devices` folders below `folder`, by name, until SIGTERM; return the exit code.

    Raises:
        ConfigError, Unavailable, Locked: before anything is served.
    """
    folders = _folders(options.folder, options.devices)
    with locked(options.folder):
        listener = _loopback(listen(options.host, options.port))
        return asyncio.run(Simulation(options, folders, listener).main())


class Simulation:
    """The devices by TLS name, each started on its first connection."""

    def __init__(self, options: Options, folders: list[Path], listener: socket.socket) -> None:
        self._options = options
        self._listener = listener
        self._folders = {_dns_name(folder): folder for folder in folders}
        self._contexts: dict[str, HostContext] = {}
        self._fs: dict[Path, Fs] = {}
        self._disks: dict[str, FaultyFs] = {}
        names = {name.partition(".")[0]: name for name in self._folders}
        self._script = read_script(options.faults, names) if options.faults else None
        found = faults.assign(self._script, names) if self._script else {}
        self._subjects = {
            names[device]: Subject(names[device], some, self._folders[names[device]] / enrolment.KEY, SystemClock())
            for device, some in found.items()
        }
        self._ids = {device: self._subjects[names[device]] for device in found}
        self._reboots: set[asyncio.Task[None]] = set()
        # Any device's context may greet the client: SNI replaces it before a certificate is shown.
        self._front = _context(folders[0])
        self._front.sni_callback = self._choose
        self._server = AgentServer(listener, self._front, connections=None, ready=self._ready, around=self._around)

    async def main(self) -> int:
        # Whatever was interrupted goes on at once: a device does not wait to be asked.
        for name, folder in self._folders.items():
            if not self._options.in_memory and (folder / "state").is_dir():
                self._start(name).kick()
        pulse = asyncio.create_task(self._pulse())
        try:
            return await serve(self._server)
        finally:
            pulse.cancel()
            for context in self._contexts.values():
                if context.host:
                    await context.host.stop()

    def _ready(self) -> None:
        host, port = self._listener.getsockname()[:2]
        shortcuts = "journal and slots in memory" if self._options.in_memory else "none"
        sys.stdout.write(
            f"fwctl-agent: {len(self._folders)} simulated devices listening on {host}:{port} (shortcuts: {shortcuts})\n"
        )
        if self._script is not None:
            ids = [name.partition(".")[0] for name in self._folders]
            lines = (f"seed {self._script.seed}", *faults.summary(self._script, ids))
            sys.stdout.writelines(f"fwctl-agent: {line}\n" for line in lines)
        sys.stdout.flush()

    def _choose(self, connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> int | None:
        if name is None or name not in self._folders:
            return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
        try:
            host = self._start(name)
        except ConfigError as error:
            log.error("%s", error)
            return ssl.ALERT_DESCRIPTION_INTERNAL_ERROR
        if not host.reachable or self._refuses(name):
            return ssl.ALERT_DESCRIPTION_INTERNAL_ERROR
        connection.context = self._contexts[name]
        return None

    def _start(self, name: str) -> Host:
        context = self._contexts.get(name)
        if context is None:
            context = self._contexts[name] = _context(self._folders[name])
        if context.host is None:
            context.host = self._power_on(name)
        return context.host

    def _power_on(self, name: str) -> Host:
        folder = self._folders[name]
        fs = self._fs.setdefault(folder, MemoryFs(folder) if self._options.in_memory else OsFs(folder))
        settings = read_settings(folder)
        if self._options.boot_delay:
            settings = replace(settings, reboot="exit", boot_seconds=max(1, ceil(self._options.boot_delay)))
        subject = self._subjects.get(name)
        if subject is not None:
            return self._power_on_faulty(name, subject, settings, fs)
        device = assemble(folder, settings=settings, fs=fs)
        return Host(device, restart=lambda _: self._reboot(name), offload=not self._options.in_memory)

    def _power_on_faulty(self, name: str, subject: Subject, settings: Settings, fs: Fs) -> Host:
        """As `_power_on`, with each port wrapped."""
        disk = self._disks[name] = FaultyFs(fs, subject)
        ready = ReadyCommand(settings.readiness) if settings.readiness else AlwaysReady()
        device = subject.device = assemble(
            self._folders[name],
            settings=settings,
            fs=disk,
            clock=FaultyClock(SystemClock(), subject),
            ready=FaultyReady(ready, subject),
        )
        senses = FaultySenses(OwnSenses(settings.facts, settings.facts_command), subject)
        offload = not self._options.in_memory
        return Host(device, restart=lambda _: self._reboot(name), offload=offload, senses=senses)

    def _reboot(self, name: str, *, delay: float | None = None, other_slot: bool = False) -> None:
        """Go away for a while and come back from the journal, as after a power cycle."""
        delay = self._options.boot_delay if delay is None else delay
        task = asyncio.create_task(self._boot(name, delay, other_slot=other_slot))
        self._reboots.add(task)
        task.add_done_callback(self._reboots.discard)

    async def _boot(self, name: str, delay: float, *, other_slot: bool) -> None:
        # The answer that announces the reboot still leaves.
        await asyncio.sleep(0.05)
        context = self._contexts[name]
        host = context.host
        if host is None or not host.reachable:
            return  # it is away already
        host.reachable = False
        self._server.drop_connections(host)
        if name in self._disks:
            self._disks[name].cut()
        await host.stop()
        await asyncio.sleep(delay)
        if other_slot and host.device.settings.installer == "slots":
            FileBoot(self._fs[self._folders[name]]).go_back(host.device.record.standby.name)
        try:
            context.host = self._power_on(name)
        except ConfigError as error:
            log.error("%s", error)
            context.host = None
        else:
            context.host.kick()

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
            await asyncio.sleep(max(PULSE, 10 * spent))
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
        context = self._contexts.get(subject.name)
        if context is not None and context.host is not None:
            self._server.drop_connections(context.host)


def _folders(below: Path, count: int) -> list[Path]:
    try:
        found = sorted(entry for entry in below.iterdir() if (entry / enrolment.SETTINGS).is_file())
    except OSError as error:
        raise ConfigError(str(below), f"cannot be read: {error.strerror}", "name the folder of enrolments") from error
    if len(found) < count:
        raise ConfigError(
            str(below), f"holds {len(found)} enrolled devices, not {count}", "enroll more, or ask for less"
        )
    return found[:count]


def _context(folder: Path) -> HostContext:
    return server_context(folder / enrolment.CERTIFICATE, folder / enrolment.KEY, folder / enrolment.CONTROLLER_CA)


def _dns_name(folder: Path) -> str:
    """Return the DNS name in the device's certificate."""
    path = folder / enrolment.CERTIFICATE
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        found = names.get_values_for_type(x509.DNSName)
    except (OSError, ValueError, x509.ExtensionNotFound) as error:
        raise ConfigError(str(path), "is no readable certificate", "enroll the device again") from error
    if len(found) != 1 or not ID.fullmatch(found[0].partition(".")[0]):
        raise ConfigError(str(path), "does not name exactly one device", "enroll the device again")
    return found[0]


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
