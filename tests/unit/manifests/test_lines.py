"""Inventories as CSV and JSON Lines: what they mean, and each trap with its place and remedy."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from syrupy.assertion import SnapshotAssertion

from fwctl.manifests import CODES, Diagnostic, Loaded, load
from fwctl.render.diagnostics import as_json, full
from tests.unit.manifests.conftest import clean_files

HEAD = b"id,model,hardware,env,region,site,timeZone,address,labels.ring\n"
FLEET = {"fleet.yaml": clean_files()["fleet.yaml"]}


def findings(path: str, data: bytes) -> tuple[Diagnostic, ...]:
    return load({**FLEET, path: data}).diagnostics


def _csv_line(line: bytes) -> bytes:
    return HEAD + b"d-1,m,h,e,,,,,\n" + line


CSV_TRAPS = {
    "nothing": b"",
    "no-header": b"\nd-1,m,h,e\n",
    "semicolons": b"id;model;hardware;env\nd-1;m;h;e\n",
    "unknown-columns": b"id,model,hardware,env,modle,labels,labels.model,labels.a b,\nd-1,m,h,e,,,,,\n",
    "repeated-column": b"id,model,hardware,env,site,id\nd-1,m,h,e,,d-2\n",
    "lacking-columns": b"id,model\nd-1,m\n",
    "header-quotes": b'id,"model,hardware,env\n',
    "short-and-long": _csv_line(b"d-2,m,h\nd-3,m,h,e,,,,,,\n\nd-4,m,h,e,,,,,\n"),
    "quotes-across-lines": _csv_line(b'd-2,m,h,e,"eu\nus",,,,\n'),
    "after-quotes": _csv_line(b'"d-2"x,m,h,e,,,,,\n'),
    "values": _csv_line(b'D-2,m,h,e,E U,,Mars,host:99999,"a ""b"""\n'),
    "blanks": _csv_line(b"d-2, m,h,e,,,,,\n"),
    "not-given": _csv_line(b",m,h,e,,,,,\nd-3,,h,,,,,,\n"),
    "twice": _csv_line(b"d-1,m,h,e,,,,,\n"),
    "mark": b"\xef\xbb\xbf" + HEAD,
    "crlf": HEAD.replace(b"\n", b"\r\n"),
    "nul": _csv_line(b"d-2,m\x00,h,e,,,,,\n"),
    "latin-1": _csv_line(b"d-2,m,h,e,\xfc,,,,\n"),
    "direction": _csv_line("d-2,m,h,e,\u202e,,,,\n".encode()),
}
JSONL_TRAPS = {
    "nothing": b"",
    "empty-line": b'{"id":"d-1","model":"m","hardware":"h","env":"e"}\n\n',
    "no-object": b'["d-1"]\n"d-2"\nnull\n',
    "repeated-key": b'{"id": "d-1", "model": "m", "id": "d-2"}\n',
    "repeated-label": b'{"id":"d-1","model":"m","hardware":"h","env":"e","labels":{"a": "1", "a": "2"}}\n',
    "constants": b'{"id": NaN}\n{"id": -Infinity}\n',
    "no-text": b'{"id": 1, "model": 1.50, "hardware": true, "env": ["e"], "labels": {"a": 1}, "address": null}\n',
    "null-id": b'{"id": null, "model": "m", "hardware": "h", "env": "e"}\n',
    "unknown": b'{"id": "d-1", "modle": "m", "model": "m", "hardware": "h", "env": "e"}\n',
    "built-in": b'{"id": "d-1", "model": "m", "hardware": "h", "env": "e", "labels": {"site": "x"}}\n',
    "values": b'{"id": "D 1", "model": "m", "hardware": "h", "env": "e", "labels": {"a b": "c"}, "timeZone": "M"}\n',
    "lacking": b'{"id": "d-1", "model": "m"}\n{}\n',
    "comma": b'{"id": "d-1",}\n',
    "comment": b"// devices\n",
    "two-on-a-line": b'{"id":"d-1","model":"m","hardware":"h","env":"e"} {"id":"d-2"}\n',
    "escapes": b'{"id": "\\u0000", "model": "\\ud800", "hardware": "h", "env": "\\u202e"}\n',
    "huge-number": b'{"id": ' + b"9" * 5000 + b"}\n",
    "twice": b'{"id":"d-1","model":"m","hardware":"h","env":"e"}\n' * 2,
    "mark": b"\xef\xbb\xbf{}\n",
    "crlf": b"{}\r\n",
    "latin-1": b'{"id":"\xfc"}\n',
}


