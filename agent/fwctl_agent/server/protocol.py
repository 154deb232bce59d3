"""One HTTP connection: uvicorn's protocol, plus who the peer is, whose device it asked for, and a time limit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, Protocol, cast

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from fwctl_agent.runtime.host import Host
from fwctl_agent.server.tls import host_of, peer_is_valid

HEADER_SECONDS: Final = 10.0
"""from the first byte of a request to the end of its headers"""


class Connection(Protocol):
    """What can be cut."""

    def drop(self) -> None: ...


class Visits:
    """The open connections of each device."""

    def __init__(self, left: Callable[[Host], None]) -> None:
        self._left = left
        self._open: dict[Host, list[Connection]] = {}

    def of(self, host: Host) -> tuple[Connection, ...]:
        return tuple(self._open.get(host, ()))

    def begin(self, host: Host, connection: Connection) -> None:
        self._open.setdefault(host, []).append(connection)

    def end(self, host: Host, connection: Connection) -> None:
        found = self._open.get(host, [])
        if connection in found:
            found.remove(connection)
        if not found:
            self._open.pop(host, None)
            self._left(host)


class AgentProtocol(H11Protocol):
    """Drops peers whose certificate is not valid now, and those who send their headers too slowly."""

    _deadline: asyncio.TimerHandle | None = None
    host: Host | None = None

    def __init__(self, config: Config, server_state: ServerState, visits: Visits) -> None:
        super().__init__(config, server_state, {})
        self._visits = visits

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        tls = transport.get_extra_info("ssl_object")
        host = host_of(tls)
        up = host is not None and host.reachable
        if host is None or not up or not peer_is_valid(tls.getpeercert(binary_form=True), host.device.time()):
            transport.abort()
            return
        self.host = host
        self._visits.begin(host, self)
        self.app_state = cast("dict[str, Any]", {"host": host})
        self._arm()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        # IDLE means that no complete head of a request has arrived yet.
        if self.conn.their_state is not h11.IDLE:
            self._disarm()
        elif self._deadline is None:
            self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        super().connection_lost(exc)
        if self.host is not None:
            self._visits.end(self.host, self)

    def drop(self) -> None:
        """Cut the connection, as a device that reboots does."""
        if self.transport is not None:
            self.transport.abort()

    def _arm(self) -> None:
        self._deadline = self.loop.call_later(HEADER_SECONDS, self.drop)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
