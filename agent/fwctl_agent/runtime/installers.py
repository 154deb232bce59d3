"""Where image bytes go: files `slots/a.img` and `slots/b.img`, or the device's own commands."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from fwctl_agent.runtime.commands import Commands
from fwctl_agent.runtime.ports import Fs, Stream

PIECE: Final = 1 << 20
STAGING: Final = "slots/incoming.img"


class SlotsInstaller:
    """Bytes arrive straight in the standby slot."""

    def __init__(self, fs: Fs) -> None:
        self._fs = fs

    def open(self, slot: str, offset: int) -> Stream:
        return self._fs.open(_path(slot), offset)

    def arrived(self, slot: str, length: int) -> Iterator[bytes]:
        return bounded(self._fs.chunks(_path(slot), PIECE), length)

    def stage(self, slot: str, length: int) -> bool:  # noqa: ARG002
        """Nothing to do: the bytes are where they belong."""
        return False

    def content(self, slot: str, length: int) -> Iterator[bytes]:
        return self.arrived(slot, length)


class CommandInstaller:
    """Bytes are verified in a file first, then written by `write` and read back by `readback`."""

    def __init__(self, fs: Fs, commands: Commands) -> None:
        self._fs = fs
        self._commands = commands

    def open(self, slot: str, offset: int) -> Stream:  # noqa: ARG002
        return self._fs.open(STAGING, offset)

    def arrived(self, slot: str, length: int) -> Iterator[bytes]:  # noqa: ARG002
        return bounded(self._fs.chunks(STAGING, PIECE), length)

    def stage(self, slot: str, length: int) -> bool:
        self._commands.feed("write", slot, self.arrived(slot, length), length)
        return True

    def content(self, slot: str, length: int) -> Iterator[bytes]:
        return self._commands.read("readback", slot, length)


def bounded(pieces: Iterator[bytes], length: int) -> Iterator[bytes]:
    """Yield at most `length` + 1 bytes: one more than allowed is enough to know."""
    left = length + 1
    for piece in pieces:
        yield piece[:left]
        left -= len(piece)
        if left <= 0:
            return


def _path(slot: str) -> str:
    return f"slots/{slot}.img"