@pytest.mark.parametrize("name", CSV_TRAPS)
def test_traps_of_csv(name: str, snapshot: SnapshotAssertion) -> None:
    found = findings("devices/x.csv", CSV_TRAPS[name])
    assert any(d.severity == "error" for d in found)
    assert full(found) == snapshot


@pytest.mark.parametrize("name", JSONL_TRAPS)
def test_traps_of_json_lines(name: str, snapshot: SnapshotAssertion) -> None:
    found = findings("devices/x.jsonl", JSONL_TRAPS[name])
    assert any(d.severity == "error" for d in found)
    assert full(found) == snapshot


@pytest.mark.parametrize(
    ("path", "data", "code"),
    [
        ("devices/x.csv", HEAD + b"a" * 70_000, "E_YAML_LIMIT"),
        ("devices/x.csv", b"," * 60_000 + b"\n", "E_SCHEMA"),
        ("devices/x.csv", HEAD + (b"," * 60_000 + b"\n") * 101, "E_YAML_LIMIT"),
        ("devices/x.csv", b"\n" * (64 * 2**20 + 1), "E_YAML_LIMIT"),
        ("devices/x.jsonl", b"[" * 60_000, "E_YAML_LIMIT"),
        ("devices/x.jsonl", b'{"a":' * 10_000, "E_YAML_LIMIT"),
        ("devices/x.jsonl", b'{"id":"' + b"a" * 70_000, "E_YAML_LIMIT"),
        ("devices/x.jsonl", b"\n" * (64 * 2**20 + 1), "E_YAML_LIMIT"),
    ],
)
def test_limits(path: str, data: bytes, code: str) -> None:
    found = findings(path, data)
    assert {d.code for d in found} <= {code, "I_TRUNCATED"}
    assert found


@pytest.mark.parametrize(
    ("path", "data"),
    [
        ("devices/x.csv", HEAD + b"x\n" * 3000),
        ("devices/x.csv", HEAD + b"X,m,h,e,,,,,\n" * 3000),
        ("devices/x.csv", b"id,model,hardware,env" + b",x" * 3000 + b"\n"),
        ("devices/x.jsonl", b"x\n" * 3000),
        ("devices/x.jsonl", b'{"x":1}\n' * 3000),
        ("devices/x.jsonl", b'{"id":"d","model":"m","hardware":"h","env":"e"}\n' * 3000),
    ],
)
def test_findings_are_counted(path: str, data: bytes) -> None:
    found = findings(path, data)
    assert len(found) <= 501
    assert sum(d.code == "I_TRUNCATED" for d in found) == 1


def test_quotes_and_nothing_given() -> None:
    data = HEAD + b'"d-1","m",h,e,"",,,,"a:b"\nd-2,m,h,e,eu,s-1,Europe/Berlin,[::1]:8443,\n'
    repo = load({**FLEET, "devices/x.csv": data}).repo
    assert repo is not None
    one, two = repo.devices.values()
    assert (one.region, one.site, one.time_zone, one.labels) == (None, None, None, {"ring": "a:b"})
    assert (two.region, two.site, two.time_zone, two.labels) == ("eu", "s-1", "Europe/Berlin", {})
    assert (one.address, two.address) == ("d-1.example:8443", "[::1]:8443")


def test_a_header_alone_is_an_inventory_without_devices() -> None:
    loaded = load({**FLEET, "devices/x.csv": b"id,model,hardware,env\n"})
    assert loaded.repo is not None
    assert len(loaded.repo.devices) == 0


def test_null_is_not_given_as_in_yaml() -> None:
    line = b'{"id":"d-1","model":"m","hardware":"h","env":"e","site":null,"address":null}\n'
    repo = load({**FLEET, "devices/x.jsonl": line}).repo
    assert repo is not None
    assert repo.devices["d-1"].site is None


def test_the_same_device_in_two_formats_is_found_with_both_places() -> None:
    csv_file, line = b"id,model,hardware,env\nd-1,m,h,e\n", b'{"id":"d-1","model":"m","hardware":"h","env":"e"}\n'
    (found,) = load({**FLEET, "devices/x.csv": csv_file, "devices/y.jsonl": line}).diagnostics
    assert (found.code, str(found.place)) == ("E_DUPLICATE", "devices/y.jsonl:1:7")
    assert str(found.related[0].place) == "devices/x.csv:2:1"


word = st.from_regex(r"[a-z][a-z0-9-]{0,8}[a-z0-9]", fullmatch=True)
label = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9 ._:/+-]{0,8}[A-Za-z0-9])?", fullmatch=True)
entries = st.fixed_dictionaries(
    {"id": word, "model": word, "hardware": word, "env": word},
    optional={
        "region": word,
        "site": word,
        "timeZone": st.sampled_from(["UTC", "Europe/Berlin"]),
        "address": st.sampled_from(["10.0.0.1:8443", "h.example:1", "[::1]:99"]),
        "labels": st.dictionaries(st.from_regex(r"[a-z][a-z0-9./_-]{0,6}[0-9]", fullmatch=True), label, max_size=3),
    },
)
fleets = st.lists(entries, min_size=1, max_size=8, unique_by=lambda entry: str(entry["id"]))


