"""DSSE envelopes: read strictly, verify against key material, seal."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import UnverifiedSignatureError
from securesystemslib.signer import Key, Signature, Signer, SSlibKey

from fwctl_agent.errors import Refusal
from fwctl_agent.protocol import canonical
from fwctl_agent.protocol.fields import Fields

MAX_SIGNATURES = 16


@dataclass(frozen=True)
class Sealed:
    """A strictly decoded envelope. Nothing in it is trusted before `signers` says by whom it was signed."""

    payload: bytes
    payload_type: str
    signatures: tuple[tuple[str, bytes], ...]
    """(stated key id, signature); the id is a hint only"""

    @classmethod
    def open(cls, value: object, payload_type: str) -> Sealed:
        """Decode the JSON form of an envelope.

        Raises:
            Refusal: `E_SIG_TYPE` for another payload type, `E_SIG_MISSING` without signatures, else `E_SCHEMA`.
        """
        top = Fields(value, "envelope")
        payload = _b64(top.text("payload", limit=canonical.MAX_BYTES))
        found_type = top.text("payloadType")
        signatures = top.items("signatures", _signature, limit=MAX_SIGNATURES)
        top.done()
        if found_type != payload_type:
            raise Refusal("E_SIG_TYPE", f"expected a statement of type {payload_type}, got {found_type[:80]!r}")
        if not signatures:
            raise Refusal("E_SIG_MISSING", "the statement carries no signature")
        return cls(payload, found_type, signatures)

    def statement(self) -> Any:
        """Return the strictly decoded payload, which nobody may change. Call it only after `signers`."""
        return self._statement

    @cached_property
    def _statement(self) -> Any:
        value = canonical.decode(self.payload, what="statement")
        if not canonical.is_form_of(self.payload, value):
            raise Refusal("E_SCHEMA", "the statement is not in canonical form")
        return value

    def signers(self, keys: Iterable[SSlibKey]) -> frozenset[str]:
        """Return the ids of those `keys` (ids computed from material) under which a signature verifies."""
        by_id = {key.keyid: key for key in keys}
        pae = Envelope(self.payload, self.payload_type, {}).pae()
        return frozenset(keyid for keyid, sig in self.signatures if keyid in by_id and verifies(by_id[keyid], sig, pae))


def verifies(key: Key, signature: bytes, data: bytes) -> bool:
    """Say whether `signature` over `data` verifies under `key`; junk is a no, not an error."""
    try:
        key.verify_signature(Signature(key.keyid, signature.hex()), data)
    except UnverifiedSignatureError:
        return False
    return True


def seal(payload: bytes, payload_type: str, signer: Signer) -> dict[str, Any]:
    """Return the JSON form of an envelope with one signature."""
    envelope = Envelope(payload, payload_type, {})
    envelope.sign(signer)
    form: dict[str, Any] = envelope.to_dict()
    return form


def merged(envelopes: Iterable[Mapping[str, Any]], payload_type: str) -> tuple[list[Sealed], list[Refusal]]:
    """Open many envelopes and join those with the same payload: one signature a file, counted together.

    Envelopes that cannot be opened count for nothing and come back as refusals: junk beside good ones changes nothing.
    """
    by_payload: dict[bytes, Sealed] = {}
    refusals: list[Refusal] = []
    for envelope in envelopes:
        try:
            sealed = Sealed.open(dict(envelope), payload_type)
        except Refusal as error:
            refusals.append(error)
            continue
        known = by_payload.get(sealed.payload)
        if known:
            sealed = Sealed(sealed.payload, payload_type, known.signatures + sealed.signatures)
        by_payload[sealed.payload] = sealed
    return list(by_payload.values()), refusals


def _b64(text: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refusal("E_SCHEMA", "an envelope field is not base64") from error
    # Trailing bits and missing padding would give one signature many spellings.
    if base64.b64encode(data).decode() != text:
        raise Refusal("E_SCHEMA", "an envelope field is not canonical base64")
    return data


def _signature(value: object) -> tuple[str, bytes]:
    fields = Fields(value, "signature")
    found = fields.text("keyid"), _b64(fields.text("sig", limit=1024))
    fields.done()
    return found
