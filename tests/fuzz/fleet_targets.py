"""What the control plane reads: manifests and locks from git, and what devices say."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import httpx

from fwctl.errors import FwctlError
from fwctl.fleet.certificates import read_device_certificate
from fwctl.fleet.http1 import MAX_FIELDS, MAX_HEAD, Reply
from fwctl.fleet.outcomes import verify_outcome
from fwctl.manifests import CODES, classify, load, parse_file
from fwctl.render.diagnostics import as_json, full
from fwctl_agent.errors import Refusal
from fwctl_agent.protocol import canonical
from fwctl_agent.protocol.lock import Lock
from fwctl_agent.protocol.messages import BusyReply, DeviceDocument, OrderReply, RefusedReply
from fwctl_agent.protocol.statements import OUTCOME, Outcome, RunningImage
from fwctl_agent.trust.envelope import seal
from tests.contract import samples
from tests.contract.generate import VECTORS
from tests.fuzz.device_targets import code_of
from tests.fuzz.run import ACCEPTED, Target, Wrong
from tests.support.signing import REPO

CERTIFICATE: Final = Path(__file__).with_name("device.cert.pem")
"""a fixed one, since another would be signed differently each time: of device-001, for the key of the golden vectors"""
_TOP = Path(__file__).parents[2] / "manifests"
_REFERENCE = {path.relative_to(_TOP).as_posix(): path.read_bytes() for path in sorted(_TOP.rglob("*.yaml"))}
_CSV = b"""\
id,model,hardware,env,region,labels.ring
unit-1,sensor-v1,rev-a,dev,eu,canary
unit-2,sensor-v1,rev-a,dev,eu,prod
"""
_JSONL = b'{"id": "unit-3", "model": "sensor-v1", "hardware": "rev-a", "env": "dev", "labels": {"ring": "prod"}}\n'
_CONTROL = b"""\
apiVersion: fwctl/v1
kind: RolloutControl
metadata: {name: sensors}
spec: {state: paused, reason: "looking at it", actor: alice}
"""
_POLICY = b"""\
apiVersion: fwctl/v1
kind: RolloutPolicy
metadata: {name: dev}
spec:
  appliesTo: {envs: ["d*"], models: ["*"]}
  rules:
    strategies: [Canary, Regional]
    minimumCanary: {percent: 5}
    minimumSoak: 15m
    maximumBlastRadius: {percent: 50, devices: 5000}
    freezes:
      - {from: "2026-12-20T00:00:00", until: "2027-01-04T06:00:00", timeZone: Europe/Berlin, reason: holidays}
"""
_FILES = _REFERENCE | {
    "policies/dev.yaml": _POLICY,
    "devices/more.csv": _CSV,
    "devices/more.jsonl": _JSONL,
    "control/dev/sensors.yaml": _CONTROL,
}


def error_code(error: FwctlError) -> str:
    """Return the code; an error without a code, a sentence or a remedy is a finding."""
    if not error.code.startswith("E_") or not error.message or not error.remedy:
        raise Wrong(f"not a well-formed error: {error!r}")
    str(error).encode()
    return error.code


def manifests() -> Target:
    """Every kind of manifest: the first line names the file, the rest is its content."""

    def judge(data: bytes) -> str:
        name, _, content = data.partition(b"\n")
        path = name.decode(errors="replace")
        found = classify([path])
        parsed = [parse_file(one, content) for one in found.manifests]
        diagnostics = [*found.diagnostics, *(one for file in parsed for one in file.diagnostics)]
        if any(one.code not in CODES or not one.remedy or one.end_column < one.column for one in diagnostics):
            raise Wrong(f"not a well-formed finding: {diagnostics}")
        if "\x1b" in full(diagnostics) + as_json(diagnostics):
            raise Wrong("a terminal would obey the finding")
        errors = [one.code for one in diagnostics if one.severity == "error"]
        if any((file.model is None) != any(d.severity == "error" for d in file.diagnostics) for file in parsed):
            raise Wrong("a model with errors, or none without")
        return errors[0] if errors else ACCEPTED if parsed else "not a manifest"

    files = tuple(path.encode() + b"\n" + data for path, data in _FILES.items())
    return Target("manifests", files, judge, json=False, share=3)


def repositories() -> Target:
    """One bad file in a whole repository: what refers to it is checked too."""
    path = "rollouts/dev/sensors.yaml"

    def judge(data: bytes) -> str:
        loaded = load(_REFERENCE | {path: data})
        if (loaded.repo is None) != (loaded.errors > 0) or any(one.code not in CODES for one in loaded.diagnostics):
            raise Wrong("a repository with errors, or none without")
        return next((one.code for one in loaded.diagnostics if one.severity == "error"), ACCEPTED)

    return Target("repository", (_REFERENCE[path],), judge, json=False)


def lock() -> Target:
    sample = (VECTORS / "sensor-2.5.0.lock").read_bytes()

    def judge(data: bytes) -> str:
        try:
            found = Lock.parse(data)
        except Refusal as refusal:
            return code_of(refusal)
        if found.raw != data or len(set(found.devices)) != len(found.leaves):
            raise Wrong("a lock that is not its own bytes")
        return ACCEPTED

    return Target("lock", (sample,), judge, json=False)


def outcome() -> Target:
    """Outcomes: what is believed is exactly what the device's key signed."""
    device, signer, certificate = "device-001", samples.signer("device"), CERTIFICATE.read_text("utf-8")
    image, order = canonical.digest(b"image"), canonical.digest(b"order")
    said = Outcome(
        device=device, repo_id=REPO, order=order, mandate=canonical.digest(b"mandate"), result="confirmed", klass=None,
        code=None, running=RunningImage(None, image, "2.5.0", None), slots=(), evidence=(), phases=(), counter=3,
    )  # fmt: skip

    def judge(data: bytes) -> str:
        try:
            value = canonical.decode(data, what="outcome")
        except Refusal as refusal:
            return code_of(refusal)
        if not isinstance(value, dict):
            return "not an object"
        try:
            found = verify_outcome(value, certificate, device, REPO)
        except FwctlError as error:
            return error_code(error)
        if found != said:
            raise Wrong("an outcome that the device has not signed")
        return ACCEPTED

    return Target("outcome", (canonical.dump(seal(canonical.encode(said.to_wire()), OUTCOME, signer)),), judge)


