"""The device's own key: signs as securesystemslib's `CryptoSigner` does, without its work for each signature."""

from __future__ import annotations

from functools import cached_property

from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from securesystemslib.signer import Key, SecretsHandler, Signature, Signer, SSlibKey


class OwnSigner(Signer):
    """An Ed25519 or a P-256 key; its id is computed when the first signature needs it."""

    def __init__(self, key: Ed25519PrivateKey | EllipticCurvePrivateKey) -> None:
        self._key = key

    @property
    def public_key(self) -> SSlibKey:
        return self._public

    @cached_property
    def _public(self) -> SSlibKey:
        return SSlibKey.from_crypto(self._key.public_key())

    @classmethod
    def from_priv_key_uri(
        cls, priv_key_uri: str, public_key: Key, secrets_handler: SecretsHandler | None = None
    ) -> Signer:
        """Keys come from the device's folder only."""
        raise NotImplementedError

    def sign(self, payload: bytes) -> Signature:
        key = self._key
        sig = key.sign(payload) if isinstance(key, Ed25519PrivateKey) else key.sign(payload, ECDSA(SHA256()))
        return Signature(self.public_key.keyid, sig.hex())
