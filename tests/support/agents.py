"""Enrolled device folders, real agent processes, and a TLS client that speaks to them."""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fwctl.fleet.certificates import Authorities, DeviceIssuer, create_authorities, device_name
from fwctl.trust.keystore import KeyStore
from fwctl_agent.protocol.enrolment import enrolment_files
from fwctl_agent.protocol.messages import OrderReply, OrderRequest
from fwctl_agent.protocol.statements import ORDER, FollowVerb, InstallOrder, Order, Outcome, order_from_wire
from fwctl_agent.trust.envelope import Sealed
from tests.support.signing import ENV, HARDWARE, MODEL, REPO, Fleet, image_of

FACTORY = image_of("factory", 2000)


@dataclass
class Yard:
    """A fleet's trust, its certificate authorities, and a folder full of enrolled devices."""

    folder: Path
    fleet: Fleet = field(default_factory=lambda: Fleet(now=datetime.now(UTC).replace(microsecond=0)))

    def __post_init__(self) -> None:
        self.keystore = KeyStore.of(REPO, self.folder / "keys")
        self.authorities: Authorities = create_authorities(self.keystore, REPO, datetime.now(UTC))

    def enroll(self, device: str, **changes: Any) -> Path:
        """Write the folder of one device and return it."""
        now = datetime.now(UTC)
        key, certificate = DeviceIssuer.load(self.keystore, REPO).issue(device, enrolled_at=now, now=now)
        values: dict[str, Any] = {
            "device_id": device,
            "repo_id": REPO,
            "model": MODEL,
            "hardware": HARDWARE,
            "env": ENV,
            "enrolled_at": now,
            "key_pem": key,
            "certificate_pem": certificate,
            "controller_ca_pem": self.authorities.controller_ca.read_bytes(),
            "device_ca_pem": self.authorities.device_ca.read_bytes(),
            "root": self.fleet.files()["1.root.json"],
            "factory_image": FACTORY,
            "factory_version": "1.0.0",
        }
        folder = self.folder / "enrolled" / device
        for name, data in enrolment_files(**(values | changes)).items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return folder

    def client_context(self, *, certificate: bool = True) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self.authorities.device_ca)
        if certificate:
            context.load_cert_chain(self.authorities.controller, self.authorities.controller_key)
        return context

    def client(self, device: str, address: str) -> Client:
        return Client(device, address, self.client_context())

    def follow_up(self, verb: FollowVerb, install: InstallOrder, attempt: int = 1) -> tuple[Order, OrderRequest]:
        request = self.fleet.follow_up(verb, install, attempt)
        return order_from_wire(Sealed.open(request.order, ORDER).statement()), request


class Client:
    """One HTTPS connection to one device, checked against the name in its certificate."""

    def __init__(self, device: str, address: str, context: ssl.SSLContext) -> None:
        host, _, port = address.rpartition(":")
        raw = socket.create_connection((host, int(port)), timeout=20)
        self.connection = http.client.HTTPConnection(host, int(port), timeout=20)
        self.connection.sock = context.wrap_socket(raw, server_hostname=device_name(device, REPO))

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Any]:
        self.connection.request(method, path, body, dict(headers or {}))
        response = self.connection.getresponse()
        return response.status, json.loads(response.read())

    def device(self) -> Any:
        status, document = self.ask("GET", "/v1/device")
        assert status == 200
        return document

    def put(self, order: Order, request: OrderRequest) -> tuple[int, Any]:
        return self.ask("PUT", f"/v1/orders/{order.id}", request.to_bytes())

    def push(self, order: Order, image: bytes, first: int = 0, total: int | None = None) -> tuple[int, Any]:
        whole = len(image) + first if total is None else total
        span = {"Content-Range": f"bytes {first}-{first + len(image) - 1}/{whole}"}
        return self.ask("PUT", f"/v1/orders/{order.id}/image", image, span)

    def poll(self, order: Order, wait: int = 10) -> OrderReply:
        status, reply = self.ask("GET", f"/v1/orders/{order.id}?wait={wait}")
        assert status == 200, reply
        return OrderReply.from_wire(reply)

    def close(self) -> None:
        self.connection.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def outcome_of(reply: Any) -> Outcome:
    """Return the outcome in a reply's envelope (the signature is judged elsewhere)."""
    import base64

    wire = reply.outcome if isinstance(reply, OrderReply) else reply["outcome"]
    assert wire is not None
    return Outcome.from_wire(json.loads(base64.b64decode(wire["payload"])))


@contextmanager
def agent(folder: Path) -> Iterator[Running]:
    """Run `fwctl-agent run` on `folder` until the block ends."""
    with _process("run", "--config", str(folder)) as running:
        yield running


@contextmanager
def simulator(folder: Path, devices: int, *options: str) -> Iterator[Running]:
    with _process("simulate", "--enrolled", str(folder), "--devices", str(devices), *options) as running:
        yield running


@dataclass
class Running:
    process: subprocess.Popen[str]
    address: str
    line: str
    """what it said when it was ready"""

    @property
    def shortcuts(self) -> str:
        """What a simulator leaves out, in its own words."""
        return self.line.partition("(shortcuts: ")[2].rstrip(")\n")

    def wait(self, seconds: float = 20) -> int:
        return self.process.wait(seconds)


@contextmanager
def _process(*arguments: str) -> Iterator[Running]:
    process = subprocess.Popen(
        [sys.executable, "-m", "fwctl_agent", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"listening on (\S+:\d+)", line)
        if not found:
            process.kill()
            raise AssertionError(f"the agent did not start: {line!r} {process.communicate()[1]}")
        yield Running(process, found[1].replace("0.0.0.0", "127.0.0.1"), line)
    finally:
        if process.poll() is None:
            process.terminate()
        try:
            process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def until(condition: Any, seconds: float = 15) -> None:
    """Wait for a condition that another process makes true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)
