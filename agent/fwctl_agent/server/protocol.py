"""One HTTP connection: uvicorn's protocol, plus who the peer is, whose device it asked for, and a time limit."""

from __future__ import annotations

import asyncio
from typing import Any, Final, cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from fwctl_agent.runtime.host import Host
from fwctl_agent.server.tls import HostContext, peer_is_valid

HEADER_SECONDS: Final = 10.0
"""from the first byte of a request to the end of its headers"""


class AgentProtocol(H11Protocol):
    """Drops peers whose certificate is not valid now, and those who send their headers too slowly."""

    _deadline: asyncio.TimerHandle | None = None
    host: Host | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        tls = transport.get_extra_info("ssl_object")
        context = tls.context if tls is not None else None
        self.host = context.host if isinstance(context, HostContext) else None
        host = self.host
        up = host is not None and host.reachable
        if host is None or not up or not peer_is_valid(tls.getpeercert(binary_form=True), host.device.time()):
            transport.abort()
            return
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
