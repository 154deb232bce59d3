"""Nothing that stands in a file or in its name ends in a traceback or a hang, and order never matters."""

from __future__ import annotations

from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fwctl.manifests import CODES, Loaded, load
from fwctl.render.diagnostics import as_json, concise, full

_TOP = Path(__file__).parents[3] / "manifests"
REFERENCE = {p.relative_to(_TOP).as_posix(): p.read_bytes() for p in sorted(_TOP.rglob("*.yaml"))}
PATHS = sorted(REFERENCE)
MARKS = "[ ] { } ' \" # @ ` &a *a ? : - <<: !!str null true 1.10 -1 \u2028 \ufeff"
SNIPPETS = [
    *(mark.encode() for mark in MARKS.split(" ")),
    *(b"\n", b"  ", b"\r", b"\t", b"\x00", b"\xff", b"|\n", b">\n", b"---\n", b"...\n", b"%TAG ! x\n", b"9" * 30),
    *(b"type: Rolling", b"all: true", b"replaces: sensors", b"devices: [x]"),
]

quick = settings(max_examples=150, deadline=2000, suppress_health_check=[HealthCheck.too_slow])


def well_formed(loaded: Loaded) -> None:
    for found in loaded.diagnostics:
        assert found.code in CODES
        assert found.remedy
        assert found.line >= 0
        assert found.end_column >= found.column
    assert (loaded.repo is None) == (loaded.errors > 0)
    for text in (full(loaded.diagnostics), concise(loaded.diagnostics), as_json(loaded.diagnostics)):
        text.encode()
        assert "\x1b" not in text
        assert "\r" not in text


@quick
@given(st.sampled_from(PATHS), st.binary(max_size=400))
def test_any_bytes(path: str, data: bytes) -> None:
    well_formed(load({**REFERENCE, path: data}))


@quick
@given(st.sampled_from(PATHS), st.text(alphabet="ab:-[]{}&*!?|>'\"#%@,\n 01.~<=", max_size=120))
def test_any_yaml_like_text(path: str, text: str) -> None:
    well_formed(load({**REFERENCE, path: text.encode()}))


@quick
@given(st.data())
def test_any_mutation(data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(PATHS))
    content = REFERENCE[path]
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(content)))
        end = min(len(content), start + data.draw(st.integers(0, 12)))
        content = content[:start] + data.draw(st.sampled_from([b"", *SNIPPETS])) + content[end:]
    well_formed(load({**REFERENCE, path: content}))


@quick
@given(st.one_of(st.text(max_size=40), st.text(alphabet="./groups\\\n\x1bA\ud800", max_size=20).map("groups/".__add__)))
def test_any_path(path: str) -> None:
    well_formed(load({**REFERENCE, path: b"a: 1\n"}))


@quick
@given(st.permutations(PATHS), st.sampled_from(PATHS), st.sampled_from(SNIPPETS))
def test_order_of_files_does_not_matter(order: list[str], path: str, snippet: bytes) -> None:
    files = {**REFERENCE, path: REFERENCE[path] + snippet}
    shuffled = {name: files[name] for name in order}
    first, second = load(files), load(shuffled)
    assert first.diagnostics == second.diagnostics
    if first.repo is not None and second.repo is not None:
        assert list(first.repo.devices.items()) == list(second.repo.devices.items())
        assert list(first.repo.rollouts) == list(second.repo.rollouts)


@quick
@given(st.lists(st.sampled_from(PATHS), unique=True))
def test_any_subset_of_files(paths: list[str]) -> None:
    well_formed(load({path: REFERENCE[path] for path in paths}))
