"""The work behind bills of materials: take one in, list one, and find out which devices run a component."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from fwctl.cli.context import Context
from fwctl.errors import InputError, UsageError
from fwctl.manifests.components import MAX_BYTES, Component, Wanted, bill_path, read_bill
from fwctl.manifests.repo import LoadedFirmware
from fwctl.rollouts.compile import release_of

if TYPE_CHECKING:
    from fwctl.cli.looking import Book

_KEPT = "components"
"""what was read of bills, by their digests, in the cache"""


@dataclass(frozen=True)
class Bill:
    """The bill of materials of one firmware."""

    firmware: str
    digest: str
    path: str
    components: tuple[Component, ...]
    data: bytes = field(repr=False, default=b"")


@dataclass(frozen=True)
class Found:
    """Which devices run a component, and of which it is not known, with why."""

    wanted: Wanted
    running: frozenset[str]
    unknown: Mapping[str, str]


def read_file(path: Path, *, place: str) -> Bill:
    """Read a bill of materials that somebody hands in.

    Raises:
        InputError: `E_NO_FILE`, or `E_SBOM_FORMAT`.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError(
            f"the bill of materials cannot be read: {error.strerror}",
            code="E_NO_FILE",
            place=place,
            remedy="Check the path.",
        ) from error
    return Bill("", _digest(data), str(path), read_bill(data, place=place), data)


def bill_of(settings: Context, name: str) -> Bill:
    """Return the bill of `MODEL@VERSION`; that it is the one that was signed has been checked with the manifests.

    Raises:
        InputError: `E_NO_FIRMWARE`, or `E_NO_SBOM` if it has none.
    """
    from fwctl.cli.releasing import find_firmware
    from fwctl.reconcile.commit import load_repo

    files = settings.files()
    firmware = find_firmware(load_repo(files), name)
    spec = firmware.model.spec
    if spec.sbom is None:
        raise InputError(
            f"{name} has no bill of materials",
            code="E_NO_SBOM",
            place=firmware.path,
            remedy="The next version can have one: fwctl firmware add FILE --sbom BILL.cdx.json ...",
        )
    path = bill_path(spec.model, spec.version)
    return Bill(name, spec.sbom, path, read_bill(files[path], place=path))


def wanted_of(text: str) -> Wanted:
    """Return which component is meant.

    Raises:
        UsageError: it is neither a name, a name with a version, nor a package URL.
    """
    try:
        return Wanted.parse(text)
    except ValueError as error:
        raise UsageError(
            f"not a component: {text[:60]!r}",
            code="E_USAGE",
            place="--with-component",
            remedy="For example openssl, openssl@3.0.1, or pkg:generic/openssl@3.0.1",
        ) from error


def find(book: Book, wanted: Wanted, devices: Collection[str]) -> Found:
    """Return who of these devices runs a component, by the release that the ledger last saw on each."""
    releases = {release_of(one.model).digest: one for one in book.repo.firmware.values()}
    fits: dict[str, bool | None] = {}
    running, unknown = set[str](), dict.fromkeys(devices, "never seen")
    with book.settings.ledger(book.repo_id) as ledger:
        for row in ledger.stream_devices() if ledger else ():
            release = row.running_release
            if unknown.pop(row.id, None) is None:
                continue
            if release not in fits:
                fits[release] = _fits(book, releases.get(release), wanted)
            if fits[release]:
                running.add(row.id)
            elif fits[release] is None:
                unknown[row.id] = _why(releases.get(release), release)
    return Found(wanted, frozenset(running), dict(sorted(unknown.items())))


def _fits(book: Book, firmware: LoadedFirmware | None, wanted: Wanted) -> bool | None:
    """Say whether a firmware has the component; None where nobody knows."""
    if firmware is None or firmware.model.spec.sbom is None:
        return None
    return wanted.any(_components(book, firmware, firmware.model.spec.sbom))


def _components(book: Book, firmware: LoadedFirmware, digest: str) -> tuple[Component, ...]:
    """Return the components of a bill, as they were read before if they were; the library takes its time."""
    cache, path = book.settings.cache, bill_path(firmware.model.spec.model, firmware.model.spec.version)
    kept = cache.get(_KEPT, digest)
    if kept is not None:
        return tuple(Component(*fields) for fields in json.loads(kept))
    found = read_bill(book.files[path], place=path)
    cache.put(_KEPT, digest, json.dumps([astuple(one) for one in found]).encode())
    return found


def _why(firmware: LoadedFirmware | None, release: str) -> str:
    if firmware is not None:
        return f"{firmware.model.spec.model}@{firmware.model.spec.version} has no bill of materials"
    return "no manifest describes what it runs" if release else "it never answered"


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
