"""The public half of a key as people hand it on: one small JSON file, or PEM, vetted when it is read."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fwctl.errors import InputError, TrustRefused
from fwctl.files import read_input
from fwctl_agent.errors import Refusal
from fwctl_agent.protocol import canonical
from fwctl_agent.protocol.fields import WORD, Fields

if TYPE_CHECKING:  # cryptography takes longer to import than `status` has
    from securesystemslib.signer import SSlibKey

MAX_BYTES: Final = 16 * 1024
_PEM: Final = b"-----BEGIN "
_PRIVATE: Final = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----")
_REMEDY: Final = "Ask its holder for the file that `fwctl keys export NAME --out FILE` writes."


@dataclass(frozen=True)
class PublicKeyFile:
    """Who holds a key, and its vetted public half."""

    person: str
    key: SSlibKey

    def to_bytes(self) -> bytes:
        """Return the file: a TUF key object with the holder's name."""
        value = {"person": self.person, **key_object(self.key)}
        return (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()


def key_object(key: SSlibKey) -> dict[str, Any]:
    """Return a public key as files, policy and metadata write it."""
    return {"keytype": key.keytype, "scheme": key.scheme, "keyval": dict(key.keyval)}


def fingerprint(key: SSlibKey) -> str:
    """Return what two people compare over another channel: the first 128 bits of the key's id, in groups."""
    digest = key.keyid[:32]
    return " ".join(digest[at : at + 4] for at in range(0, len(digest), 4))


def read_public_key(path: Path) -> PublicKeyFile:
    """Return the vetted public key in a file, JSON or PEM; a PEM file is named after its holder.

    Raises:
        InputError: `E_NO_FILE`, `E_KEY_FILE` if it is no public key, `E_KEY_NAME` if it names nobody.
        TrustRefused: `E_KEY_ALG` or `E_KEY_WEAK` for a key that nobody may use.
    """
    return parse_public_key(read_input(path, remedy=_REMEDY, most=MAX_BYTES), path)


def parse_public_key(data: bytes, path: Path) -> PublicKeyFile:
    """Return the vetted public key in `data`, which was read from `path`. Raises as `read_public_key`."""
    if len(data) > MAX_BYTES:
        raise unreadable(path, f"it has more than {MAX_BYTES} bytes")
    if _PRIVATE.search(data):
        raise unreadable(path, "it is a private key, which must never leave its holder")
    try:
        return _from_pem(data, path) if data.lstrip().startswith(_PEM) else _from_json(data, path)
    except Refusal as error:
        if error.code.startswith("E_KEY"):
            raise refused(path, error) from error
        raise unreadable(path, error.message) from error


def unreadable(path: Path, why: str) -> InputError:
    """Return the error about a file that is no public key."""
    return InputError(f"this is not a public key: {why}", code="E_KEY_FILE", place=str(path), remedy=_REMEDY)


def refused(path: Path, error: Refusal) -> TrustRefused:
    """Return the error about a key that nobody may use."""
    remedy = "Its holder makes a new one: `fwctl keys generate NAME`."
    return TrustRefused(f"this key is refused: {error.message}", code=error.code, place=str(path), remedy=remedy)


def mismatch(name: str, place: str) -> InputError:
    """Return the error about halves that do not belong together."""
    return InputError(
        f"the private key {name} and its public half do not belong together",
        code="E_KEY_MISMATCH",
        place=place,
        remedy="Restore both from one backup; if you cannot, make a new key: nothing is signed with this one.",
    )


def check_name(name: str, place: str) -> str:
    """Return the name of a key's holder.

    Raises:
        InputError: `E_KEY_NAME` if files and policies could not carry it.
    """
    if WORD.fullmatch(name):
        return name
    raise InputError(
        "a key's holder is named by letters, digits, dots, dashes and underscores, at most 64",
        code="E_KEY_NAME",
        place=place,
        remedy="Use a name such as alice or alice-2.",
    )


def _from_json(data: bytes, path: Path) -> PublicKeyFile:
    from fwctl_agent.trust.keys import load_key

    fields = Fields(canonical.decode(data, what="the file", max_bytes=MAX_BYTES), "key")
    person = fields.text("person")
    key = load_key({name: fields.take(name) for name in ("keytype", "scheme", "keyval")})
    fields.done()
    return PublicKeyFile(check_name(person, str(path)), key)


def _from_pem(data: bytes, path: Path) -> PublicKeyFile:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_public_key
    from securesystemslib.signer import SSlibKey

    from fwctl_agent.trust.keys import vet

    try:
        public = load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise unreadable(path, "its PEM cannot be read") from error
    try:
        key = SSlibKey.from_crypto(public)
    except ValueError as error:
        raise Refusal("E_KEY_ALG", "keys of this type are not allowed") from error
    return PublicKeyFile(check_name(path.stem.removesuffix(".pub"), str(path)), vet(key))
