"""`fwctl explain` knows every code, and says of it what the sources do."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest
import typer
from typer.testing import CliRunner

from docs.generator.codes import codes as page
from docs.generator.codes import exits, scan
from fwctl.cli.explained import codes, explain_code
from fwctl.cli.explaining import explain_topic
from fwctl.cli.main import app
from fwctl.codes import FINDINGS, OUTCOMES, STOPS, every_code

UNSEEN = {
    "E_CA_EXPIRED", "E_CERT_EXPIRED", "E_DEVICE_REPLY", "E_MANIFESTS", "E_STORAGE_CUT", "E_STORAGE_TLS",
    "E_STORAGE_UNREACHABLE", "E_TLS", "E_UNREACHABLE",
}  # fmt: skip
"""raised, also or only, where the class stands in a variable: the sources do not show every exit code of them"""


def test_every_code_in_the_sources_has_an_entry_and_no_entry_is_left_over() -> None:
    _, _, said = scan()
    assert sorted(said - set(every_code())) == [], "say in fwctl/codes what these mean"
    assert sorted(set(every_code()) - said) == [], "nothing says these any more: take them out of fwctl/codes"


def test_exit_codes_and_classes_are_those_of_the_sources() -> None:
    errors, refusals, _ = scan()
    told = {code: (set(stop.exits), set(stop.device)) for code, stop in STOPS.items() if code not in UNSEEN}
    seen = {
        code: (
            exits(errors[code]) if code in errors else set(),
            set(refusals[code].classes) if code in refusals else set(),
        )
        for code in {*errors, *refusals, *told} - UNSEEN
    }
    assert {code: seen[code] for code in seen if told.get(code) != seen[code]} == {}, "correct fwctl/codes"
    assert all(exits(errors[code]) <= set(STOPS[code].exits) for code in UNSEEN & set(errors))


@pytest.mark.parametrize("code", every_code())
def test_each_code_is_explained_in_sentences(code: str) -> None:
    found = explain_code(code.lower())
    assert found is not None
    assert found.topic == code
    for table in (FINDINGS, STOPS, OUTCOMES):
        entry = table.get(code)
        if entry is not None:
            assert entry.meaning.endswith(".")
            assert entry.remedy.endswith(".")
            assert entry.meaning in found.about
            assert entry.remedy in "\n".join((found.about, *dict(found.facts).values()))


def test_the_listing_stands_by_subject_and_not_as_the_tables_were_put_together() -> None:
    listed = [code for code in explain_topic("").choices if code in FINDINGS]
    assert set(listed) == set(FINDINGS)
    assert listed == sorted(listed, key=lambda code: (code[2:], code))


def test_commands_in_remedies_exist() -> None:
    top = typer.main.get_command(app)
    texts = [entry.remedy for table in (FINDINGS, STOPS, OUTCOMES) for entry in table.values()]
    wanted = {tuple(words.split()) for text in texts for words in re.findall(r"(?:`|: )fwctl ([a-z][^`.;,]*)", text)}
    assert len(wanted) > 40
    wrong = [" ".join(words) for words in wanted if not _is_command(top, list(words))]
    assert wrong == []


def _is_command(command: object, words: list[str]) -> bool:
    while words and (below := getattr(command, "commands", None)) is not None:
        if words[0] not in below:
            return False
        command = below[words.pop(0)]
    known = {option for one in getattr(command, "params", ()) for option in one.opts}
    return {word for word in words if word.startswith("--")} <= known


@pytest.mark.parametrize("code", ["E_CA_EXPIRED", "E_BUSY", "E_SIG_THRESHOLD", "E_GIT_SIG", "E_URL", "W_KEY_PLAIN"])
def test_explain_answers_for_codes_of_every_kind_and_needs_no_repository(
    code: str, tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(str(tmp_path))
    text = CliRunner().invoke(app, ["explain", code])
    found = CliRunner().invoke(app, ["explain", code.lower(), "--format", "json"])
    assert text.exit_code == found.exit_code == 0
    assert text.stdout.startswith(f"{code}\n  ")
    assert max(map(len, text.stdout.splitlines())) < 80
    assert json.loads(found.stdout)["topic"] == code


def test_where_a_code_means_several_things_each_is_told_with_its_own_remedy() -> None:
    found = explain_code("E_ENDED")
    assert found is not None
    assert [line.partition(":")[0] for line in found.about.splitlines()] == ["As a finding", "As an error or refusal"]
    assert "remedy" not in dict(found.facts)
    assert dict(found.facts)["device"].startswith("resync")


def test_what_is_no_code_is_not_explained_and_close_names_are_offered() -> None:
    assert explain_code("E_GIT_SIX") is None
    assert explain_code("") is None
    refused = CliRunner().invoke(app, ["explain", "E_CA_EXPIRE"])
    assert refused.exit_code != 0
    assert "E_CA_EXPIRED" in str(getattr(refused.exception, "remedy", refused.output))


def test_codes_are_completed_once_one_is_begun() -> None:
    assert codes("E_CERT_") == ["E_CERT_EXPIRED", "E_CERT_KEY", "E_CERT_OLD"]
    assert codes("") == codes("E") == codes("sensors") == []


def test_the_table_imports_nothing_heavy() -> None:
    asked = "import sys, fwctl.codes, fwctl.cli.explained; print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True).stdout.split()
    assert not {"pydantic", "httpx", "cryptography", "fwctl.manifests"} & set(loaded)


def test_the_reference_has_a_row_of_each_code_with_what_explain_says() -> None:
    rows = {line for line in page().splitlines() if line.startswith("| `")}
    assert {row.split("`")[1] for row in rows} == set(every_code())
    assert list(_without_meaning(rows)) == []


def _without_meaning(rows: set[str]) -> Iterator[str]:
    for code, stop in STOPS.items():
        plain = stop.meaning.replace("<", "&lt;").replace("|", "\\|")
        if not any(row.startswith(f"| `{code}` |") and plain in row for row in rows):
            yield code
