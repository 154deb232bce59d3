"""Bills of materials as text and JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from fwctl.render.words import columns, counted, document

if TYPE_CHECKING:
    from fwctl.cli.bills import Bill


def text(bill: Bill) -> str:
    """Return one line per component."""
    rows = [("COMPONENT", "VERSION", "TYPE", "PACKAGE")]
    rows += [(one.name, one.version or "unknown", one.kind, one.purl) for one in bill.components]
    head = f"Firmware {bill.firmware}: {counted(len(bill.components), 'component')}, {bill.digest}"
    return "\n".join([head, *(line.rstrip() for line in columns(rows, indent="  "))])


def as_json(bill: Bill) -> str:
    """Return the components for programs."""
    return document(
        {
            "firmware": bill.firmware,
            "sbom": bill.digest,
            "file": bill.path,
            "components": [one.to_json() for one in bill.components],
        }
    )


RENDERERS: Mapping[str, Callable[[Bill], str]] = {"text": text, "json": as_json}
