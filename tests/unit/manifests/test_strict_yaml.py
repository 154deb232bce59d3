"""Traps of YAML (THREATS A33, A35-A38): each is refused with its code, line and column."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fwctl.manifests import Diagnostic, load

Edit = Callable[..., tuple[Diagnostic, ...]]
GROUP = "groups/g.yaml"
HEAD = "apiVersion: fwctl/v1\nkind: DeviceGroup\nmetadata: {name: g}\nspec:\n"


def findings(clean: dict[str, bytes], data: bytes) -> list[tuple[str, int, int]]:
    loaded = load({**clean, GROUP: data})
    assert loaded.repo is None
    return [(d.code, d.line, d.column) for d in loaded.diagnostics if d.path == GROUP]


BYTES = {
    "alias bomb": (b"a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n", ("E_YAML_ALIAS", 1, 4)),
    "recursive anchor": (b"&a [*a]\n", ("E_YAML_ALIAS", 1, 1)),
    "anchor alone": (HEAD.encode() + b"  devices: &x [dev-1]\n", ("E_YAML_ALIAS", 5, 12)),
    "merge key": (HEAD.encode() + b"  <<: {devices: [dev-1]}\n", ("E_YAML_MERGE", 5, 3)),
    "python tag": (b"!!python/object/apply:os.system ['true']\n", ("E_YAML_TAG", 1, 1)),
    "python tag inside": (HEAD.encode() + b"  devices: [!!python/name:os.system x]\n", ("E_YAML_TAG", 5, 13)),
    "custom tag": (HEAD.encode() + b"  devices: !mine [dev-1]\n", ("E_YAML_TAG", 5, 12)),
    "core tag": (HEAD.encode() + b"  devices: [!!str dev-1]\n", ("E_YAML_TAG", 5, 13)),
    "tag on a mapping": (HEAD.encode() + b"  selector: !!map {}\n", ("E_YAML_TAG", 5, 13)),
    "tag directive": (b"%TAG ! tag:example.org,2000:\n---\na: 1\n", ("E_YAML_TAG", 1, 1)),
    "yaml directive": (b"%YAML 1.1\n---\na: 1\n", ("E_YAML_TAG", 1, 1)),
    "two documents": (HEAD.encode() + b"  devices: [dev-1]\n---\na: 1\n", ("E_YAML_MULTIDOC", 6, 1)),
    "empty second document": (HEAD.encode() + b"  devices: [dev-1]\n---\n", ("E_YAML_MULTIDOC", 6, 1)),
    "duplicate key": (HEAD.encode() + b"  devices: [dev-1]\n  devices: [dev-2]\n", ("E_YAML_DUPKEY", 6, 3)),
    "duplicate key, quoted": (HEAD.encode() + b"  devices: [dev-1]\n  'devices': []\n", ("E_YAML_DUPKEY", 6, 3)),
    "duplicate at the top": (HEAD.encode() + b"  devices: [dev-1]\nkind: DeviceGroup\n", ("E_YAML_DUPKEY", 6, 1)),
    "byte order mark": (b"\xef\xbb\xbf" + HEAD.encode(), ("E_YAML_ENCODING", 1, 1)),
    "UTF-16": (HEAD.encode("utf-16"), ("E_YAML_ENCODING", 1, 1)),
    "UTF-16 without mark": (HEAD.encode("utf-16-le"), ("E_YAML_ENCODING", 1, 2)),
    "NUL": (b"a: 1\nb: \x002\n", ("E_YAML_ENCODING", 2, 4)),
    "invalid UTF-8": (b"a: 1\nb: \xff\n", ("E_YAML_ENCODING", 2, 4)),
    "surrogate": (b"a: \xed\xa0\x80\n", ("E_YAML_ENCODING", 1, 4)),
    "overlong": (b"a: \xc0\xaf\n", ("E_YAML_ENCODING", 1, 4)),
    "CRLF": (b"a: 1\r\nb: 2\r\n", ("E_YAML_ENCODING", 1, 5)),
    "carriage return alone": (b"a: 1\rb: 2\n", ("E_YAML_ENCODING", 1, 5)),
    "escape character": (b"a: \x1b[31m\n", ("E_YAML_ENCODING", 1, 4)),
    "C1 control": (b"a: \xc2\x9b\n", ("E_YAML_ENCODING", 1, 4)),
    "next line": (b"a: 1 # \xc2\x85b: 2\n", ("E_YAML_ENCODING", 1, 8)),
    "line separator": (b"a: 1 # \xe2\x80\xa8b: 2\n", ("E_YAML_ENCODING", 1, 8)),
    "direction override": ("a: 1 # \u202e\n".encode(), ("E_YAML_ENCODING", 1, 8)),
    "mark inside": ("a: \ufeff1\n".encode(), ("E_YAML_ENCODING", 1, 4)),
    "escaped control": (HEAD.encode() + b'  devices: ["a\\x1b[0m"]\n', ("E_YAML_ENCODING", 5, 13)),
    "escaped NUL": (HEAD.encode() + b'  devices: ["a\\0"]\n', ("E_YAML_ENCODING", 5, 13)),
    "no YAML": (b"a: [1\n", ("E_YAML_SYNTAX", 1, 4)),
    "tab": (b"a:\n\tb: 1\n", ("E_YAML_SYNTAX", 2, 1)),
    "unknown escape": (b'a: "\\q"\n', ("E_YAML_SYNTAX", 1, 5)),
    "closing without opening": (b"]\n", ("E_YAML_SYNTAX", 1, 1)),
    "unfinished text": (b"a: 'x\n", ("E_YAML_SYNTAX", 1, 4)),
    "empty": (b"", ("E_SCHEMA", 1, 1)),
    "only a comment": (b"# nothing\n", ("E_SCHEMA", 1, 1)),
    "only a marker": (b"---\n", ("E_SCHEMA", 1, 1)),
    "list": (b"- a\n", ("E_SCHEMA", 1, 1)),
    "text": (b"hello\n", ("E_SCHEMA", 1, 1)),
    "complex key": (b"? [a]\n: 1\n", ("E_TYPE", 1, 3)),
    "mapping as key": (b"{a: 1}: 2\n", ("E_TYPE", 1, 1)),
    "deep flow": (b"a: " + b"[" * 100_000, ("E_YAML_LIMIT", 1, 27)),
    "deep block": (b"- " * 100_000, ("E_YAML_LIMIT", 1, 49)),
    "deep keys": (b"? " * 100_000, ("E_TYPE", 1, 3)),
    "many values": (b"a: [" + b"x," * 60_000 + b"]\n", ("E_YAML_LIMIT", 1, 99_999)),
    "long value": (HEAD.encode() + b"  devices: [" + b"x" * 70_000 + b"]\n", ("E_YAML_LIMIT", 5, 13)),
    "big file": (b"#" * (2**20 + 1), ("E_YAML_LIMIT", 0, 0)),
}  # fmt: skip


@pytest.mark.parametrize(("data", "expected"), BYTES.values(), ids=BYTES.keys())
def test_refused_at_its_place(clean: dict[str, bytes], data: bytes, expected: tuple[str, int, int]) -> None:
    assert findings(clean, data)[0] == expected


SURPRISES = (
    "1.10", "010", "1:30", "22:30", "on", "On", "no", "NO", "yes", "y", "N", "off", "True", "TRUE", "False",
    "2024-01-01", "2024-01-01T00:00:00Z", "2024-1-1 10:00:00", "1_000", "0x1F", "0b11", "0o17", "+5", "-0", "007",
    "1.", ".5", "1e3", "1.5e3", "~", "Null", "NULL", "=", "1_0.5", "190:20:30", "12", "true", "0.0",
)  # fmt: skip


@pytest.mark.parametrize("text", SURPRISES)
def test_text_that_yaml_reads_as_something_else_must_be_quoted(edit: Edit, text: str) -> None:
    found = edit("rollouts/dev/one.yaml", ("version: '1.0'", f"version: {text}"))
    assert [(d.code, d.line, d.column) for d in found][:1] == [("E_TYPE", 5, 41)]
    assert f'"{text}"' in found[0].remedy


@pytest.mark.parametrize("text", ["on", "1.0", "0123", "null", "2024-01-01"])
def test_keys_are_text_too(edit: Edit, text: str) -> None:
    found = edit("devices/a.yaml", ("labels: {ring: a}", f"labels: {{{text}: a}}"))
    assert found[0].code == "E_TYPE"
    assert (found[0].line, found[0].column) == (6, 40)


NUMBERS = {
    "true": "E_SCHEMA",
    "'5'": "E_SCHEMA",
    "1.0": "E_SCHEMA",
    ".nan": "E_SCHEMA",
    "NaN": "E_SCHEMA",
    "-.inf": "E_SCHEMA",
    "1e400": "E_SCHEMA",
    "1.0e400": "E_SCHEMA",
    "9" * 5000: "E_SCHEMA",
    "9" * 18: "E_SCHEMA",
    "-1": "E_SCHEMA",
    "0": "E_SCHEMA",
    "١٢٣": "E_SCHEMA",
    "５": "E_SCHEMA",
    "null": "E_SCHEMA",
    "[1]": "E_SCHEMA",
    "{}": "E_SCHEMA",
    "1e3": "E_TYPE",
    "0x10": "E_TYPE",
    "1_0": "E_TYPE",
    "+1": "E_TYPE",
    "01": "E_TYPE",
}


@pytest.mark.parametrize(("text", "code"), NUMBERS.items(), ids=[text[:12] for text in NUMBERS])
def test_only_plain_whole_numbers_are_whole_numbers(edit: Edit, text: str, code: str) -> None:
    found = edit("rollouts/dev/one.yaml", ("  targets:", f"  round: {text}\n  targets:"))
    assert [(d.code, d.line, d.column) for d in found] == [(code, 6, 10)]


@pytest.mark.parametrize("text", ["NaN", ".inf", "1e400", "true", "'0.2'", "1.5e400", "-0.1", "1.1", "0." + "1" * 400])
def test_only_finite_numbers_in_range_are_numbers(edit: Edit, text: str) -> None:
    found = edit("rollouts/dev/one.yaml", ("  targets:", f"  retry: {{backoff: {{jitter: {text}}}}}\n  targets:"))
    assert [(d.code, d.line, d.column) for d in found] == [("E_SCHEMA", 6, 29)]


def test_the_first_of_two_keys_is_shown_too(clean: dict[str, bytes]) -> None:
    loaded = load({**clean, GROUP: HEAD.encode() + b"  devices: [dev-1]\n  devices: [dev-2]\n"})
    (found,) = loaded.diagnostics
    assert [(r.place.line, r.place.column) for r in found.related] == [(5, 3)]


def test_findings_of_one_file_come_all_at_once(clean: dict[str, bytes]) -> None:
    data = HEAD.encode() + b"  devices: [on, !x dev-1]\n  modles: [1.0]\n  env: &e dev\n"
    assert [(code, line) for code, line, _ in findings(clean, data)] == [
        ("E_TYPE", 5),
        ("E_YAML_TAG", 5),
        ("E_SCHEMA", 6),
        ("E_YAML_ALIAS", 7),
    ]


def test_a_file_full_of_findings_is_cut_short(clean: dict[str, bytes]) -> None:
    found = findings(clean, HEAD.encode() + b"  devices: [" + b"on, " * 5000 + b"]\n")
    assert len(found) == 501
    assert found[-1][0] == "I_TRUNCATED"


def test_plain_text_in_block_and_flow_is_read(clean: dict[str, bytes]) -> None:
    data = "---\n" + HEAD + "  devices:\n  - dev-1 # one\n  - 'dev-2'\n  - \"dev-3\"\n...\n"
    loaded = load({**clean, GROUP: data.encode()})
    assert loaded.repo is not None
    assert loaded.repo.groups["g"].spec.devices == ("dev-1", "dev-2", "dev-3")
