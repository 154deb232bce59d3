"""A device that does not behave: a TLS server with an enrolled device's own certificate and a script."""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
import threading
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from securesystemslib.signer import CryptoSigner, SSlibKey

from fwctl_agent.protocol import canonical, enrolment
from fwctl_agent.protocol.messages import OrderRequest
from fwctl_agent.protocol.statements import ORDER, OUTCOME, InstallOrder, Outcome, Result, RunningImage, order_from_wire
from fwctl_agent.trust.envelope import Sealed, seal
from tests.integration.fleet.devices import document, read_request, response

Stream = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Answer = Callable[[InstallOrder], tuple[int, Any]]
"""what it says to an install order: status and JSON value"""


def context_of(folder: Path) -> ssl.SSLContext:
    """Return the TLS context of the device enrolled in `folder`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(folder / enrolment.CONTROLLER_CA)
    context.load_cert_chain(folder / enrolment.CERTIFICATE, folder / enrolment.KEY)
    return context


class Impostor:
    """Serves in a thread of its own, so that the test may run the reconciler in this one."""

    def __init__(self, address: str, handler: Stream, tls: ssl.SSLContext | None) -> None:
        self._host, _, port = address.rpartition(":")
        self._port = int(port)
        self._handler = handler
        self._tls = tls
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self.connections = 0

    async def _serve(self) -> asyncio.Server:
        return await asyncio.start_server(self._guarded, self._host, self._port, ssl=self._tls)

    async def _guarded(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        # The client may go at any time, and the test may be over.
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await self._handler(reader, writer)
        writer.transport.abort()

    async def _end(self) -> None:
        self._server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._serve(), self._loop).result(10)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


@dataclass
class Speaks:
    """Speaks the protocol as far as the script goes: a document, and one answer to every install order."""

    device: str
    answer: Answer
    claims: Mapping[str, Any]
    """what its document says differently"""

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            request = await read_request(reader)
            writer.write(response(*self._reply(request.line, request.body)))
            await writer.drain()

    def _reply(self, line: str, body: bytes) -> tuple[int, Any]:
        if line.startswith("GET /v1/device "):
            return 200, document(self.device, **self.claims).to_wire()
        if re.match(r"PUT /v1/orders/\S+ ", line) and "/image" not in line:
            order = order_from_wire(Sealed.open(OrderRequest.from_bytes(body).order, ORDER).statement())
            assert isinstance(order, InstallOrder)
            return self.answer(order)
        return 404, {"class": "resync", "code": "E_UNKNOWN_ORDER", "message": "this device does not know that order"}


def always(data: bytes) -> Stream:
    """Answer every request with the same bytes, then close."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(data)
        await writer.drain()

    return handler


def refusal(klass: str, code: str) -> Answer:
    return lambda order: (422, {"class": klass, "code": code, "message": "the device has its reasons"})


def outcome(order: InstallOrder, key: CryptoSigner, *, result: Result, running: RunningImage, **changes: Any) -> Any:
    """Return the reply that ends an order with an outcome, signed by `key`."""
    said = Outcome(
        device=order.device,
        repo_id="acme",
        order=order.id,
        mandate=order.mandate,
        result=result,
        klass=None,
        code=None,
        running=running,
        slots=(),
        evidence=(),
        phases=(),
        counter=1,
    )
    envelope = seal(canonical.encode(said.to_wire() | changes), OUTCOME, key)
    return {"order": order.id, "state": "confirmed", "image": None, "outcome": envelope, "resumeAfter": None}


def device_key(folder: Path) -> CryptoSigner:
    """Return the signer of the device enrolled in `folder`."""
    key = load_pem_private_key((folder / enrolment.KEY).read_bytes(), None)
    assert isinstance(key, EllipticCurvePrivateKey)
    return CryptoSigner(key, SSlibKey.from_crypto(key.public_key()))
