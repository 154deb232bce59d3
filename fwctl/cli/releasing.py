"""The work behind `firmware add` and `firmware sign`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fwctl.cli.bills import read_file
from fwctl.cli.context import Context
from fwctl.errors import InputError, UsageError
from fwctl.files import write_atomic
from fwctl.manifests.components import bill_path
from fwctl.manifests.repo import FleetRepo, LoadedFirmware
from fwctl.reconcile.commit import load_repo
from fwctl.rollouts.compile import release_of
from fwctl.storage import from_spec
from fwctl.trust.authority import envelope_bytes, release_path
from fwctl.trust.keystore import KeyStore
from fwctl.trust.signing import sign_release
from fwctl_agent.protocol.fields import ID, VERSION
from fwctl_agent.trust.policy import StorageHost

_MANIFEST = """\
apiVersion: fwctl/v1
kind: Firmware
spec:
  model: {model}
  version: "{version}"
  hardware: [{hardware}]
  image:
    digest: {digest}
    length: {length}
  releaseCounter: {counter}
  securityVersion: {security}
{sbom}{notes}"""


_NAMED = 3
"""so many rollouts are named"""


@dataclass(frozen=True)
class Image:
    """What the person says about a file."""

    model: str
    version: str
    hardware: tuple[str, ...]
    security_version: int
    notes: str
    sbom: Path | None = None
    """its bill of materials, a CycloneDX file"""


@dataclass(frozen=True)
class Added:
    """A registered image."""

    digest: str
    length: int
    release: str
    storage: str
    """where it lies"""
    paths: tuple[Path, ...]
    onwards: Onwards


@dataclass(frozen=True)
class Onwards:
    """How a firmware gets to devices: by rollouts of its model that there are, or by a new one."""

    told: str
    commands: tuple[str, ...]


def add_firmware(settings: Context, file: Path, image: Image, signer: str) -> Added:
    """Hash, store, write and sign.

    Raises:
        InputError: the file cannot be read, a name is malformed, or the version stands for other bytes already.
    """
    repo = load_repo(settings.edited())
    _check_names(image)
    digest, length = _hash(file)
    bill = read_file(image.sbom, place=str(image.sbom)) if image.sbom else None
    known = repo.firmware.get((image.model, image.version))
    path = Path("firmware") / image.model / f"{image.version}.yaml"
    if known is not None and known.model.spec.image.digest != digest:
        raise InputError(
            f"{image.model} {image.version} is registered with other bytes ({known.model.spec.image.digest[:19]})",
            code="E_VERSION_TAKEN",
            place=str(path),
            remedy="Give the new image a version of its own: devices and people must be able to tell them apart.",
        )
    if known is not None and bill is not None and known.model.spec.sbom != bill.digest:
        raise InputError(
            f"{image.model} {image.version} is registered with {'another' if known.model.spec.sbom else 'no'} "
            "bill of materials, which is part of what was signed",
            code="E_VERSION_TAKEN",
            place=str(path),
            remedy="Register it with a version of its own, or remove what stands there if it was never released.",
        )
    where = _store(settings, repo, digest, file)
    kept = [Path(bill_path(image.model, image.version))] if bill is not None else []
    if bill is not None:
        write_atomic(settings.worktree / kept[0], bill.data)
    if known is None:
        text = _manifest(repo, image, digest, length, bill.digest if bill else "")
        write_atomic(settings.worktree / path, text.encode())
    repo = load_repo(settings.edited())
    signed = sign_firmware(settings, repo, repo.firmware[image.model, image.version], signer)
    release = release_of(repo.firmware[image.model, image.version].model).digest
    paths = (path, *kept, signed)
    return Added(digest, length, release, where, paths, onwards(repo, image.model, image.version))


def onwards(repo: FleetRepo, model: str, version: str) -> Onwards:
    """Return how to roll out a firmware: a rollout of its model only needs another version."""
    found = {key: one for key, one in repo.rollouts.items() if one.model.spec.firmware.model == model}
    if not found:
        return Onwards("", (f"fwctl rollout create NAME --firmware {model}@{version} --all",))
    if here := [key for key, one in found.items() if one.model.spec.firmware.version == version]:
        return Onwards("", tuple(f"fwctl plan {key}" for key in here[:_NAMED]))
    files = ", ".join(one.path for one in list(found.values())[:_NAMED])
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    told = f'To roll it out, write version: "{version}" into {files}{more}; then plan it.'
    return Onwards(told, tuple(f"fwctl plan {key} --lock" for key in list(found)[:_NAMED]))


def _store(settings: Context, repo: FleetRepo, digest: str, file: Path) -> str:
    """Put an image into the fleet's storage, or prove that it lies there where others fill it; say where."""
    spec, repo_id = repo.fleet.spec.storage, repo.fleet.spec.repo_id
    allow: tuple[StorageHost, ...] = ()
    if spec.type == "https":
        authority = settings.authority(repo_id, settings.edited())
        allow = authority.policy.storage if authority else ()
    base = settings.state_dir(repo_id)
    from_spec(spec.model_dump(), base=base, allow=allow).put(digest, file)
    return spec.url if spec.type == "https" else str(base / spec.path)


