"""What a slot holds, known only by reading it back: what was written proves nothing about the disk (A42)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from fwctl_agent.errors import Refusal
from fwctl_agent.runtime.images import Image
from fwctl_agent.runtime.ports import Installer, InstallFailed


def digest_of(pieces: Iterable[bytes]) -> str:
    """Return the digest of bytes that come in pieces."""
    hasher = hashlib.sha256()
    for piece in pieces:
        hasher.update(piece)
    return "sha256:" + hasher.hexdigest()


def check_content(installer: Installer, slot: str, image: Image) -> None:
    """Read a slot back and compare.

    Raises:
        Refusal: `E_HASH`: it holds something else.
        InstallFailed, OSError: it cannot be read.
    """
    if digest_of(installer.content(slot, image.length)) != image.running.image:
        raise Refusal("E_HASH", f"slot {slot} does not hold the image that was verified")


def holds(installer: Installer, slot: str, image: Image) -> bool:
    """Say whether a slot holds an image, whole."""
    try:
        check_content(installer, slot, image)
    except (Refusal, InstallFailed, OSError):
        return False  # half written, or never
    return True
