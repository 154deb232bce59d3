"""Private keys as files: PKCS#8 in PEM, encrypted if there is a passphrase. No disk here, and nobody is asked."""

from __future__ import annotations

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from securesystemslib.signer import CryptoSigner

from fwctl.errors import InputError, TrustRefused
from fwctl.trust.pbes2 import encrypt
from fwctl_agent.errors import Refusal
from fwctl_agent.trust.keys import vet

PrivateKey = Ed25519PrivateKey | EllipticCurvePrivateKey
_MARKS = (b"-----BEGIN ENCRYPTED PRIVATE KEY-----", b"Proc-Type: 4,ENCRYPTED")


def is_encrypted(data: bytes) -> bool:
    """Say whether a PEM file needs a passphrase."""
    return any(mark in data for mark in _MARKS)


def open_private(data: bytes, passphrase: str | None, *, name: str, place: str) -> PrivateKey:
    """Return the private key in a PEM file, of a kind that fwctl accepts.

    Raises:
        InputError: `E_KEY_PASSPHRASE` if the passphrase does not open it, `E_KEY_ALG` if it is none of ours.
    """
    secret = passphrase.encode() if passphrase is not None and is_encrypted(data) else None
    try:
        key = load_pem_private_key(data, secret)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        if secret is not None:
            # from None: what the library says of the bytes is nobody's business
            raise InputError(
                f"the passphrase does not open the private key {name}",
                code="E_KEY_PASSPHRASE",
                place=place,
                remedy="Try again with the passphrase that it was given; if the file is damaged, restore its backup.",
            ) from None
        raise _unusable(name, place, "it is not a private key in PEM") from error
    if not isinstance(key, PrivateKey):
        raise _unusable(name, place, f"{type(key).__name__.removesuffix('PrivateKey')} is not allowed")
    try:
        vet(CryptoSigner(key).public_key)
    except (Refusal, ValueError) as error:
        raise _unusable(name, place, str(error)) from error
    return key


def refuse_guessable(key: PrivateKey, place: str) -> None:
    """Refuse a private key that anybody would try first.

    Raises:
        TrustRefused: `E_KEY_WEAK`.
    """
    if isinstance(key, EllipticCurvePrivateKey):
        secret = key.private_numbers().private_value.to_bytes(32, "big")
    else:
        secret = key.private_bytes_raw()
    if len(set(secret)) < 8:  # 32 random bytes have that few values once in 10^40
        raise TrustRefused(
            "this key is refused: its secret is no random number, anybody could guess it",
            code="E_KEY_WEAK",
            place=place,
            remedy="Make a new one: fwctl keys generate NAME",
        )


def seal_private(key: PrivateKey, passphrase: str | None) -> bytes:
    """Return the PEM file of a key, encrypted unless there is no passphrase."""
    if not passphrase:
        return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return encrypt(key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()), passphrase.encode())


def _unusable(name: str, place: str, why: str) -> InputError:
    return InputError(
        f"the private key {name} cannot be used: {why}",
        code="E_KEY_ALG",
        place=place,
        remedy="Use an Ed25519 or ECDSA P-256 key in PEM (PKCS#8): fwctl keys generate NAME",
    )
