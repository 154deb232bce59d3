"""The device's doors to the world: files, boot selection, installer, clock. Defined by the core that uses them.

Every method may raise `OSError`; boot and installer may also raise `InstallFailed`. Nothing else may leave.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol


class InstallFailed(Exception):
    """The installer or the boot loader said no: class `install` (DESIGN section 6)."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


class Stream(Protocol):
    """One open descriptor that bytes are appended to."""

    def write(self, data: bytes) -> None: ...

    def sync(self) -> None: ...

    def close(self) -> None: ...


class Fs(Protocol):
    """All disk access. Paths are relative to the device's folder, with `/`."""

    def read(self, path: str) -> bytes | None:
        """Return the whole file, or None if there is none."""

    def replace(self, path: str, data: bytes) -> None:
        """Write atomically and durably: temporary file, fsync, rename, fsync of the folder."""

    def open(self, path: str, offset: int) -> Stream:
        """Open for writing at `offset`, cutting off what stands behind it; created if missing."""

    def chunks(self, path: str, size: int) -> Iterator[bytes]:
        """Yield the file in pieces of `size` bytes; nothing if it is missing."""

    def link(self, path: str, target: str) -> None:
        """Make `path` a symbolic link to `target`, for people to look at."""


@dataclass(frozen=True)
class Selector:
    """What the boot loader knows: the good slot, and perhaps one on trial with so many starts left."""

    good: str
    trial: str | None = None
    tries: int = 0
    failed: str | None = None
    """the slot whose trial ran out of starts"""
    settled: bool = True
    """False after a write that failed: the disk may hold this selection or the one that was being written"""


class Boot(Protocol):
    """Slot selection. Each change is atomic: a reader sees the old selection or the new one."""

    def start(self) -> str:
        """Do what a boot loader does at power-on, using up one start of a trial, and return the slot that runs."""

    def state(self) -> Selector: ...

    def try_slot(self, slot: str, tries: int) -> None:
        """Let the next start run `slot`, at most `tries` times, then fall back to the good slot."""

    def mark_good(self, slot: str) -> None: ...

    def go_back(self, slot: str) -> None:
        """Select `slot` as good and end any trial."""


class Installer(Protocol):
    """Where image bytes go. Idempotent: each call may be repeated after a crash."""

    def open(self, slot: str, offset: int) -> Stream:
        """Open the place where bytes for `slot` arrive."""

    def arrived(self, slot: str, length: int) -> Iterator[bytes]:
        """Yield what arrived for `slot`, at most `length` + 1 bytes."""

    def stage(self, slot: str, length: int) -> bool:
        """Move verified bytes to where the device boots from; False if that is where they arrived."""

    def content(self, slot: str, length: int) -> Iterator[bytes]:
        """Yield the bytes that the device would boot, at most `length` + 1."""


@dataclass(frozen=True)
class Moment:
    """One reading of all clocks: wall time, and milliseconds since this boot of the machine."""

    wall: datetime
    boot: str
    tick: int

    def millis_since(self, earlier: Moment) -> int:
        """Return elapsed milliseconds: monotonic within one boot, else by wall clock and never negative."""
        if earlier.boot == self.boot:
            return max(0, self.tick - earlier.tick)
        return max(0, int((self.wall - earlier.wall).total_seconds() * 1000))


class Clock(Protocol):
    """Readings of the clock; `moment` counts time asleep too."""

    def moment(self) -> Moment: ...


class Ready(Protocol):
    """Whether an install may begin now. Raises nothing."""

    def why_not(self) -> str | None:
        """Return None when it may, else the reason for people."""


class AlwaysReady:
    """No readiness command is configured."""

    def why_not(self) -> str | None:
        return None


Reboot = Literal["none", "exit"]
"""`none`: the new slot is current at once; `exit`: the process ends and a supervisor starts it again."""
