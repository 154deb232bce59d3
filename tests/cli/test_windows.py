"""`fwctl windows`: what it says word for word, and what it is asked with."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from syrupy.assertion import SnapshotAssertion

from fwctl.cli.windowing import Windows, openings
from fwctl.manifests.repo import FleetRepo
from fwctl.render.windows import as_json, length, next_commands, text
from tests.cli.fleet import Fleet
from tests.unit.rollouts.fleets import KEY, files, repo_of

EVENING = datetime(2026, 11, 23, 18, 40, tzinfo=UTC)
NIGHT = 'cron: "0 1 * * *", duration: 4h, timeZone: "Europe/Berlin"'
REGIONS = (
    "strategy: {type: Regional, regions: [{name: eu, window: {allow: [{cron: '0 1 * * *', duration: 4h, timeZone: "
    "Europe/Berlin}]}}, {name: us, window: {allow: [{cron: '0 22 * * 5', duration: 2d, timeZone: America/New_York}]}}]}"
)
SPECS = {
    "closed": [f"window: {{allow: [{{{NIGHT}}}]}}"],
    "open": ['window: {deny: [{cron: "0 0 24 12 *", duration: 9d}]}'],
    "always": ['window: {allow: [{cron: "0 * * * *", duration: 1h}]}'],
    "never": ['window: {allow: [{cron: "0 0 30 2 *", duration: 1h}]}'],
    "device": ['window: {allow: [{cron: "0 1 * * *", duration: 90m, timeZone: device}]}'],
    "regions": [REGIONS, 'window: {deny: [{cron: "0 3 * * *", duration: 30m}]}'],
    "none": [],
}
ZONES = {"a": "Europe/Berlin", "b": "Europe/Berlin", "c": "Australia/Lord_Howe", "d": ""}


def repo(lines: list[str]) -> FleetRepo:
    """Return a fleet over three zones, and devices without one."""
    sources = files(ZONES, lines if any("strategy" in line for line in lines) else ["strategy: {type: Direct}", *lines])
    entries = "".join(
        f'    - {{id: "{device}"{f", timeZone: {zone}" if zone else ""}}}\n' for device, zone in ZONES.items()
    )
    head, _, _ = sources["devices/all.yaml"].decode().partition("  devices:\n")
    return repo_of({**sources, "devices/all.yaml": (head + "  devices:\n" + entries).encode()})


def found(what: str, *, zone: str = "", count: int = 3) -> Windows:
    made = repo(SPECS[what])
    return Windows(EVENING, (KEY,), tuple(openings(made, made.rollouts[KEY], EVENING, count=count, zone=zone)))


@pytest.mark.parametrize("what", SPECS)
def test_what_it_says(what: str, snapshot: SnapshotAssertion) -> None:
    told = text(found(what))
    assert max(map(len, told.splitlines())) <= 80
    assert told == snapshot


@pytest.mark.parametrize(("what", "zone"), [("closed", "America/New_York"), ("device", "Australia/Lord_Howe")])
def test_what_it_says_to_people_elsewhere(what: str, zone: str, snapshot: SnapshotAssertion) -> None:
    assert text(found(what, zone=zone)) == snapshot


def test_what_programs_get(snapshot: SnapshotAssertion) -> None:
    assert as_json(found("regions", count=1)) == snapshot
    assert next_commands(found("regions")) == (f"fwctl status {KEY}",)


def test_an_empty_fleet_has_none() -> None:
    assert text(Windows(EVENING, (), ())) == "No rollout is declared yet."
    assert next_commands(Windows(EVENING, (), ())) == ("fwctl rollout create",)


@pytest.mark.parametrize(("seconds", "words"), [(0, "0 s"), (59, "59 s"), (19200, "5 h 20 min"), (777600, "9 d")])
def test_a_length_of_time_in_words(seconds: int, words: str) -> None:
    assert length(timedelta(seconds=seconds)) == words


# -- typed -------------------------------------------------------------------------------------------------------------


def windowed(fleet: Fleet, lines: str) -> None:
    (file,) = (fleet.tree / "rollouts").glob("*/sensors.yaml")
    file.write_text(file.read_text().rstrip("\n") + "\n" + lines)


def test_a_rollout_without_a_window_may_always_start(planned: Fleet) -> None:
    answer = planned.run("windows")
    assert answer.exit_code == 0
    assert answer.stdout.startswith("Without a window, devices may start at any time: ")
    assert "fwctl status" in answer.stderr


def test_it_answers_before_a_commit_and_counts(planned: Fleet) -> None:
    windowed(planned, '  window: {allow: [{cron: "0 1 * * *", duration: 4h}]}\n')
    answer = planned.run("windows", "sensors", "--next", "2", "--format", "json")
    assert answer.exit_code == 0, answer.stderr
    (one,) = json.loads(answer.stdout)["windows"]
    assert (len(one["next"]), one["timeZone"], one["deviceTimeZone"]) == (2, "UTC", None)


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        ("windows nothing", 3, "E_NO_ROLLOUT"),
        ("windows --zone Europe/Atlantis", 2, "One such as Europe/Berlin, or UTC."),
        ("windows --next 0", 2, "--next"),
    ],
)
def test_what_it_cannot_answer(planned: Fleet, command: str, code: int, words: str) -> None:
    answer = planned.run(*command.split())
    assert answer.exit_code == code
    assert words in answer.stderr
    assert not answer.stdout
