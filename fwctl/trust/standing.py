"""The trust of a commit: what stands below `trust/`, without what is only proposed there. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from fwctl.errors import TrustRefused
from fwctl.trust.authority import TRUST
from fwctl_agent.errors import Refusal
from fwctl_agent.trust.metadata import TrustedMetadata

PROPOSAL: Final = f"{TRUST}proposal/"
_BEFORE_ANY: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""a time at which nothing has expired: expired trust is a reason to change it, not to be stuck with it"""


def standing_trust(files: Mapping[str, bytes], pinned: str) -> TrustedMetadata:
    """Return the trust of a commit, verified from the pinned root; expiry is not looked at.

    Raises:
        TrustRefused: it is not signed as it demands.
    """
    try:
        return TrustedMetadata.bootstrap(pinned).advance(bundle(files), now=_BEFORE_ANY, fresh=False)
    except Refusal as error:
        raise TrustRefused(
            f"the repository's trust is refused: {error.message}",
            code=error.code,
            place=TRUST,
            remedy="Find out who changed `trust/` (`git log trust/`); nothing is changed on top of it.",
        ) from error


def bundle(files: Mapping[str, bytes]) -> dict[str, str]:
    """Return the files below `trust/` by the names that a verifier knows."""
    found = {}
    for path, data in files.items():
        if path.startswith(TRUST) and not path.startswith(PROPOSAL):
            found[path.removeprefix(TRUST)] = text_of(data)
    return found


def text_of(data: bytes) -> str:
    """Return a file of the trust as text. Raises Refusal `E_SCHEMA` if it is none."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise Refusal("E_SCHEMA", "a file is not UTF-8") from error
