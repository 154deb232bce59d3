"""Renewed, rotated and revoked certificates, as text and JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from fwctl.render.words import columns, counted, document, labelled, stamp

if TYPE_CHECKING:
    from fwctl.cli.controller import Replaced
    from fwctl.cli.renewing import Line, Renewals
    from fwctl.cli.revoking import Revoked


def renewed_text(done: Renewals) -> str:
    """Return a line per device, and what those can do that failed."""
    if not done.lines:
        return "No certificate ends so soon. Nothing to do."
    table = [("DEVICE", "CERTIFICATE", "ENDS", "KEY")]
    table += [
        (line.device, line.what, f"{line.end:%Y-%m-%d}" if line.end else "unknown", line.key[:19] or "unknown")
        for line in done.lines
    ]
    failed = [line for line in done.lines if line.error is not None]
    lines = columns(table)
    for line in failed[:20]:
        if line.error is not None:
            lines += ["", f"{line.device}: {line.error.code}: {line.error.message}", f"  {line.error.remedy}"]
    if len(failed) > 20:
        lines += ["", f"and {counted(len(failed) - 20, 'more device')}"]
    return "\n".join(lines)


def renewed_json(done: Renewals) -> str:
    """Return the same for programs."""
    return document({"devices": [_line(line) for line in done.lines]})


def _line(line: Line) -> dict[str, Any]:
    return {
        "device": line.device,
        "certificate": line.what,
        "notAfter": stamp(line.end),
        "key": line.key or None,
        "error": line.error.to_json() if line.error else None,
    }


RENEWED: Mapping[str, Callable[[Renewals], str]] = {"text": renewed_text, "json": renewed_json}


def revoked_text(done: Revoked) -> str:
    """Return what is revoked, and since when it counts."""
    from fwctl.render.amending import amended_text

    lines = [f"Keys of {done.device}", *(f"  {key}" for key in done.keys)]
    if done.quarantine is not None:
        lines += [f"{done.device} {done.quarantine.words}"]
    if done.amended is not None:
        lines += ["", amended_text(done.amended)]
    return "\n".join(lines)


def revoked_json(done: Revoked) -> str:
    """Return the same for programs."""
    return document(
        {
            "device": done.device,
            "keys": list(done.keys),
            "quarantined": None if done.quarantine is None else done.quarantine.quarantined,
            "trust": None if done.amended is None else done.amended.state,
            "commit": None if done.amended is None else done.amended.commit,
        }
    )


REVOKED: Mapping[str, Callable[[Revoked], str]] = {"text": revoked_text, "json": revoked_json}


def replaced_text(done: Replaced) -> str:
    """Return the controller's old key and its new certificate."""
    pairs = [
        ("certificate", str(done.path)),
        ("ends", f"{done.end:%Y-%m-%d}"),
        ("key", done.key),
        ("old key", f"{done.old} (counts until {done.old_end:%Y-%m-%d}, or until it is revoked)"),
    ]
    return "\n".join(["The controller has a new key and certificate.", *labelled(pairs)])


def replaced_json(done: Replaced) -> str:
    """Return the same for programs."""
    return document(
        {"key": done.key, "notAfter": stamp(done.end), "oldKey": done.old, "oldNotAfter": stamp(done.old_end)}
    )


REPLACED: Mapping[str, Callable[[Replaced], str]] = {"text": replaced_text, "json": replaced_json}
