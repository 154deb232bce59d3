"""The release: what a release engineer signs about one image."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from fwctl_agent.protocol import canonical
from fwctl_agent.protocol.fields import ID, VERSION, WORD, Fields, integer, matching
from fwctl_agent.protocol.versions import VersionRange

RELEASE: Final = "application/vnd.fwctl.release.v1+json"


@dataclass(frozen=True)
class Release(canonical.Written):
    """What a release engineer signs about one image. Its digest is that of the payload."""

    model: str
    version: str
    image: str
    """digest of the image"""
    length: int
    """bytes"""
    hardware: tuple[str, ...]
    release_counter: int
    """rises when the same model and version is released again"""
    security_version: int
    requires_from: VersionRange | None
    data_writes: int
    data_reads: tuple[int, ...]
    sbom: str | None

    @cached_property
    def digest(self) -> str:
        return canonical.digest(self.payload)

    @cached_property
    def payload(self) -> bytes:
        return canonical.encode(self.to_wire())

    def to_wire(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "version": self.version,
            "image": {"digest": self.image, "length": self.length},
            "hardware": list(self.hardware),
            "releaseCounter": self.release_counter,
            "securityVersion": self.security_version,
            "requiresFrom": self.requires_from.to_wire() if self.requires_from else None,
            "data": {"writes": self.data_writes, "reads": list(self.data_reads)},
            "sbom": self.sbom,
        }

    @classmethod
    def from_wire(cls, value: object) -> Release:
        top = Fields(value, "release")
        image, data = Fields(top.take("image"), "release.image"), Fields(top.take("data"), "release.data")
        release = cls(
            model=top.text("model", ID),
            version=top.text("version", VERSION),
            image=image.digest("digest"),
            length=image.integer("length", 1),
            hardware=top.items("hardware", matching(WORD, "release.hardware"), limit=64),
            release_counter=top.integer("releaseCounter"),
            security_version=top.integer("securityVersion"),
            requires_from=_range(top.take("requiresFrom")),
            data_writes=data.integer("writes"),
            data_reads=data.items("reads", integer, limit=64),
            sbom=top.maybe_digest("sbom"),
        )
        for fields in (top, image, data):
            fields.done()
        return release


def _range(value: object) -> VersionRange | None:
    if value is None:
        return None
    fields = Fields(value, "release.requiresFrom")
    found = VersionRange(fields.maybe_text("atLeast", VERSION), fields.maybe_text("below", VERSION))
    fields.done()
    return found
