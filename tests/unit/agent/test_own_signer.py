"""The device's own key signs what everybody verifies."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from securesystemslib.signer import SSlibKey

from fwctl_agent.config import ConfigError
from fwctl_agent.protocol.statements import OUTCOME
from fwctl_agent.runtime.assemble import read_signer
from fwctl_agent.trust.envelope import Sealed, seal


def stored(folder: Path, key: PrivateKeyTypes) -> Path:
    path = folder / "device.key.pem"
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(key.private_bytes(*form))
    return path


@pytest.mark.parametrize("key", [ed25519.Ed25519PrivateKey.generate(), ec.generate_private_key(ec.SECP256R1())])
def test_its_signatures_verify_under_the_key_that_the_certificate_holds(
    tmp_path: Path, key: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey
) -> None:
    envelope = seal(b"{}", OUTCOME, read_signer(stored(tmp_path, key)))
    public = SSlibKey.from_crypto(key.public_key())
    assert Sealed.open(envelope, OUTCOME).signers([public]) == {public.keyid}
    assert not Sealed.open(
        seal(b"[]", OUTCOME, read_signer(stored(tmp_path, key))) | {"payload": "e30="}, OUTCOME
    ).signers([public])


@pytest.mark.parametrize(
    "key", [ec.generate_private_key(ec.SECP384R1()), rsa.generate_private_key(public_exponent=65537, key_size=2048)]
)
def test_other_keys_are_refused_at_the_start(tmp_path: Path, key: PrivateKeyTypes) -> None:
    with pytest.raises(ConfigError, match=r"device\.key\.pem: must be an Ed25519 or a P-256 key"):
        read_signer(stored(tmp_path, key))
