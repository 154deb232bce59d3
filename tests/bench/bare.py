"""The bare mutual-TLS exchange: the same bytes over as many connections, with nothing behind them.

`python -m tests.bench.bare serve|ask` are its two processes: plain asyncio (uvloop if it is installed), the contexts of
fwctl and its agent, no HTTP. What fwctl reaches of this rate is what everything else costs.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from fwctl.fleet.certificates import Authorities, device_name
from fwctl_agent.protocol import enrolment
from fwctl_agent.server.tls import server_context
from tests.bench.process import PYTHON, BenchError, Process
from tests.bench.tap import Conversation
from tests.bench.yard import REPO_ID, Fleet, host_of, name_of

CONCURRENCY = 100


class _Server(asyncio.Protocol):
    """Reads as many bytes as a request has, and writes as many as its reply has. The first byte names the script."""

    def __init__(self, script: list[list[tuple[int, int]]]) -> None:
        self._script = script
        self._turns: list[tuple[int, int]] | None = None
        self._got = 0
        self._at = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def data_received(self, data: bytes) -> None:
        if self._turns is None:
            self._turns = self._script[data[0]]
        self._got += len(data)
        if self._got >= self._turns[self._at][0]:
            self._got = 0
            self._transport.write(bytes(self._turns[self._at][1]))
            self._at += 1


class _Client(asyncio.Protocol):
    """Counts what comes; `wait` returns when a reply is complete."""

    def __init__(self) -> None:
        self._left = 0
        self._done: asyncio.Future[None] | None = None

    def data_received(self, data: bytes) -> None:
        self._left -= len(data)
        if self._left <= 0 and self._done is not None and not self._done.done():
            self._done.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_exception(exc or ConnectionError("closed"))

    async def wait(self, size: int) -> None:
        self._left, self._done = size, asyncio.get_running_loop().create_future()
        await self._done


def compare(fleet: Fleet, conversation: Conversation, devices: int) -> dict[str, dict[str, float]]:
    """Measure with one server context per device, as the simulator has them, and with one for all."""
    return {name: _measure(fleet, conversation, devices, name) for name in ("a context per device", "one context")}


def _measure(fleet: Fleet, conversation: Conversation, devices: int, contexts: str) -> dict[str, float]:
    task = {
        "enrolled": str(fleet.enrolled),
        "pki": str(fleet.pki),
        "devices": devices,
        "own": contexts != "one context",
        "script": conversation.connections,
    }
    folder = fleet.folder / fleet.run
    serving = [*PYTHON, "tests.bench.bare", "serve", json.dumps(task)]
    with Process(serving, folder / "serve.log", env=fleet.env, cwd=folder) as server:
        port = server.says(r"port (\d+)\n", seconds=30)[1]
        before = server.now()
        asking = [*PYTHON, "tests.bench.bare", "ask", json.dumps(task | {"port": int(port)})]
        with Process(asking, folder / "ask.log", env=fleet.env, cwd=folder) as client:
            used = client.wait()
            if used.code:
                raise BenchError(f"the bare exchange fails: {client.errors()}")
        answer = json.loads(used.out)
        return {
            "devices": devices,
            "perMinute": round(devices / answer["seconds"] * 60),
            "clientCpuMsPerDevice": round(answer["cpu"] / devices * 1000, 3),
            "serverCpuMsPerDevice": round((server.now().cpu - before.cpu) / devices * 1000, 3),
        }


async def _serve(task: dict[str, Any]) -> None:
    folders = {device_name(name_of(n), REPO_ID): Path(task["enrolled"], name_of(n)) for n in range(task["devices"])}
    contexts: dict[str, ssl.SSLContext] = {}

    def choose(connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> int | None:
        if name is not None and name not in contexts:
            contexts[name] = _context(folders[name])
        connection.context = contexts[name or ""]
        return None

    front = _context(next(iter(folders.values())))
    if task["own"]:
        front.sni_callback = choose
    script = [[(up, down) for up, down in turns] for turns in task["script"]]
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Server(script), "0.0.0.0", 0, ssl=front, backlog=1024)
    print(f"port {server.sockets[0].getsockname()[1]}", flush=True)  # noqa: T201
    await server.serve_forever()


async def _ask(task: dict[str, Any]) -> None:
    authorities = Authorities(Path(task["pki"]))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.set_alpn_protocols(["http/1.1"])
    context.load_verify_locations(authorities.device_ca)
    context.load_cert_chain(authorities.controller, authorities.controller_key)
    context.check_hostname = task["own"]
    loop, numbers = asyncio.get_running_loop(), iter(range(task["devices"]))

    async def visits() -> None:
        for number in numbers:
            name = device_name(name_of(number if task["own"] else 0), REPO_ID)
            for index, turns in enumerate(task["script"]):
                transport, protocol = await loop.create_connection(
                    _Client, host_of(number), task["port"], ssl=context, server_hostname=name
                )
                for up, down in turns:
                    transport.write(bytes([index]) * up)
                    await protocol.wait(down)
                transport.abort()

    begun, cpu = time.monotonic(), time.process_time()
    await asyncio.gather(*(visits() for _ in range(CONCURRENCY)))
    found = {"seconds": time.monotonic() - begun, "cpu": time.process_time() - cpu}
    print(json.dumps(found), flush=True)  # noqa: T201


def _context(folder: Path) -> ssl.SSLContext:
    return server_context(folder / enrolment.CERTIFICATE, folder / enrolment.KEY, folder / enrolment.CONTROLLER_CA)


def _run(main: Coroutine[Any, Any, None]) -> None:
    try:
        import uvloop
    except ImportError:
        asyncio.run(main)
    else:
        uvloop.run(main)


if __name__ == "__main__":
    _run({"serve": _serve, "ask": _ask}[sys.argv[1]](json.loads(sys.argv[2])))
