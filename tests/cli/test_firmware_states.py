"""Firmware through its life: promoted, deprecated, withdrawn, and who still runs what ends."""

from __future__ import annotations

import json

import pytest

from tests.cli.fleet import Fleet

NAME = "sensor-v1@2.5.0"
PATH = "firmware/sensor-v1/2.5.0.yaml"


def text(fleet: Fleet) -> str:
    return (fleet.tree / PATH).read_text()


def state(fleet: Fleet, value: str, *, comment: bool = True) -> None:
    note = "  # why" if comment else ""
    fleet.write(PATH, text(fleet).replace("  hardware", f"  state: {value}{note}\n  hardware"))


def test_promotion_goes_step_by_step_and_keeps_every_other_byte(planned: Fleet) -> None:
    state(planned, "draft")
    before = text(planned)
    first = planned.ok("firmware", "promote", NAME)
    assert "draft -> candidate" in first.stdout
    assert text(planned) == before.replace("state: draft", "state: candidate")
    planned.ok("firmware", "promote", NAME)
    assert text(planned) == before.replace("state: draft", "state: released")
    assert "# why" in text(planned)


def test_states_are_skipped_only_when_told_to(planned: Fleet) -> None:
    state(planned, "draft")
    planned.ok("firmware", "promote", NAME, "--to", "released")
    assert "state: released  # why" in text(planned)


def test_an_unsigned_release_is_not_promoted_to_released(planned: Fleet) -> None:
    state(planned, "candidate")
    (planned.tree / "firmware/sensor-v1/2.5.0.alice.dsse.json").unlink()
    before = text(planned)
    answer = planned.run("firmware", "promote", NAME)
    assert (answer.exit_code, "E_SIG_MISSING" in answer.stderr) == (4, True)
    assert f"fwctl firmware sign {NAME}" in answer.stderr
    assert text(planned) == before


@pytest.mark.parametrize("ended", ["sunset", "withdrawn"])
@pytest.mark.parametrize("words", [("promote", NAME, "--to", "released"), ("promote", NAME)])
def test_what_has_ended_does_not_come_back(planned: Fleet, ended: str, words: tuple[str, ...]) -> None:
    state(planned, ended)
    before = text(planned)
    answer = planned.run("firmware", *words)
    assert (answer.exit_code, "E_FIRMWARE_MOVE" in answer.stderr) == (2, True)
    assert "Register a new version" in answer.stderr
    assert text(planned) == before


def test_deprecating_writes_day_reason_and_successor_and_can_be_taken_back(planned: Fleet) -> None:
    image = planned.folder / "next.bin"
    image.write_bytes(b"next " * 50)
    planned.ok("firmware", "add", image, "--model", "sensor-v1", "--version", "2.6.0")
    before = text(planned)
    words = ("firmware", "deprecate", NAME, "--reason", 'wears "flash"', "--successor", "2.6.0", "--sunset")
    planned.ok(*words, "2099-03-01")
    line = '  deprecation: {sunset: "2099-03-01", reason: "wears \\"flash\\"", successor: "2.6.0"}\n'
    assert "  state: deprecated\n" + line in text(planned)
    assert planned.ok("validate").stdout.count("W_FIRMWARE_DEPRECATED") == 1
    planned.ok(*words, "2099-04-01")
    assert text(planned).count("deprecation:") == 1
    assert '"2099-04-01"' in text(planned)
    planned.ok("firmware", "promote", NAME, "--to", "released")
    assert text(planned) == before.replace('version: "2.5.0"\n', 'version: "2.5.0"\n  state: released\n')


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--sunset", "2099-02-30", "--reason", "x"), "E_USAGE"),
        (("--sunset", "tomorrow", "--reason", "x"), "E_USAGE"),
        (("--sunset", "2099-03-01", "--reason", " "), "E_REASON"),
        (("--sunset", "2099-03-01", "--reason", "x", "--successor", "9.9"), "E_NO_FIRMWARE"),
        (("--sunset", "2099-03-01", "--reason", "x", "--successor", "2.5.0"), "E_USAGE"),
    ],
)
def test_what_cannot_be_a_deprecation_changes_nothing(planned: Fleet, words: tuple[str, ...], code: str) -> None:
    before = text(planned)
    answer = planned.run("firmware", "deprecate", NAME, *words)
    assert answer.exit_code in (2, 3)
    assert code in answer.stderr
    assert text(planned) == before


