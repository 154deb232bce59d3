"""Guard rails as people and a pass meet them: signed or not, kept or broken, set aside with a reason."""

from __future__ import annotations

import json

import pytest

from tests.cli.fleet import Answer, Fleet

POLICY = """\
apiVersion: fwctl/v1
kind: RolloutPolicy
metadata: {name: careful}
spec:
  appliesTo: {envs: [dev]}
  rules:
"""
PATH = "policies/careful.yaml"
SOAK = "    minimumSoak: 15m\n"
FREEZE = '    freezes: [{from: "2020-01-01T00:00:00Z", until: "2099-01-01T00:00:00Z", reason: holidays}]\n'
EXCEPTION = '  exceptions: [{{policy: careful, rule: {rule}, reason: "a bench, and nobody lives there"}}]\n'


def guard(fleet: Fleet, rules: str, *, signed: bool = True) -> None:
    """Commit a policy, and have it signed."""
    fleet.write(PATH, POLICY + rules)
    fleet.commit("Guard rails")
    if signed:
        fleet.ok("trust", "guard-rails")


def findings(fleet: Fleet) -> list[dict[str, str]]:
    return json.loads(fleet.run("validate", "--format", "json").stdout)["diagnostics"]  # type: ignore[no-any-return]


def codes(fleet: Fleet) -> list[str]:
    return [one["code"] for one in findings(fleet)]


def except_(fleet: Fleet, rule: str) -> None:
    path = fleet.tree / "rollouts" / "dev" / "sensors.yaml"
    path.write_text(path.read_text() + EXCEPTION.format(rule=rule))
    fleet.commit("An exception")


def test_a_policy_is_in_force_only_when_its_digest_is_signed(planned: Fleet) -> None:
    guard(planned, SOAK, signed=False)
    assert codes(planned) == ["W_GUARD_RAIL_UNSIGNED"]
    assert planned.run("validate").exit_code == 0
    assert planned.prepared().refused is None
    answer = planned.ok("trust", "guard-rails")
    assert "guard rail: + sha256:" in answer.stdout
    (found,) = findings(planned)
    assert (found["code"], found["path"]) == ("E_GUARD_RAIL", "rollouts/dev/sensors.yaml")
    assert found["message"] == "guard rail careful, minimumSoak: wave-1 soaks for 0s; at least 15m is asked for"
    assert found["remedy"] == "Set the strategy's `soak` to 15m or more."


def test_what_breaks_a_guard_rail_is_neither_approved_nor_started(planned: Fleet) -> None:
    guard(planned, SOAK)
    head = planned.git("rev-parse", "HEAD")
    answer = planned.run("approve", "sensors", "--yes")
    assert answer.exit_code == 4
    assert "E_GUARD_RAIL" in answer.stderr
    assert planned.git("rev-parse", "HEAD") == head
    refused = planned.prepared().refused
    assert refused is not None
    assert refused.code == "E_GUARD_RAIL"


def test_an_approved_rollout_is_held_when_a_guard_rail_comes_into_force(fleet: Fleet) -> None:
    guard(fleet, SOAK)
    prepared = fleet.prepared()
    assert (prepared.approved_stage, prepared.refused is None) == (0, False)
    assert "E_GUARD_RAIL: guard rail careful, minimumSoak" in fleet.run("status").stdout


def test_a27_an_edited_guard_rail_holds_everything_until_it_is_signed(planned: Fleet) -> None:
    """Loosening the file loosens nothing: the signed one is missing, and nobody knows what it would forbid."""
    guard(planned, SOAK)
    planned.write(PATH, POLICY + "    minimumSoak: 0s\n")
    planned.commit("Loosen it")
    assert sorted(codes(planned)) == ["E_GUARD_RAIL_MISSING", "W_GUARD_RAIL_UNSIGNED"]
    assert planned.run("validate").exit_code == 1
    assert planned.run("approve", "sensors", "--yes").exit_code == 4
    assert not (planned.tree / "approvals").exists()
    refused = planned.prepared().refused
    assert refused is not None
    assert refused.code == "E_GUARD_RAIL_MISSING"
    planned.ok("trust", "guard-rails")
    assert codes(planned) == []
    planned.ok("approve", "sensors", "--yes")


@pytest.mark.parametrize("gone", ["removed", "not read"])
def test_a27_a_guard_rail_that_is_taken_away_is_missed(planned: Fleet, gone: str) -> None:
    guard(planned, SOAK)
    planned.git(*(("rm", "-q", PATH) if gone == "removed" else ("mv", PATH, "policies/careful.yml")))
    planned.commit("Take it away")
    assert "E_GUARD_RAIL_MISSING" in codes(planned)
    assert planned.prepared().approved_stage == 0
    assert planned.run("approve", "sensors", "--yes").exit_code == 4


def test_an_exception_sets_one_rule_aside_and_is_part_of_what_is_approved(planned: Fleet) -> None:
    guard(planned, SOAK)
    before = planned.prepared().mandate
    except_(planned, "minimumSoak")
    (found,) = findings(planned)
    assert found["code"] == "I_GUARD_RAIL_EXCEPTION"
    assert "a bench, and nobody lives there" in found["message"]
    after = planned.prepared()
    assert after.refused is None
    assert before is not None
    assert after.mandate is not None
    assert before.id != after.mandate.id
    for words in (("plan", "sensors"), ("approve", "sensors", "--yes")):
        assert "a bench, and nobody lives there" in planned.ok(*words).stdout


def test_an_exception_of_another_rule_does_nothing_and_says_so(planned: Fleet) -> None:
    guard(planned, SOAK)
    except_(planned, "strategies")
    assert sorted(codes(planned)) == ["E_GUARD_RAIL", "W_GUARD_RAIL_EXCEPTION"]


def test_a_freeze_holds_what_is_approved_and_says_until_when(fleet: Fleet) -> None:
    guard(fleet, FREEZE)
    assert fleet.run("validate").exit_code == 0
    told = fleet.run("explain", "sensors").stdout + fleet.run("status", "sensors").stdout
    assert "guard rail careful: frozen until <time> (holidays)" in told
    assert "the freeze ends; nobody has to do anything" in told
    assert fleet.prepared().approved_stage == 1


def test_a_freeze_can_be_set_aside(planned: Fleet) -> None:
    guard(planned, FREEZE)
    except_(planned, "freezes")
    assert codes(planned) == ["I_GUARD_RAIL_EXCEPTION"]
    assert planned.prepared().guarded.freezes == ()
    (rollout,) = json.loads(planned.ok("status", "--format", "json").stdout)["rollouts"]
    assert "a bench, and nobody lives there" in rollout["setAside"][0]


def test_what_is_edited_and_not_committed_is_not_signed(planned: Fleet) -> None:
    planned.write(PATH, POLICY + SOAK)
    answer: Answer = planned.run("trust", "guard-rails")
    assert answer.exit_code == 6
    assert "E_DIRTY" in answer.stderr


def test_a_diff_tells_what_changes_in_a_guard_rail(planned: Fleet) -> None:
    guard(planned, SOAK, signed=False)
    planned.write(PATH, POLICY + "    minimumSoak: 5m\n")
    assert f"~ {PATH} (policy careful)\n    ~ rules.minimumSoak 900 -> 300" in planned.run("diff", "HEAD").stdout
