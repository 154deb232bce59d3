"""`status` from what a pass summed up: the same words as made anew, and never a word that may not hold any more."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fwctl.cli.standing import recorded_status
from fwctl.reconcile.summary import from_json, to_json
from fwctl.state import DeviceUnreachable, Ledger, acquire_lease, ledger_path
from tests.cli.fleet import ENVIRONMENT, Fleet, run
from tests.cli.test_seeing import STORIES
from tests.cli.waves import canary, complete, soaking
from tests.support.big_ledger import sum_up


@pytest.fixture(scope="module")
def signed(stages: Callable[[str], Fleet], tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        return canary(stages("planned").copy(tmp_path_factory.mktemp("recorded") / "work"))


@pytest.fixture
def fresh(signed: Fleet, tmp_path: Path) -> Fleet:
    return signed.copy(tmp_path / "work")


def summed(fleet: Fleet, *, at: datetime | None = None) -> Fleet:
    """Write the summaries of HEAD into the ledger."""
    state = fleet.context.read(fleet.context.committed()[1], fleet.git("rev-parse", "HEAD").strip())
    with (
        Ledger.open(ledger_path(fleet.state)) as ledger,
        acquire_lease(ledger, holder="test", now=datetime.now(UTC), ttl=timedelta(minutes=1)) as lease,
    ):
        sum_up(fleet, ledger, state, lease.epoch, at)
    return fleet


def told(fleet: Fleet) -> dict[str, object]:
    answer: dict[str, object] = json.loads(fleet.ok("status", "--format", "json").stdout)
    return answer


@pytest.mark.parametrize("format_", ["text", "json"])
@pytest.mark.parametrize("story", STORIES)
def test_a_summary_says_what_is_made_anew(fresh: Fleet, story: str, format_: str) -> None:
    fleet = STORIES[story](fresh)
    before = str(fleet.ok("status", "sensors", "--format", format_))
    summed(fleet)
    assert recorded_status(fleet.context, "sensors") is not None
    assert str(fleet.ok("status", "sensors", "--format", format_)) == before


def test_what_is_kept_is_what_was_made(fresh: Fleet) -> None:
    status = recorded_status(summed(STORIES["rolling-back"](fresh)).context, "")
    assert status is not None
    summary = status.rollouts[0]
    assert from_json(json.loads(json.dumps(to_json(summary)))) == summary
    assert from_json(to_json(summary) | {"form": 0}) is None


def test_a_current_summary_needs_no_manifest(fresh: Fleet) -> None:
    """No blob but that of `fleet.yaml` is read: the objects of all others may even be gone."""
    fleet = summed(complete(fresh))
    for line in fleet.git("ls-tree", "-r", "HEAD").splitlines():
        blob, path = line.split()[2], line.split("\t")[1]
        if path != "fleet.yaml":
            (fleet.tree / ".git/objects" / blob[:2] / blob[2:]).unlink()
    assert "complete" in fleet.ok("status").stdout


CHANGES: dict[str, Callable[[Fleet], object]] = {
    "the ledger": lambda fleet: fleet.record(
        DeviceUnreachable(at=datetime.now(UTC), device="unit-01", reason="E_UNREACHABLE: no connection")
    ),
    "the commit": lambda fleet: fleet.git("commit", "-q", "--allow-empty", "-m", "Another"),
    "the pinned root": lambda fleet: _touch(fleet.folder / "config/acme/root.json"),
}


def _touch(path: Path) -> None:
    path.write_text(path.read_text() + "\n")


@pytest.mark.parametrize("what", CHANGES)
def test_a_summary_from_before_a_change_is_not_shown(fresh: Fleet, what: str) -> None:
    fleet = summed(complete(fresh))
    assert recorded_status(fleet.context, "") is not None
    CHANGES[what](fleet)
    assert recorded_status(fleet.context, "") is None
    assert told(fleet)["exact"] is True


def test_a_summary_ends_with_the_first_moment_that_changes_it(fresh: Fleet) -> None:
    """The soak of 90 s began 4 s before this summary: once it is over, the summary says too little."""
    fleet = soaking(fresh)
    status = recorded_status(summed(fleet).context, "")
    assert status is not None
    summary = status.rollouts[0]
    assert summary.valid_until is not None
    assert summary.valid_until == summary.waves[0].soak_until
    assert recorded_status(summed(fleet, at=datetime.now(UTC) - timedelta(days=2)).context, "") is None


def test_while_a_pass_runs_its_last_word_is_told_with_its_time(fresh: Fleet) -> None:
    fleet = summed(complete(fresh))
    change = DeviceUnreachable(at=datetime.now(UTC), device="unit-01", reason="E_UNREACHABLE: no connection")
    with (
        Ledger.open(ledger_path(fleet.state)) as ledger,
        acquire_lease(ledger, holder="test", now=datetime.now(UTC), ttl=timedelta(minutes=1)) as lease,
    ):
        ledger.apply([change], epoch=lease.epoch)
        assert told(fleet)["exact"] is False
        assert re.search(r"  as of <clock>: a pass is running\n", fleet.ok("status").stdout)
    assert told(fleet)["exact"] is True


def test_a_pass_that_was_killed_is_not_running(fresh: Fleet) -> None:
    """Its lease stays; its process is gone."""
    fleet = summed(complete(fresh))
    ended = subprocess.Popen(["true"])
    ended.wait()
    with Ledger.open(ledger_path(fleet.state)) as ledger:
        lease = acquire_lease(ledger, holder="test", now=datetime.now(UTC), ttl=timedelta(minutes=1))
        change = DeviceUnreachable(at=datetime.now(UTC), device="unit-01", reason="E_UNREACHABLE: no connection")
        ledger.apply([change], epoch=lease.epoch)
        with ledger.transaction(epoch=lease.epoch) as conn:
            conn.execute("UPDATE lease SET pid = ?", (ended.pid,))
        shutil.copytree(fleet.state, fleet.folder / "killed/acme")
        lease.release()
    killed = ["--repo", str(fleet.tree), "--config-dir", str(fleet.folder / "config")]
    answer = run_with(killed, fleet.folder / "killed")
    assert answer["exact"] is True


def run_with(options: list[str], state: Path) -> dict[str, object]:
    answer: dict[str, object] = json.loads(
        run("status", "--format", "json", options=[*options, "--state-dir", str(state)]).stdout
    )
    return answer
