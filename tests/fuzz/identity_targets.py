"""Identities: requests for certificates, and the certificates that come back to the device."""

from __future__ import annotations

import base64
from typing import Final

from cryptography.hazmat.primitives.serialization import Encoding
from securesystemslib.signer import SSlibKey

from fwctl_agent.errors import Refusal
from fwctl_agent.protocol.enrolment import CERTIFICATE, DEVICE_CA, KEY, NEXT_KEY
from fwctl_agent.runtime.identity import Identity
from fwctl_agent.trust.identity import Own, judge_certificate, make_request, read_device_certificate, read_request
from fwctl_agent.trust.verifier import TrustedTime
from tests.contract.samples import signer
from tests.fuzz.device_targets import Probed, code_of
from tests.fuzz.record import ENROLLED, recorded
from tests.fuzz.request_targets import answered, line
from tests.fuzz.run import ACCEPTED, Target, Wrong
from tests.support.signing import NOW, REPO
from tests.unit.agent.bench import DEVICE

_PENDING: Final = "bob"


def _pem(data: bytes, what: str) -> str:
    """Return the bytes as text, or the PEM around them if they are DER."""
    if data.lstrip().startswith(b"-"):
        return data.decode(errors="replace")
    return f"-----BEGIN {what}-----\n{base64.b64encode(data).decode()}\n-----END {what}-----\n"


def _der(pem: str) -> bytes:
    return base64.b64decode("".join(pem.splitlines()[1:-1]))


def request() -> Target:
    """Requests for a certificate: refused, or for the one device and by the one key."""
    private = signer("device")._private_key
    good = make_request(private, DEVICE, REPO)  # type: ignore[arg-type]
    wanted = read_request(good, DEVICE, REPO)

    def judge(data: bytes) -> str:
        try:
            found = read_request(_pem(data, "CERTIFICATE REQUEST"), DEVICE, REPO)
        except Refusal as refusal:
            return code_of(refusal)
        if found != wanted:
            raise Wrong("a key that has not signed the request")
        return ACCEPTED

    return Target("request", (_der(good), good.encode()), judge, json=False)


def new_certificate() -> Target:
    """New certificates, as a device judges them: refused, or one that its authority made, whole."""
    made = recorded()["identity"]
    current = read_device_certificate(made["current"])
    pending = read_device_certificate(made["rotated"]).public_key
    own = Own(
        device=DEVICE, repo_id=REPO, enrolled_at=ENROLLED, current=current, pending=pending,
        authority=made["authority"].encode(),
    )  # fmt: skip
    good = {read_device_certificate(made[name]).certificate.public_bytes(Encoding.DER) for name in _NEW}

    def judge(data: bytes) -> str:
        try:
            found = judge_certificate(_pem(data, "CERTIFICATE"), own, time=TrustedTime(NOW, False), revoked=())
        except Refusal as refusal:
            return code_of(refusal)
        if found.certificate.public_bytes(Encoding.DER) not in good:
            raise Wrong("a certificate that the authority has not made")
        return ACCEPTED

    samples = [_der(made[name]) for name in _NEW] + [made[name].encode() for name in _NEW]
    return Target("new certificate", tuple(samples), judge, json=False)


_NEW: Final = ("renewed", "rotated")


def identity_requests() -> Target:
    """Requests to the agent's application about its identity: the old one stays, or a true one takes its place."""
    made, probed = recorded()["identity"], Probed()
    bench = probed.bench
    bench.disk.put(KEY, signer("device").private_bytes)
    bench.disk.put(NEXT_KEY, signer(_PENDING).private_bytes)
    bench.disk.put(CERTIFICATE, made["current"].encode())
    bench.disk.put(DEVICE_CA, made["authority"].encode())
    bench.power_on()
    probed.disk, probed.record = probed.content(), bench.device.record
    body = b'{"certificate":"%s"}'
    pems = [made[name].replace("\n", "\\n").encode() for name in _NEW]
    samples = (
        line("PUT", "/v1/identity/request", {}) + b"{}",
        *(line("PUT", "/v1/identity", {}) + body % pem for pem in pems),
    )
    good = {name: read_device_certificate(made[name]).key for name in ("current", *_NEW)}

    def judge(data: bytes) -> str:
        status, reply = answered(bench.device, data)
        if status == 0:
            return "no request"
        if status >= 500 or not isinstance(reply, dict):
            raise Wrong(f"answered {status} {reply}")
        if status not in (200, 202):
            probed.check_unchanged(str(reply.get("code")))
            return f"{status} {reply['code']}"
        certificate = read_device_certificate((bench.disk.read(CERTIFICATE) or b"").decode())
        said = Identity(bench.disk, bench.settings).signer().public_key
        probed.put_back()
        if certificate.key not in good.values() or said.keyid != SSlibKey.from_crypto(certificate.public_key).keyid:
            raise Wrong("another identity than the authority gave")
        return ACCEPTED

    return Target("identity", samples, judge, json=False)