def as_csv(devices: list[dict[str, Any]], quoting: Any) -> bytes:
    keys = sorted({key for one in devices for key in one.get("labels", {})})
    names = ["id", "address", "model", "site", "hardware", "env", "timeZone", "region"]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n", quoting=quoting)
    writer.writerow([*names, *(f"labels.{key}" for key in keys)])
    for one in devices:
        writer.writerow([*(one.get(n, "") for n in names), *(one.get("labels", {}).get(key, "") for key in keys)])
    return out.getvalue().encode()


@settings(max_examples=80, deadline=2000)
@given(fleets, st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
def test_three_formats_mean_the_same(devices: list[dict[str, Any]], quoting: Any) -> None:
    document = {"apiVersion": "fwctl/v1", "kind": "DeviceInventory", "spec": {"devices": devices}}
    written = {
        "devices/x.yaml": json.dumps(document).encode(),
        "devices/x.csv": as_csv(devices, quoting),
        "devices/x.jsonl": "\n".join(map(json.dumps, devices)).encode(),
    }
    read = {}
    for path, data in written.items():
        loaded = load({**FLEET, path: data})
        assert loaded.repo is not None, loaded.diagnostics
        read[path] = [(d.facts, d.time_zone, d.address) for d in loaded.repo.devices.values()]
    assert read["devices/x.yaml"] == read["devices/x.csv"] == read["devices/x.jsonl"]


def well_formed(loaded: Loaded) -> None:
    for found in loaded.diagnostics:
        assert found.code in CODES
        assert found.remedy
        assert found.end_column >= found.column
    assert (loaded.repo is None) == (loaded.errors > 0)
    for text in (full(loaded.diagnostics), as_json(loaded.diagnostics)):
        text.encode()
        assert "\x1b" not in text


PIECES = ["id", "model", "labels.", "labels.a", "d-1", "x", ",", '"', '""', "\n", "\r", "\x00", ";", "\u2028", "é", ""]
JSON_PIECES = [
    '{"id":"d-1",',
    '"model":"m"',
    '"id"',
    '"labels":{',
    "null",
    "NaN",
    "1e999",
    "\\ud800",
    *':,{}[]"\\ \t\n',
]


@settings(max_examples=150, deadline=2000)
@given(st.binary(max_size=100) | st.lists(st.sampled_from(PIECES), max_size=30).map(lambda p: "".join(p).encode()))
def test_any_csv(data: bytes) -> None:
    for file in (data, b"id,model,hardware,env\n" + data, HEAD + data):
        well_formed(load({**FLEET, "devices/x.csv": file}))


@settings(max_examples=150, deadline=2000)
@given(st.binary(max_size=100) | st.lists(st.sampled_from(JSON_PIECES), max_size=30).map(lambda p: "".join(p).encode()))
def test_any_json_lines(data: bytes) -> None:
    for file in (data, b'{"id":"d-1",' + data, b'{"id":"d","model":"m","hardware":"h","env":"e"}\n' + data):
        well_formed(load({**FLEET, "devices/x.jsonl": file}))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["d-1", "m"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "labels", "x", "é\u202e"]), inner)
    ),
    max_leaves=6,
)
FIELDS = ["id", "model", "hardware", "env", "region", "site", "timeZone", "address", "labels", "x"]


@settings(max_examples=150, deadline=2000)
@given(st.lists(st.dictionaries(st.sampled_from(FIELDS), json_values, max_size=6) | json_values, max_size=4))
def test_any_json_values(lines: list[Any]) -> None:
    well_formed(load({**FLEET, "devices/x.jsonl": "\n".join(map(json.dumps, lines)).encode()}))


def test_the_examples_of_the_page_on_large_inventories() -> None:
    page = (Path(__file__).parents[3] / "docs" / "how-to" / "keep-a-large-inventory.md").read_text()
    of_csv, of_json = (page.split(f"```{kind}\n")[1].split("```")[0].encode() for kind in ("csv", "json"))
    loaded = load({**FLEET, "devices/eu.csv": of_csv, "devices/osaka.jsonl": of_json})
    assert loaded.repo is not None, loaded.diagnostics
    assert list(loaded.repo.devices) == ["sensor-0001", "sensor-0002", "sensor-0003", "sensor-0004"]
    assert loaded.repo.devices["sensor-0002"].labels == {"ring": "canary"}
