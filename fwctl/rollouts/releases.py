"""The release statement that a firmware manifest stands for: the manifest and what is signed cannot differ."""

from __future__ import annotations

from fwctl.manifests.models import Firmware
from fwctl_agent.protocol.statements import Release
from fwctl_agent.protocol.versions import VersionRange


def release_of(firmware: Firmware) -> Release:
    """Return the statement that a firmware manifest stands for."""
    spec = firmware.spec
    requires = spec.requires_from
    return Release(
        model=spec.model,
        version=spec.version,
        image=spec.image.digest,
        length=spec.image.length,
        hardware=tuple(sorted(spec.hardware)),
        release_counter=spec.release_counter,
        security_version=spec.security_version,
        requires_from=VersionRange(requires.at_least, requires.below) if requires else None,
        data_writes=spec.data.writes,
        data_reads=tuple(sorted(spec.data.readable)),
        sbom=spec.sbom,
    )
