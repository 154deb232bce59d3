"""`fwctl-agent status`: what the journal of a folder says, without a running agent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fwctl_agent.config import ConfigError, read_settings
from fwctl_agent.errors import Refusal
from fwctl_agent.protocol.enrolment import ROOT
from fwctl_agent.protocol.messages import TrustVersions
from fwctl_agent.runtime.boot import FileBoot
from fwctl_agent.runtime.copies import Corrupt, TwoCopies
from fwctl_agent.runtime.fs import OsFs
from fwctl_agent.runtime.record import Record
from fwctl_agent.runtime.trust_store import TrustStore
from fwctl_agent.trust.verification import Verification


def status(folder: Path, *, as_json: bool) -> str:
    """Return the text to print.

    Raises:
        ConfigError: the folder is none, or its journal cannot be read.
    """
    settings = read_settings(folder)
    fs = OsFs(folder)
    try:
        stored = TwoCopies(fs, "state/journal").load()
        record = None if stored is None else Record.from_wire(stored)
        good = FileBoot(fs).state().good
        versions = TrustStore(fs, (fs.read(ROOT) or b"").decode(), Verification()).trusted.versions
    except (Corrupt, Refusal, OSError, UnicodeDecodeError) as error:
        raise ConfigError(str(folder), f"the journal cannot be read: {error}", "enroll the device again") from error
    view = _view(settings.id, record, good, versions)
    return json.dumps(view, indent=2) + "\n" if as_json else _text(view)


def _view(device: str, record: Record | None, good: str, trust: TrustVersions) -> dict[str, Any]:
    if record is None:
        return {"schemaVersion": 1, "device": device, "state": "never started", "slots": []}
    job = record.job
    return {
        "schemaVersion": 1,
        "device": device,
        "state": job.state if job and job.active else "idle",
        "order": job.order.id if job and job.active else None,
        "running": record.image.running.to_wire(),
        "current": record.current,
        "good": good,
        "floor": record.floor,
        "trust": trust.to_wire(),
        "slots": [slot.shown().to_wire() for slot in record.slots],
    }


def _text(view: dict[str, Any]) -> str:
    lines = [f"{view['device']}: {view['state']}"]
    if view["slots"]:
        running = view["running"]
        lines.append(f"runs {running['version']} ({running['image'][:19]}) from slot {view['current']}")
        lines.append("trusts " + ", ".join(f"{name} {view['trust'][name]}" for name in ("root", "targets", "policy")))
    for slot in view["slots"]:
        image = f"{slot['version']} ({slot['image'][:19]})" if slot["image"] else "nothing bootable"
        lines.append(f"slot {slot['name']}: {slot['state']}, {image}")
    return "\n".join(lines) + "\n"
