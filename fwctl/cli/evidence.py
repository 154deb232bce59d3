"""What devices signed, read back from the ledger's envelopes. Only for showing: verified when it was received."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fwctl.state import Ledger, OutcomeRow


@dataclass(frozen=True)
class Probe:
    """One probe result."""

    name: str
    ok: bool
    detail: str
    value: int | None

    @property
    def words(self) -> str:
        value = f" = {self.value}" if self.value is not None else ""
        return f"{self.name}{value}: {'ok' if self.ok else 'BAD'}{f', {self.detail}' if self.detail else ''}"

    def to_json(self) -> dict[str, Any]:
        return {"probe": self.name, "ok": self.ok, "detail": self.detail, "value": self.value}


@dataclass(frozen=True)
class Said:
    """One outcome with what it carries."""

    row: OutcomeRow
    version: str
    """what runs, as the device says"""
    probes: tuple[Probe, ...]

    @property
    def at(self) -> datetime:
        return self.row.received_at

    @property
    def bad(self) -> tuple[Probe, ...]:
        return tuple(probe for probe in self.probes if not probe.ok)


def read(row: OutcomeRow) -> Said:
    """Return an outcome as its envelope has it; what cannot be read is left out."""
    try:
        body = json.loads(base64.b64decode(str(row.envelope.get("payload"))))
    except ValueError:
        body = {}
    body = body if isinstance(body, dict) else {}
    running, found = body.get("running"), body.get("evidence")
    version = str(running.get("version", "")) if isinstance(running, dict) else ""
    probes = tuple(_probe(one) for one in found if isinstance(one, dict)) if isinstance(found, list) else ()
    return Said(row, version, probes)


def failure_said(ledger: Ledger, mandate: str, devices: Iterable[str]) -> dict[str, Said]:
    """Return the newest outcome that tells of a failure, for each of these devices that has one."""
    found = (row for device in set(devices) for row in ledger.outcomes(mandate, device) if row.failure_class)
    return {row.device: read(row) for row in found}


def _probe(one: Mapping[str, Any]) -> Probe:
    value = one.get("value")
    number = value if isinstance(value, int) and not isinstance(value, bool) else None
    return Probe(str(one.get("probe", "?")), one.get("ok") is True, str(one.get("detail", "")), number)
