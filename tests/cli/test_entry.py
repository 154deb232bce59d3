"""The entry point: what it imports, what it completes, how it ends."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer

from fwctl.cli.guard import guard
from fwctl.manifests.schema import schemas
from fwctl.render.schemas import schema_text
from tests.cli.fleet import ENTRY, Fleet, subprocess_run

HEAVY = ("boto3", "git", "httpx", "cryptography", "sqlite_utils", "pydantic", "rich", "tuf", "securesystemslib", "yaml")


def test_help_imports_nothing_heavy() -> None:
    """The time is printed for whoever looks (pytest -rP); what makes it long is what is tested."""
    tell = f"import atexit, sys; atexit.register(lambda: print([m for m in {HEAVY!r} if m in sys.modules])); "
    began = time.perf_counter()
    done = subprocess_run("--help", before=tell)
    print(f"fwctl --help: {1000 * (time.perf_counter() - began):.0f} ms")  # noqa: T201
    assert done.stdout.splitlines()[-1] == "[]", "a module is imported before it is needed"


def test_commands_are_listed_by_name() -> None:
    listed = subprocess_run("--help").stdout.partition("Commands:")[2].partition("\n\n")[0]
    shown = [line.split()[0] for line in listed.splitlines() if line.strip()]
    assert shown == sorted(shown)
    assert len(shown) > 20


def test_schemas_are_fresh() -> None:
    folder = Path(__file__).parents[2] / "schemas"
    for name, schema in schemas().items():
        assert (folder / name).read_text("utf-8") == schema_text(schema), "run `make schemas`"


def test_schema_writes_only_what_changed(tmp_path: Path, fleet: Fleet) -> None:
    assert fleet.ok("schema", "--out", tmp_path / "s").stderr.count("Wrote") == len(schemas())
    assert "Wrote" not in fleet.ok("schema", "--out", tmp_path / "s").stderr
    (tmp_path / "s" / "fleet.schema.json").write_text("{}")
    assert fleet.ok("schema", "--out", tmp_path / "s").stderr.count("Wrote") == 1


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("fwctl status ", ["dev/sensors", "sensors"]),
        ("fwctl approve dev/", ["dev/sensors"]),
        ("fwctl device show sensor-", ["sensor-1", "sensor-2", "sensor-3"]),
        ("fwctl group show b", ["bench"]),
        ("fwctl firmware show s", ["sensor-v1@2.5.0"]),
        ("fwctl events --for sen", ["sensor-1", "sensor-2", "sensor-3", "sensors"]),
        ("fwctl status nothing", []),
    ],
)
def test_completion_knows_the_names(fleet: Fleet, typed: str, offered: list[str]) -> None:
    words = typed.split(" ")
    env = {"_FWCTL_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(len(words) - 1)}
    done = subprocess_run(env=env | {"FWCTL_REPO": str(fleet.tree)})
    assert sorted(done.stdout.split()) == offered
    assert done.stderr == ""


def test_completion_outside_a_repository_offers_nothing(tmp_path: Path) -> None:
    env = {"_FWCTL_COMPLETE": "complete_bash", "COMP_WORDS": "fwctl status ", "COMP_CWORD": "2"}
    done = subprocess_run(env=env | {"FWCTL_REPO": str(tmp_path)})
    assert (done.stdout.strip(), done.stderr) == ("", "")


def _failing(error: BaseException) -> typer.Typer:
    app = typer.Typer(pretty_exceptions_enable=False)

    @app.command()
    def fail() -> None:
        raise error

    return app


def test_a_bug_is_admitted_without_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert guard(_failing(ZeroDivisionError("oops")), []) == 70
    said = capsys.readouterr().err
    assert said.startswith("error[E_BUG]: this is a bug in fwctl")
    assert "Traceback" not in said


def test_an_unexpected_refusal_of_the_system_is_no_bug(capsys: pytest.CaptureFixture[str]) -> None:
    assert guard(_failing(PermissionError(13, "Permission denied", "/etc/x")), []) == 5
    assert "error[E_SYSTEM]: the system refused: Permission denied\n  --> /etc/x" in capsys.readouterr().err


def test_control_characters_do_not_reach_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert guard(_failing(ValueError("\x1b[31mred")), []) == 70
    assert "\x1b" not in capsys.readouterr().err


@pytest.mark.parametrize("error", [KeyboardInterrupt(), typer.Abort()])
def test_an_interruption_is_130(error: BaseException) -> None:
    assert guard(_failing(error), []) == 130


def test_ctrl_c_ends_a_real_process_with_130() -> None:
    waiting = (
        "import fwctl.cli.main as m, time; m.status.where_am_i = lambda _: (print('on', flush=True), time.sleep(30)); "
    )
    process = subprocess.Popen(
        [sys.executable, "-c", waiting + ENTRY], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=20)
    assert (process.returncode, "Traceback" in said) == (130, False)
