"""Read a file of faults, strictly: every error with file, place and remedy."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, cast

from fwctl_agent.config import ConfigError, Table, facts_of, read_toml
from fwctl_agent.faults import (
    Corrupt,
    Facts,
    Fault,
    FullDisk,
    Lie,
    Refuse,
    Script,
    SilentRevert,
    Slow,
    Unhealthy,
    Unready,
    Vanish,
    What,
    WrongClock,
)
from fwctl_agent.protocol.fields import ID, VERSION, WORD
from fwctl_agent.protocol.messages import STATES
from fwctl_agent.protocol.statements import RESULTS

MAX_FAULTS: Final = 64
_DAY: Final = 86_400.0
_NEVER: Final = -1.0
_PHASES: Final = tuple(state for state in STATES if state != "idle")


def read_script(file: Path, devices: Iterable[str]) -> Script:
    """Read a file of faults for these devices: JSON if its name ends so, else TOML.

    Raises:
        ConfigError: anything in it is not as it must be; it says what, where, and what to do.
    """
    missing = "name a file of faults; docs/reference/faults.md tells what stands in it"
    value = _json(file, missing) if file.suffix == ".json" else read_toml(file, missing)
    top = Table(value, file, "", remedy="correct the file of faults; docs/reference/faults.md tells what it takes")
    seed = top.number("seed", 0, (1 << 53) - 1, 0)
    entries = top.entries("faults")
    top.done()
    if not 1 <= len(entries) <= MAX_FAULTS:
        raise top.error("faults", f"must be a list of 1 to {MAX_FAULTS} faults")
    known = frozenset(devices)
    faults: list[Fault] = []
    for number, entry in enumerate(entries, start=1):
        fault = _fault(entry, number)
        unknown = sorted(set(fault.devices) - known)
        if unknown:
            raise entry.error("devices", f"{unknown[0]} is not simulated")
        if any(fault.name == other.name for other in faults):
            raise entry.error("name", "two faults have the same name")
        faults.append(fault)
    return Script(seed=seed, faults=tuple(faults))


def _json(file: Path, missing: str) -> dict[str, Any]:
    try:
        value = json.loads(file.read_bytes(), object_pairs_hook=_unique)
    except FileNotFoundError as error:
        raise ConfigError(str(file), "there is no such file", missing) from error
    except OSError as error:
        raise ConfigError(str(file), f"cannot be read: {error}", "check the path and its permissions") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(str(file), f"is not JSON: {error}", "correct it at the place named") from error
    if not isinstance(value, dict):
        raise ConfigError(str(file), "must be a JSON object", 'write it as {"faults": [...]}')
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key appears twice")
    return found


@dataclass
class _Reader:
    """One entry of the list, and the times that its kind has set already."""

    table: Table
    late: float | None = None

    def span(self, key: str, default: float = _NEVER) -> float | None:
        """Return seconds from 0 on; None where it is not given and has no default."""
        value = self.table.take(key, float, default)
        if self.table.was(key) and not 0 <= value <= 365 * _DAY:
            raise self.table.error(key, "must be seconds, from 0 to a year")
        return None if value == _NEVER else value

    def maybe(self, key: str, form: re.Pattern[str], also: tuple[str, ...] = ()) -> str | None:
        value = self.table.take(key, str, "")
        if self.table.was(key) and value not in also and not form.fullmatch(value):
            raise self.table.error(key, "has the wrong form")
        return value or None

    def one_of(self, key: str, allowed: tuple[str, ...]) -> str | None:
        return self.table.choice(key, allowed) if self.table.was(key) else None


def _fault(table: Table, number: int) -> Fault:
    read = _Reader(table)
    kind = table.choice("kind", tuple(_KINDS))
    name = read.maybe("name", WORD) or f"{kind}-{number}"
    what = _KINDS[kind](read)
    share = table.take("share", float, _NEVER)
    if table.was("share") and not 0 < share <= 1:
        raise table.error("share", "must be above 0 and at most 1")
    devices = _names(table, "devices", ID)
    if devices and table.was("share"):
        raise table.error("share", "and devices exclude each other")
    since = table.choice("since", ("start", "confirm"), "start")
    after, until = read.span("after", 0.0) or 0.0, read.span("until")
    if read.late is not None:
        if table.was("after") or table.was("since"):
            raise table.error("late", 'means after = ... since = "confirm"; write one of the two')
        since, after = "confirm", read.late
    if until is not None and until <= after:
        raise table.error("until", "must be later than it begins")
    versions = _names(table, "versions", VERSION)
    table.done()
    return Fault(
        name=name,
        kind=kind,
        what=what,
        share=share if table.was("share") else None,
        devices=devices,
        since=cast(Literal["start", "confirm"], since),
        after=after,
        until=until,
        versions=versions,
    )


def _names(table: Table, key: str, form: re.Pattern[str]) -> tuple[str, ...]:
    value = table.take(key, list, [])
    if table.was(key) and not value:
        raise table.error(key, "names nothing")
    if not all(isinstance(name, str) and form.fullmatch(name) for name in value):
        raise table.error(key, "has an entry of the wrong form")
    if len(set(value)) != len(value):
        raise table.error(key, "names something twice")
    return tuple(value)


def _slow(read: _Reader) -> Slow:
    delay, limited = read.span("delay", 0.0) or 0.0, read.table.was("bytesPerSecond")
    if not delay and not limited:
        raise read.table.error("delay", "or bytesPerSecond must be given")
    return Slow(delay=delay, bytes_per_second=read.table.number("bytesPerSecond", 1, 1 << 40) if limited else None)


def _refuse(read: _Reader) -> Refuse:
    return Refuse(how=cast(Literal["hello", "request"], read.table.choice("how", ("hello", "request"), "hello")))


def _corrupt(read: _Reader) -> Corrupt:
    where = read.table.choice("where", ("disk", "transfer"), "disk")
    return Corrupt(where=cast(Literal["disk", "transfer"], where))


def _unhealthy(read: _Reader) -> Unhealthy:
    read.late = read.span("late")
    probe = read.table.text("probe", WORD, "simulated")
    value = read.table.number("value", -(1 << 53) + 1, (1 << 53) - 1, 0)
    return Unhealthy(probe=probe, value=value if read.table.was("value") else None)


def _silent_revert(read: _Reader) -> SilentRevert:
    read.late = read.span("late", 0.0)
    return SilentRevert()


def _vanish(read: _Reader) -> Vanish:
    phase = read.one_of("phase", _PHASES)
    how = read.table.choice("how", ("network", "power"), "network")
    return Vanish(phase=phase, seconds=read.span("seconds"), how=cast(Literal["network", "power"], how))


def _lie(read: _Reader) -> Lie:
    running = read.maybe("running", VERSION, ("ordered", "previous"))
    outcome = read.one_of("outcome", RESULTS)
    signed = read.table.take("signed", bool, False)
    if not running and not outcome:
        raise read.table.error("running", "or outcome must be given")
    if signed and not outcome:
        raise read.table.error("signed", "is about an outcome; give one")
    return Lie(running=running, outcome=outcome, signed=signed)


def _clock(read: _Reader) -> WrongClock:
    offset = read.table.take("offset", float)
    if not -100 * 365 * _DAY <= offset <= 100 * 365 * _DAY:
        raise read.table.error("offset", "must be seconds, at most a hundred years either way")
    return WrongClock(offset=offset)


def _full_disk(read: _Reader) -> FullDisk:
    return FullDisk(what=cast(Literal["image", "all"], read.table.choice("what", ("image", "all"), "image")))


def _facts(read: _Reader) -> Facts:
    facts = facts_of(read.table.table("facts"))
    if not facts:
        raise read.table.error("facts", "names nothing")
    return Facts(facts=facts)


def _unready(read: _Reader) -> Unready:
    reason = read.table.text("reason", default="simulated fault")
    if not reason.isprintable() or not 1 <= len(reason) <= 200:
        raise read.table.error("reason", "must be one line of at most 200 characters")
    return Unready(reason=reason)


_KINDS: Final[Mapping[str, Callable[[_Reader], What]]] = {
    "slow": _slow,
    "refuse": _refuse,
    "corrupt": _corrupt,
    "unhealthy": _unhealthy,
    "silentRevert": _silent_revert,
    "vanish": _vanish,
    "lie": _lie,
    "clock": _clock,
    "fullDisk": _full_disk,
    "facts": _facts,
    "unready": _unready,
}
