"""The work behind `device enroll`: certificates, the agent's folder, and the inventory entry of a new device."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from fwctl.cli.context import Context
from fwctl.cli.planning import load_or_refuse
from fwctl.cli.requesting import requested_key
from fwctl.errors import InputError, UsageError
from fwctl.files import read_input, write_atomic, write_folders
from fwctl.fleet.certificates import Authorities, DeviceIssuer, read_device_certificate
from fwctl.fleet.pki import PublicKey
from fwctl.fleet.register import Entry, Register
from fwctl.manifests.repo import Device, FleetRepo
from fwctl_agent.protocol import canonical
from fwctl_agent.protocol.enrolment import CERTIFICATE, KEY, enrolment_files
from fwctl_agent.protocol.fields import ID

_ENTRY = """\
apiVersion: fwctl/v1
kind: DeviceInventory
spec:
  devices:
    - {{id: {id}, model: {model}, hardware: {hardware}, env: {env}{address}}}
"""


_BATCH: Final = 500
"""folders written between two waits for the disk: what a kill or a power failure can cost"""

Track = Callable[[Sequence[str], str], Iterable[str]]
"""Shows progress over the items that it passes on"""


@dataclass(frozen=True)
class Declaration:
    """What the inventory does not say about a new device yet."""

    model: str
    hardware: str
    env: str
    address: str


@dataclass(frozen=True)
class Factory:
    """The image that a device runs when it is enrolled."""

    image: bytes
    version: str

    @classmethod
    def read(cls, path: Path | None, version: str) -> Factory:
        """Return the file's bytes, or a line that stands for an unknown image."""
        return cls(read_input(path) if path else b"factory image, unknown to the fleet\n", version)


@dataclass(frozen=True)
class Enrolled:
    """The folders made, by device; the inventory files written; devices left alone because they have a folder.

    `root` is the digest of the root of trust that they pin.
    """

    folders: Mapping[str, Path]
    declared: tuple[Path, ...]
    before: tuple[str, ...]
    root: str


@dataclass(frozen=True)
class Desk:
    """What the folders of all devices have in common, read once."""

    issuer: DeviceIssuer
    authorities: Authorities
    controller_ca: bytes
    device_ca: bytes
    root: str
    factory: Factory
    now: datetime

    @classmethod
    def open(cls, settings: Context, repo_id: str, factory: Factory) -> Desk:
        """Read the device CA, the controller CA and the root.

        Raises:
            InputError: one of them is not here.
        """
        keystore = settings.keystore(repo_id)
        issuer = DeviceIssuer.load(keystore, repo_id)
        paths = Authorities(keystore.pki)
        return cls(
            issuer,
            paths,
            read_input(paths.controller_ca, remedy="Run `fwctl init`."),
            read_input(paths.device_ca, remedy="Run `fwctl init`."),
            keystore.pinned_root(),
            factory,
            settings.now().replace(microsecond=0),
        )

    @property
    def register(self) -> Register:
        return Register(self.authorities.folder)

    def files(self, device: Device, own: PublicKey | None) -> tuple[dict[str, bytes], Entry]:
        """Return the files of a device's folder, and the line about its certificate.

        `own` is the key that the device has made; without it one is made for it, and stands in the folder.

        Raises:
            InputError: `E_SCHEMA`, something that the inventory says cannot stand in the agent's settings.
        """
        key = None
        if own is None:
            key, certificate = self.issuer.issue(device.id, enrolled_at=self.now, now=self.now)
        else:
            certificate = self.issuer.certify(device.id, own, enrolled_at=self.now, now=self.now)
        entry = Entry.of("inForce", read_device_certificate(certificate.decode()), self.now)
        host, _, port = device.address.rpartition(":")
        try:
            files = enrolment_files(
                device_id=device.id,
                repo_id=self.issuer.repo_id,
                model=device.model,
                hardware=device.hardware,
                env=device.env,
                enrolled_at=self.now,
                key_pem=key,
                certificate_pem=certificate,
                controller_ca_pem=self.controller_ca,
                device_ca_pem=self.device_ca,
                root=self.root,
                factory_image=self.factory.image,
                factory_version=self.factory.version,
                host=host.strip("[]"),
                port=int(port),
            )
        except ValueError as error:
            raise InputError(str(error), code="E_SCHEMA", place=device.id, remedy="Correct the inventory.") from error
        # The folder may well lie in the work tree, where the next thing typed is `git add -A`: its key must stay out.
        return files | {".gitignore": b"*\n"}, entry


