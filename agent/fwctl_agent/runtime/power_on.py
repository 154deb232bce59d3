"""What a device believes of itself when its power comes on: the first time, and each time after."""

from __future__ import annotations

from dataclasses import replace

from fwctl_agent.protocol.statements import RunningImage
from fwctl_agent.runtime.clock import BUILD_TIME
from fwctl_agent.runtime.content import digest_of
from fwctl_agent.runtime.images import Image, Slot
from fwctl_agent.runtime.machine import Change
from fwctl_agent.runtime.ports import Installer
from fwctl_agent.runtime.record import Record
from fwctl_agent.runtime.settings import Settings


class BadFactory(Exception):
    """The slot of the factory image does not hold what the configuration says."""


def first_record(settings: Settings, installer: Installer) -> Record:
    """Return the first record: the factory image counts as confirmed, so that the first rollout can be taken back too.

    Raises:
        BadFactory: slot a does not hold it.
    """
    factory = settings.factory
    image = Image(
        running=RunningImage(None, factory.image, factory.version, None),
        length=factory.length,
        security_version=factory.security_version,
        approved_at=None,
    )
    if digest_of(installer.content("a", factory.length)) != factory.image:
        raise BadFactory("slot a does not hold the factory image that agent.toml names")
    return Record(
        device=settings.id,
        repo_id=settings.repo_id,
        current="a",
        slots=(Slot(name="a", image=image), Slot(name="b", image=None)),
        floor_clock=max(BUILD_TIME, settings.enrolled_at),
    )


def adopt_boot(record: Record, booted: str) -> Change:
    """Believe what really runs: a device that went back by itself must say so (silent revert)."""
    job = record.job
    settling = job is not None and (job.state in ("trial", "reverting") or job.activating)
    if settling or booted == record.current or record.slot(booted).image is None:
        return Change(record)
    return Change(replace(record, current=booted))
