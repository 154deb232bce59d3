"""The routes. Every answer is JSON, every failure a `RefusedReply`; no traceback reaches a peer."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from fwctl_agent.errors import Refusal
from fwctl_agent.protocol import canonical
from fwctl_agent.protocol.fields import DIGEST, Fields
from fwctl_agent.protocol.identity import MAX_IDENTITY_BODY, IdentityReply, NewCertificate, RequestReply
from fwctl_agent.protocol.messages import (
    MAX_ORDER_BODY,
    MAX_TRUST_BODY,
    MAX_WAIT,
    BusyReply,
    OrderReply,
    RefusedReply,
    bundle_from_wire,
)
from fwctl_agent.runtime.device import Busy, Device
from fwctl_agent.runtime.document import document
from fwctl_agent.runtime.host import Host
from fwctl_agent.runtime.intake import Intake
from fwctl_agent.server.body import Cut, content_range, drain, pieces, read_all

log = logging.getLogger("fwctl_agent")
Handler = Callable[[Request, Host], Awaitable[Response]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


def make_app() -> App:
    """Return the application; which device is meant stands in the connection's state."""
    return _app


async def _app(scope: Scope, receive: Receive, send: Send) -> None:
    """Choose by method and path: a few addresses need no router and no middleware."""
    request = Request(scope, receive, send)
    found = _ADDRESS.fullmatch(scope["path"])
    address = _HANDLERS[found["plain"] or found["image"] or "order"] if found else {}
    handler = address.get("GET" if request.method == "HEAD" else request.method)
    if found is None or handler is None:
        response = _not_found(405 if found else 404)
    else:
        scope["path_params"] = {"id": found["id"]}
        response = await _guarded(handler, request)
    await response(scope, receive, send)


async def get_device(request: Request, host: Host) -> Response:  # noqa: ARG001
    facts = await host.senses.facts()
    return _json(200, document(host.device, uptime=int(time.monotonic() - host.started), facts=facts).to_wire())


async def put_trust(request: Request, host: Host) -> Response:
    body = await read_all(request, MAX_TRUST_BODY)
    request.state.unread = False
    bundle = bundle_from_wire(canonical.decode(body, what="trust bundle", max_bytes=MAX_TRUST_BODY))
    versions = await host.call(host.device.put_trust, bundle)
    return _json(200, versions.to_wire())


async def put_request(request: Request, host: Host) -> Response:
    body = await read_all(request, MAX_IDENTITY_BODY)
    request.state.unread = False
    Fields(canonical.decode(body, what="request", max_bytes=MAX_IDENTITY_BODY), "request").done()
    return _json(200, RequestReply(await host.call(host.device.new_key)).to_wire())


async def put_identity(request: Request, host: Host) -> Response:
    body = await read_all(request, MAX_IDENTITY_BODY)
    request.state.unread = False
    certificate = NewCertificate.from_bytes(body).certificate
    rotated = True  # as far as is known, should the disk fail in between
    try:
        new, rotated = await host.call(host.device.put_identity, certificate)
    except (Refusal, Busy):
        rotated = False
        raise
    finally:
        host.renewed()
        if rotated:
            # Whoever has seen the old certificate must see the new one before it gets what the new key signed.
            request.state.turn_out_others()
    response = _json(200, IdentityReply(new.key, new.end).to_wire())
    if rotated:
        response.headers["connection"] = "close"
    return response


async def put_order(request: Request, host: Host) -> Response:
    order = _order_id(request)
    body = await read_all(request, MAX_ORDER_BODY)
    request.state.unread = False
    # Nothing is read from the body of an order that is known: its stored outcome is the answer (I3).
    reply = host.device.reply(order)
    if reply is None:
        await host.call(host.device.put_order, order, host.device.verification.request(body))
        await host.settle()
    return _order_reply(host.device, order)


