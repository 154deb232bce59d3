"""Public keys: load, vet, and identify by material, never by a stated id.

`securesystemslib` counts thresholds by key id and `cryptography` accepts degenerate points; both are closed here
(THREATS, "What the chosen libraries do not do for you").
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from securesystemslib.signer import SSlibKey

from fwctl_agent.errors import Refusal
from fwctl_agent.protocol.fields import HEX64, Fields

SCHEMES: Final = {"ed25519": "ed25519", "ecdsa-sha2-nistp256": "ecdsa"}
"""scheme -> key type: all that fwctl ever accepts; a policy may allow fewer"""

_P: Final = 2**255 - 19
_SMALL_ORDER: Final = frozenset(
    {
        0,
        1,
        _P - 1,
        int.from_bytes(bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little"),
        int.from_bytes(bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"), "little"),
    }
)
"""y of the eight points of order 1, 2, 4 and 8: under them, signatures verify that nobody made"""


def load_key(value: object, *, schemes: Iterable[str] = tuple(SCHEMES)) -> SSlibKey:
    """Return the vetted public key of a TUF key object, with its id computed from the key material.

    Raises:
        Refusal: `E_KEY_ALG` for an algorithm that is not allowed, `E_KEY_WEAK` for a degenerate key.
    """
    fields = Fields(value, "key")
    keytype, scheme = fields.text("keytype"), fields.text("scheme")
    keyval = Fields(fields.take("keyval"), "key.keyval")
    public = keyval.text("public", limit=1000)
    fields.done()
    keyval.done()
    if SCHEMES.get(scheme) != keytype or scheme not in tuple(schemes):
        raise Refusal("E_KEY_ALG", f"keys of type {keytype[:40]!r} and scheme {scheme[:40]!r} are not allowed")
    # from_crypto normalises (PEM line ends, point compression), so equal material gives an equal id.
    return SSlibKey.from_crypto(_ed25519(public) if keytype == "ed25519" else _ecdsa(public))


def vet(key: SSlibKey) -> SSlibKey:
    """Return `key`, vetted, with its id computed from the material."""
    return load_key(_key_dict(key))


def _key_dict(key: SSlibKey) -> dict[str, Any]:
    return {"keytype": key.keytype, "scheme": key.scheme, "keyval": dict(key.keyval)}


def distinct(keys: Iterable[SSlibKey], where: str) -> dict[str, SSlibKey]:
    """Return the keys by recomputed id.

    Raises:
        Refusal: `E_KEY_DUPLICATE` if two of them are the same key material.
    """
    found: dict[str, SSlibKey] = {}
    for key in keys:
        if key.keyid in found:
            raise Refusal("E_KEY_DUPLICATE", f"{where} lists one key twice ({key.keyid[:12]})")
        found[key.keyid] = key
    return found


def _ed25519(public: str) -> Ed25519PublicKey:
    if not HEX64.fullmatch(public):
        raise Refusal("E_KEY_ALG", "an ed25519 key is 64 lower-case hex digits")
    y = int.from_bytes(bytes.fromhex(public), "little") & ((1 << 255) - 1)
    if y >= _P or y in _SMALL_ORDER:
        raise Refusal("E_KEY_WEAK", "this ed25519 key is degenerate: anybody can sign under it")
    try:
        return Ed25519PublicKey.from_public_bytes(bytes.fromhex(public))
    except ValueError as error:
        raise Refusal("E_KEY_ALG", "this is no ed25519 key") from error


def _ecdsa(public: str) -> EllipticCurvePublicKey:
    try:
        key = load_pem_public_key(public.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise Refusal("E_KEY_ALG", "an ecdsa key is a PEM public key") from error
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
        raise Refusal("E_KEY_ALG", "an ecdsa key is on the curve P-256")
    return key
