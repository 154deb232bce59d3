"""How a device joins a fleet with a key that it made itself: request out, bundle in. Neither needs a network."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from fwctl_agent.config import ConfigError, read_settings
from fwctl_agent.errors import Refusal
from fwctl_agent.protocol import canonical
from fwctl_agent.protocol.enrolment import (
    CERTIFICATE,
    CONTROLLER_CA,
    DEVICE_CA,
    FACTORY_IMAGE,
    KEY,
    NEXT_KEY,
    ROOT,
    SETTINGS,
)
from fwctl_agent.protocol.fields import ID
from fwctl_agent.runtime.fs import OsFs
from fwctl_agent.runtime.identity import load_key, new_key, private_pem
from fwctl_agent.runtime.settings import Settings
from fwctl_agent.server.run import locked
from fwctl_agent.trust.identity import UNREADABLE, DeviceCertificate, make_request, read_device_certificate

_ORDER: Final = (ROOT, CONTROLLER_CA, DEVICE_CA, FACTORY_IMAGE, SETTINGS, CERTIFICATE)
"""the certificate last: with it the device is enrolled"""
_KEPT: Final = (SETTINGS, FACTORY_IMAGE)
"""what a device may have of its own already"""
_LARGE: Final = 1 << 20
_LARGEST: Final = 1 << 30
"""bytes of a factory image"""
_AGAIN: Final = "ask for the bundle again: fwctl device enroll NAME --request FILE --out DIR"


def request(folder: Path, device: str, repo_id: str) -> str:
    """Make the device's key in `folder`, if it has none that waits, and return a request for its certificate, PEM.

    Raises:
        ConfigError: the device is enrolled already, or a name has the wrong form.
        Locked: an agent runs on the folder.
    """
    for name, value in (("--id", device), ("--fleet", repo_id)):
        if not ID.fullmatch(value):
            raise ConfigError(name, f"this cannot be a name: {value[:80]!r}", "1 to 63 of a-z 0-9 and inner hyphens")
    (folder / "identity").mkdir(mode=0o700, parents=True, exist_ok=True)
    with locked(folder):
        fs = OsFs(folder)
        if fs.read(CERTIFICATE) is not None:
            raise ConfigError(
                str(folder), "this device is enrolled already", "give it another key with: fwctl device rotate NAME"
            )
        data = fs.read(NEXT_KEY)
        key = new_key() if data is None else load_key(data)
        if key is None:
            raise ConfigError(str(folder / NEXT_KEY), "is no readable private key", "remove it and ask again")
        if data is None:
            fs.replace(NEXT_KEY, private_pem(key))
        return make_request(key, device, repo_id)


def join(folder: Path, bundle: Path) -> tuple[Settings, str]:
    """Install a bundle into `folder`; return the settings, and the digest of the root that is pinned from now on.

    A run that was cut is completed by the next one; to repeat it changes nothing.

    Raises:
        ConfigError: the bundle is not whole, or not for the key in `folder`.
        Locked: an agent runs on the folder.
    """
    if os.path.lexists(bundle / KEY):
        raise ConfigError(
            str(bundle / KEY), "a bundle for a device that made its own key holds none", f"run it as it is, or {_AGAIN}"
        )
    files = {path: _bytes(bundle, path) for path in _ORDER}
    settings, certificate = _checked(bundle, files)
    (folder / "identity").mkdir(mode=0o700, parents=True, exist_ok=True)
    with locked(folder):
        fs = OsFs(folder)
        key = _own_key(fs, folder, certificate)
        present = fs.read(CERTIFICATE)
        if present is not None and present != files[CERTIFICATE]:
            raise ConfigError(
                str(folder / CERTIFICATE),
                "this device is enrolled already, by another certificate",
                "renew it with: fwctl device renew NAME; or enroll it anew in an empty folder",
            )
        for name in ("trust", "slots", "state"):
            (folder / name).mkdir(exist_ok=True)
        for path in _ORDER[:-1]:
            if path not in _KEPT or fs.read(path) is None:
                fs.replace(path, files[path])
        fs.replace(KEY, key)
        fs.replace(CERTIFICATE, files[CERTIFICATE])
    return settings, canonical.digest(files[ROOT])


def _checked(bundle: Path, files: dict[str, bytes]) -> tuple[Settings, DeviceCertificate]:
    settings = read_settings(bundle)
    place = str(bundle / CERTIFICATE)
    try:
        certificate = read_device_certificate(files[CERTIFICATE].decode("ascii", "replace"))
        certificate.certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(files[DEVICE_CA]))
    except Refusal as refusal:
        raise ConfigError(place, refusal.message, _AGAIN) from refusal
    except (InvalidSignature, *UNREADABLE) as error:
        raise ConfigError(place, "is not signed by the device CA of the bundle", _AGAIN) from error
    said = (certificate.device, certificate.repo_id, certificate.enrolled_at)
    if said != (settings.id, settings.repo_id, settings.enrolled_at):
        raise ConfigError(place, f"is not the one of {SETTINGS}: id, repoId and enrolledAt differ", _AGAIN)
    return settings, certificate


def _own_key(fs: OsFs, folder: Path, certificate: DeviceCertificate) -> bytes:
    for path in (NEXT_KEY, KEY):
        data = fs.read(path)
        key = load_key(data) if data is not None else None
        if data is not None and key is not None and key.public_key() == certificate.public_key:
            return data
    raise ConfigError(
        str(folder / NEXT_KEY),
        "the certificate is not for the key of this device",
        "make a request here with: fwctl-agent request --config DIR --id NAME --fleet ID; then enroll that one",
    )


def _bytes(bundle: Path, name: str) -> bytes:
    """Read one file of a bundle: what came on a stick may be a link into this device, a pipe, or without an end."""
    path, most = bundle / name, _LARGEST if name == FACTORY_IMAGE else _LARGE
    try:
        if path.parent != bundle and path.parent.is_symlink():
            raise OSError(errno.ELOOP, "it lies behind a link")
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise OSError(errno.EINVAL, "it is no file")
            data = file.read(most + 1)
    except OSError as error:
        raise ConfigError(str(path), f"cannot be read: {error.strerror}", _AGAIN) from error
    if len(data) > most:
        raise ConfigError(str(path), f"is larger than {most} bytes", _AGAIN)
    return data
