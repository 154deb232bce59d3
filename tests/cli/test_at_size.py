"""What the looking commands read: the rows that they show and no others, whatever the size of the fleet."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cli.fleet import ENVIRONMENT, Fleet
from tests.support.big_ledger import AWAY, FAILED, big_fleet, fill

DEVICES = 1200


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        fleet = big_fleet(tmp_path_factory.mktemp("large") / "work", DEVICES)
        fill(fleet)
    return fleet


@contextmanager
def steps(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Count the work of SQLite in thousands of steps of its machine, over all connections that are opened."""
    done = [0]

    class Counting(sqlite3.Connection):
        def __init__(self, *args: object, **options: object) -> None:
            super().__init__(*args, **options)  # type: ignore[arg-type]

            def count() -> int:
                done[0] += 1
                return 0

            self.set_progress_handler(count, 1000)

    whole = sqlite3.connect
    with monkeypatch.context() as patch:
        patch.setattr(sqlite3, "connect", lambda *args, **options: whole(*args, factory=Counting, **options))
        yield done


def listed(fleet: Fleet, *words: str) -> list[str]:
    found = json.loads(fleet.ok("device", "list", "--format", "json", *words).stdout)["devices"]
    return [one["id"] for one in found]


def test_pages_make_the_whole(large: Fleet) -> None:
    pages: list[str] = []
    while page := listed(large, "--limit", "500", "--after", pages[-1] if pages else ""):
        assert len(page) <= 500
        pages += page
    assert pages == sorted(pages) == listed(large)
    assert len(pages) == DEVICES + 3


def test_a_page_says_how_to_go_on(large: Fleet) -> None:
    answer = large.ok("device", "list", "--limit", "2", "--site", "site-07")
    assert [line.split()[0] for line in answer.stdout.splitlines()[1:3]] == ["unit-000007", "unit-000057"]
    assert "There are more: the same command with --after unit-000057" in answer.stderr
    assert "There are more" not in large.ok("device", "list", "--site", "site-07").stderr


FILTERS: dict[str, Callable[[dict[str, Any]], bool]] = {
    "--unreachable": lambda one: one["reachable"] is False,
    "--state failed": lambda one: one["state"] == "failed",
    "--version 1.0.0": lambda one: (one["running"] or {}).get("version") == "1.0.0",
    "--label ring=r3 --site site-10": lambda one: (one["labels"].get("ring"), one["site"]) == ("r3", "site-10"),
    "--rollout sensors --state straggler": lambda one: (one["rollout"], one["state"]) == ("dev/sensors", "straggler"),
    "--older-than 1h": lambda one: one["observedAt"] is None,
    "--group bench": lambda one: "bench" in one["groups"],
}


@pytest.mark.parametrize("words", FILTERS)
def test_a_filter_leaves_what_it_names(large: Fleet, words: str) -> None:
    everything = json.loads(large.ok("device", "list", "--format", "json").stdout)["devices"]
    wanted = [one["id"] for one in everything if FILTERS[words](one)]
    assert 0 < len(wanted) < len(everything)
    assert listed(large, *words.split()) == wanted


def test_a_list_says_of_each_device_what_the_rollout_says_of_it(large: Fleet) -> None:
    """One judgement: `device list` asks about one device at a time, `explain` about all of them."""
    cases = json.loads(large.ok("explain", "sensors", "--format", "json").stdout)["explained"][0]["cases"]
    judged = {one["device"]: (case["state"], one["reason"]) for case in cases for one in case["devices"]}
    lines = json.loads(large.ok("device", "list", "--format", "json").stdout)["devices"]
    told = {one["id"]: (one["standing"]["state"], one["standing"]["reason"]) for one in lines}
    assert {device: told[device] for device in judged} == judged
    assert {state for state, _ in told.values()} == {"reached", "failed", "straggler"}
    assert (
        sum(state != "reached" for state, _ in told.values()) == len(judged) > DEVICES // FAILED + DEVICES // AWAY - 2
    )


@pytest.mark.parametrize("words", ["status", "events", "events --for unit-000500", "device list --limit 10"])
def test_sqlite_does_not_walk_through_the_fleet(large: Fleet, monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    """All rows of one table alone would be more than 10,000 steps."""
    with steps(monkeypatch) as done:
        large.ok(*words.split())
    assert done[0] < 10


def test_events_need_no_manifest(large: Fleet, tmp_path: Path) -> None:
    fleet = large.copy(tmp_path / "work")
    fleet.write("devices/units.csv", "no inventory")
    assert "unit-000500" in fleet.ok("events", "--for", "unit-000500").stdout