def test_a_manifest_on_one_line_is_changed_on_that_line(planned: Fleet) -> None:
    spec = text(planned).partition("spec:\n")[2]
    fields = [line.strip() for line in spec.splitlines() if not line.strip().startswith(("image:", "digest", "length"))]
    digest = next(line.strip() for line in spec.splitlines() if "digest:" in line)
    length = next(line.strip() for line in spec.splitlines() if "length:" in line)
    one = ", ".join([*fields, f"image: {{{digest}, {length}}}"])
    planned.write(PATH, f"apiVersion: fwctl/v1\nkind: Firmware\nspec: {{{one}}}\n")
    planned.ok("firmware", "withdraw", NAME, "--reason", "it burns")
    assert 'version: "2.5.0", state: withdrawn' in text(planned)


def test_the_sunset_report_lists_devices_by_what_the_ledger_saw(fleet: Fleet) -> None:
    assert "No firmware is deprecated" in fleet.ok("firmware", "sunset-report").stdout
    fleet.ok("firmware", "deprecate", NAME, "--sunset", "2099-03-01", "--reason", "old")
    shown = fleet.ok("firmware", "sunset-report")
    assert "sensor-1  lab  bench" in shown.stdout
    assert "1 device to move; of 2 devices that the ledger has seen." in shown.stdout
    found = json.loads(fleet.run("firmware", "sunset-report", "--format", "json").stdout)
    (one,) = found["firmware"]
    assert (one["firmware"], one["state"], [d["device"] for d in one["devices"]]) == (NAME, "deprecated", ["sensor-1"])
    assert one["daysLeft"] > 0
    assert one["devices"][0]["groups"] == ["bench"]


@pytest.mark.parametrize("value", ["draft", "sunset", "withdrawn"])
def test_nothing_new_begins_with_firmware_that_is_not_to_be_rolled_out(planned: Fleet, value: str) -> None:
    planned.git("rm", "-q", "rollouts/dev/sensors.yaml", "rollouts/dev/sensors.lock")
    state(planned, value)
    planned.commit("State")
    for words in (("rollout", "create", "again", "--firmware", NAME, "--all"),):
        answer = planned.run(*words)
        assert (answer.exit_code, "E_FIRMWARE_STATE" in answer.stdout + answer.stderr) == (3, True), str(answer)
    assert not list((planned.tree).glob("rollouts/*/again.yaml"))


def test_a_new_lock_and_a_first_approval_of_sunset_firmware_are_refused(planned: Fleet) -> None:
    state(planned, "sunset")
    planned.commit("Sunset")
    assert planned.run("validate").exit_code == 0  # it is locked: that goes on, with a warning
    assert "W_FIRMWARE_SUNSET" in planned.run("validate").stdout
    assert planned.run("approve", "sensors", "--yes").exit_code == 3
    assert not (planned.tree / "approvals").exists()
    planned.ok("plan", "sensors", "--lock")  # the lock that stands already is no new one
    (planned.tree / "rollouts/dev/sensors.lock").unlink()
    assert planned.run("plan", "sensors", "--lock").exit_code == 3
    assert not (planned.tree / "rollouts/dev/sensors.lock").exists()
    assert planned.run("validate").exit_code == 1


def test_withdrawn_firmware_holds_its_rollout_and_leaves_the_way_back_open(fleet: Fleet) -> None:
    fleet.ok("firmware", "withdraw", NAME, "--reason", "it burns")
    fleet.commit("Withdraw")
    prepared = fleet.prepared()
    assert prepared.refused is not None
    assert (prepared.refused.code, prepared.approved_stage) == ("E_FIRMWARE_STATE", 0)
    assert "held" in fleet.run("status").stdout
    assert "W_FIRMWARE_WITHDRAWN" in fleet.run("validate").stdout
    assert fleet.run("validate").exit_code == 0
    answer = fleet.run("rollback", "sensors", "--reason", "it burns", "--confirm", "sensors")
    assert answer.exit_code == 0, str(answer)
    assert (fleet.tree / "control/dev/sensors.yaml").exists()


def test_a_diff_tells_a_change_of_state(planned: Fleet) -> None:
    planned.ok("firmware", "withdraw", NAME, "--reason", "it burns")
    assert 'state "released" -> "withdrawn"' in planned.run("diff", "HEAD").stdout
