"""Which device has had which key, beside the device CA: one line for each certificate, only ever added to.

It answers what no single device can: whether another one has this key, whose certificates end soon, and which keys to
revoke when a device is lost. A key is *issued* with its certificate and *in force* once the device has it; from then
on the keys before it are superseded.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, Literal

from fwctl.errors import InputError
from fwctl.files import disk_errors, sync_folder
from fwctl.fleet.certificates import DeviceCertificate
from fwctl_agent.protocol.fields import DIGEST, ID, format_time, parse_time

NAME: Final = "issued.jsonl"
Event = Literal["issued", "inForce"]


@dataclass(frozen=True)
class Entry:
    """One line. `end` is that of the certificate."""

    event: Event
    device: str
    key: str
    end: datetime
    at: datetime

    @classmethod
    def of(cls, event: Event, certificate: DeviceCertificate, at: datetime) -> Entry:
        return cls(event, certificate.device, certificate.key, certificate.end, at.replace(microsecond=0))

    def line(self) -> str:
        return json.dumps(
            {
                "event": self.event,
                "device": self.device,
                "key": self.key,
                "notAfter": format_time(self.end),
                "at": format_time(self.at),
            },
            separators=(",", ":"),
        )


class Register:
    """The file `issued.jsonl` in the folder of the certificate authorities."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME

    def add(self, entries: Iterable[Entry]) -> None:
        """Write lines down, durably, before their certificates leave this machine.

        Raises:
            WorldError: `E_DISK`.
        """
        lines = "".join(f"{entry.line()}\n" for entry in entries).encode()
        with disk_errors(self.path):
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX)
                size = os.fstat(handle).st_size
                # A line that a power cut tore is ended, so that it spoils no other.
                torn = size and os.pread(handle, 1, size - 1) != b"\n"
                view = memoryview(b"\n" + lines if torn else lines)
                while view:
                    view = view[os.write(handle, view) :]
                os.fsync(handle)
            finally:
                os.close(handle)
            sync_folder(self.path.parent)

    def read(self) -> Book:
        """Return what is written; nothing where no certificate was issued yet.

        Raises:
            InputError: `E_PKI` for a line that nobody here wrote.
        """
        try:
            text = self.path.read_bytes().decode("utf-8", "replace")
        except FileNotFoundError:
            return Book({})
        except OSError as error:
            raise self._damaged(f"cannot be read: {error.strerror}") from error
        found: dict[str, list[Entry]] = {}
        for entry in self._entries(text):
            found.setdefault(entry.device, []).append(entry)
        return Book({device: tuple(entries) for device, entries in found.items()})

    def _entries(self, text: str) -> Iterator[Entry]:
        lines = text.split("\n")
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                yield _entry(json.loads(line))
            except (ValueError, KeyError, TypeError) as error:
                if not line.endswith("}"):
                    continue  # torn: its certificate never left
                raise self._damaged(f"line {number} is not one that fwctl writes") from error

    def _damaged(self, why: str) -> InputError:
        return InputError(
            f"the register of issued certificates {why}",
            code="E_PKI",
            place=str(self.path),
            remedy="Restore the file from a backup: without it nobody knows which keys belong to a device.",
        )


@dataclass(frozen=True)
class Book:
    """The lines of all devices, oldest first."""

    entries: dict[str, tuple[Entry, ...]]

    def keys(self, device: str) -> tuple[str, ...]:
        """Return every key that a device has ever had, oldest first."""
        return tuple(dict.fromkeys(entry.key for entry in self.entries.get(device, ())))

    def current(self, device: str) -> tuple[str, ...]:
        """Return the keys that a device may show today: the one in force, and those on their way to it."""
        superseded = self.superseded(device)
        return tuple(key for key in self.keys(device) if key not in superseded)

    def superseded(self, device: str) -> tuple[str, ...]:
        """Return the keys that a device has had before, or might have: all that were known when another took over.

        Once superseded is superseded for ever: who renews while somebody else rotates writes his line after the other.
        """
        known: dict[str, None] = {}
        past: dict[str, None] = {}
        present = ""
        for entry in self.entries.get(device, ()):
            if entry.event == "inForce" and entry.key != present and entry.key not in past:
                past |= dict.fromkeys(key for key in known if key != entry.key)
                present = entry.key
            known[entry.key] = None
        return tuple(past)

    def holders(self, key: str) -> tuple[str, ...]:
        """Return the devices that have had a key."""
        return tuple(device for device in self.entries if key in self.keys(device))

    def end(self, device: str) -> datetime | None:
        """Return when the newest certificate of a device ends, as far as is known here."""
        current = self.current(device)
        ends = [entry.end for entry in self.entries.get(device, ()) if entry.key in current]
        return max(ends, default=None)


def _entry(value: dict[str, str]) -> Entry:
    event = value["event"]
    if event not in ("issued", "inForce") or not ID.fullmatch(value["device"]) or not DIGEST.fullmatch(value["key"]):
        raise ValueError("not a line of ours")
    return Entry(
        "issued" if event == "issued" else "inForce",
        value["device"],
        value["key"],
        parse_time(value["notAfter"]),
        parse_time(value["at"]),
    )
