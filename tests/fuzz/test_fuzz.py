"""A few cases of each target in every run of the tests; `make fuzz` tries many more."""

from __future__ import annotations

import base64
from collections.abc import Callable
from random import Random

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import load_pem_x509_certificate

from fwctl.audit.folder import DEVICE_CA
from fwctl_agent.errors import Refusal
from fwctl_agent.protocol import canonical
from fwctl_agent.trust.metadata import TrustedMetadata
from fwctl_agent.trust.verifier import open_order
from tests.fuzz.device_targets import Probed, envelope, same_fleet
from tests.fuzz.evidence_targets import evidence
from tests.fuzz.fleet_targets import outcome
from tests.fuzz.mutate import flips, mangle
from tests.fuzz.record import recorded
from tests.fuzz.run import ACCEPTED, Account, Target, Wrong, fuzz, try_all
from tests.fuzz.targets import TARGETS
from tests.support.signing import NOW

CASES = 300
MASKS = (0x01, 0x20, 0x80)
"""a neighbour, the other case of a letter, and no ASCII any more"""


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_bad_bytes_are_accepted_and_valid_or_refused_with_a_code(name: str) -> None:
    account = fuzz(TARGETS[name](), CASES, 1)
    assert account.findings == []
    assert account.cases >= CASES
    assert len(account.verdicts) > 1, "nothing was ever refused: the cases are not bad"


@pytest.mark.parametrize("make", [envelope, outcome], ids=["approval", "outcome"])
def test_a11_every_byte_of_an_envelope_counts(make: Callable[[], Target]) -> None:
    """The target's own rule: refused, or the same decision as before."""
    target = make()
    account = Account(target.name)
    try_all(target, account, flips(target.samples[0], MASKS))
    assert account.findings == []
    assert account.cases == len(target.samples[0]) * len(MASKS)
    assert account.verdicts[ACCEPTED] < account.cases / 5


def test_a11_every_byte_of_an_order_counts() -> None:
    probed = Probed()
    policy = probed.trusted.policy
    assert policy is not None
    body = canonical.dump(probed.request.order)
    same = 0
    for data in flips(body, MASKS):
        try:
            found, _ = open_order(canonical.decode(data, what="order"), policy)
        except Refusal:
            continue
        assert found == probed.order
        same += 1
    assert same < len(body) / 5


@pytest.mark.parametrize(
    "name", ["timestamp.json", "snapshot.json", "policy/policy.json", "targets.json", "policy.json"]
)
def test_a11_every_byte_of_metadata_counts(name: str) -> None:
    """Refused, or a byte that nobody signs (a blank, the case of a digit of a signature) and the same trust."""
    fleet = same_fleet()
    known = TrustedMetadata.bootstrap(fleet.files()["1.root.json"]).advance(fleet.bundle(1), now=NOW, fresh=True)
    bundle = fleet.bundle(2)
    wanted = known.advance(bundle, now=NOW, fresh=True)
    before = dict(known.files)
    refused = 0
    for data in flips(bundle[name].encode(), MASKS):
        try:
            found = known.advance(bundle | {name: data.decode(errors="surrogateescape")}, now=NOW, fresh=True)
        except Refusal:
            refused += 1
            continue
        assert (found.versions, found.policy) == (wanted.versions, wanted.policy)
    assert refused > len(bundle[name])
    assert dict(known.files) == before


def test_a_fault_is_found() -> None:
    """The search can fail: a reader with a bug, one that accepts what it must not, and one that takes too long."""

    def careless(data: bytes) -> str:
        if data.endswith(b"}") and b"alice" not in data:
            raise Wrong("accepted without alice")
        return "E_SCHEMA" if int(data[:1] == b"{") else str(1 // int(data[:1] == b"["))

    target = Target(
        "careless", (b'{"by": "alice"}', b"[1]"), lambda data: ACCEPTED if data == b"[1]" else careless(data)
    )
    found = {why.partition(":")[0] for _, why in fuzz(target, 500, 1).findings}
    assert found == {"Wrong", "ZeroDivisionError"}


def test_a_target_whose_samples_are_refused_tests_nothing() -> None:
    with pytest.raises(Wrong, match="no sample is accepted"):
        fuzz(Target("closed", (b"{}",), lambda data: "E_SCHEMA"), 10, 1)


def test_the_same_seed_tries_the_same_cases() -> None:
    def tried(number: int) -> list[bytes]:
        seen: list[bytes] = []

        def note(data: bytes) -> str:
            seen.append(data)
            return ACCEPTED

        fuzz(Target("note", (b'{"a": [1, "b"]}',), note), 120, number)
        return seen

    assert tried(1) == tried(1) != tried(2)
    assert mangle(Random(3), b"abc", [b"abc"]) == mangle(Random(3), b"abc", [b"abc"])


def test_evidence_with_a_device_ca_whose_key_is_none() -> None:
    """Each byte of the authority's point: found by chance once, when it ended the judge."""
    target = evidence()
    pem = base64.b64decode(recorded()["evidence"]["files"][DEVICE_CA])
    certificate = load_pem_x509_certificate(pem)
    der = certificate.public_bytes(Encoding.DER)
    point = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)[-64:]
    at, found = der.index(point), set()
    for number in range(0, 64, 3):
        bad = bytearray(der)
        bad[at + number] ^= 1
        text = b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(bad) + b"-----END CERTIFICATE-----\n"
        found.add(target.judge(DEVICE_CA.encode() + b"\n" + text))
    assert found == {"devices, events"}
