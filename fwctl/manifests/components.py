"""Bills of materials: what a firmware is made of. CycloneDX JSON, read through its library, which is loaded only then.

A bill stands beside its manifest, `firmware/<model>/<version>.cdx.json`; the manifest holds its digest, and so does the
signed release.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from fwctl.errors import InputError
from fwctl.manifests.codes import CODES
from fwctl.manifests.diagnostic import Diagnostic
from fwctl.manifests.repo import FleetRepo

if TYPE_CHECKING:
    from cyclonedx.model.component import Component as CdxComponent

VERSIONS: Final = ("1.4", "1.5", "1.6")
"""of the specification"""
MAX_BYTES: Final = 16 * 2**20
MAX_COMPONENTS: Final = 10_000
MAX_TEXT: Final = 500
_FIELDS: Final = ("type", "name", "version", "group", "purl")


@dataclass(frozen=True, order=True)
class Component:
    """One part of a firmware. `version` and `purl` are empty where the bill does not say."""

    name: str
    version: str
    purl: str
    kind: str

    def to_json(self) -> dict[str, str]:
        return {"name": self.name, "version": self.version, "purl": self.purl, "type": self.kind}


def bill_path(model: str, version: str) -> str:
    """Return where the bill of a firmware stands."""
    return f"firmware/{model}/{version}.cdx.json"


def read_bill(data: bytes, *, place: str) -> tuple[Component, ...]:
    """Return all components of a CycloneDX document, nested ones and the one that it is about too, sorted.

    Raises:
        InputError: `E_SBOM_FORMAT`: too large, not JSON, not CycloneDX 1.4 to 1.6, or with odd values.
    """
    document = _document(data, place)
    count = _count(document)
    if count > MAX_COMPONENTS:
        raise _odd(f"it has {count} components, at most {MAX_COMPONENTS} are read", place)
    from cyclonedx.model.bom import Bom

    try:
        read: Callable[[object], Bom] = getattr(Bom, "from_json")  # noqa: B009  a decorator of the library makes it
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # what is too long for us is refused below, in our words
            bill = read(_needed(document))
        main = bill.metadata.component if bill.metadata else None
        found = {_component(one) for one in _flat([*([main] if main else []), *bill.components])}
    except RecursionError:
        raise _odd("its components are nested too deeply", place) from None
    except Exception as error:  # the library raises whatever its parts raise
        raise _odd(f"the library for CycloneDX cannot read it ({type(error).__name__})", place) from error
    for one in found:
        if not one.name or any(len(text) > MAX_TEXT or not text.isprintable() for text in one.to_json().values()):
            raise _odd("a component has no name, or a value that is too long or not printable", place)
    return tuple(sorted(found))


def check_bills(repo: FleetRepo, paths: Collection[str], digest: Callable[[str], str]) -> Iterator[Diagnostic]:
    """Yield an error for each firmware whose bill is missing or is not the one that its manifest names."""
    for firmware in repo.firmware.values():
        spec = firmware.model.spec
        if spec.sbom is None:
            continue
        path = bill_path(spec.model, spec.version)
        if path not in paths:
            message = f"the bill of materials `{path}` is missing"
        elif digest(path) != spec.sbom:
            message = f"the bill of materials `{path}` is not the one that the manifest names"
        else:
            continue
        remedy = CODES["E_SBOM"].remedy
        yield repo.sources.diagnostic(firmware.path, ("spec", "sbom"), code="E_SBOM", message=message, remedy=remedy)


@dataclass(frozen=True)
class Wanted:
    """Which components are meant: `openssl`, `openssl@3.0.1`, `pkg:generic/openssl`, `pkg:generic/openssl@3.0.1`."""

    text: str
    name: str
    version: str
    """empty: any"""
    purl: str
    """without version and qualifiers; empty where a plain name was given"""

    @classmethod
    def parse(cls, text: str) -> Wanted:
        """Read what was typed.

        Raises:
            ValueError: it is neither a name, a name with a version, nor a package URL.
        """
        if text[:4].casefold() == "pkg:":
            stem, version = _stem(f"pkg:{text[4:]}")
            if stem:
                return cls(text, "", version, stem)
        else:
            # a scoped name begins with the sign itself: @scope/name@1.0
            name, at, version = text[1:].rpartition("@") if "@" in text[1:] else (text[1:], "", "")
            if (text[:1] + name).strip(" @") and (version or not at) and text.isprintable() and len(text) <= MAX_TEXT:
                return cls(text, text[0] + name, version, "")
        raise ValueError(text)

    def fits(self, component: Component) -> bool:
        """Say whether a component is meant. Names are compared without regard to case, versions exactly."""
        if not self.purl and self.name.casefold() != component.name.casefold():
            return False
        stem, version = _stem(component.purl) if component.purl else ("", "")
        if self.purl and stem != self.purl:
            return False
        # A distribution's own version may stand beside that of the package URL: who looks for either wants to know.
        return not self.version or self.version in (component.version, version)

    def any(self, components: Iterable[Component]) -> bool:
        return any(self.fits(one) for one in components)


def _stem(purl: str) -> tuple[str, str]:
    """Return a package URL without version and qualifiers, and its version; empty if it is none."""
    from packageurl import PackageURL

    try:
        one = PackageURL.from_string(purl)
    except ValueError:
        return "", ""
    return PackageURL(one.type, one.namespace, one.name).to_string(), one.version or ""


def _document(data: bytes, place: str) -> dict[str, Any]:
    if len(data) > MAX_BYTES:
        raise _odd(f"it has {len(data)} bytes, at most {MAX_BYTES} are read", place)
    try:
        document = json.loads(data.decode(), object_pairs_hook=_once, parse_constant=_constant)
    except (ValueError, RecursionError):
        raise _odd("it is not JSON, or has a key twice", place) from None
    if not isinstance(document, dict) or document.get("bomFormat") != "CycloneDX":
        raise _odd('it is no CycloneDX document ("bomFormat": "CycloneDX")', place)
    if document.get("specVersion") not in VERSIONS:
        raise _odd(f"its specVersion is none of {', '.join(VERSIONS)}", place)
    return document


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def _constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _count(document: Mapping[str, Any]) -> int:
    """Count components before any is built."""
    main = _main(document)
    count, left = 0, [document.get("components"), main.get("components") if isinstance(main, dict) else None]
    while left:
        part = left.pop()
        if isinstance(part, list):
            count += len(part)
            left += [one.get("components") for one in part if isinstance(one, dict)]
    return count


def _main(document: Mapping[str, Any]) -> Any:
    metadata = document.get("metadata")
    return metadata.get("component") if isinstance(metadata, dict) else metadata


def _needed(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document without all that is not asked for: the library would build it, and nothing counts it."""
    kept = {key: document[key] for key in ("bomFormat", "specVersion")} | _parts(document)
    main = _main(document)
    return kept if main is None else kept | {"metadata": {"component": _bare(main)}}


def _bare(component: Any) -> Any:
    if not isinstance(component, dict):
        return component  # the library says what it thinks of it
    return {key: component[key] for key in _FIELDS if key in component} | _parts(component)


def _parts(whole: Mapping[str, Any]) -> dict[str, Any]:
    if "components" not in whole:
        return {}
    parts = whole["components"]
    return {"components": [_bare(one) for one in parts] if isinstance(parts, list) else parts}


def _flat(components: Iterable[CdxComponent]) -> Iterator[CdxComponent]:
    left = list(components)
    while left:
        one = left.pop()
        yield one
        left += one.components


def _component(one: CdxComponent) -> Component:
    name = f"{one.group}/{one.name}" if one.group else one.name
    purl = one.purl
    return Component(
        name, one.version or (purl and purl.version) or "", purl.to_string() if purl else "", one.type.value
    )


def _odd(why: str, place: str) -> InputError:
    return InputError(
        f"not a bill of materials that can be used: {why}",
        code="E_SBOM_FORMAT",
        place=place,
        remedy=CODES["E_SBOM_FORMAT"].remedy,
    )
