"""Envelopes: one spelling each, no byte of them can change, and junk is a no."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from securesystemslib.signer import CryptoSigner

from fwctl_agent.errors import Refusal
from fwctl_agent.protocol import canonical
from fwctl_agent.protocol.statements import APPROVAL, ORDER, RELEASE
from fwctl_agent.trust.envelope import MAX_SIGNATURES, Sealed, merged, seal, verifies

SIGNER = CryptoSigner.generate_ed25519()
KEYS = [SIGNER.public_key]
VALUE = {"device": "a", "n": 1}
ENVELOPE = seal(canonical.encode(VALUE), ORDER, SIGNER)


def accepted(data: bytes) -> tuple[Any, frozenset[str]]:
    """Return what a reader makes of the bytes of an envelope."""
    sealed = Sealed.open(canonical.decode(data, what="envelope"), ORDER)
    return sealed.statement(), sealed.signers(KEYS)


def test_what_is_sealed_is_opened() -> None:
    assert accepted(canonical.dump(ENVELOPE)) == (VALUE, frozenset({SIGNER.public_key.keyid}))


@pytest.mark.parametrize("signer", [SIGNER, CryptoSigner.generate_ecdsa()], ids=["ed25519", "ecdsa"])
def test_a11_no_byte_of_an_envelope_can_change(signer: CryptoSigner) -> None:
    """Every bit of every byte: refused, not counted, or the decision is the same."""
    envelope = seal(canonical.encode(VALUE), ORDER, signer)
    good, same = canonical.dump(envelope), 0
    for index in range(len(good)):
        for bit in range(8):
            raw = bytearray(good)
            raw[index] ^= 1 << bit
            try:
                sealed = Sealed.open(canonical.decode(bytes(raw), what="envelope"), ORDER)
                if not sealed.signers([signer.public_key]):
                    continue
                statement = sealed.statement()
            except Refusal:
                continue
            assert statement == VALUE
            same += 1
    assert same == 0, "there is no byte outside the signed data, the key id and the syntax"


@given(st.binary(max_size=300))
def test_junk_bytes(data: bytes) -> None:
    with pytest.raises(Refusal):
        accepted(data)


def test_payload_types_are_not_exchangeable_a09() -> None:
    for other in (APPROVAL, RELEASE, ORDER + " ", "", ORDER.upper()):
        with pytest.raises(Refusal, match=r"^E_SIG_TYPE: "):
            Sealed.open(ENVELOPE | {"payloadType": other}, ORDER)
        retyped = Sealed.open(ENVELOPE | {"payloadType": other}, other)
        assert not retyped.signers(KEYS)


def test_a01_without_signatures() -> None:
    with pytest.raises(Refusal, match=r"^E_SIG_MISSING: "):
        Sealed.open(ENVELOPE | {"signatures": []}, ORDER)


def test_the_stated_key_id_is_a_hint_only() -> None:
    stranger = CryptoSigner.generate_ed25519()
    lied = [ENVELOPE["signatures"][0] | {"keyid": stranger.public_key.keyid}]
    sealed = Sealed.open(ENVELOPE | {"signatures": lied}, ORDER)
    assert not sealed.signers([*KEYS, stranger.public_key])


def test_one_signature_twice_is_one_signer() -> None:
    sealed = Sealed.open(ENVELOPE | {"signatures": ENVELOPE["signatures"] * 3}, ORDER)
    assert sealed.signers(KEYS) == {SIGNER.public_key.keyid}


SIGNATURE = ENVELOPE["signatures"][0]


@pytest.mark.parametrize(
    "change",
    [
        {"payload": None},
        {"payload": 1},
        {"payload": "a"},
        {"payload": "YQ"},
        {"payload": "YR=="},
        {"payload": "YQ==\n"},
        {"payload": "YQ==YQ=="},
        {"payload": "é"},
        {"payload": "-_-_"},
        {"payloadType": None},
        {"signatures": None},
        {"signatures": {}},
        {"signatures": [None]},
        {"signatures": ["x"]},
        {"signatures": [[]]},
        {"signatures": [SIGNATURE] * (MAX_SIGNATURES + 1)},
        {"signatures": [SIGNATURE | {"sig": None}]},
        {"signatures": [SIGNATURE | {"sig": 1}]},
        {"signatures": [SIGNATURE | {"sig": "A" * 1028}]},
        {"signatures": [SIGNATURE | {"keyid": None}]},
        {"signatures": [SIGNATURE | {"keyid": []}]},
        {"signatures": [SIGNATURE | {"cert": "x"}]},
        {"extra": 1},
    ],
)
def test_malformed_envelopes(change: dict[str, Any]) -> None:
    with pytest.raises(Refusal, match=r"^E_SCHEMA: "):
        Sealed.open(ENVELOPE | change, ORDER)


@pytest.mark.parametrize(
    "payload", [b"", b"x", b"\xff", b'{"a": 1}', b'{"b":1,"a":1}', b"1.0", b'"\\u0061"', b'{"a":"\n"}']
)
def test_a_signed_statement_has_one_form(payload: bytes) -> None:
    sealed = Sealed.open(seal(payload, ORDER, SIGNER), ORDER)
    assert sealed.signers(KEYS)
    with pytest.raises(Refusal, match=r"^E_SCHEMA: "):
        sealed.statement()


@given(st.binary(max_size=100))
def test_junk_signatures_are_a_no(signature: bytes) -> None:
    for key in (SIGNER.public_key, ECDSA.public_key):
        assert not verifies(key, signature, b"data")


ECDSA = CryptoSigner.generate_ecdsa()


def test_a_malleable_signature_is_a_no() -> None:
    order = 2**252 + 27742317777372353535851937790883648493
    signature = bytes.fromhex(SIGNER.sign(b"data").signature)
    assert verifies(SIGNER.public_key, signature, b"data")
    for times in (1, 2, 7):
        shifted = int.from_bytes(signature[32:], "little") + times * order
        assert not verifies(SIGNER.public_key, signature[:32] + shifted.to_bytes(32, "little"), b"data")


def test_envelopes_of_one_payload_are_joined() -> None:
    other = CryptoSigner.generate_ed25519()
    payload = canonical.encode(VALUE)
    found, refused = merged([ENVELOPE, {"junk": 1}, seal(payload, ORDER, other), seal(b"{}", ORDER, other)], ORDER)
    assert [error.code for error in refused] == ["E_SCHEMA"], "junk beside good ones counts for nothing"
    assert [len(one.signatures) for one in found] == [2, 1]
    assert found[0].signers([*KEYS, other.public_key]) == {SIGNER.public_key.keyid, other.public_key.keyid}


def test_the_input_is_left_alone() -> None:
    before = json.dumps(ENVELOPE)
    Sealed.open(ENVELOPE, ORDER)
    assert json.dumps(ENVELOPE) == before
    assert base64.b64decode(ENVELOPE["payload"]) == canonical.encode(VALUE)
