"""Whole requests, as the agent's HTTP server hands them to the application."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any, Final

from fwctl_agent.protocol import canonical
from fwctl_agent.runtime.device import Device
from fwctl_agent.runtime.host import Host
from fwctl_agent.server.app import make_app
from tests.fuzz.device_targets import Probed
from tests.fuzz.run import ACCEPTED, Target, Wrong
from tests.unit.agent.bench import IMAGE

_LOOP: Final = asyncio.new_event_loop()


def requests() -> Target:
    """Requests to the agent's application: method, address, headers and body, one line of JSON before the body."""
    probed = Probed()
    probed.bench.device.put_trust(probed.request.trust)
    body, path = probed.request.to_bytes(), f"/v1/orders/{probed.order.id}"
    span = {"content-range": f"bytes 0-{len(IMAGE) - 1}/{len(IMAGE)}", "content-length": str(len(IMAGE))}
    samples = (
        line("PUT", path, {"content-length": str(len(body))}) + body,
        line("PUT", "/v1/trust", {}) + canonical.dump(dict(probed.request.trust)),
        line("PUT", f"{path}/image", span) + IMAGE,
        line("GET", f"{path}?wait=0", {}),
        line("GET", "/v1/device", {}),
    )

    def judge(data: bytes) -> str:
        status, reply = answered(probed.bench.device, data)
        if status == 0:
            return "no request"
        if status >= 500 or not isinstance(reply, dict):
            raise Wrong(f"answered {status} {reply}")
        if status not in (200, 202):
            probed.check_unchanged(str(reply.get("code")))
            return f"{status} {reply['code']}"
        if probed.bench.device.record.job is not None:
            probed.check_accepted()
        return ACCEPTED

    return Target("requests", samples, judge, json=False)


def answered(device: Device, data: bytes) -> tuple[int, Any]:
    """Return status and body of the answer to one request; 0 if the case is none."""
    return _LOOP.run_until_complete(_ask(device, data))


def line(method: str, address: str, headers: Mapping[str, str]) -> bytes:
    return json.dumps([method, address, headers]).encode() + b"\n"


async def _ask(device: Device, data: bytes) -> tuple[int, Any]:
    """Call the application as its server does: the head has been read as HTTP, and is plain."""
    head, _, body = data.partition(b"\n")
    try:
        method, address, headers = json.loads(head)
        path, _, query = address.partition("?")
        raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        scope = {
            "type": "http", "http_version": "1.1", "method": method.upper(), "path": path,
            "query_string": query.encode(), "headers": raw,
            "state": {
                "host": Host(device, restart=lambda _: None, offload=False),
                "turn_out_others": lambda: None,
                "still_welcome": lambda: True,
            },
        }  # fmt: skip
        path.encode()
    except (ValueError, AttributeError, TypeError, RecursionError):
        return 0, None
    pieces = [{"type": "http.request", "body": body, "more_body": False}]
    sent: list[Any] = []

    async def receive() -> Any:
        return pieces.pop() if pieces else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    await make_app()(scope, receive, send)
    await scope["state"]["host"].stop()
    await asyncio.sleep(0)  # what is left of an unread body ends now
    return sent[0]["status"], json.loads(b"".join(part.get("body", b"") for part in sent[1:]))
