"""A47: an outcome counts only when the device's own key signed it, about itself."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from securesystemslib.signer import CryptoSigner

from fwctl.errors import DeviceError
from fwctl.fleet.certificates import DeviceIssuer, create_authorities
from fwctl.fleet.outcomes import verify_outcome
from fwctl.trust.keystore import KeyStore
from fwctl_agent.protocol import canonical
from fwctl_agent.protocol.statements import ORDER, OUTCOME, Outcome, RunningImage
from fwctl_agent.trust.envelope import seal

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
DEVICE, REPO = "device-001", "acme"
PLAIN = Outcome(
    device=DEVICE,
    repo_id=REPO,
    order=canonical.digest(b"order"),
    mandate=canonical.digest(b"mandate"),
    result="confirmed",
    klass=None,
    code=None,
    running=RunningImage(canonical.digest(b"release"), canonical.digest(b"image"), "2.5.0", None),
    slots=(),
    evidence=(),
    phases=(),
    counter=3,
)


@dataclass(frozen=True)
class Device:
    signer: CryptoSigner
    certificate: str

    def seal(self, outcome: Outcome, kind: str = OUTCOME) -> dict[str, Any]:
        return seal(canonical.encode(outcome.to_wire()), kind, self.signer)


@pytest.fixture(scope="module")
def keystore(tmp_path_factory: pytest.TempPathFactory) -> KeyStore:
    keystore = KeyStore(Path(tmp_path_factory.mktemp("keys")))
    create_authorities(keystore, REPO, NOW)
    return keystore


def enrolled(keystore: KeyStore, device: str = DEVICE) -> Device:
    key, certificate = (
        pem.decode() for pem in DeviceIssuer.load(keystore, REPO).issue(device, enrolled_at=NOW, now=NOW)
    )
    return Device(CryptoSigner(load_pem_private_key(key.encode(), None)), certificate)


@pytest.fixture(scope="module")
def device(keystore: KeyStore) -> Device:
    return enrolled(keystore)


def refused(envelope: Any, certificate: str) -> DeviceError:
    with pytest.raises(DeviceError) as caught:
        verify_outcome(envelope, certificate, DEVICE, REPO)
    assert (caught.value.code, caught.value.place) == ("E_REPORT", DEVICE)
    return caught.value


def test_an_outcome_sealed_by_the_device_counts(device: Device) -> None:
    assert verify_outcome(device.seal(PLAIN), device.certificate, DEVICE, REPO) == PLAIN


def test_the_envelope_is_left_as_it_was(device: Device) -> None:
    envelope = device.seal(PLAIN)
    before = copy.deepcopy(envelope)
    verify_outcome(envelope, device.certificate, DEVICE, REPO)
    assert envelope == before


def test_another_devices_key_does_not_count(keystore: KeyStore, device: Device) -> None:
    assert "not signed" in refused(enrolled(keystore, "device-002").seal(PLAIN), device.certificate).message


def test_another_devices_certificate_does_not_count(keystore: KeyStore) -> None:
    other = enrolled(keystore, "device-002")
    assert "the certificate is that of device-002" in refused(other.seal(PLAIN), other.certificate).message


@pytest.mark.parametrize("change", [{"device": "device-002"}, {"repo_id": "other"}])
def test_an_outcome_about_somebody_else_does_not_count(device: Device, change: dict[str, str]) -> None:
    refused(device.seal(replace(PLAIN, **change)), device.certificate)  # type: ignore[arg-type]


def test_an_order_is_no_outcome(device: Device) -> None:
    refused(device.seal(PLAIN, ORDER), device.certificate)


@pytest.mark.parametrize("certificate", ["", "junk"])
def test_without_a_readable_certificate_nothing_counts(device: Device, certificate: str) -> None:
    refused(device.seal(PLAIN), certificate)


@pytest.mark.parametrize(
    "change",
    [{"payload": "!"}, {"payload": None}, {"signatures": []}, {"signatures": [{}]}, {"signatures": "x"}, {"\x1b": 1}],
)
def test_junk_does_not_count(device: Device, change: dict[str, Any]) -> None:
    assert refused(device.seal(PLAIN) | change, device.certificate).message.isprintable()


def test_flipping_any_character_of_the_signed_bytes_does_not_count(device: Device) -> None:
    envelope = device.seal(PLAIN)
    for at in range(len(envelope["payload"])):
        text = list(envelope["payload"])
        text[at] = "A" if text[at] != "A" else "B"
        refused(envelope | {"payload": "".join(text)}, device.certificate)


def test_a_verdict_is_that_of_its_bytes_and_of_nobody_elses(keystore: KeyStore, device: Device) -> None:
    """However often it was asked before: neither a yes nor a no passes on to another envelope, key, device or fleet."""
    envelope, other = device.seal(PLAIN), enrolled(keystore, "device-002")
    forged = envelope | {"signatures": other.seal(PLAIN)["signatures"]}
    for _ in range(3):
        assert verify_outcome(envelope, device.certificate, DEVICE, REPO) == PLAIN
        refused(forged, device.certificate)
        refused(envelope, other.certificate)
        for about in (("device-002", REPO), (DEVICE, "other")):
            with pytest.raises(DeviceError):
                verify_outcome(envelope, device.certificate, *about)
