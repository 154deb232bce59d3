"""Keys in a token: signed with through PKCS#11 by `securesystemslib`'s `HSMSigner`.

A token answers badly in many ways: what may pass is tried again, at most three times in all; a wrong PIN never is,
because tokens lock themselves. What fails in the end is `E_SIGNER`, before anything unsigned has left.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib import parse

from securesystemslib.exceptions import UnsupportedLibraryError, UnverifiedSignatureError
from securesystemslib.signer import HSMSigner, Key, Signature, Signer, SSlibKey

from fwctl.errors import FwctlError, InputError
from fwctl.files import read_input
from fwctl.trust import passphrase
from fwctl.trust.public_key import MAX_BYTES, key_object, mismatch, refused
from fwctl.trust.token_module import FINAL, PIN_REFUSED, begin_again, broken, opened, within, words
from fwctl_agent.errors import Refusal
from fwctl_agent.protocol import canonical
from fwctl_agent.protocol.fields import Fields
from fwctl_agent.trust.keys import load_key, vet

TRIES: Final = 3
BACKOFF_SECONDS: Final = 0.5
PATIENCE_SECONDS: Final = 30.0
_wrong_pins: set[tuple[str, str]] = set()
"""tokens with PINs that they refused: another try would bring them nearer to their lock"""


@dataclass(frozen=True)
class HardwareKey:
    """Where a key lies in which token, through which module, and its public half."""

    address: str
    module: str
    public: SSlibKey

    def to_bytes(self) -> bytes:
        value = {"address": self.address, "module": self.module, "public": key_object(self.public)}
        return (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()

    @classmethod
    def read(cls, path: Path) -> HardwareKey:
        """Read `NAME.hsm.json`.

        Raises:
            InputError: `E_KEY_FILE` or `E_KEY_ADDRESS` if it is damaged.
            TrustRefused: `E_KEY_ALG`, `E_KEY_WEAK`.
        """
        try:
            fields = Fields(
                canonical.decode(read_input(path, most=MAX_BYTES), what="the file", max_bytes=MAX_BYTES), "key"
            )
            address, module = fields.text("address", limit=1000), fields.text("module", limit=4000)
            public = load_key(fields.take("public"))
            fields.done()
        except Refusal as error:
            if error.code.startswith("E_KEY"):
                raise refused(path, error) from error
            raise InputError(
                f"this does not lead to a key in a token: {error.message}",
                code="E_KEY_FILE",
                place=str(path),
                remedy="Remove the file and import the key again: fwctl keys import NAME --hsm ADDRESS --module FILE",
            ) from error
        parse_address(address)
        return cls(address, module, public)


def parse_address(address: str) -> tuple[int, str | None]:
    """Return the key's number and the token's label in `hsm:[NUMBER][?label=LABEL]`.

    Raises:
        InputError: `E_KEY_ADDRESS`.
    """
    parts = parse.urlsplit(address)
    query = dict(parse.parse_qsl(parts.query, keep_blank_values=True))
    number = parts.path or str(HSMSigner.SCHEME_KEYID)
    plain = parts.scheme == HSMSigner.SCHEME and not parts.netloc and not parts.fragment and set(query) <= {"label"}
    if plain and number.isascii() and number.isdecimal() and len(number) < 10:
        return int(number), query.get("label")
    raise InputError(
        "this is not the address of a key in a token",
        code="E_KEY_ADDRESS",
        place=address,
        remedy="Write hsm:NUMBER?label=TOKEN, such as 'hsm:2?label=fleet': pkcs11-tool --list-objects shows both.",
    )


def import_key(address: str, module: str) -> HardwareKey:
    """Read the public half of a key from its token.

    Raises:
        InputError: `E_KEY_ADDRESS`, `E_HSM_LIBRARY`, `E_KEY_MISSING` if there is no such token or key.
        TrustRefused: `E_KEY_ALG`.
        WorldError: `E_SIGNER` if the token does not answer.
    """
    number, label = parse_address(address)
    place = f"{address} through {module}"

    def pin(_prompt: str) -> str:
        return passphrase.secret(passphrase.PIN, "in the token", address)

    try:
        with opened(module):
            uri, public = HSMSigner.import_(number, label, pin)
        return HardwareKey(uri, module, vet(public))
    except UnsupportedLibraryError as error:
        raise no_library() from error
    except Refusal as error:
        raise refused(Path(address), error) from error
    except ValueError as error:
        raise InputError(
            f"the key is not to be had: {error}",
            code="E_KEY_MISSING",
            place=place,
            remedy=f"Look at what is there: pkcs11-tool --module {module} --list-objects",
        ) from error
    except RuntimeError as error:  # the base of all that pkcs11 raises
        raise broken(place, words(error)) from error


def no_library() -> InputError:
    """Return the error where the library for tokens is not installed."""
    return InputError(
        "keys in tokens need a library that is not installed",
        code="E_HSM_LIBRARY",
        place="python-pkcs11",
        remedy="Install it: pip install 'fwctl[hsm]'",
    )


@dataclass
class _Pin:
    """Asks for the PIN of one token, and never hands out one that the token has refused."""

    name: str
    address: str
    token: str
    used: str = ""

    def __call__(self, _prompt: str) -> str:
        self.used = passphrase.secret(passphrase.PIN, self.name, self.token)
        if (self.token, self.used) in _wrong_pins:
            raise broken(self.address, "it has refused this PIN before")
        return self.used

    def refused(self) -> None:
        _wrong_pins.add((self.token, self.used))
        passphrase.forget(passphrase.PIN, self.token)


@dataclass
class HardwareSigner(Signer):
    """Signs with a token, patiently and within bounds. `backend` is what asks the token, once."""

    name: str
    place: str
    module: str
    backend: Signer
    wrong_pin: Callable[[], None] = lambda: None
    sleep: Callable[[float], None] = time.sleep
    patience: float = PATIENCE_SECONDS
    _failed: FwctlError | None = field(default=None, init=False)

    @classmethod
    def of(cls, name: str, key: HardwareKey) -> HardwareSigner:
        """Return the signer of a key. The PIN is asked for when it signs for the first time.

        Raises:
            InputError: `E_HSM_LIBRARY`.
        """
        number, label = parse_address(key.address)
        pin = _Pin(name, key.address, f"{key.module} {label or ''}")
        try:
            return cls(name, key.address, key.module, HSMSigner(number, key.public, pin, label), pin.refused)
        except UnsupportedLibraryError as error:
            raise no_library() from error

    @classmethod
    def from_priv_key_uri(cls, priv_key_uri: str, public_key: Key, secrets_handler: Any = None) -> HardwareSigner:
        raise NotImplementedError("keys are opened through the key store")

    @property
    def public_key(self) -> Key:
        return self.backend.public_key

    def sign(self, payload: bytes) -> Signature:
        """Return a signature that has been verified.

        Raises:
            WorldError: `E_SIGNER`, also at once after an earlier failure: one pass asks a broken token once.
            InputError: `E_PIN` where nobody can be asked, `E_KEY_MISMATCH` if the token signs with another key.
        """
        with opened(self.module):
            if self._failed is not None:
                raise self._failed
            try:
                signature = self._patiently(payload)
            except FwctlError as error:
                self._failed = error
                raise
        try:
            self.public_key.verify_signature(signature, payload)
        except UnverifiedSignatureError as error:
            raise mismatch(self.name, self.place) from error
        return signature

    def _patiently(self, payload: bytes) -> Signature:
        for attempt in range(1, TRIES + 1):
            try:
                return within(self.patience, self.module, lambda: self.backend.sign(payload))
            except (RuntimeError, ValueError, OSError) as error:  # RuntimeError is the base of all that pkcs11 raises
                kind = type(error).__name__
                if kind in PIN_REFUSED:
                    self.wrong_pin()
                if attempt == TRIES or kind in FINAL or isinstance(error, TimeoutError):
                    raise broken(self.place, words(error)) from error
            self.sleep(BACKOFF_SECONDS * 2 ** (attempt - 1) * random.uniform(0.5, 1.5))  # noqa: S311
            begin_again(self.module)
        raise AssertionError("the last try returns or raises")
