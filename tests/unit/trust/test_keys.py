"""Keys are vetted and counted by material. The degenerate points are derived here, not copied from the code."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from securesystemslib.signer import CryptoSigner

from fwctl.trust.repository import key_object
from fwctl_agent.errors import Refusal
from fwctl_agent.trust.keys import distinct, load_key, vet

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
Point = tuple[int, int]
IDENTITY: Point = (0, 1)


def add(one: Point, two: Point) -> Point:
    """Add on the twisted Edwards curve -x^2 + y^2 = 1 + d x^2 y^2 (RFC 8032 section 5.1)."""
    (x1, y1), (x2, y2) = one, two
    both = D * x1 * x2 * y1 * y2 % P
    return (
        (x1 * y2 + x2 * y1) * pow(1 + both, -1, P) % P,
        (y1 * y2 + x1 * x2) * pow(1 - both, -1, P) % P,
    )


def times(number: int, point: Point) -> Point:
    found = IDENTITY
    for bit in bin(number)[2:]:
        found = add(found, found)
        if bit == "1":
            found = add(found, point)
    return found


def recover(y: int) -> Point | None:
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    return None if (x * x - square) % P else (x, y)


def small_order_points() -> set[Point]:
    """Return all points of order 1, 2, 4 and 8: the multiples of L times any point that has the whole torsion."""
    for y in range(2, 200):
        point = recover(y)
        torsion = times(L, point) if point else IDENTITY
        if times(4, torsion) != IDENTITY:
            return {times(number, torsion) for number in range(8)}
    raise AssertionError("no point with full torsion found")


def encoded(point: Point, *, sign: int | None = None) -> bytes:
    x, y = point
    return (y | ((x & 1 if sign is None else sign) << 255)).to_bytes(32, "little")


def ed25519(public: bytes) -> dict[str, Any]:
    return {"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": public.hex()}}


def refused(value: object, code: str, **more: Any) -> None:
    with pytest.raises(Refusal) as found:
        load_key(value, **more)
    assert found.value.code == code, found.value


def forge(public: bytes) -> int:
    """Return how many of 200 messages verify under `public` with a signature that needs no private key."""
    key, found = Ed25519PublicKey.from_public_bytes(public), 0
    signature = encoded(IDENTITY) + bytes(32)  # R = the neutral element, S = 0: S B = R + k A whenever k A is neutral
    for number in range(200):
        try:
            key.verify(signature, b"install %d" % number)
            found += 1
        except InvalidSignature:
            continue
    return found


def test_a10_nobody_signs_but_signatures_verify() -> None:
    points = small_order_points()
    assert len(points) == 8
    assert {order for point in points for order in (1, 2, 4, 8) if times(order, point) == IDENTITY} == {1, 2, 4, 8}
    for point in points:
        assert forge(encoded(point)) > 0, "the library is stricter now: the vetting may go"
        refused(ed25519(encoded(point)), "E_KEY_WEAK")
        refused(ed25519(encoded(point, sign=0)), "E_KEY_WEAK")
        refused(ed25519(encoded(point, sign=1)), "E_KEY_WEAK")


@pytest.mark.parametrize("y", [*range(P, 2**255)])
def test_a10_y_is_written_in_one_way_only(y: int) -> None:
    for sign in (0, 1):
        refused(ed25519((y | sign << 255).to_bytes(32, "little")), "E_KEY_WEAK")


def test_a_good_key_cannot_be_forged_and_keeps_its_id() -> None:
    key = CryptoSigner.generate_ed25519().public_key
    assert forge(bytes.fromhex(key.keyval["public"])) == 0
    assert load_key(key_object(key)).keyid == key.keyid == vet(key).keyid


@pytest.mark.parametrize("public", ["", "0" * 63, "0" * 65, "0" * 63 + "\n", "A" * 64, "g" * 64, "é" * 64])
def test_ed25519_that_is_not_64_hex_digits(public: str) -> None:
    refused({"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": public}}, "E_KEY_ALG")


@pytest.mark.parametrize(
    ("keytype", "scheme"),
    [
        ("ed25519", "none"),
        ("none", "none"),
        ("ed25519", "ecdsa-sha2-nistp256"),
        ("ecdsa", "ed25519"),
        ("rsa", "rsassa-pss-sha256"),
        ("rsa", "rsa-pkcs1v15-sha256"),
        ("ecdsa", "ecdsa-sha2-nistp384"),
        ("ed25519\x1b[2J", "x"),
    ],
)
def test_a10_other_algorithms(keytype: str, scheme: str) -> None:
    good = key_object(CryptoSigner.generate_ed25519().public_key)
    refused(good | {"keytype": keytype, "scheme": scheme}, "E_KEY_ALG")


def test_a10_a_policy_may_allow_fewer() -> None:
    ecdsa = key_object(CryptoSigner.generate_ecdsa().public_key)
    load_key(ecdsa)
    refused(ecdsa, "E_KEY_ALG", schemes=("ed25519",))


def ecdsa_object(pem: str) -> dict[str, Any]:
    return {"keytype": "ecdsa", "scheme": "ecdsa-sha2-nistp256", "keyval": {"public": pem}}


def test_a10_ecdsa_keys_that_are_none() -> None:
    p384 = ec.generate_private_key(ec.SECP384R1()).public_key()
    rsa = CryptoSigner.generate_rsa().public_key.keyval["public"]
    ed = Ed25519PrivateKey.generate().public_key()
    pems = [key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode() for key in (p384, ed)]
    good = CryptoSigner.generate_ecdsa().public_key.keyval["public"]
    private = CryptoSigner.generate_ecdsa().private_bytes.decode()
    for pem in (*pems, rsa, private, "", "-----BEGIN PUBLIC KEY-----", good[:60], good.replace("M", "N", 1), "\ud800"):
        refused(ecdsa_object(pem), "E_KEY_ALG")


@given(st.data())
def test_mangled_pem_is_refused_or_the_same_key(data: st.DataObject) -> None:
    pem = bytearray(PEM.encode())
    pem[data.draw(st.integers(0, len(pem) - 1))] = data.draw(st.integers(0, 127))
    try:
        key = load_key(ecdsa_object(pem.decode()))
    except Refusal:
        return
    assert key.keytype == "ecdsa"


PEM = CryptoSigner.generate_ecdsa().public_key.keyval["public"]


def test_a03_one_key_in_two_spellings_has_one_id() -> None:
    key = load_key(ecdsa_object(PEM))
    spelled = load_key(ecdsa_object("\n" + PEM.replace("\n", "\r\n")))
    assert spelled.keyid == key.keyid
    with pytest.raises(Refusal, match=r"^E_KEY_DUPLICATE: here lists one key twice"):
        distinct([key, spelled], "here")
    assert distinct([key], "here") == {key.keyid: key}


@pytest.mark.parametrize(
    "value",
    [None, [], "x", {}, {"keytype": 1, "scheme": "ed25519", "keyval": {"public": ""}},
     {"keytype": "ed25519", "scheme": "ed25519", "keyval": None},
     {"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": None}},
     {"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": "0" * 64, "private": "x"}},
     {"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": "0" * 64}, "keyid": "x"}],
)  # fmt: skip
def test_malformed_key_objects(value: object) -> None:
    refused(value, "E_SCHEMA")


def test_the_derivation_is_that_of_the_library() -> None:
    """Guard the arithmetic above: the base point times a clamped secret is the public key of RFC 8032."""
    base = recover(4 * pow(5, -1, P) % P)
    assert base is not None
    base = base if base[0] % 2 == 0 else (P - base[0], base[1])
    private = Ed25519PrivateKey.generate()
    secret = bytearray(hashlib.sha512(private.private_bytes_raw()).digest()[:32])
    secret[0] &= 248
    secret[31] = secret[31] & 63 | 64
    assert encoded(times(int.from_bytes(secret, "little"), base)) == private.public_key().public_bytes_raw()