def find_firmware(repo: FleetRepo, name: str) -> LoadedFirmware:
    """Return the firmware called `MODEL@VERSION`.

    Raises:
        UsageError: the name has no version.
        InputError: `E_NO_FIRMWARE`.
    """
    from fwctl.cli.looking import unknown

    model, at, version = name.partition("@")
    if not at or not version:
        raise UsageError("firmware is MODEL@VERSION", code="E_USAGE", place=name, remedy="For example sensor-v1@2.5.0")
    known = repo.firmware.get((model, version))
    if known is None:
        names = [f"{model}@{version}" for model, version in repo.firmware]
        raise unknown(name, names, what="firmware", code="E_NO_FIRMWARE", place="firmware/", see="fwctl firmware list")
    return known


def sign_firmware(settings: Context, repo: FleetRepo, firmware: LoadedFirmware, signer: str) -> Path:
    """Sign the release statement that a manifest stands for; one file per signer."""
    keystore = settings.keystore(repo.fleet.spec.repo_id)
    name = pick_signer(keystore, signer)
    spec = firmware.model.spec
    path = Path(release_path(spec.model, spec.version, name))
    statement = sign_release(release_of(firmware.model), keystore.signer(name))
    write_atomic(settings.worktree / path, envelope_bytes(statement))
    return path


def pick_signer(keystore: KeyStore, wanted: str) -> str:
    """Return the key to sign with: the one named, or the only one.

    Raises:
        InputError: `E_KEY_MISSING`.
    """
    mine = keystore.people()
    if wanted or len(mine) == 1:
        return wanted or mine[0]
    raise InputError(
        f"you have {len(mine)} signing keys",
        code="E_KEY_MISSING",
        place=str(keystore.folder),
        remedy=f"Say --as NAME: {', '.join(mine)}" if mine else "Run `fwctl init`, or import your key.",
    )


def _manifest(repo: FleetRepo, image: Image, digest: str, length: int, sbom: str) -> str:
    boards = image.hardware or _boards(repo, image.model)
    counters = [one.model.spec.release_counter for (model, _), one in repo.firmware.items() if model == image.model]
    notes = f"  notes: {json.dumps(image.notes)}\n" if image.notes else ""
    return _MANIFEST.format(
        model=image.model,
        version=image.version,
        hardware=", ".join(boards),
        digest=digest,
        length=length,
        counter=max(counters, default=0) + 1,
        security=image.security_version,
        notes=notes,
        sbom=f"  sbom: {sbom}\n" if sbom else "",
    )


def _boards(repo: FleetRepo, model: str) -> tuple[str, ...]:
    """Without --hardware: the boards that the inventory has of this model."""
    boards = tuple(sorted({profile.hardware for profile in repo.devices.profiles if profile.model == model}))
    if boards:
        return boards
    known: Mapping[str, None] = dict.fromkeys(sorted({profile.model for profile in repo.devices.profiles}))
    raise InputError(
        f"the inventory has no device of model {model}, so nobody knows which boards it runs on",
        code="E_NO_HARDWARE",
        place="devices/",
        remedy=f"Say --hardware BOARD, or one of the models there are: {', '.join(known) or 'none yet'}.",
    )


def _check_names(image: Image) -> None:
    for value, form, what in ((image.model, ID, "model"), (image.version, VERSION, "version")):
        if not form.fullmatch(value):
            raise InputError(
                f"not a {what}: {value[:60]!r}",
                code="E_SCHEMA",
                place=f"--{what}",
                remedy="Models are lower-case letters, digits and dashes; versions are like 2.5.0 or 2.5.0-rc.1.",
            )


def _hash(file: Path) -> tuple[str, int]:
    try:
        with file.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256")
            length = stream.tell()
    except OSError as error:
        raise InputError(
            f"the image cannot be read: {error.strerror}", code="E_NO_FILE", place=str(file), remedy="Check the path."
        ) from error
    if length == 0:
        raise InputError("the image is empty", code="E_LENGTH", place=str(file), remedy="Build it first.")
    return f"sha256:{found.hexdigest()}", length
