"""The report on mutants: what is counted as words, what is explained, and when the target fails."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.mutation import __main__ as command
from tests.mutation.mutants import Mutant, forget_survivors, read
from tests.mutation.page import PAGE, explained, row

BEFORE = "def function(a):\n    if a < 1:\n        raise Refusal('E_A', f'{a} is small')\n    return a"


def mutant(after: str, status: str = "survived", name: str = "x_check__mutmut_1") -> Mutant:
    return Mutant("fwctl_agent.trust.keys", name, status, BEFORE, after)


def test_another_text_for_people_is_only_words_and_another_code_is_not() -> None:
    assert mutant(BEFORE.replace("is small", "XXis smallXX")).only_words
    assert mutant(BEFORE.replace("f'{a} is small'", "None")).only_words
    assert not mutant(BEFORE.replace("E_A", "XXE_AXX")).only_words
    assert not mutant(BEFORE.replace("<", "<=")).only_words


def test_an_id_holds_while_the_change_is_the_same() -> None:
    change = BEFORE.replace("<", "<=")
    assert mutant(change).id == mutant(change, name="x_check__mutmut_7").id
    assert mutant(change).id != mutant(BEFORE.replace("<", ">")).id
    assert mutant(change).change == (("if a < 1:",), ("if a <= 1:",))


def test_methods_are_named_with_their_class() -> None:
    assert mutant(BEFORE, name="xǁLockǁparse__mutmut_12").function == "Lock.parse"


@pytest.mark.parametrize(
    ("status", "code"),
    [("killed", 0), ("timeout", 0), ("survived", 1), ("no test", 1), ("suspicious", 1), ("not tried", 1)],
)
def test_the_target_fails_for_what_is_not_explained(
    status: str, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "explained", dict)
    one = mutant(BEFORE.replace("<", "<="), status)
    assert command.report([one]) == code
    assert (one.id in capsys.readouterr().out) == (code == 1 and status != "not tried")


def test_an_explained_survivor_passes_and_an_explanation_of_nothing_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    one = mutant(BEFORE.replace("<", "<="))
    monkeypatch.setattr(command, "explained", lambda: {one.id: "there is no number between"})
    assert command.report([one]) == 0
    assert command.report([mutant(BEFORE.replace("<", "<="), "killed")]) == 1


def test_a_row_of_the_page_is_read_back(tmp_path: Path) -> None:
    one = mutant(BEFORE.replace("<", "<="))
    page = tmp_path / "page.md"
    page.write_text(f"| id |\n{row(one.id, 'keys:check', *one.change, 'no | between')}\n".replace("no | b", "no b"))
    assert explained(page) == {one.id: "no between"}


def test_every_row_of_the_page_is_one_that_can_be_read() -> None:
    rows = [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| `") and "`` " in line]
    assert len(rows) == len(explained()) > 0


def test_results_are_read_from_the_copy_and_survivors_forgotten(tmp_path: Path) -> None:
    folder = tmp_path / "mutants" / "fwctl_agent"
    folder.mkdir(parents=True)
    bodies = {"x_f__mutmut_orig": "1", "x_f__mutmut_1": "2", "x_f__mutmut_2": "3"}
    (folder / "a.py").write_text("".join(f"def {name}():\n    return {body}\n" for name, body in bodies.items()))
    codes = {"fwctl_agent.a.x_f__mutmut_1": 1, "fwctl_agent.a.x_f__mutmut_2": 0}
    (folder / "a.py.meta").write_text(json.dumps({"exit_code_by_key": codes}))
    assert {one.name: one.status for one in read(tmp_path)} == {"x_f__mutmut_1": "killed", "x_f__mutmut_2": "survived"}
    forget_survivors(tmp_path)
    assert [one.status for one in read(tmp_path)] == ["killed", "not tried"]
