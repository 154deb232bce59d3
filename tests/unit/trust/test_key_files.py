"""Public keys as people hand them on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from securesystemslib.signer import CryptoSigner, SSlibKey

from fwctl.errors import FwctlError, InputError, TrustRefused
from fwctl.trust.public_key import PublicKeyFile, fingerprint, key_object, parse_public_key, read_public_key

ED25519 = CryptoSigner.generate_ed25519().public_key
ECDSA = CryptoSigner.generate_ecdsa().public_key


def pem(public: Any) -> bytes:
    data: bytes = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return data


@pytest.mark.parametrize("key", [ED25519, ECDSA], ids=["ed25519", "ecdsa"])
def test_what_is_written_is_read_again(key: SSlibKey, tmp_path: Path) -> None:
    path = tmp_path / "any.json"
    path.write_bytes(PublicKeyFile("alice", key).to_bytes())
    read = read_public_key(path)
    assert (read.person, read.key.keyid, key_object(read.key)) == ("alice", key.keyid, key_object(key))


@pytest.mark.parametrize("name", ["bob.pem", "bob.pub.pem", "bob.pub"])
def test_a_pem_file_is_named_after_its_holder(name: str, tmp_path: Path) -> None:
    private = Ed25519PrivateKey.generate()
    path = tmp_path / name
    path.write_bytes(pem(private.public_key()))
    read = read_public_key(path)
    assert (read.person, read.key.keyid) == ("bob", CryptoSigner(private).public_key.keyid)


def test_a_fingerprint_belongs_to_one_key_and_can_be_read_aloud() -> None:
    assert fingerprint(ED25519) != fingerprint(ECDSA)
    assert fingerprint(ED25519).split(" ") == [part for part in fingerprint(ED25519).split(" ") if len(part) == 4]
    assert len(fingerprint(ED25519)) == 8 * 4 + 7


GOOD = {"person": "alice", **key_object(ED25519)}
REFUSED = {
    "a10 no scheme": (GOOD | {"scheme": "none"}, "E_KEY_ALG", TrustRefused),
    "a10 unknown type": (GOOD | {"keytype": "dsa"}, "E_KEY_ALG", TrustRefused),
    "degenerate": (GOOD | {"keyval": {"public": "00" * 32}}, "E_KEY_WEAK", TrustRefused),
    "short": (GOOD | {"keyval": {"public": "ab"}}, "E_KEY_ALG", TrustRefused),
    "more than a key": (GOOD | {"private": "x"}, "E_KEY_FILE", InputError),
    "nobody's": (key_object(ED25519), "E_KEY_FILE", InputError),
    "a path for a name": (GOOD | {"person": "../alice"}, "E_KEY_NAME", InputError),
    "a list": ([GOOD], "E_KEY_FILE", InputError),
}


@pytest.mark.parametrize(("value", "code", "kind"), REFUSED.values(), ids=REFUSED)
def test_a10_a_key_nobody_may_use_is_refused(value: object, code: str, kind: type[FwctlError], tmp_path: Path) -> None:
    path = tmp_path / "alice.json"
    path.write_text(json.dumps(value))
    with pytest.raises(kind) as caught:
        read_public_key(path)
    assert (caught.value.code, caught.value.place) == (code, str(path))


@pytest.mark.parametrize(
    "public",
    [generate_private_key(SECP384R1()).public_key(), generate_rsa(65537, 1024).public_key()],
    ids=["p384", "rsa"],
)
def test_a10_a_pem_key_of_another_kind_is_refused(public: Any, tmp_path: Path) -> None:
    path = tmp_path / "alice.pem"
    path.write_bytes(pem(public))
    with pytest.raises(TrustRefused, match=r"^E_KEY_ALG: "):
        read_public_key(path)


def test_a_degenerate_key_in_pem_is_refused(tmp_path: Path) -> None:
    good = pem(Ed25519PrivateKey.generate().public_key())
    import base64

    der = base64.b64decode(b"".join(good.splitlines()[1:-1]))
    weak = base64.b64encode(der[:-32] + bytes(32))
    path = tmp_path / "alice.pem"
    path.write_bytes(b"-----BEGIN PUBLIC KEY-----\n" + weak + b"\n-----END PUBLIC KEY-----\n")
    with pytest.raises(TrustRefused, match=r"^E_KEY_WEAK: "):
        read_public_key(path)


def test_a_private_key_is_refused_and_not_shown(tmp_path: Path) -> None:
    data = CryptoSigner.generate_ed25519().private_bytes
    path = tmp_path / "alice.pem"
    path.write_bytes(data)
    with pytest.raises(InputError, match="private key") as caught:
        read_public_key(path)
    assert data.splitlines()[1].decode() not in str(caught.value) + caught.value.remedy


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^E_NO_FILE: "):
        read_public_key(tmp_path / "nobody.json")


@given(st.binary(max_size=400) | st.binary(max_size=100).map(lambda data: b"-----BEGIN PUBLIC KEY-----\n" + data))
def test_anything_else_is_a_typed_error(data: bytes) -> None:
    with pytest.raises(FwctlError):
        parse_public_key(data, Path("alice.pem"))
