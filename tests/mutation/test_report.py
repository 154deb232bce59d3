"""The report on mutants: what is counted as words, what is explained, and when the target fails."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.mutation import __main__ as command
from tests.mutation.mutants import Mutant, read
from tests.mutation.page import PAGE, explained, row
from tests.mutation.results import Digests, holding, load

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
    [("killed", 0), ("timeout", 0), ("words", 0), ("survived", 1), ("not tried", 1)],
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


def test_mutants_are_read_from_the_copy_with_their_verdicts(tmp_path: Path) -> None:
    folder = tmp_path / "mutants" / "fwctl_agent"
    folder.mkdir(parents=True)
    bodies = {"orig": "f(1, 'a')", "1": "f(2, 'a')", "2": "f(3, 'a')", "3": "f(4, 'a')"}
    said = "def x_f__mutmut_orig():\n    refuse('E_A', 'a')\ndef x_f__mutmut_4():\n    refuse('E_A', 'b')\n"
    said = said.replace("x_f", "x_g") + "".join(
        f"def x_f__mutmut_{name}():\n    return {body}\n" for name, body in bodies.items()
    )
    (folder / "a.py").write_text(said)
    names = ["x_f__mutmut_1", "x_f__mutmut_2", "x_f__mutmut_3", "x_g__mutmut_4"]
    (folder / "a.py.meta").write_text(json.dumps({"exit_code_by_key": {f"fwctl_agent.a.{name}": 1 for name in names}}))
    verdicts = {"fwctl_agent.a.x_f__mutmut_1": "killed", "fwctl_agent.a.x_f__mutmut_2": "survived"}
    found = read(tmp_path, verdicts)
    assert [one.status for one in found] == ["killed", "survived", "not tried", "words"]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for path in ("keys.py", "tests/test_keys.py", "tests/test_more.py"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text("pass\n")
    return tmp_path


def recorded(tree: Path, verdict: str, test: str = "", *, alone: bool = False) -> dict[str, dict[str, object]]:
    said = {"mutant": "keys.x_f__mutmut_1", "verdict": verdict, "test": test, "alone": alone}
    module, tests = Digests.of(tree, ["keys.py"], ["tests"]).wanted(said)
    with (tree / "results.jsonl").open("a") as file:
        file.write(json.dumps(said | {"module": module, "tests": tests}) + "\n")
        file.write('{"mutant": "keys.x_f__mut')  # the power fails
        file.write("\n")
    return load(tree / "results.jsonl")


@pytest.mark.parametrize(
    ("changed", "verdict", "test", "holds"),
    [
        (None, "killed", "tests/test_keys.py::test_a", True),
        (None, "survived", "", True),
        ("keys.py", "killed", "tests/test_keys.py::test_a", False),
        ("keys.py", "survived", "", False),
        ("tests/test_keys.py", "killed", "tests/test_keys.py::test_a", False),
        ("tests/test_more.py", "killed", "tests/test_keys.py::test_a", True),
        ("tests/test_more.py", "survived", "", False),
        # a crash, which no test has told
        ("tests/test_more.py", "killed", "", False),
    ],
)
def test_a_verdict_holds_while_module_and_tests_are_the_same(
    tree: Path, changed: str | None, verdict: str, test: str, holds: bool
) -> None:
    records = recorded(tree, verdict, test)
    if changed:
        (tree / changed).write_text("pass  # another\n")
    found = holding(records, Digests.of(tree, ["keys.py"], ["tests"]))
    assert found == ({"keys.x_f__mutmut_1": verdict} if holds else {})


def test_who_was_late_beside_others_is_tried_alone(tree: Path) -> None:
    digests = Digests.of(tree, ["keys.py"], ["tests"])
    assert holding(recorded(tree, "timeout"), digests) == {}
    assert holding(recorded(tree, "timeout", alone=True), digests) == {"keys.x_f__mutmut_1": "timeout"}
