"""The form of a folder of evidence: which file holds what.

audit.json            what it is about, and the digest of every other file
commit/ID             the commit, as git stores it; commit/trees/ID the folders on the way to the files below
repository/PATH       files of the commit: manifest, lock, firmware, statements, approvals, trust
plan.json             the bytes that the plan digest is taken over
outcomes.jsonl        what devices signed about the mandate, each with the device's certificate
events.jsonl          the slice of the event chain from the mandate's first event to its last
device-ca.pem         the certificate authority of the devices
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fwctl.errors import InputError
from fwctl_agent.errors import Refusal
from fwctl_agent.protocol import canonical

SCHEMA: Final = 1
INDEX: Final = "audit.json"
PLAN: Final = "plan.json"
OUTCOMES: Final = "outcomes.jsonl"
EVENTS: Final = "events.jsonl"
DEVICE_CA: Final = "device-ca.pem"
COMMIT: Final = "commit/"
TREES: Final = "commit/trees/"
REPOSITORY: Final = "repository/"
_CHUNK: Final = 1 << 20
_LINE: Final = 4 << 20
_MOST: Final = 512 << 20
"""bytes of a file that is read whole: ten times the plan of a million devices"""


@dataclass(frozen=True)
class Folder:
    """A folder of evidence that lies on this machine. Whatever it says is only a claim."""

    path: Path

    def index(self) -> dict[str, Any]:
        """Return what the folder says about itself.

        Raises:
            InputError: `E_AUDIT`, it is no folder of evidence.
        """
        try:
            found = canonical.decode(self.read(INDEX), what=INDEX)
        except Refusal as error:
            raise self.unusable(error.message) from error
        if not isinstance(found, dict) or found.get("schemaVersion") != SCHEMA:
            raise self.unusable(f"{INDEX} is of a form that this release does not know")
        if not isinstance(found.get("files"), dict) or not all(isinstance(one, str) for one in found["files"].values()):
            raise self.unusable(f"{INDEX} does not list the files")
        return found

    def read(self, name: str) -> bytes:
        """Return one file.

        Raises:
            InputError: `E_AUDIT`, it is missing or no plain file.
        """
        path = self._plain(name)
        try:
            if path.stat().st_size > _MOST:
                raise self.unusable(f"{name} is larger than {_MOST >> 20} MiB")
            return path.read_bytes()
        except OSError as error:
            raise self.unusable(f"{name} cannot be read: {error.strerror}") from error

    def lines(self, name: str) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield the objects of a file of JSON lines, numbered from 1; none of them is trusted.

        Raises:
            InputError: `E_AUDIT`, a line is not one object.
        """
        try:
            with self._plain(name).open("rb") as file:
                for number, line in enumerate(iter(lambda: file.readline(_LINE), b""), 1):
                    try:
                        value = json.loads(line)
                    except (ValueError, RecursionError) as error:
                        raise self.unusable(f"{name}, line {number} is not JSON") from error
                    if not isinstance(value, dict):
                        raise self.unusable(f"{name}, line {number} is not an object")
                    yield number, value
        except OSError as error:
            raise self.unusable(f"{name} cannot be read: {error.strerror}") from error

    def _plain(self, name: str) -> Path:
        """Return where a plain file lies: a pipe would be waited for without end, a link leads elsewhere."""
        path = self.path / name
        if path.is_symlink() or not path.is_file():
            raise self.unusable(f"{name} is missing, or no plain file")
        return path

    def names(self) -> set[str]:
        """Return every file in the folder but its index; links count as files."""
        found = (one for one in self.path.rglob("*") if one.is_symlink() or not one.is_dir())
        return {str(one.relative_to(self.path)) for one in found} - {INDEX}

    def digest(self, name: str) -> str:
        """Return the digest of one file, empty if it is no plain file."""
        path = self.path / name
        if path.is_symlink() or not path.is_file():
            return ""
        hashing = hashlib.sha256()
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                hashing.update(chunk)
        return f"sha256:{hashing.hexdigest()}"

    def repository(self) -> dict[str, bytes]:
        """Return the files of the commit, by their path in the repository."""
        names = (name for name in sorted(self.names()) if name.startswith(REPOSITORY))
        return {name.removeprefix(REPOSITORY): self.read(name) for name in names}

    def unusable(self, why: str) -> InputError:
        return InputError(
            f"this is no usable folder of evidence: {why}",
            code="E_AUDIT",
            place=str(self.path),
            remedy="Name a folder that `fwctl audit export` wrote, whole; if it is damaged, have it exported again.",
        )
