"""The work behind `device enroll`: certificates, the agent's folder, and the inventory entry of a new device."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fwctl.cli.context import Context
from fwctl.cli.planning import load_or_refuse
from fwctl.errors import InputError, UsageError
from fwctl.files import disk_errors, read_input, sync_folder, write_atomic, write_private
from fwctl.fleet.certificates import Authorities, issue_device, read_device_certificate
from fwctl.manifests.repo import Device, FleetRepo
from fwctl.trust.keystore import KeyStore
from fwctl_agent.protocol.enrolment import CERTIFICATE, enrolment_files
from fwctl_agent.protocol.fields import ID

_ENTRY = """\
apiVersion: fwctl/v1
kind: DeviceInventory
spec:
  devices:
    - {{id: {id}, model: {model}, hardware: {hardware}, env: {env}{address}}}
"""


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
    """The folders made, by device; the inventory files written; devices left alone because they have a folder."""

    folders: Mapping[str, Path]
    declared: tuple[Path, ...]
    before: tuple[str, ...]


def enroll_all(
    settings: Context,
    names: Sequence[str],
    *,
    everyone: bool,
    out: Path,
    declaration: Declaration | None,
    factory: Factory,
    track: Track,
) -> Enrolled:
    """Enrol devices; one that is not in the inventory is declared there if `declaration` says what it is.

    A folder is complete or not there, so after a kill the same command with `everyone` goes on with the rest.

    Raises:
        UsageError: nobody, or everybody and somebody.
        InputError: an unknown device, or a folder that exists already (its key must not be lost).
    """
    if everyone == bool(names):
        raise UsageError(
            "say which devices", code="E_USAGE", remedy="fwctl device enroll NAME --out DIR, or --all --out DIR."
        )
    files = settings.edited()
    new = {path: data for name in names for path, data in _entry(name, declaration, files)} if declaration else {}
    repo = load_or_refuse(files | new)
    devices = list(repo.devices.values()) if everyone else [_known(repo, name) for name in dict.fromkeys(names)]
    several = everyone or len(devices) > 1
    keystore = settings.keystore(repo.fleet.spec.repo_id)
    wanted = {device.id: out / device.id if several else out for device in devices}
    before = tuple(name for name, folder in wanted.items() if everyone and _holds(folder, name))
    folders = {name: folder for name, folder in wanted.items() if name not in set(before)}
    for folder in folders.values():
        _must_be_free(folder)
    for path, data in new.items():
        write_atomic(settings.worktree / path, data)
    for name in track(tuple(folders), "Enrolling"):
        _write(folders[name], _files(settings, keystore, repo, repo.devices[name], factory))
    return Enrolled(folders, tuple(Path(path) for path in new), before)


def _files(
    settings: Context, keystore: KeyStore, repo: FleetRepo, device: Device, factory: Factory
) -> dict[str, bytes]:
    now, repo_id = settings.now().replace(microsecond=0), repo.fleet.spec.repo_id
    key, certificate = issue_device(keystore, device.id, repo_id, enrolled_at=now, now=now)
    host, _, port = device.address.rpartition(":")
    try:
        return enrolment_files(
            device_id=device.id,
            repo_id=repo_id,
            model=device.model,
            hardware=device.hardware,
            env=device.env,
            enrolled_at=now,
            key_pem=key.encode(),
            certificate_pem=certificate.encode(),
            controller_ca_pem=read_input(Authorities(keystore.pki).controller_ca, remedy="Run `fwctl init`."),
            root=keystore.pinned_root(),
            factory_image=factory.image,
            factory_version=factory.version,
            host=host.strip("[]"),
            port=int(port),
        )
    except ValueError as error:
        raise InputError(str(error), code="E_SCHEMA", place=device.id, remedy="Correct the inventory.") from error


def _write(folder: Path, files: dict[str, bytes]) -> None:
    """Write beside, then rename: a folder is complete or not there."""
    fresh = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    # The folder may well lie in the work tree, where the next thing typed is `git add -A`: its key must stay out.
    for path, data in (files | {".gitignore": b"*\n"}).items():
        (write_private if path.endswith(".key.pem") else write_atomic)(fresh / path, data)
    with disk_errors(folder):
        fresh.rename(folder)
        sync_folder(folder.parent)


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
