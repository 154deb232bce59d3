"""Put one device together from its folder."""

from __future__ import annotations

from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from securesystemslib.signer import Signer

from fwctl_agent.config import ConfigError, read_settings
from fwctl_agent.errors import Refusal
from fwctl_agent.protocol import enrolment
from fwctl_agent.runtime.boot import CommandBoot, FileBoot
from fwctl_agent.runtime.clock import SystemClock
from fwctl_agent.runtime.commands import Commands
from fwctl_agent.runtime.copies import Corrupt
from fwctl_agent.runtime.device import Device
from fwctl_agent.runtime.fs import OsFs
from fwctl_agent.runtime.identity import Identity, key_in_force
from fwctl_agent.runtime.installers import CommandInstaller, SlotsInstaller
from fwctl_agent.runtime.ports import Boot, Clock, Fs, Installer, InstallFailed, Ready
from fwctl_agent.runtime.power_on import BadFactory
from fwctl_agent.runtime.senses import ReadyCommand
from fwctl_agent.runtime.settings import Settings
from fwctl_agent.trust.own_signer import OwnSigner
from fwctl_agent.trust.verification import Verification

_AGAIN = "restore the folder from a backup, or enroll the device again"


def assemble(
    folder: Path,
    *,
    settings: Settings | None = None,
    fs: Fs | None = None,
    clock: Clock | None = None,
    ready: Ready | None = None,
    verification: Verification | None = None,
) -> Device:
    """Return the device of `folder`, powered on: its boot loader has run, its journal is read.

    What is not given is the real thing; `fs` is one that has its folders.

    Raises:
        ConfigError: something in the folder cannot be used; it says what and what to do.
    """
    settings = settings or read_settings(folder)
    fs = fs or own_disk(folder)
    try:
        boot, installer = _ports(settings, fs)
        return Device(
            settings,
            fs=fs,
            boot=boot,
            installer=installer,
            clock=clock or SystemClock(),
            signer=read_signer(key_in_force(folder / enrolment.CERTIFICATE, folder / enrolment.KEY)),
            identity=Identity(OsFs(folder), settings),
            root=_text(folder / enrolment.ROOT),
            ready=ready or (ReadyCommand(settings.readiness) if settings.readiness else None),
            verification=verification,
        )
    except Corrupt as error:
        raise ConfigError(f"{folder}/{error}", "no copy of it is whole", _AGAIN) from error
    except BadFactory as error:
        raise ConfigError(f"{folder}/{enrolment.SETTINGS}: [factory]", str(error), _AGAIN) from error
    except Refusal as error:
        raise ConfigError(str(folder), str(error), _AGAIN) from error
    except InstallFailed as error:
        remedy = "check [installer] in agent.toml and run the command by hand"
        raise ConfigError(f"{folder}/{enrolment.SETTINGS}: [installer]", error.detail, remedy) from error
    except OSError as error:
        raise ConfigError(str(folder), f"{error.strerror}", "check permissions and disk") from error


def own_disk(folder: Path) -> OsFs:
    """Return the disk below `folder`, with the folders that a device writes to.

    Raises:
        ConfigError: it cannot be written.
    """
    try:
        (folder / "state").mkdir(mode=0o700, exist_ok=True)
        (folder / "slots").mkdir(exist_ok=True)
    except OSError as error:
        raise ConfigError(str(folder), f"cannot be written: {error.strerror}", "check permissions and disk") from error
    return OsFs(folder)


def _ports(settings: Settings, fs: Fs) -> tuple[Boot, Installer]:
    if settings.installer == "slots":
        return FileBoot(fs), SlotsInstaller(fs)
    commands = Commands(settings.commands, settings.command_timeout)
    return CommandBoot(FileBoot(fs), commands), CommandInstaller(fs, commands)


def read_signer(path: Path) -> Signer:
    """Return the device's own key.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError(str(path), "is no readable private key", _AGAIN) from error
    other_curve = isinstance(key, EllipticCurvePrivateKey) and not isinstance(key.curve, SECP256R1)
    if not isinstance(key, Ed25519PrivateKey | EllipticCurvePrivateKey) or other_curve:
        raise ConfigError(str(path), "must be an Ed25519 or a P-256 key", _AGAIN)
    return OwnSigner(key)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(str(path), "cannot be read", _AGAIN) from error
