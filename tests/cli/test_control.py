"""Control verbs and quarantine, word for word: what they show, ask, refuse and write."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from syrupy.assertion import SnapshotAssertion

from fwctl.state import (
    Ledger,
    OrderIntended,
    OrderMoved,
    OrderStatus,
    RolloutMoved,
    RolloutState,
    WaveMoved,
    WaveState,
    acquire_lease,
    ledger_path,
)
from tests.cli.fleet import Fleet
from tests.cli.test_terminal import at_terminal

CONTROL = "control/dev/sensors.yaml"
WHY = ("--reason", "no data from Lyon")
SURE = ("--confirm", "sensors")
SAID = {
    "pause": ("pause", "sensors", *WHY),
    "pause json": ("pause", "dev/sensors", *WHY, "--format", "json"),
    "resume": ("resume", "sensors", *WHY),
    "promote": ("promote", "sensors", *WHY),
    "promote json": ("promote", "sensors", "--wave", "wave-1", *WHY, "--format", "json"),
    "abort": ("abort", "sensors", *WHY),
    "abort --revert": ("abort", "sensors", "--revert", *WHY, *SURE),
    "rollback": ("rollback", "sensors", *WHY, *SURE),
    "rollback json": ("rollback", "sensors", *WHY, *SURE, "--format", "json"),
    "pause --now": ("pause", "sensors", "--now", *WHY),
    "abort --now json": ("abort", "sensors", "--now", *WHY, "--format", "json"),
}


@pytest.mark.parametrize("words", SAID.values(), ids=SAID)
def test_what_is_said(fleet: Fleet, words: tuple[str, ...], snapshot: SnapshotAssertion) -> None:
    assert str(fleet.run(*words)) == snapshot
    assert fleet.git("status", "--porcelain") == ""
    assert fleet.run("validate").exit_code == 0


@pytest.mark.parametrize("words", [SAID["pause"], SAID["promote"], SAID["abort --revert"], SAID["rollback"]])
def test_what_is_written(fleet: Fleet, words: tuple[str, ...], snapshot: SnapshotAssertion) -> None:
    fleet.ok(*words)
    shown = fleet.git("show", "--format=%an: %s", "HEAD")
    mandate = fleet.prepared().mandate
    assert mandate is not None
    assert (fleet.tree / CONTROL).read_text().replace(mandate.id, "<mandate>") == snapshot
    assert shown.splitlines()[0] == f"Alice: {words[0].capitalize()} dev/sensors: no data from Lyon"


AGAIN = {
    "pause": (SAID["pause"], SAID["pause"]),
    "resume": (SAID["pause"], SAID["resume"], SAID["resume"]),
    "abort": (SAID["abort"], SAID["abort"]),
    "abort --revert": (SAID["abort --revert"], SAID["abort --revert"]),
    "rollback": (SAID["rollback"], SAID["rollback"]),
    "abort after rollback": (SAID["rollback"], SAID["abort"]),
}


@pytest.mark.parametrize("said", AGAIN.values(), ids=AGAIN)
def test_saying_it_again_changes_nothing(
    fleet: Fleet, said: tuple[tuple[str, ...], ...], snapshot: SnapshotAssertion
) -> None:
    for words in said[:-1]:
        fleet.ok(*words)
    head = fleet.git("rev-parse", "HEAD")
    again = fleet.ok(*said[-1])
    assert str(again) == snapshot
    assert fleet.git("rev-parse", "HEAD") == head


REFUSED = {
    "resume what is aborted": (SAID["abort"], SAID["resume"]),
    "pause what goes back": (SAID["rollback"], SAID["pause"]),
    "promote what is paused": (SAID["pause"], SAID["promote"]),
    "no such rollout": (("pause", "sensor", *WHY),),
    "no such wave": (("promote", "sensors", "--wave", "wave-7", *WHY),),
    "no reason": (("pause", "sensors"),),
    "an empty reason": (("pause", "sensors", "--reason", "  "),),
    "a reason of two lines": (("pause", "sensors", "--reason", "one\ntwo"),),
    "a long reason": (("pause", "sensors", "--reason", "x" * 501),),
    "another name": (("rollback", "sensors", *WHY, "--confirm", "gateways"),),
    "nobody to ask": (("rollback", "sensors", *WHY),),
    "nobody to ask about reverts": (("abort", "sensors", "--revert", "--no-input", *WHY),),
}


@pytest.mark.parametrize("said", REFUSED.values(), ids=REFUSED)
def test_what_cannot_be(fleet: Fleet, said: tuple[tuple[str, ...], ...], snapshot: SnapshotAssertion) -> None:
    for words in said[:-1]:
        fleet.ok(*words)
    head = fleet.git("rev-parse", "HEAD")
    answer = fleet.run(*said[-1])
    assert answer.exit_code != 0
    assert str(answer) == snapshot
    assert fleet.git("rev-parse", "HEAD") == head


def test_what_is_not_locked_or_approved(planned: Fleet, snapshot: SnapshotAssertion) -> None:
    assert str(planned.run(*SAID["promote"])) == snapshot(name="not approved")
    planned.ok(*SAID["pause"])
    (planned.tree / "rollouts" / "dev" / "sensors.lock").unlink()
    planned.commit()
    assert str(planned.run(*SAID["abort"])) == snapshot(name="not locked")


def test_a_rollback_that_the_approval_forbids(planned: Fleet, snapshot: SnapshotAssertion) -> None:
    path = planned.tree / "rollouts" / "dev" / "sensors.yaml"
    path.write_text(path.read_text() + "  rollback: {allowed: false, automatic: false}\n")
    planned.ok("plan", "sensors", "--lock")
    planned.commit()
    assert str(planned.run(*SAID["rollback"])) == snapshot


def test_what_a_gate_stopped_needs_a_new_approval(fleet: Fleet, snapshot: SnapshotAssertion) -> None:
    prepared, now = fleet.prepared(), datetime.now(UTC).replace(microsecond=0)
    assert prepared.mandate is not None
    key, mandate, why = "dev/sensors", prepared.mandate.id, "1 of 2 failed (50 %)"
    opened = WaveMoved(at=now, rollout=key, mandate=mandate, wave="wave-1", state=WaveState.OPEN, reason=why)
    stopped = RolloutMoved(
        at=now,
        rollout=key,
        mandate=mandate,
        commit="0" * 40,
        state=RolloutState.STOPPED,
        reason=why,
        rule="maxFailureRate",
    )
    fleet.record(opened, replace(opened, state=WaveState.FAILED), stopped)
    assert str(fleet.run(*SAID["promote"])) == snapshot(name="promote")
    assert str(fleet.run(*SAID["resume"])) == snapshot(name="resume")


def test_a_failed_gate_is_never_promoted(fleet: Fleet, snapshot: SnapshotAssertion) -> None:
    """It has failed by what the ledger knows, though no pass has acted on it yet."""
    prepared, now = fleet.prepared(), datetime.now(UTC).replace(microsecond=0)
    assert prepared.mandate is not None
    intended = OrderIntended(
        at=now,
        order="2" * 64,
        device="sensor-2",
        rollout="dev/sensors",
        mandate=prepared.mandate.id,
        verb="install",
        release=prepared.plan.release.digest,
        attempt=1,
        stage=1,
        wave="wave-1",
        refers_to="",
        body={},
        due_at=None,
        reason="may start",
    )
    fleet.record(
        intended, OrderMoved(at=now, order="2" * 64, status=OrderStatus.SETTLED, failure_class="health", code="E_PROBE")
    )
    assert str(fleet.run(*SAID["promote"])) == snapshot


def test_a_control_file_edited_by_hand_is_not_overwritten(fleet: Fleet, snapshot: SnapshotAssertion) -> None:
    fleet.write(CONTROL, "mine\n")
    assert str(fleet.run(*SAID["pause"])) == snapshot
    assert (fleet.tree / CONTROL).read_text() == "mine\n"


def test_other_changes_in_the_work_tree_stay_out_of_the_commit(fleet: Fleet) -> None:
    fleet.write("groups/broken.yaml", "not even a manifest\n")
    fleet.ok(*SAID["pause"])
    assert fleet.git("show", "--format=", "--name-only", "HEAD").split() == [CONTROL]
    assert fleet.git("status", "--porcelain").split() == ["??", "groups/broken.yaml"]


def test_a_machine_without_ledger_can_stop_but_not_guess(fleet: Fleet, snapshot: SnapshotAssertion) -> None:
    (fleet.state / "ledger.db").unlink()
    assert str(fleet.run(*SAID["promote"])) == snapshot(name="promote")
    assert str(fleet.run(*SAID["pause --now"])) == snapshot(name="now")
    assert not (fleet.tree / CONTROL).exists(), "what cannot be done at once is not done by half"
    assert str(fleet.run(*SAID["pause"])) == snapshot(name="pause")


def test_a_reason_stays_text_whatever_it_says(fleet: Fleet) -> None:
    for reason in ('"}, revert: true #', "no", "'", "\\x41 ü ☂ [bold]", "- a: &b *c"):
        fleet.run("resume", "sensors", "--reason", "again")
        fleet.ok("pause", "sensors", "--reason", reason)
        control = fleet.prepared().control
        assert control is not None
        assert (control.reason, control.revert) == (reason, False)


def test_the_name_is_typed_at_a_terminal(fleet: Fleet) -> None:
    head = fleet.git("rev-parse", "HEAD")
    code, screen = at_terminal(fleet, "rollback", "sensors", *WHY, typed="yes\n")
    assert (code, "Type sensors to go on" in screen, "Nothing was changed." in screen) == (1, True, True), screen
    assert fleet.git("rev-parse", "HEAD") == head
    code, screen = at_terminal(fleet, "rollback", "sensors", *WHY, "--no-input", typed="sensors\n")
    assert (code, "E_NO_INPUT" in screen) == (2, True), screen
    code, screen = at_terminal(fleet, "rollback", "sensors", *WHY, typed="sensors\n")
    assert (code, "rollback ordered by alice" in screen) == (0, True), screen


QUARANTINE = (
    "quarantine list",
    "quarantine add sensor-3 --reason smoke",
    "quarantine add sensor-3 --reason again",
    "quarantine list",
    "quarantine list --format json",
    "device list",
    "device list --state quarantined",
    "device show sensor-3",
    "device show sensor-3 --format json",
    "quarantine add sensor-33 --reason smoke",
    "quarantine release sensor-3",
    "quarantine release sensor-3 --reason repaired --format json",
    "quarantine release sensor-3 --reason repaired",
    "quarantine list --format json",
    "events --for sensor-3",
)


def test_quarantine(fleet: Fleet, snapshot: SnapshotAssertion) -> None:
    for at, command in enumerate(QUARANTINE):
        assert str(fleet.run(*command.split())) == snapshot(name=f"{at:02} {command}")


def test_a_device_that_git_has_lost_can_be_released(fleet: Fleet) -> None:
    fleet.ok("quarantine", "add", "sensor-3", *WHY)
    path = fleet.tree / "devices" / "bench.yaml"
    path.write_text("".join(line for line in path.open() if "sensor-3" not in line))
    assert "sensor-3 may get firmware again" in fleet.ok("quarantine", "release", "sensor-3", *WHY).stdout


def test_quarantine_waits_for_the_reconciler(fleet: Fleet) -> None:
    now, ttl = datetime.now(UTC), timedelta(minutes=1)
    with (
        Ledger.open(ledger_path(fleet.state)) as ledger,
        acquire_lease(ledger, holder="the daemon", now=now, ttl=ttl),
    ):
        answer = fleet.run("quarantine", "add", "sensor-3", *WHY)
    assert (answer.exit_code, "E_LOCKED" in answer.stderr, "the daemon" in answer.stderr) == (6, True, True)


@pytest.mark.parametrize("style", ["text", "json"])
def test_the_difference_shows_what_was_decided(fleet: Fleet, style: str) -> None:
    fleet.ok(*SAID["pause"])
    answer = fleet.run("diff", "HEAD~1", "HEAD", "--format", style)
    assert answer.exit_code == 1
    assert "dev/sensors" in answer.stdout
    assert "no data from Lyon" in answer.stdout


def test_a_pass_tells_who_paused_it(fleet: Fleet, snapshot: SnapshotAssertion) -> None:
    fleet.ok(*SAID["pause --now"])
    for command in ("status sensors", "rollout show sensors", "events --for sensors"):
        assert str(fleet.run(*command.split())) == snapshot(name=command)