def replies() -> Target:
    """What a device says of itself and of its orders, unsigned: read whole, or refused."""
    readers: dict[str, Callable[[object], Any]] = {
        "device": DeviceDocument.from_wire,
        "order": OrderReply.from_wire,
        "refused": RefusedReply.from_wire,
        "busy": BusyReply.from_wire,
    }
    documents = canonical.decode((VECTORS / "device.json").read_bytes(), what="vectors")
    answers = canonical.decode((VECTORS / "replies.json").read_bytes(), what="vectors")
    bodies = tuple(canonical.dump(value) for value in (*documents.values(), *answers.values()))

    def judge(data: bytes) -> str:
        codes = []
        for read in readers.values():
            try:
                value = canonical.decode(data, what="reply")
                found = read(value)
            except Refusal as refusal:
                codes.append(code_of(refusal))
                continue
            if found.to_wire() != value:
                raise Wrong("read otherwise than it was written")
            return ACCEPTED
        return codes[0]

    return Target("replies", bodies, judge)


def http() -> Target:
    """Bytes of a reply, cut into pieces as the network does."""
    body = b'{"a":1}'
    head = b"HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: 7\r\n\r\n"
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n" + body + b"\r\n0\r\n\r\n"
    early = b"HTTP/1.1 103 Early\r\nX: y\r\n\r\n"

    def judge(data: bytes) -> str:
        reply, size = Reply(), 0
        for at in range(0, len(data), 997):
            try:
                reply.feed(data[at : at + 997])
            except httpx.RemoteProtocolError:
                return "RemoteProtocolError"
            size += len(reply.take())
            if reply.complete:
                break
        if len(reply.headers) > MAX_FIELDS or (not reply.has_head and reply.room > MAX_HEAD) or size > len(data):
            raise Wrong("out of bounds")
        return ACCEPTED if reply.complete else "more to come"

    return Target("http", (head + body, chunked, early + head + body), judge, json=False)


def certificate() -> Target:
    """Device certificates: PEM, and the DER within."""
    pem = CERTIFICATE.read_text("utf-8")
    der = base64.b64decode("".join(pem.splitlines()[1:-1]))

    def judge(data: bytes) -> str:
        text = data.decode(errors="replace")
        if not data.lstrip().startswith(b"-"):
            text = f"-----BEGIN CERTIFICATE-----\n{base64.b64encode(data).decode()}\n-----END CERTIFICATE-----\n"
        try:
            found = read_device_certificate(text)
        except FwctlError as error:
            return error_code(error)
        if not found.device or found.enrolled_at.tzinfo is None:
            raise Wrong("a certificate of nobody")
        return ACCEPTED

    return Target("certificate", (der, pem.encode()), judge, json=False)
