"""Read a device's folder: `agent.toml` strictly, every error with file, place and remedy."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from fwctl_agent.protocol.fields import DIGEST, ID, VERSION, WORD, parse_time
from fwctl_agent.runtime.senses import MAX_FACTS, is_fact
from fwctl_agent.runtime.settings import (
    Check,
    CommandCheck,
    Factory,
    FactsCommand,
    FileCheck,
    HttpCheck,
    ProbeSet,
    Readiness,
    Settings,
)

T = TypeVar("T", str, int, float, bool, list[Any], dict[str, Any])
_REQUIRED: Final[Any] = object()
_COMMANDS: Final = ("write", "readback", "activate", "markGood", "revert", "status")
MAX_CHECKS: Final = 16
_PATH: Final = re.compile(r"[^\0]+")


class ConfigError(Exception):
    """The folder cannot be run: where, why, and what to do. Exit code 3."""

    def __init__(self, place: str, why: str, remedy: str) -> None:
        super().__init__(f"{place}: {why}\n  help: {remedy}")
        self.place = place
        self.why = why
        self.remedy = remedy


class Table:
    """A cursor over one TOML table: each key read once, nothing left over."""

    def __init__(
        self,
        value: dict[str, Any],
        file: Path,
        name: str,
        *,
        remedy: str = "correct agent.toml, or enroll the device again",
    ) -> None:
        self._all = frozenset(value)
        self._left = dict(value)
        self._file = file
        self._name = name
        self._remedy = remedy

    def error(self, key: str, why: str, remedy: str = "") -> ConfigError:
        where = f"{self._file}: [{self._name}] {key}" if self._name else f"{self._file}: {key}"
        return ConfigError(where, why, remedy or self._remedy)

    def has(self, key: str) -> bool:
        """Say whether `key` is there and not yet read."""
        return key in self._left

    def was(self, key: str) -> bool:
        """Say whether `key` was there, read or not."""
        return key in self._all

    def take(self, key: str, kind: type[T], default: Any = _REQUIRED) -> T:
        if key not in self._left:
            if default is _REQUIRED:
                raise self.error(key, "is missing")
            found: T = default
            return found
        value = self._left.pop(key)
        if kind is float and type(value) is int:
            value = float(value) if abs(value) <= 1 << 53 else math.inf
        if type(value) is not kind:
            raise self.error(key, f"must be of type {kind.__name__}, not {type(value).__name__}")
        return value

    def text(self, key: str, form: re.Pattern[str] | None = None, default: Any = _REQUIRED) -> str:
        value = self.take(key, str, default)
        if form is not None and not form.fullmatch(value):
            raise self.error(key, "has the wrong form")
        return value

    def number(self, key: str, low: int, high: int, default: Any = _REQUIRED) -> int:
        value = self.take(key, int, default)
        if not low <= value <= high:
            raise self.error(key, f"must be from {low} to {high}")
        return value

    def seconds(self, key: str, default: float) -> float:
        value = self.take(key, float, default)
        if not 0 < value <= 86400:
            raise self.error(key, "must be seconds, above 0 and at most 86400")
        return value

    def choice(self, key: str, allowed: tuple[str, ...], default: Any = _REQUIRED) -> str:
        value = self.take(key, str, default)
        if value not in allowed:
            raise self.error(key, "must be one of " + ", ".join(allowed))
        return value

    def argv(self, key: str) -> tuple[str, ...]:
        value = self.take(key, list)
        if not value or not all(isinstance(part, str) and part and "\0" not in part for part in value):
            raise self.error(key, "must be a list of words: the program and its arguments")
        return tuple(value)

    def table(self, key: str, default: Any = _REQUIRED) -> Table:
        value = self.take(key, dict, default)
        return Table(value, self._file, f"{self._name}.{key}".lstrip("."), remedy=self._remedy)

    def tables(self) -> dict[str, Table]:
        """Return what is left as tables by name."""
        return {key: self.table(key) for key in list(self._left)}

    def entries(self, key: str) -> list[Table]:
        value = self.take(key, list, [])
        if not all(isinstance(entry, dict) for entry in value):
            raise self.error(key, "must be a list of tables")
        names = (f"{self._name}.{key}[{i}]".lstrip(".") for i in range(1, len(value) + 1))
        return [Table(entry, self._file, name, remedy=self._remedy) for entry, name in zip(value, names, strict=True)]

    def rest(self) -> dict[str, Any]:
        left, self._left = self._left, {}
        return left

    def done(self) -> None:
        if self._left:
            raise self.error(min(self._left), "is unknown", "remove it, or look for a typing error")


def read_settings(folder: Path) -> Settings:
    """Read `agent.toml` in `folder`.

    Raises:
        ConfigError: it is missing, not TOML, or anything in it is not as it must be.
    """
    file = folder / "agent.toml"
    top = Table(read_toml(file, "make the folder with: fwctl device enroll"), file, "")
    device, listen, factory, boot = (top.table(name) for name in ("device", "listen", "factory", "boot"))
    installer, probes = top.table("installer"), top.table("probes", {})
    kind = installer.choice("type", ("slots", "command"))
    settings = Settings(
        id=device.text("id", ID),
        repo_id=device.text("repoId", ID),
        model=device.text("model", ID),
        hardware=device.text("hardware", WORD),
        env=device.text("env", ID),
        enrolled_at=_parsed(device, "enrolledAt", parse_time),
        host=listen.text("host"),
        port=listen.number("port", 0, 65535),
        tls="1.2" if listen.choice("tls", ("1.3", "1.2"), "1.3") == "1.2" else "1.3",
        factory=Factory(
            version=factory.text("version", VERSION),
            image=factory.text("image", DIGEST),
            length=factory.number("length", 1, 1 << 50),
            security_version=factory.number("securityVersion", 0, 1 << 50, 0),
        ),
        reboot="exit" if boot.choice("reboot", ("none", "exit"), "none") == "exit" else "none",
        tries=boot.number("tries", 1, 100, 3),
        boot_seconds=boot.number("seconds", 1, 3600, 30),
        installer="command" if kind == "command" else "slots",
        commands={name: installer.argv(name) for name in _COMMANDS} if kind == "command" else {},
        command_timeout=installer.seconds("timeout", 600.0) if kind == "command" else 600.0,
        probes={"default": _EMPTY} | {name: _probe_set(name, table) for name, table in probes.tables().items()},
        facts=facts_of(top.table("facts", {})),
        readiness=_readiness(top),
        facts_command=_facts_command(top),
        download_ca=_download_ca(top),
    )
    for table in (top, device, listen, factory, boot, installer):
        table.done()
    return settings


_EMPTY: Final = ProbeSet(name="default", attempts=1, interval=5.0, deadline=60.0, checks=())


def read_toml(file: Path, missing: str) -> dict[str, Any]:
    """Read a TOML file; `missing` is the remedy where there is none.

    Raises:
        ConfigError: it is missing or not TOML.
    """
    try:
        with file.open("rb") as stream:
            return tomllib.load(stream)
    except FileNotFoundError as error:
        raise ConfigError(str(file), "there is no such file", missing) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(str(file), f"cannot be read: {error}", "check the path and its permissions") from error
    except (ValueError, RecursionError) as error:  # ValueError: also a number of more digits than Python reads
        raise ConfigError(str(file), f"is not TOML: {error}", "correct it at the place named") from error


def _parsed(table: Table, key: str, parse: Callable[[str], Any]) -> Any:
    text = table.text(key)
    try:
        return parse(text)
    except ValueError as error:
        raise table.error(key, "must be a UTC time such as 2026-01-02T03:04:05Z") from error


def _probe_set(name: str, table: Table) -> ProbeSet:
    if not WORD.fullmatch(name):
        raise table.error(name, "is not a name for a probe set")
    entries = table.entries("checks")
    if len(entries) > MAX_CHECKS:
        raise table.error("checks", f"holds more than {MAX_CHECKS} checks")
    found = ProbeSet(
        name=name,
        attempts=table.number("attempts", 1, 100, 3),
        interval=table.seconds("interval", 2.0),
        deadline=table.seconds("deadline", 60.0),
        checks=tuple(_check(entry) for entry in entries),
    )
    if len({check.name for check in found.checks}) != len(found.checks):
        raise table.error("checks", "two checks have the same name")
    table.done()
    return found


def _check(table: Table) -> Check:
    name, kind = table.text("name", WORD), table.choice("type", ("command", "http", "file"))
    check: Check
    if kind == "command":
        check = CommandCheck(name=name, argv=table.argv("argv"), timeout=table.seconds("timeout", 10.0))
    elif kind == "http":
        check = HttpCheck(
            name=name,
            url=table.text("url"),
            status=table.number("status", 100, 599, 200),
            timeout=table.seconds("timeout", 5.0),
        )
        _check_url(table, check.url)
    else:
        equals, most = table.text("equals", default=""), table.number("max", -(1 << 53), 1 << 53, 1 << 53)
        check = FileCheck(
            name=name,
            path=table.text("path"),
            equals=equals or None,
            max=most if most != 1 << 53 else None,
        )
    table.done()
    return check


def _check_url(table: Table, url: str) -> None:
    try:
        address = urlsplit(url)
        good = address.scheme == "http" and bool(address.hostname) and (address.port is None or address.port > 0)
    except ValueError:
        good = False
    if not good or not url.isascii() or not url.isprintable() or " " in url:
        raise table.error("url", "must be an http:// address")


def facts_of(table: Table) -> dict[str, str | int | bool]:
    """Return all of a table as facts."""
    facts = table.rest()
    for key, value in facts.items():
        if not is_fact(value) or len(facts) > MAX_FACTS:
            raise table.error(key, f"must be text, a whole number, or true or false (at most {MAX_FACTS} facts)")
    return facts


def _readiness(top: Table) -> Readiness | None:
    if not top.has("readiness"):
        return None
    table = top.table("readiness")
    found = Readiness(command=table.argv("command"), timeout=table.seconds("timeout", 10.0))
    table.done()
    return found


def _download_ca(top: Table) -> str | None:
    if not top.has("download"):
        return None
    table = top.table("download")
    found = table.text("ca", _PATH)
    table.done()
    return found


def _facts_command(top: Table) -> FactsCommand | None:
    if not top.has("facts_command"):
        return None
    table = top.table("facts_command")
    found = FactsCommand(
        argv=table.argv("argv"), timeout=table.seconds("timeout", 10.0), every=table.seconds("every", 60.0)
    )
    table.done()
    return found
