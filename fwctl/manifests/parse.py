"""One file to one model: a pure function of its path and bytes, so that results can be kept by blob id."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from fwctl.manifests.csv_inventory import read_csv
from fwctl.manifests.diagnostic import Diagnostic, Loc, Place, Related, quoted
from fwctl.manifests.fields import did_you_mean
from fwctl.manifests.inventory import tabulate
from fwctl.manifests.jsonl_inventory import read_jsonl
from fwctl.manifests.models import (
    API_VERSION,
    KINDS,
    DeviceGroup,
    DeviceInventory,
    Firmware,
    Manifest,
    Rollout,
    RolloutControl,
    RolloutPolicy,
)
from fwctl.manifests.paths import ManifestPath
from fwctl.manifests.positions import Span
from fwctl.manifests.schema_findings import explain
from fwctl.manifests.sources import Source
from fwctl.manifests.strict_yaml import LARGE, MAX_FINDINGS, SMALL, YamlFinding, read
from fwctl.manifests.table import InventoryTable
from fwctl.manifests.yaml_rows import tabulate_text

_LIMITS: Final = {"DeviceInventory": LARGE}


@dataclass(frozen=True, slots=True)
class Parsed:
    """What one file gave: a model, or the table of an inventory; None as soon as one finding is an error."""

    path: ManifestPath
    source: Source
    model: Manifest | InventoryTable | None
    diagnostics: tuple[Diagnostic, ...]


def parse_file(path: ManifestPath, data: bytes) -> Parsed:
    """Read one manifest strictly. Never raises for what the bytes are."""
    source = Source(path.path, data)
    reader = _INVENTORY[path.path.rpartition(".")[2]] if path.kind == "DeviceInventory" else _yaml
    model, found = reader(path, source)
    if len(found) >= MAX_FINDINGS and found[-1].code != "I_TRUNCATED":
        last = found[-1].place
        found.append(source.diagnostic(last, code="I_TRUNCATED", message="there are more findings in this file"))
    if any(d.severity == "error" for d in found):
        model = None
    return Parsed(path, source, model, tuple(found))


_Model = Manifest | InventoryTable | None


def _yaml(path: ManifestPath, source: Source) -> tuple[_Model, list[Diagnostic]]:
    document = read(source.data, _LIMITS.get(path.kind, SMALL))
    found = [_from_text(finding, source) for finding in document.findings]
    known = frozenset(f.loc for f in document.findings if f.loc and f.code != "E_YAML_DUPKEY")
    model: Manifest | None = None
    if document.complete and (isinstance(document.value, dict) or not found):
        more, model = _validate(path, document.value, source, known, MAX_FINDINGS - len(found))
        found += more
    elif not found:
        found.append(_empty(source))
    return model, found


def _inventory(path: ManifestPath, source: Source) -> tuple[_Model, list[Diagnostic]]:
    if (table := tabulate_text(source.data)) is not None:
        return table, []
    model, found = _yaml(path, source)
    return tabulate(model) if isinstance(model, DeviceInventory) else None, found


def _csv(_path: ManifestPath, source: Source) -> tuple[_Model, list[Diagnostic]]:
    table, found, trouble = read_csv(source, MAX_FINDINGS)
    return table, [*(_from_text(finding, source) for finding in trouble), *found]


def _jsonl(_path: ManifestPath, source: Source) -> tuple[_Model, list[Diagnostic]]:
    table, found, trouble = read_jsonl(source, MAX_FINDINGS)
    return table, [*(_from_text(finding, source) for finding in trouble), *found]


_INVENTORY: Final = {"yaml": _inventory, "csv": _csv, "jsonl": _jsonl}


def _from_text(finding: YamlFinding, source: Source) -> Diagnostic:
    place = source.at(Span(finding.line, finding.column, finding.end_column))
    related: tuple[Related, ...] = ()
    if finding.first:
        related = (Related(Place(source.path, *finding.first), finding.first_message),)
    return source.diagnostic(
        place,
        code=finding.code,
        message=finding.message,
        remedy=finding.remedy,
        loc=finding.loc,
        related=related,
    )


def _empty(source: Source) -> Diagnostic:
    return source.diagnostic(
        Place(source.path, 1, 1, 2),
        code="E_SCHEMA",
        message="the file holds no document",
        remedy="Write the manifest, or remove the file.",
    )


def _validate(
    path: ManifestPath, value: Any, source: Source, known: frozenset[Loc], limit: int
) -> tuple[list[Diagnostic], Manifest | None]:
    if value is None:
        return [_empty(source)], None
    if not isinstance(value, dict):
        message = "a manifest is a mapping with apiVersion, kind, metadata and spec"
        place = source.place(())
        return [source.diagnostic(place, code="E_SCHEMA", message=message, remedy="Write it like the examples.")], None
    found, skip = _envelope(path, value, source)
    if any(d.code == "E_KIND" for d in found):
        return found, None
    kind = KINDS[path.kind]
    try:
        model = kind.model_validate(value)
    except ValidationError as error:
        return found + explain(error, value, kind, source, known | skip, limit), None
    return found + _own_name(path, model, source), model


def _envelope(path: ManifestPath, value: dict[str, Any], source: Source) -> tuple[list[Diagnostic], frozenset[Loc]]:
    found, skip = [], set[Loc]()
    version, kind = value.get("apiVersion"), value.get("kind")
    if "apiVersion" in value and version != API_VERSION:
        loc: Loc = ("apiVersion",)
        skip.add(loc)
        message = f"apiVersion is {quoted(version)}, not `{API_VERSION}`"
        found.append(source.diagnostic(source.place(loc), code="E_API_VERSION", message=message, loc=loc))
    if "kind" in value and kind != path.kind:
        loc = ("kind",)
        where = path.path.partition("/")[0]
        message = f"kind is {quoted(kind)}, but {quoted(where)} holds `{path.kind}`"
        hint = did_you_mean(kind, [path.kind]) if isinstance(kind, str) and kind not in KINDS else ""
        found.append(source.diagnostic(source.place(loc), code="E_KIND", message=message, remedy=hint, loc=loc))
    return found, frozenset(skip)


def _own_name(path: ManifestPath, model: Manifest, source: Source) -> list[Diagnostic]:
    """Compare what the path says with what the content says."""
    said: list[tuple[Loc, str, str]] = []
    match model:
        case DeviceGroup() | Rollout() | RolloutControl() | RolloutPolicy():
            said = [(("metadata", "name"), model.metadata.name, path.parts[-1])]
        case Firmware():
            said = [
                (("spec", "model"), model.spec.model, path.parts[0]),
                (("spec", "version"), model.spec.version, path.parts[1]),
            ]
    return [
        source.diagnostic(
            source.place(loc),
            code="E_PATH",
            message=f"{quoted(loc[-1])} is {quoted(content)}, but the path says {quoted(part)}",
            remedy="Rename the file, or correct the field: both must say the same.",
            loc=loc,
        )
        for loc, content, part in said
        if content != part
    ]
