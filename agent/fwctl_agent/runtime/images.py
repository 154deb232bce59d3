"""Verified images and the slots that hold them, as the journal stores them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from fwctl_agent.protocol.canonical import Written
from fwctl_agent.protocol.fields import WORD, Fields, format_time
from fwctl_agent.protocol.statements import RunningImage, SlotState


@dataclass(frozen=True, kw_only=True)
class Image(Written):
    """A verified image, with what later decisions need to know of it."""

    running: RunningImage
    length: int
    security_version: int
    approved_at: datetime | None
    """oldest counted approval; None for the factory image"""

    def to_wire(self) -> dict[str, Any]:
        return {
            "running": self.running.to_wire(),
            "length": self.length,
            "securityVersion": self.security_version,
            "approvedAt": _time(self.approved_at),
        }

    @classmethod
    def from_wire(cls, value: object) -> Image:
        top = Fields(value, "image")
        image = cls(
            running=RunningImage.from_wire(top.take("running")),
            length=top.integer("length"),
            security_version=top.integer("securityVersion"),
            approved_at=top.maybe_time("approvedAt"),
        )
        top.done()
        return image


@dataclass(frozen=True, kw_only=True)
class Slot(Written):
    """`verified` slots hold an image; others hold nothing that could be booted."""

    name: str
    image: Image | None
    writing: bool = False

    def shown(self) -> SlotState:
        state: Literal["empty", "writing", "verified"] = (
            "writing" if self.writing else "verified" if self.image else "empty"
        )
        running = self.image.running if self.image else None
        return SlotState(self.name, state, running.image if running else None, running.version if running else None)

    def to_wire(self) -> dict[str, Any]:
        return {"name": self.name, "image": self.image.to_wire() if self.image else None, "writing": self.writing}

    @classmethod
    def from_wire(cls, value: object) -> Slot:
        top = Fields(value, "slot")
        image = top.take("image")
        slot = cls(
            name=top.text("name", WORD),
            image=None if image is None else Image.from_wire(image),
            writing=top.flag("writing"),
        )
        top.done()
        return slot


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else format_time(moment)
