"""Which storage a fleet uses."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from fwctl.errors import InputError
from fwctl.storage.file import FileStorage
from fwctl.storage.https import HttpsStorage
from fwctl.storage.interface import Storage
from fwctl_agent.trust.policy import StorageHost

QUERY_FILE: Final = "FWCTL_STORAGE_QUERY_FILE"
"""names a file with what every address ends with, such as a token; never a value, which others could see"""
CA_FILE: Final = "FWCTL_STORAGE_CA"
_QUERY: Final = re.compile(r"\??((?:[A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9A-Fa-f]{2}){1,2048})\n?")


def from_spec(spec: Mapping[str, object], *, base: Path, allow: tuple[StorageHost, ...] = ()) -> Storage:
    """Build the storage that `spec.storage` of the fleet names; relative paths start at `base`.

    Shapes: `{"type": "file", "path": "..."}`, `{"type": "https", "url": "..."}`; `allow` are the hosts of the signed
    policy. Raises InputError E_STORAGE_TYPE for any other type, E_STORAGE_QUERY, TrustRefused E_URL.
    """
    match spec:
        case {"type": "file", "path": str(path)} if path:
            return FileStorage(base / Path(path).expanduser())
        case {"type": "https", "url": str(url)} if url:
            ca = os.environ.get(CA_FILE)
            return HttpsStorage(url, allow, query=_query(), ca=Path(ca) if ca else None)
    raise InputError(
        f"unknown storage: {dict(spec)!r}"[:200],
        code="E_STORAGE_TYPE",
        place="fleet.yaml: spec.storage",
        remedy="Write storage: {type: file, path: FOLDER}, or {type: https, url: ADDRESS}",
    )


def _query() -> str:
    name = os.environ.get(QUERY_FILE)
    if not name:
        return ""
    try:
        found = _QUERY.fullmatch(Path(name).read_text(encoding="ascii"))
    except (OSError, UnicodeDecodeError) as error:
        raise _unusable(name, "cannot be read") from error
    if found is None:
        raise _unusable(name, "holds something else than one line of an address's query")
    return f"?{found[1]}"


def _unusable(name: str, why: str) -> InputError:
    return InputError(
        f"the file with the storage's token {why}",
        code="E_STORAGE_QUERY",
        place=name,
        remedy=f"{QUERY_FILE} names a file with one line such as sig=...&se=..., percent-encoded.",
    )
