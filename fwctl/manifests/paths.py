"""Which files are manifests, of which kind, and which paths are refused."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Final, NamedTuple

from fwctl.manifests.diagnostic import UNSAFE, Diagnostic, Place, quoted
from fwctl.manifests.scalars import ID_PATTERN, NAME_PATTERN, VERSION_PATTERN

KIND_OF: Final = {
    "fleet.yaml": "Fleet",
    "devices": "DeviceInventory",
    "groups": "DeviceGroup",
    "firmware": "Firmware",
    "rollouts": "Rollout",
    "control": "RolloutControl",
    "policies": "RolloutPolicy",
}
# Kept by git, people or other parts of fwctl beside manifests.
_COMPANIONS: Final = frozenset({".gitkeep", ".gitignore", ".gitattributes", "README.md", "CODEOWNERS", "OWNERS"})
_SEGMENT: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,127}")
_SHAPES: Final = {
    "DeviceGroup": ("groups/<name>.yaml", (NAME_PATTERN,)),
    "Firmware": ("firmware/<model>/<version>.yaml", (ID_PATTERN, VERSION_PATTERN)),
    "Rollout": ("rollouts/<env>/<name>.yaml", (ID_PATTERN, NAME_PATTERN)),
    "RolloutPolicy": ("policies/<name>.yaml", (NAME_PATTERN,)),
    "RolloutControl": ("control/<env>/<name>.yaml", (ID_PATTERN, NAME_PATTERN)),
}


class ManifestPath(NamedTuple):
    """A path that holds a manifest: its kind and the parts that its content must repeat."""

    path: str
    kind: str
    parts: tuple[str, ...]


class Classified(NamedTuple):
    """Paths sorted into manifests and findings; all others are none of our business."""

    manifests: tuple[ManifestPath, ...]
    diagnostics: tuple[Diagnostic, ...]


def classify(paths: Iterable[str]) -> Classified:
    """Sort paths, relative to the top of the repository, into manifests and findings."""
    manifests: list[ManifestPath] = []
    diagnostics: list[Diagnostic] = []
    folded: dict[str, str] = {}
    for path in sorted(paths):
        head = path.partition("/")[0]
        found = _unsafe(path) or (_lookalike(path, head) if head not in KIND_OF else _managed(path, head))
        if isinstance(found, Diagnostic):
            diagnostics.append(found)
        if head not in KIND_OF:
            continue
        other = folded.setdefault(_fold(path), path)
        if other != path:
            what = f"differs only in case or accents from {quoted(other)}: some file systems keep one of the two"
            diagnostics.append(_error(path, what, "Rename one of the two."))
        elif isinstance(found, ManifestPath):
            manifests.append(found)
    return Classified(tuple(manifests), tuple(diagnostics))


def _fold(path: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", path).casefold())


def _error(path: str, message: str, remedy: str) -> Diagnostic:
    return Diagnostic("E_PATH", f"{quoted(path)} {message}", Place(path), remedy)


def _unsafe(path: str) -> Diagnostic | None:
    segments = path.split("/")
    if any(part in ("", ".", "..") for part in segments):
        return _error(path, "is not a plain relative path", "Remove `..`, `.` and empty parts from it.")
    managed = _fold(segments[0]).strip() in KIND_OF
    if managed and (UNSAFE.search(path) or re.search(r"[\t\n\\]", path)):
        return _error(path, "has a control character or backslash", "Rename it with letters, digits and . _ + - only.")
    return None


def _lookalike(path: str, head: str) -> Diagnostic | None:
    """Find `Rollouts/x.yaml`, `fleet.yml` and the like, which would silently not be read."""
    folded = _fold(head).strip()
    if folded in KIND_OF and ("/" in path) == (folded != "fleet.yaml"):
        return _error(path, f"is not read: fwctl reads {quoted(folded)}", f"Rename {quoted(head)} to {quoted(folded)}.")
    if path.lower() == "fleet.yml":
        return _unread(path, "Rename it to `fleet.yaml`.")
    return None


def _unread(path: str, remedy: str) -> Diagnostic:
    return Diagnostic("W_UNMANAGED", f"{quoted(path)} is not read", Place(path), remedy)


def _managed(path: str, head: str) -> ManifestPath | Diagnostic | None:
    segments = path.split("/")
    kind, name = KIND_OF[head], segments[-1]
    if head == "fleet.yaml":
        if len(segments) > 1:
            return _error(path, "is in a folder named as a file", "Rename the folder.")
        return ManifestPath(path, kind, ())
    if len(segments) == 1:
        return _error(path, f"is a file, but {quoted(head)} is a folder of manifests", "Rename it.")
    if name in _COMPANIONS or _companion(kind, name):
        return None
    for part in segments:
        if not _SEGMENT.fullmatch(part):
            return _error(path, f"has an unusual name: {quoted(part)}", "Use letters, digits and . _ + - only.")
    if kind == "DeviceInventory" and name.endswith((".csv", ".jsonl")):
        return ManifestPath(path, kind, ())
    if not name.endswith(".yaml"):
        return _unread(path, _ending(kind, name))
    if kind == "DeviceInventory":
        return ManifestPath(path, kind, ())
    return _shaped(path, kind, (*segments[1:-1], name.removesuffix(".yaml")))


def _ending(kind: str, name: str) -> str:
    ending = name.rpartition(".")[2].lower()
    if ending in ("yml", "yaml"):
        return "Rename it to end in `.yaml`."
    if kind != "DeviceInventory":
        return "Move it elsewhere, or write it as a `.yaml` manifest."
    if ending in ("csv", "jsonl"):
        return f"Rename it to end in `.{ending}`."
    if ending in ("json", "ndjson"):
        return "Write one device per line and rename it to end in `.jsonl`."
    return "Move it elsewhere, or write it as `.yaml`, `.csv` or `.jsonl`."


def _companion(kind: str, name: str) -> bool:
    if kind == "Firmware":
        return name.endswith((".dsse.json", ".cdx.json"))
    return kind == "Rollout" and name.endswith(".lock")


def _shaped(path: str, kind: str, parts: tuple[str, ...]) -> ManifestPath | Diagnostic:
    shape, patterns = _SHAPES[kind]
    fits = len(parts) == len(patterns) and all(
        re.fullmatch(pattern[1:-1], part) for pattern, part in zip(patterns, parts, strict=True)
    )
    if not fits:
        return _error(path, f"does not have the form `{shape}`", f"Move or rename it to `{shape}`.")
    return ManifestPath(path, kind, parts)
