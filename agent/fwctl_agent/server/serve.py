"""One listening socket, one event loop, and a clean end."""

from __future__ import annotations

import asyncio
import signal
import socket
import ssl
from collections.abc import Callable
from typing import Any, Final

import uvicorn

from fwctl_agent.runtime.host import Host
from fwctl_agent.server.app import make_app
from fwctl_agent.server.protocol import MAX_HEAD, H11Agent, Visits, fastest

HANDSHAKE_SECONDS: Final = 10.0
BACKLOG: Final = 4096


class AgentServer(uvicorn.Server):
    """uvicorn with a handshake time limit, our protocol, and signals that end in a clean exit."""

    def __init__(
        self,
        listener: socket.socket,
        tls: ssl.SSLContext,
        *,
        connections: int | None,
        ready: Callable[[], None],
        around: Callable[[Any], Any] = lambda app: app,
        left: Callable[[Host], None] = lambda _: None,
        quick: bool = False,
    ) -> None:
        """`around` puts something between the connection and the application; `left` is told
        when the last connection to a device has ended; `quick` takes the fastest HTTP parser that is installed."""
        config = uvicorn.Config(
            around(make_app()),
            http=H11Agent,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=60,
            timeout_graceful_shutdown=2,
            limit_concurrency=connections,
            h11_max_incomplete_event_size=MAX_HEAD,
            backlog=BACKLOG,
        )
        super().__init__(config)
        self._visits = Visits(left)
        self._kind = fastest() if quick else H11Agent
        self._listener = listener
        self._tls = tls
        self._ready = ready
        self.exit_code = 0

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            self._protocol,
            sock=self._listener,
            ssl=self._tls,
            ssl_handshake_timeout=HANDSHAKE_SECONDS,
            ssl_shutdown_timeout=1.0,
            backlog=self.config.backlog,
        )
        self.servers = [server]
        self.started = True
        self._ready()

    def _protocol(self) -> asyncio.Protocol:
        return self._kind(self.config, self.server_state, self._visits)

    def drop_connections(self, host: Host) -> None:
        """Cut every connection to one device."""
        for connection in self._visits.of(host):
            connection.drop()

    def visited(self, host: Host) -> bool:
        """Say whether a connection to the device is open."""
        return bool(self._visits.of(host))

    def end(self, code: int) -> None:
        """Answer what is being answered, then leave with `code`."""
        self.exit_code = code
        self.should_exit = True


async def serve(server: AgentServer) -> int:
    """Serve until a signal or `server.end`; return the exit code."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.end, 0 if number == signal.SIGTERM else 130)
    try:
        # uvicorn's own `serve` would raise the signal again after a clean end.
        await server._serve()
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
    return server.exit_code
