"""The folder `identity/`: a device's key and certificate, and the way to new ones that a power cut cannot break.

A rotation has four writes: (1) the pending key, (2) the certificate for it, which is the moment from which it counts,
(3) the journal, whose outcomes are signed again with the new key, (4) the pending key in place of the old one. After a
cut anywhere the certificate says which key is meant; both lie there. `finish` does what is left of (4).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from fwctl_agent.errors import Refusal
from fwctl_agent.protocol.enrolment import CERTIFICATE, DEVICE_CA, KEY, NEXT_KEY
from fwctl_agent.trust.identity import (
    DeviceCertificate,
    Own,
    PrivateKey,
    judge_certificate,
    make_request,
    read_device_certificate,
)
from fwctl_agent.trust.own_signer import OwnSigner

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fwctl_agent.runtime.ports import Fs
    from fwctl_agent.runtime.settings import Settings
    from fwctl_agent.trust.verifier import TrustedTime

_BAD: Final = (ValueError, TypeError, UnsupportedAlgorithm)


class Identity:
    """Key and certificate of one device, on its disk."""

    def __init__(self, fs: Fs, settings: Settings) -> None:
        self._fs = fs
        self._settings = settings

    @property
    def unfinished(self) -> bool:
        """Say whether the certificate counts already that a rotation brought, and the old key still lies there."""
        pending = self._fs.read(NEXT_KEY)
        if pending is None or pending == self._fs.read(KEY):
            return False
        return _belongs(pending, self._fs.read(CERTIFICATE))

    def signer(self) -> OwnSigner:
        """Return the key that the certificate is for."""
        return OwnSigner(self._key(NEXT_KEY if self.unfinished else KEY))

    def request(self) -> str:
        """Return a request for a certificate, PEM, for a new key; the same key until its certificate has come.

        Raises:
            Refusal: `E_NO_DEVICE_CA`.
            OSError: the key could not be made durable.
        """
        self._authority()
        self.finish()  # or the only copy of the key in force might be written over
        pending = self._pending()
        if pending is None:
            pending = new_key()
            self._fs.replace(NEXT_KEY, private_pem(pending))
        return make_request(pending, self._settings.id, self._settings.repo_id)

    def judge(self, pem: str, *, time: TrustedTime, revoked: Iterable[str]) -> tuple[DeviceCertificate, bool]:
        """Return the certificate, and whether it is for the pending key; the present one is always good.

        Raises:
            Refusal: as `judge_certificate`, or `E_NO_DEVICE_CA`.
        """
        authority, current = self._authority(), self._current()
        pending = self._pending()
        if read_device_certificate(pem).certificate == current.certificate:
            return current, False
        settings = self._settings
        own = Own(
            device=settings.id,
            repo_id=settings.repo_id,
            enrolled_at=settings.enrolled_at,
            current=current,
            pending=pending.public_key() if pending else None,
            authority=authority,
        )
        new = judge_certificate(pem, own, time=time, revoked=revoked)
        return new, new.public_key != current.public_key

    def store(self, judged: DeviceCertificate) -> None:
        """Let a judged certificate count from now on: it alone, not what stood beside it in the text that came."""
        self._fs.replace(CERTIFICATE, judged.certificate.public_bytes(Encoding.PEM))

    def finish(self) -> None:
        """Put the pending key, whose certificate counts, in the place of the old one."""
        pending = self._fs.read(NEXT_KEY)
        if pending is not None and self.unfinished:
            self._fs.replace(KEY, pending)

    def _current(self) -> DeviceCertificate:
        return read_device_certificate((self._fs.read(CERTIFICATE) or b"").decode("ascii", "replace"))

    def _pending(self) -> PrivateKey | None:
        """Return the key that waits for its certificate; one that counts already waits no more."""
        data = self._fs.read(NEXT_KEY)
        if data is None or data == self._fs.read(KEY) or self.unfinished:
            return None
        return load_key(data)

    def _key(self, path: str) -> PrivateKey:
        found = load_key(self._fs.read(path) or b"")
        if found is None:
            raise Refusal("E_KEY_MISSING", f"{path} is no Ed25519 or P-256 key")
        return found

    def _authority(self) -> bytes:
        found = self._fs.read(DEVICE_CA)
        if found is None:
            raise Refusal(
                "E_NO_DEVICE_CA", f"this device was enrolled without {DEVICE_CA}, so it can judge no new certificate"
            )
        return found


def load_key(data: bytes) -> PrivateKey | None:
    """Return a private key of a kind that a device may have; None for anything else."""
    try:
        key = load_pem_private_key(data, password=None)
    except _BAD:
        return None
    good = isinstance(key, Ed25519PrivateKey) or (
        isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1)
    )
    return key if good else None  # type: ignore[return-value]  # `good` says that it is one of the two


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def private_pem(key: PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def key_in_force(certificate: Path, key: Path) -> Path:
    """Return which key file belongs to the certificate: a rotation may have been cut before its last write."""
    pending = key.with_name(Path(NEXT_KEY).name)
    if pending == key or not pending.is_file():
        return key
    data = pending.read_bytes()
    return pending if data != key.read_bytes() and _belongs(data, certificate.read_bytes()) else key


def _belongs(key: bytes, certificate: bytes | None) -> bool:
    found = load_key(key)
    try:
        return found is not None and x509.load_pem_x509_certificate(certificate or b"").public_key() == (
            found.public_key()
        )
    except _BAD:
        return False
