"""Change the state of a firmware manifest: only the lines that say it, so that comments and order stay. Pure."""

from __future__ import annotations

import json

from fwctl.errors import InputError
from fwctl.manifests.lifecycle import State
from fwctl.manifests.models import Firmware
from fwctl.manifests.models.firmware import Deprecation, FirmwareSpec
from fwctl.manifests.parse import parse_file
from fwctl.manifests.paths import ManifestPath
from fwctl.manifests.repo import LoadedFirmware
from fwctl.manifests.sources import Source


def with_state(firmware: LoadedFirmware, state: State, deprecation: Deprecation | None) -> bytes:
    """Return the manifest's bytes with another state and deprecation.

    Raises:
        InputError: `E_FIRMWARE_FORM`: it is written in a way that cannot be changed line by line.
    """
    spec = firmware.model.spec
    data = firmware.raw
    if spec.deprecation is not None:
        data = _without(firmware.path, data, "deprecation")
    data = _with(firmware.path, data, "state", state, present="state" in spec.model_fields_set)
    if deprecation is not None:
        data = _with(firmware.path, data, "deprecation", _flow(deprecation), present=False)
    wanted = spec.model_copy(update={"state": state, "deprecation": deprecation})
    if _read(firmware, data) != wanted:
        raise InputError(
            "its state cannot be changed line by line as the file is written",
            code="E_FIRMWARE_FORM",
            place=firmware.path,
            remedy=f"Write `state: {state}` into its spec with an editor, each field on a line of its own.",
        )
    return data


def _read(firmware: LoadedFirmware, data: bytes) -> FirmwareSpec | None:
    spec = firmware.model.spec
    model = parse_file(ManifestPath(firmware.path, "Firmware", (spec.model, spec.version)), data).model
    return model.spec if isinstance(model, Firmware) else None


def _with(path: str, data: bytes, field: str, value: str, *, present: bool) -> bytes:
    source = Source(path, data)
    lines = data.decode().split("\n")
    if present:
        line, column, end = source.positions.value(("spec", field))
        text = lines[line - 1]
        lines[line - 1] = text[: column - 1] + value + text[end - 1 :]
        return "\n".join(lines).encode()
    # after `state`, or else after `version`, which every manifest has
    before = "state" if field != "state" else "version"
    line, start, _ = source.positions.key(("spec", before))
    at, _, end = source.positions.value(("spec", before))
    text = lines[line - 1]
    if text[: start - 1].strip():  # several fields on one line
        lines[at - 1] = lines[at - 1][: end - 1] + f", {field}: {value}" + lines[at - 1][end - 1 :]
    else:
        lines.insert(at, f"{text[: start - 1]}{field}: {value}")
    return "\n".join(lines).encode()


def _without(path: str, data: bytes, field: str) -> bytes:
    line, start, _ = Source(path, data).positions.key(("spec", field))
    lines = data.decode().split("\n")
    if lines[line - 1][: start - 1].strip():
        return data  # among others on one line: left as it is, which the caller finds
    end = line
    while end < len(lines) and (not lines[end].strip() or _indent(lines[end]) >= start):
        end += 1
    while end > line and not lines[end - 1].strip():
        end -= 1
    return "\n".join([*lines[: line - 1], *lines[end:]]).encode()


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _flow(deprecation: Deprecation) -> str:
    fields = {"sunset": deprecation.sunset, "reason": deprecation.reason, "successor": deprecation.successor}
    told = (f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in fields.items() if value)
    return "{" + ", ".join(told) + "}"
