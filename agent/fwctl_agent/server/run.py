"""`fwctl-agent run`: one device, one process."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from fwctl_agent.config import read_settings
from fwctl_agent.protocol import enrolment
from fwctl_agent.runtime.assemble import assemble
from fwctl_agent.runtime.fs import OsFs
from fwctl_agent.runtime.host import Host
from fwctl_agent.runtime.pull_http import source_of
from fwctl_agent.server.serve import AgentServer, serve
from fwctl_agent.server.tls import load_identity, oldest_tls, server_context

RESTART: Final = 75
"""exit code that asks the supervisor for a start: the reboot into the selected slot"""
MAX_CONNECTIONS: Final = 64


class Unavailable(Exception):
    """The outside world says no: exit code 5."""


class Locked(Exception):
    """Another agent runs on this folder: exit code 6."""


def run(folder: Path) -> int:
    """Serve the device in `folder` until SIGTERM; return the exit code.

    Raises:
        ConfigError, Unavailable, Locked: before anything is served.
    """
    settings = read_settings(folder)
    certificate, key = folder / enrolment.CERTIFICATE, folder / enrolment.KEY
    tls = server_context(certificate, key, folder / enrolment.CONTROLLER_CA, oldest=oldest_tls(settings))
    with locked(folder):
        device = assemble(folder, settings=settings)
        listener = listen(settings.host, settings.port)
        address = "{}:{}".format(*listener.getsockname()[:2])
        OsFs(folder).replace("state/address", f"{address}\n".encode())

        async def main() -> int:
            source = source_of(folder, settings)
            host = Host(device, restart=lambda _: server.end(RESTART), source=source)

            def ready() -> None:
                sys.stdout.write(f"fwctl-agent: {settings.id} listening on {address}\n")
                sys.stdout.flush()
                host.kick()

            server = AgentServer(listener, tls, connections=MAX_CONNECTIONS, ready=ready)
            tls.host = host
            host.renewed = lambda: load_identity(tls, certificate, key)
            try:
                return await serve(server)
            finally:
                await host.stop()

        return asyncio.run(main())


def listen(host: str, port: int) -> socket.socket:
    """Return a bound socket.

    Raises:
        Unavailable: the address is taken or not ours.
    """
    try:
        family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, proto)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.setblocking(False)
    except OSError as error:
        raise Unavailable(f"cannot listen on {host}:{port}: {error.strerror}; change [listen] in agent.toml") from error
    return listener


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock.

    Raises:
        Locked: another process holds it.
    """
    (folder / "state").mkdir(mode=0o700, exist_ok=True)
    descriptor = os.open(folder / "state" / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Locked(f"another agent runs on {folder}; stop it first") from error
        yield
    finally:
        os.close(descriptor)
