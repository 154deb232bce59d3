"""Which storage a fleet uses."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from fwctl.errors import InputError
from fwctl.storage.file import FileStorage
from fwctl.storage.interface import Storage


def from_spec(spec: Mapping[str, object], *, base: Path) -> Storage:
    """Build the storage that `spec.storage` of the fleet names; relative paths start at `base`.

    Shape: `{"type": "file", "path": "..."}`. Raises InputError E_STORAGE_TYPE for any other type.
    """
    path = spec.get("path")
    if spec.get("type") != "file" or not isinstance(path, str) or not path:
        raise InputError(
            f"unknown storage: {dict(spec)!r}"[:200],
            code="E_STORAGE_TYPE",
            place="fleet.yaml: spec.storage",
            remedy="Write storage: {type: file, path: FOLDER}",
        )
    return FileStorage(base / Path(path).expanduser())
