"""Bills of materials: what is read of them, what is refused, and which components are meant."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fwctl.errors import InputError
from fwctl.manifests import components as module
from fwctl.manifests import load
from fwctl.manifests.components import Component, Wanted, bill_path, check_bills, read_bill

PIECES = (b"null", b"[]", b"{}", b'"x"', b"1e999", b"-1", b'","name":[', b"\\u0000", b"\\ud800")
OPENSSL = {"type": "library", "name": "openssl", "version": "3.0.1", "purl": "pkg:generic/openssl@3.0.1?arch=arm"}


def bill(**changes: Any) -> bytes:
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {"type": "firmware", "name": "sensor", "version": "2.5.0"}},
        "components": [OPENSSL],
    }
    return json.dumps(document | changes).encode()


def test_all_components_are_read_also_nested_ones() -> None:
    nested = {"type": "application", "name": "shell", "components": [OPENSSL, {"type": "file", "name": "a"}]}
    scoped = {"type": "library", "group": "@acme", "name": "x", "purl": "pkg:npm/%40acme/x@1.0"}
    found = read_bill(bill(components=[nested, scoped, OPENSSL]), place="x")
    assert found == (
        Component("@acme/x", "1.0", "pkg:npm/%40acme/x@1.0", "library"),
        Component("a", "", "", "file"),
        Component("openssl", "3.0.1", "pkg:generic/openssl@3.0.1?arch=arm", "library"),
        Component("sensor", "2.5.0", "", "firmware"),
        Component("shell", "", "", "application"),
    )


@pytest.mark.parametrize("version", ["1.4", "1.5", "1.6"])
def test_each_version_of_the_specification_is_read(version: str) -> None:
    assert len(read_bill(bill(specVersion=version), place="x")) == 2


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<bom/>",
        b"[]",
        b"\xff\xfe",
        b'{"bomFormat": "CycloneDX", "bomFormat": "CycloneDX", "specVersion": "1.6"}',
        b"[" * 100_000,
        bill(bomFormat="SPDX"),
        bill(specVersion="1.3"),
        bill(specVersion=1.6),
        bill(specVersion=["1.6"]),
        bill(version=float("nan")),
        bill(components="x"),
        bill(components=[OPENSSL | {"type": "nonsense"}]),
        bill(components=[{"type": "library"}]),
        bill(components=[OPENSSL | {"name": ""}]),
        bill(components=[OPENSSL | {"name": ["x"]}]),
        bill(components=[OPENSSL | {"name": "a\x1b[31m"}]),
        bill(components=[OPENSSL | {"name": "x" * 501}]),
        bill(components=[OPENSSL | {"version": "1\u202e"}]),
        bill(components=[OPENSSL | {"purl": "nonsense"}]),
        bill(components=[None]),
    ],
)
def test_what_is_no_usable_bill_is_refused(data: bytes) -> None:
    with pytest.raises(InputError) as caught:
        read_bill(data, place="bill.json")
    assert (caught.value.code, caught.value.place) == ("E_SBOM_FORMAT", "bill.json")
    assert str(caught.value).isprintable()


def test_size_number_and_depth_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="E_SBOM_FORMAT"):
        read_bill(bill() + b" " * module.MAX_BYTES, place="x")
    monkeypatch.setattr(module, "MAX_COMPONENTS", 3)
    deep: Mapping[str, Any] = OPENSSL
    for _ in range(3):
        deep = {"type": "library", "name": "x", "components": [deep]}
    with pytest.raises(InputError, match="4 components"):
        read_bill(bill(components=[deep]), place="x")
    monkeypatch.undo()
    assert len(read_bill(bill(components=[deep]), place="x")) == 3
    levels = b'{"type":"library","name":"x","components":[' * 5000
    raw = b'{"bomFormat":"CycloneDX","specVersion":"1.6","components":[' + levels + b"]}" * 5001
    with pytest.raises(InputError, match="E_SBOM_FORMAT"):
        read_bill(raw, place="x")


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("openssl", True),
        ("OpenSSL", True),
        ("openssl@3.0.1", True),
        ("openssl@3.0", False),
        ("openssl@3.0.10", False),
        ("openss", False),
        ("pkg:generic/openssl", True),
        ("pkg:generic/openssl@3.0.1", True),
        ("pkg:generic/openssl@3.0.2", False),
        ("pkg:deb/debian/openssl", False),
    ],
)
def test_a_component_is_meant_by_name_version_or_package(text: str, fits: bool) -> None:
    (openssl, _) = read_bill(bill(), place="x")
    assert Wanted.parse(text).fits(openssl) is fits


@pytest.mark.parametrize("text", ["", " ", "@", "openssl@", "pkg:", "pkg:nonsense", "a\nb", "x" * 501])
def test_what_names_no_component_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        Wanted.parse(text)


def test_a_bill_must_be_there_and_be_the_one_that_is_named(clean: dict[str, bytes]) -> None:
    path, manifest = bill_path("sensor-v1", "1.0"), "firmware/sensor-v1/1.0.yaml"
    digest = f"sha256:{hashlib.sha256(bill()).hexdigest()}"
    files = clean | {manifest: clean[manifest] + f"  sbom: {digest}\n".encode(), path: bill()}

    def findings(files: dict[str, bytes]) -> list[tuple[str, int]]:
        loaded = load(files)
        assert loaded.repo is not None, loaded.diagnostics

        def of(name: str) -> str:
            return f"sha256:{hashlib.sha256(files[name]).hexdigest()}"

        return [(one.code, one.place.line) for one in check_bills(loaded.repo, files.keys(), of)]

    assert findings(files) == []
    assert findings(files | {path: bill(version=2)}) == [("E_SBOM", 9)]
    assert findings({name: data for name, data in files.items() if name != path}) == [("E_SBOM", 9)]
    assert findings(clean) == []


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_change_of_a_bill_is_read_or_refused(data: st.DataObject) -> None:
    raw = bytearray(bill(components=[OPENSSL, {"type": "file", "name": "a", "components": [OPENSSL]}]))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at : at + data.draw(st.integers(0, 8))] = data.draw(st.binary(max_size=6) | st.sampled_from(PIECES))
    try:
        found = read_bill(bytes(raw), place="x")
    except InputError as error:
        assert error.code == "E_SBOM_FORMAT"  # noqa: PT017  either way is right
    else:
        assert all(one.name and "".join(one.to_json().values()).isprintable() for one in found)
