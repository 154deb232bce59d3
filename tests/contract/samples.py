"""The one small fleet that every golden vector comes from: fixed keys, fixed times, nothing random."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import replace
from datetime import timedelta

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import CryptoSigner

from fwctl_agent.protocol import canonical
from fwctl_agent.protocol.identity import IdentityReply, NewCertificate, RequestReply
from fwctl_agent.protocol.lock import Leaf, Lock
from fwctl_agent.protocol.messages import (
    AttemptMark,
    BusyReply,
    DeviceDocument,
    OrderReply,
    RefusedReply,
    Spent,
    TrustVersions,
)
from fwctl_agent.protocol.statements import (
    OUTCOME,
    FollowUp,
    FollowVerb,
    InstallOrder,
    LateJoiners,
    Mandate,
    Outcome,
    Phase,
    ProbeResult,
    Pull,
    RunningImage,
    SlotState,
)
from fwctl_agent.protocol.versions import VersionRange
from fwctl_agent.trust.envelope import seal
from fwctl_agent.trust.identity import make_request
from tests.support.signing import ENV, HARDWARE, MODEL, NOW, Fleet, image_of

DEVICE = "device-002"
NAMES = ("alice", "bob", "order", "freshness", "device")


def seed(name: str) -> bytes:
    """Return the private Ed25519 seed of a name: worthless outside these vectors, since everybody can compute it."""
    return hashlib.sha256(f"fwctl golden vector key {name}".encode()).digest()


def signer(name: str) -> CryptoSigner:
    return CryptoSigner(Ed25519PrivateKey.from_private_bytes(seed(name)))


FLEET = Fleet(
    people={"alice": signer("alice"), "bob": signer("bob")},
    order=signer("order"),
    freshness=signer("freshness"),
    policy={
        "groups": {"owners": ["alice", "bob"], "releasers": ["alice"]},
        "approvalRules": [{"paths": "rollouts/**", "group": "owners", "threshold": 2, "stage": 1}],
        "releaseSigners": {
            "*": {"group": "owners", "threshold": 2},
            "gateway-v1": {"group": "releasers", "threshold": 1},
        },
        "floors": {MODEL: 2},
        "withdrawn": [canonical.digest(b"a release that was withdrawn")],
        "guardRails": [canonical.digest(b"a guard rail")],
        "storage": [{"scheme": "https", "host": "images.example.com", "port": 443, "cidr": "10.0.0.0/8"}],
        "gitVerify": "head",
        "gitSigners": ['alice@example.org namespaces="git" ssh-ed25519 ' + base64.b64encode(bytes(51)).decode()],
        "deviceCas": [canonical.digest(b"the public key of a device CA")],
        "revoked": [canonical.digest(b"the public key of a certificate that was revoked")],
    },
)
STOP = FLEET.release(image_of("2.4.0"), "2.4.0")
RELEASE = FLEET.release(
    image_of("2.5.0"),
    security_version=2,
    release_counter=2,
    requires_from=VersionRange("2.4.0", "2.5.0"),
    data_reads=(1, 2),
    data_writes=2,
    sbom=canonical.digest(b"sbom"),
)
LOCK = Lock.of(
    (
        Leaf("device-001", 1, (RELEASE.digest,)),
        Leaf(DEVICE, 1, (STOP.digest, RELEASE.digest)),
        Leaf("device-003", 2, (RELEASE.digest,)),
    )
)
MANDATE: Mandate = FLEET.mandate(LOCK, late_joiners=LateJoiners(MODEL, ENV, 50))
BEFORE = RunningImage(STOP.digest, STOP.image, STOP.version, MANDATE.id)
AFTER = RunningImage(RELEASE.digest, RELEASE.image, RELEASE.version, MANDATE.id)
SLOTS = (
    SlotState("a", "verified", STOP.image, STOP.version),
    SlotState("b", "verified", RELEASE.image, RELEASE.version),
)
INSTALL: InstallOrder = FLEET.install(
    DEVICE, RELEASE, LOCK, MANDATE, watch=900, limits=(("disk", 90), ("temperature", 80)), attempt=2
)
BOUNDED: InstallOrder = replace(INSTALL, minima=(("signal", -90), ("temperature", 5)))
"""the same order with minima beside the maxima: the same id"""
PULLED: InstallOrder = replace(
    INSTALL,
    delivery=Pull(f"https://images.example.com/fw/sha256/{RELEASE.image[7:9]}/{RELEASE.image[7:]}?token=abc%2F"),
)
"""the same order, delivered in another way: the same id"""


def follow_up(verb: FollowVerb) -> FollowUp:
    return FollowUp(
        device=DEVICE,
        mandate=MANDATE.id,
        release=RELEASE.digest,
        attempt=1,
        epoch=1,
        issued_at=NOW,
        expires=NOW + timedelta(hours=12),
        verb=verb,
        refers_to=INSTALL.id,
    )


OUTCOMES = {
    "confirmed": Outcome(
        device=DEVICE,
        repo_id=MANDATE.repo_id,
        order=INSTALL.id,
        mandate=MANDATE.id,
        result="confirmed",
        klass=None,
        code=None,
        running=AFTER,
        slots=SLOTS,
        evidence=(ProbeResult("temperature", True, "42 of at most 80", 42), ProbeResult("http", True, "200")),
        phases=(Phase("download", NOW, 1250), Phase("trial", NOW + timedelta(seconds=2), 30500)),
        counter=7,
    ),
    "failed": Outcome(
        device=DEVICE,
        repo_id=MANDATE.repo_id,
        order=INSTALL.id,
        mandate=MANDATE.id,
        result="failed",
        klass="health",
        code="E_PROBE",
        running=BEFORE,
        slots=SLOTS,
        evidence=(ProbeResult("temperature", False, "97 exceeds 80", 97),),
        phases=(),
        counter=8,
    ),
}
SIGNED_OUTCOMES = {
    name: seal(canonical.encode(outcome.to_wire()), OUTCOME, signer("device")) for name, outcome in OUTCOMES.items()
}
REPLIES: dict[str, OrderReply | RefusedReply | BusyReply] = {
    "accepted": OrderReply(INSTALL.id, "accepted", 0, None, None),
    "downloading": OrderReply(INSTALL.id, "downloading", 4096, None, None),
    "rebooting": OrderReply(INSTALL.id, "trial", None, None, 20),
    "ended": OrderReply(INSTALL.id, "confirmed", None, SIGNED_OUTCOMES["confirmed"], None),
    "refused": RefusedReply("refused", "E_NOT_APPROVED", "the lock names other releases for this device"),
    "deferred": RefusedReply("deferred", "E_BATTERY", "battery 12 %\nneeds 30 %"),
    "resync": RefusedReply("resync", "E_REFERS_TO", "this device is at another order; ask for its document"),
    "busy": BusyReply(INSTALL.id),
}
IDENTITY: dict[str, RequestReply | NewCertificate | IdentityReply] = {
    "request": RequestReply(
        make_request(Ed25519PrivateKey.from_private_bytes(seed("device")), DEVICE, MANDATE.repo_id)
    ),
    "certificate": NewCertificate("-----BEGIN CERTIFICATE-----\n...\n-----END CERTIFICATE-----\n"),
    "inForce": IdentityReply("sha256:" + "5e" * 32, NOW + timedelta(days=1826)),
}
DOCUMENTS = {
    "factory": DeviceDocument(
        id=DEVICE,
        model=MODEL,
        hardware=HARDWARE,
        env=ENV,
        enrolled_at=NOW - timedelta(days=100),
        agent="0.1.0",
        protocol=1,
        state="idle",
        order=None,
        running=RunningImage(None, canonical.digest(b"factory"), "1.0.0", None),
        slots=(SlotState("a", "verified", canonical.digest(b"factory"), "1.0.0"), SlotState("b", "empty", None, None)),
        trust=TrustVersions(1, 0, 0, 0, 0),
        highest_timestamp=None,
        highest_orders=(),
        floor=0,
        floor_clock=NOW - timedelta(days=200),
        clock_suspect=True,
        spent=(),
        marks=(),
        outcomes=(),
        facts={},
        vitals={},
        counter=0,
    ),
    "watching": DeviceDocument(
        id=DEVICE,
        model=MODEL,
        hardware=HARDWARE,
        env=ENV,
        enrolled_at=NOW - timedelta(days=100),
        agent="0.1.0",
        protocol=1,
        state="confirmed",
        order=INSTALL.id,
        running=AFTER,
        slots=SLOTS,
        trust=TrustVersions(1, 1, 1, 4, 4),
        highest_timestamp=FLEET.bundle(4)["timestamp.json"],
        highest_orders=(FLEET.sign_order(INSTALL),),
        floor=1,
        floor_clock=NOW - timedelta(minutes=5),
        clock_suspect=False,
        spent=(Spent(canonical.digest(b"an earlier mandate"), "ordered"),),
        marks=(AttemptMark(MANDATE.id, "install", 2), AttemptMark(MANDATE.id, "confirm", 1)),
        outcomes=(SIGNED_OUTCOMES["confirmed"],),
        facts={"battery": 80, "busy": False, "room": "Küche"},
        vitals={"temperature": 42, "uptime": 3600},
        counter=7,
    ),
}
