"""What `agent.toml` says, as frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from fwctl_agent.runtime.ports import Reboot


@dataclass(frozen=True, kw_only=True)
class CommandCheck:
    """Good when the program exits 0; its output may be one whole number."""

    name: str
    argv: tuple[str, ...]
    timeout: float
    type: Literal["command"] = "command"


@dataclass(frozen=True, kw_only=True)
class HttpCheck:
    """Good when a plain HTTP GET answers with the status."""

    name: str
    url: str
    status: int
    timeout: float
    type: Literal["http"] = "http"


@dataclass(frozen=True, kw_only=True)
class FileCheck:
    """Good when the file exists, and equals `equals` or is at most `max` where those are given."""

    name: str
    path: str
    equals: str | None
    max: int | None
    type: Literal["file"] = "file"


Check = CommandCheck | HttpCheck | FileCheck


@dataclass(frozen=True, kw_only=True)
class ProbeSet:
    """A named set: all checks must be good in one of `attempts` rounds, `interval` seconds apart, by `deadline`."""

    name: str
    attempts: int
    interval: float
    deadline: float
    checks: tuple[Check, ...]


@dataclass(frozen=True, kw_only=True)
class Readiness:
    """The program that says whether an install may begin now."""

    command: tuple[str, ...]
    timeout: float


@dataclass(frozen=True, kw_only=True)
class FactsCommand:
    """The program that prints facts, asked at most once every `every` seconds."""

    argv: tuple[str, ...]
    timeout: float
    every: float


@dataclass(frozen=True, kw_only=True)
class Factory:
    """The image that the device left the factory with; slot a."""

    version: str
    image: str
    length: int
    security_version: int


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One device's configuration."""

    id: str
    repo_id: str
    model: str
    hardware: str
    env: str
    enrolled_at: datetime
    host: str
    port: int
    tls: Literal["1.3", "1.2"] = "1.3"
    """the oldest version that is spoken"""
    factory: Factory
    reboot: Reboot
    tries: int
    boot_seconds: int
    installer: Literal["slots", "command"]
    commands: Mapping[str, tuple[str, ...]]
    command_timeout: float
    probes: Mapping[str, ProbeSet]
    facts: Mapping[str, str | int | bool] = field(default_factory=dict)
    readiness: Readiness | None = None
    facts_command: FactsCommand | None = None
    download_ca: str | None = None
    """file with the CA of the storage, from the device's folder on; None: those that the system trusts"""
