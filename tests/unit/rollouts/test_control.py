"""What a person's word means: for which mandate it holds, and what a released device may try again."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from fwctl.manifests.repo import FleetRepo
from fwctl.reconcile.commit import Prepared, prepare
from fwctl.rollouts.actions import GoBack, Quarantine, Stop, Visit
from fwctl.rollouts.compile import compile_rollout
from fwctl.rollouts.decide import decide
from fwctl.rollouts.standing import stand
from fwctl.rollouts.view import Control, DeviceView, Failure, OpenOrder
from tests.unit.rollouts.fleets import KEY, NOW, check_plans, files, plan_of, repo_of, view_of

OTHER = "sha256:" + "2" * 64
LOCK, CONTROL = "rollouts/dev/sensors.lock", "control/dev/sensors.yaml"


def controlled(spec: str, *lines: str) -> tuple[FleetRepo, dict[str, bytes], Prepared]:
    """Return a locked rollout with a control file; `{mandate}` in `spec` stands for its own mandate."""
    sources = files(["a", "b"], ["strategy: {type: Direct}", *lines])
    repo = repo_of(sources)
    sources[LOCK] = compile_rollout(repo, repo.rollouts[KEY]).lock().raw
    mandate = prepare(repo, repo.rollouts[KEY], sources, None, NOW).mandate
    assert mandate is not None
    spec = spec.replace("MANDATE", f'"{mandate.id}"')
    head = "apiVersion: fwctl/v1\nkind: RolloutControl\nmetadata: {name: sensors}\n"
    sources[CONTROL] = f"{head}spec: {{{spec}}}\n".encode()
    repo = repo_of(sources)
    return repo, sources, prepare(repo, repo.rollouts[KEY], sources, None, NOW)


def control_of(spec: str) -> Control | None:
    return controlled(spec)[2].control


def test_control_changes_no_mandate() -> None:
    plain = controlled("state: running, actor: alice")[2].mandate
    assert controlled("state: paused, reason: why, actor: alice")[2].mandate == plain


def test_a_pause_holds_whatever_is_approved() -> None:
    assert control_of("state: paused, reason: why, actor: alice") == Control("paused", "why", "alice")
    assert control_of(f'state: paused, reason: why, actor: alice, mandate: "{OTHER}"') == Control(
        "paused", "why", "alice"
    )


@pytest.mark.parametrize("state", ["aborted, revert: true", "aborted", "rolledBack"])
def test_an_end_is_about_one_mandate(state: str) -> None:
    mine = control_of(f"state: {state}, reason: why, actor: alice, mandate: MANDATE")
    assert mine is not None
    assert mine.revert == ("revert" in state)
    assert control_of(f'state: {state}, reason: why, actor: alice, mandate: "{OTHER}"') is None


def test_a_promotion_is_about_one_mandate() -> None:
    mine = control_of("state: running, actor: alice, promoted: [wave-1], mandate: MANDATE")
    assert mine is not None
    assert mine.promoted == {"wave-1"}
    paused = control_of(f'state: paused, reason: x, actor: alice, promoted: [wave-1], mandate: "{OTHER}"')
    assert paused == Control("paused", "x", "alice")


def test_a_wave_that_does_not_exist_cannot_be_promoted() -> None:
    repo, sources, _ = controlled("state: running, actor: alice, promoted: [wave-2], mandate: MANDATE")
    (found,) = check_plans(repo, sources)
    assert (found.code, found.path, found.field) == ("E_NO_WAVE", CONTROL, "spec.promoted[0]")
    assert found.remedy == "Did you mean `wave-1`?"


@pytest.mark.parametrize(("state", "field"), [("rolledBack", "state"), ("aborted, revert: true", "revert")])
def test_a_rollback_that_the_approval_forbids_is_found_in_the_pull_request(state: str, field: str) -> None:
    forbidden = "rollback: {allowed: false, automatic: false}"
    repo, sources, _ = controlled(f"state: {state}, reason: why, actor: alice, mandate: MANDATE", forbidden)
    (found,) = check_plans(repo, sources)
    assert (found.code, found.field) == ("E_CONTROL", f"spec.{field}")
    old = controlled(f'state: {state}, reason: why, actor: alice, mandate: "{OTHER}"', forbidden)
    assert check_plans(old[0], old[1]) == (), "about an earlier mandate: history"


@pytest.mark.parametrize(
    ("control", "wanted"),
    [
        (Control("paused", "why", "alice"), Stop("paused", "alice: why")),
        (Control("aborted", "why", "alice"), Stop("aborted", "alice: why")),
        (Control("aborted", "why", "alice", revert=True), GoBack("control", "alice: why")),
        (Control("rolled-back", "why", "alice"), GoBack("control", "alice: why")),
    ],
)
def test_a_persons_word_comes_first(control: Control, wanted: Stop | GoBack) -> None:
    view = replace(view_of(DeviceView(id="a")), control=control)
    assert decide(plan_of(["a", "b"]), view, NOW).actions == (wanted,)


def test_a_rollback_comes_before_a_stop() -> None:
    view = replace(view_of(stopped="aborted: x"), control=Control("rolled-back", "why", "alice"))
    assert decide(plan_of(["a"]), view, NOW).actions == (GoBack("control", "alice: why"),)


FAILED = DeviceView(id="a", attempts=3, failure=Failure(3, "install", "E_COMMAND", NOW), running="sha256:" + "e" * 64)


def test_a_released_device_gets_all_its_attempts_again() -> None:
    plan = plan_of(["a"])
    assert stand(plan, view_of(FAILED), "a", NOW).state == "failed"
    released = replace(FAILED, forgiven=3)
    assert stand(plan, view_of(released), "a", NOW).state == "pending"
    again = replace(released, attempts=5, failure=Failure(5, "install", "E_COMMAND", NOW))
    assert stand(plan, view_of(again), "a", NOW).state == "retry", "two of three are used"
    out = replace(released, attempts=6, failure=Failure(6, "install", "E_COMMAND", NOW))
    assert stand(plan, view_of(out), "a", NOW).state == "failed"
    assert any(isinstance(action, Quarantine) for action in decide(plan, view_of(out), NOW).actions)


@pytest.mark.parametrize(
    "device",
    [replace(FAILED, forgiven=3), replace(FAILED, forgiven=3, spent=True), replace(FAILED, forgiven=3, confirmed=True)],
)
def test_who_was_released_is_not_put_back_for_the_same_failure(device: DeviceView) -> None:
    assert not any(isinstance(one, Quarantine) for one in decide(plan_of(["a"]), view_of(device), NOW).actions)


def test_what_a_device_took_back_itself_stays_refused() -> None:
    spent = replace(FAILED, forgiven=3, spent=True)
    assert "needs a new approval" in stand(plan_of(["a"]), view_of(spent), "a", NOW).reason


def test_quarantine_gives_the_place_of_a_silent_device_to_others() -> None:
    plan = plan_of(["a", "b"], ["strategy: {type: Direct}", "limits: {maxConcurrent: 1}"])
    silent = DeviceView(
        id="a",
        attempts=1,
        order=OpenOrder("o", 1, "accepted", NOW, True),
        unreachable_since=NOW,
        due_at=NOW + timedelta(hours=1),
    )
    assert decide(plan, view_of(silent), NOW).actions == (), "its place is held"
    given_up = replace(silent, quarantined="lost")
    assert decide(plan, view_of(given_up), NOW).actions == (Visit("b", "may start"),)
    answers = replace(given_up, unreachable_since=None, due_at=None)
    assert stand(plan, view_of(answers), "a", NOW).state == "in-flight", "what is under way is finished"