async def get_order(request: Request, host: Host) -> Response:
    order, text = _order_id(request), request.query_params.get("wait", "0")
    if not text.isascii() or not text.isdigit() or len(text) > 4:
        raise Refusal("E_SCHEMA", f"wait must be whole seconds, at most {MAX_WAIT}")
    reply = await host.wait(order, min(int(text), MAX_WAIT))
    return _unknown() if reply is None else _json(200, reply.to_wire())


async def put_image(request: Request, host: Host) -> Response:
    order = _order_id(request)
    first, total = content_range(request)
    intake = await host.call(host.device.open_image, order, first, total)
    if intake is None:
        wanted = host.device.reply(order)
        return _order_reply(host.device, order, status=416 if wanted and wanted.offset is not None else None)
    try:
        await _receive(request, host, intake)
    finally:
        await host.call(host.device.close_image, intake)
    await host.settle()
    return _order_reply(host.device, order)


async def _receive(request: Request, host: Host, intake: Intake) -> None:
    async for piece in pieces(request):
        if not await host.call(host.device.feed, intake, piece):
            return
    request.state.unread = False


def _order_reply(device: Device, order: str, status: int | None = None) -> Response:
    reply: OrderReply | None = device.reply(order)
    if reply is None:
        return _unknown()
    return _json(status or (200 if reply.outcome is not None else 202), reply.to_wire())


def _order_id(request: Request) -> str:
    order = request.path_params["id"]
    if not isinstance(order, str) or not DIGEST.fullmatch(order):
        raise Refusal("E_SCHEMA", "an order id is sha256:<64 hex digits>")
    return order


async def _guarded(handler: Handler, request: Request) -> Response:
    """Turn everything that can go wrong into an answer."""
    request.state.unread = request.method == "PUT"
    response = await _answer(handler, request)
    if request.state.unread:
        # What is still to come would be read and thrown away, without end if the peer wants it so.
        await drain(request)
        response.headers["connection"] = "close"
    return response


async def _answer(handler: Handler, request: Request) -> Response:
    host: Host = request.state.host
    try:
        if not host.reachable or not request.state.still_welcome():
            raise Cut  # the connection is gone, and the device perhaps started anew
        with host.visited():
            return await handler(request, host)
    except Refusal as refusal:
        return _refused(422, refusal)
    except Busy as busy:
        return _json(409, BusyReply(busy.running).to_wire())
    except Cut:
        return _refused(422, Refusal("E_CUT", "the body did not arrive in time", klass="deferred"))
    except OSError as error:
        log.warning("the disk failed: %s", error)
        return _refused(422, Refusal("E_IO", "the device's disk failed; nothing was changed", klass="deferred"))
    except Exception as error:  # noqa: BLE001  the last line of defence: a bug must not take the device away
        log.error("bug: %s: %s", type(error).__name__, error)
        return _refused(500, Refusal("E_INTERNAL", "the agent has a bug; see its log", klass="deferred"))


_ADDRESS: Final = re.compile(
    r"/v1/(?:(?P<plain>device|trust|identity|identity/request)|orders/(?P<id>[^/]+)(?:/(?P<image>image))?)"
)
_HANDLERS: Final[dict[str, dict[str, Handler]]] = {
    "device": {"GET": get_device},
    "trust": {"PUT": put_trust},
    "identity": {"PUT": put_identity},
    "identity/request": {"PUT": put_request},
    "order": {"PUT": put_order, "GET": get_order},
    "image": {"PUT": put_image},
}


def _not_found(status: int) -> Response:
    return _refused(status, Refusal("E_NOT_FOUND", "no such address or method; the protocol's are /v1/..."))


def _unknown() -> Response:
    return _refused(404, Refusal("E_UNKNOWN_ORDER", "this device does not know that order", klass="resync"))


def _refused(status: int, refusal: Refusal) -> Response:
    return _json(status, RefusedReply(refusal.klass, refusal.code, refusal.message[:2000]).to_wire())


def _json(status: int, value: Any) -> Response:
    return Response(canonical.dump(value), status_code=status, media_type="application/json")