def enroll_all(
    settings: Context,
    names: Sequence[str],
    *,
    everyone: bool,
    out: Path,
    declaration: Declaration | None,
    factory: Factory,
    track: Track,
    request: Path | None = None,
) -> Enrolled:
    """Enrol devices; one that is not in the inventory is declared there if `declaration` says what it is.

    A folder is complete or not there, so after a kill the same command with `everyone` goes on with the rest. All
    folders are on the disk when this returns. With `request`, what one device asks for with a key of its own, the
    folder holds no key.

    Raises:
        UsageError: nobody, or everybody and somebody.
        TrustRefused: `E_REVOKED`, the key of the request.
        InputError: an unknown device, or a folder that exists already (its key must not be lost).
    """
    if everyone == bool(names):
        raise UsageError(
            "say which devices", code="E_USAGE", remedy="fwctl device enroll NAME --out DIR, or --all --out DIR."
        )
    if request is not None and (everyone or len(set(names)) != 1):
        raise UsageError(
            "a request is that of one device",
            code="E_USAGE",
            remedy="fwctl device enroll NAME --request FILE --out DIR",
        )
    files = settings.edited()
    new = {path: data for name in names for path, data in _entry(name, declaration, files)} if declaration else {}
    repo = load_or_refuse(files | new)
    devices = list(repo.devices.values()) if everyone else [_known(repo, name) for name in dict.fromkeys(names)]
    several = everyone or len(devices) > 1
    desk = Desk.open(settings, repo.fleet.spec.repo_id, factory)
    wanted = {device.id: out / device.id if several else out for device in devices}
    there = {entry.name for entry in out.iterdir()} if everyone and out.is_dir() else set()
    before = {name: None for name, folder in wanted.items() if name in there and _holds(folder, name)}
    folders = {name: folder for name, folder in wanted.items() if name not in before}
    for folder in folders.values():
        _must_be_free(folder)
    own = requested_key(settings, desk.authorities, repo.fleet.spec.repo_id, names[0], request) if request else None
    for path, data in new.items():
        write_atomic(settings.worktree / path, data)
    fresh = ((folders[name], *desk.files(repo.devices[name], own)) for name in track(tuple(folders), "Enrolling"))
    while batch := list(itertools.islice(fresh, _BATCH)):
        desk.register.add(entry for _, _, entry in batch)  # before a certificate leaves this machine
        write_folders([(folder, found) for folder, found, _ in batch], private=(KEY,))
    root = canonical.digest(desk.root.encode())
    return Enrolled(folders, tuple(Path(path) for path in new), tuple(before), root)


def _holds(folder: Path, name: str) -> bool:
    """Tell whether a folder is that of the device: its certificate says so."""
    try:
        return read_device_certificate((folder / CERTIFICATE).read_text("ascii")).device == name
    except (OSError, ValueError, InputError):
        return False


def _must_be_free(folder: Path) -> None:
    if folder.exists() and any(folder.iterdir() if folder.is_dir() else [folder]):
        raise InputError(
            "there is something already, and a device's key must not be overwritten",
            code="E_EXISTS",
            place=str(folder),
            remedy="Choose another --out, or move it away.",
        )


def _known(repo: FleetRepo, name: str) -> Device:
    if name in repo.devices:
        return repo.devices[name]
    raise InputError(
        f"the inventory has no device called {name}",
        code="E_NO_DEVICE",
        place="devices/",
        remedy="Declare it there, or say --model MODEL (and --hardware, --env, --address) to have it declared.",
    )


def _entry(name: str, what: Declaration, files: Mapping[str, bytes]) -> Iterator[tuple[str, bytes]]:
    """Yield the inventory file of a new device, unless its file is there."""
    if not ID.fullmatch(name):
        raise InputError(
            f"this cannot be the name of a device: {name[:80]!r}",
            code="E_SCHEMA",
            place="NAME",
            remedy="Use 1 to 63 of a-z 0-9 and inner hyphens, such as device-001.",
        )
    address = f', address: "{what.address}"' if what.address else ""
    path = f"devices/{what.env}/{name}.yaml"
    if path not in files:
        text = _ENTRY.format(id=name, model=what.model, hardware=what.hardware, env=what.env, address=address)
        yield path, text.encode()
