"""One HTTP connection: uvicorn's protocol, plus who the peer is, whose device it asked for, and a time limit."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any, Final, Protocol

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from fwctl_agent.runtime.host import Host
from fwctl_agent.server.tls import host_of, peer_is_valid
from fwctl_agent.trust.identity import controller_name

HEADER_SECONDS: Final = 10.0
"""from the first byte of a request to the end of its headers"""
MAX_OF_ONE_PEER: Final = 32
"""connections of one certificate to one device; `run` allows twice as many in all"""
MAX_HEAD: Final = 16 << 10
"""bytes of a request before its body"""


class Connection(Protocol):
    """What can be cut."""

    peer: bytes | None

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


class Guard:
    """What both kinds of HTTP protocol add to uvicorn's: the peer's identity, the device, and the time for a head."""

    loop: asyncio.AbstractEventLoop
    app_state: dict[str, Any]
    _deadline: asyncio.TimerHandle | None = None
    _transport: asyncio.Transport | None = None
    _visits: Visits
    peer: bytes | None = None
    """its certificate, DER"""
    host: Host | None = None

    def admit(self, transport: asyncio.Transport) -> None:
        """Let the peer in, or cut the connection."""
        self._transport = transport
        tls = transport.get_extra_info("ssl_object")
        host = host_of(tls)
        up = host is not None and host.reachable
        self.peer = tls.getpeercert(binary_form=True) if isinstance(tls, ssl.SSLObject) else None
        if host is None or not up or not _welcome(self.peer, host) or self._crowds(host):
            transport.abort()
            return
        self.host = host
        self._visits.begin(host, self)
        self.app_state = {
            "host": host,
            "turn_out_others": self._turn_out_others,
            "still_welcome": self._still_welcome,
        }
        self._arm()

    def _crowds(self, host: Host) -> bool:
        """Say whether the peer takes up too much: who stole one certificate must not keep the next one's owner out."""
        return sum(one.peer == self.peer for one in self._visits.of(host)) >= MAX_OF_ONE_PEER

    def heard(self, *, head_owed: bool) -> None:
        """Bytes came; `head_owed` says that they did not complete the head of a request."""
        if not head_owed:
            self._disarm()
        elif self._deadline is None:
            self._arm()

    def leave(self) -> None:
        self._disarm()
        if self.host is not None:
            self._visits.end(self.host, self)

    def drop(self) -> None:
        """Cut the connection, as a device that reboots does."""
        if self._transport is not None:
            self._transport.abort()

    def _still_welcome(self) -> bool:
        """Say whether the peer would be let in now; if not, cut the connection: it may be older than the revocation."""
        if self.host is not None and _welcome(self.peer, self.host):
            return True
        self.drop()
        return False

    def _turn_out_others(self) -> None:
        """Cut every other connection to the device."""
        for connection in self._visits.of(self.host) if self.host is not None else ():
            if connection is not self:
                connection.drop()

    def _arm(self) -> None:
        self._deadline = self.loop.call_later(HEADER_SECONDS, self.drop)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def _welcome(peer: bytes | None, host: Host) -> bool:
    device = host.device
    policy = device.trust.trusted.policy
    return peer_is_valid(
        peer, device.time(), name=controller_name(device.settings.repo_id), revoked=policy.revoked if policy else ()
    )


class H11Agent(Guard, H11Protocol):
    """Over h11, which is always there."""

    def __init__(self, config: Config, server_state: ServerState, visits: Visits) -> None:
        super().__init__(config, server_state, {})
        self._visits = visits

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.admit(transport)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        # IDLE means that no complete head of a request has arrived yet.
        self.heard(head_owed=self.conn.their_state is h11.IDLE)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.leave()


def fastest() -> Callable[[Config, ServerState, Visits], asyncio.Protocol]:
    """Return the protocol over httptools where that is installed, else the one over h11; their limits are the same."""
    try:
        from fwctl_agent.server.quick import HttptoolsAgent
    except ImportError:
        return H11Agent
    return HttptoolsAgent
