"""`init --profile production`: people on machines of their own, a plan, signatures in git, a pinned fingerprint."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest

from tests.cli.fleet import Answer, Fleet, run

PLAN = """\
apiVersion: fwctl/v1
kind: Trust
spec:
  people:
    alice: [alice.pub.json]
    bob: [bob.pub.json]
    carol: [carol.pub.json]
    dave: [dave.pub.json]
  groups:
    release-managers: [alice, bob, carol]
    security: [dave]
    engineers: [carol]
  root: {people: [alice, bob, dave], threshold: 2}
  targets: {people: [alice, bob, dave], threshold: 2}
  policy: {people: [alice, bob, dave], threshold: 2}
  approvals:
    - {paths: "rollouts/**", group: release-managers, threshold: 2}
    - {paths: "rollouts/**", group: security, threshold: 1, stage: 2}
  releases: {"*": {group: engineers, threshold: 1}}
"""
PEOPLE = ("alice", "bob", "carol", "dave")


class Team:
    """One repository; every person has a config folder of their own, as on another machine."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.tree = folder, folder / "fleet"
        self.fleet = Fleet(folder)

    def run(self, who: str, *words: str | Path) -> Answer:
        where = {"--repo": self.tree, "--config-dir": self.folder / who, "--state-dir": self.folder / f"{who}-state"}
        options = [text for name, path in where.items() for text in (name, str(path))]
        return run(*words, options=options, folder=self.folder)

    def ok(self, who: str, *words: str | Path) -> Answer:
        answer = self.run(who, *words)
        assert answer.exit_code == 0, str(answer)
        return answer

    def init(self, who: str = "reconciler") -> Answer:
        return self.run(who, "init", self.tree, "--repo-id", "acme", "--profile", "production")

    def keys(self, *people: str) -> None:
        for name in people or PEOPLE:
            self.ok(name, "keys", "generate", name, "--fleet", "acme", "--unencrypted")
            self.ok(name, "keys", "export", name, "--fleet", "acme", "--out", self.tree / f"{name}.pub.json")

    def plan(self, text: str = PLAN) -> None:
        (self.tree / "trust.yaml").write_text(text)

    def proposed(self) -> Answer:
        self.tree.mkdir()
        self.keys()
        self.plan()
        return self.init()

    def founded(self) -> str:
        """Return the first root's fingerprint, from a trust that alice and bob have signed."""
        self.proposed()
        self.ok("alice", "trust", "sign", "--as", "alice")
        self.ok("bob", "trust", "sign", "--as", "bob")
        return hashlib.sha256((self.tree / "trust/1.root.json").read_bytes()).hexdigest()


@pytest.fixture
def team(tmp_path: Path) -> Team:
    return Team(tmp_path)


def test_without_a_plan_it_writes_one_that_is_refused_until_it_is_filled_in(team: Team) -> None:
    first = team.init()
    assert (first.exit_code, "a plan of who may say what" in first.stdout) == (0, True), str(first)
    assert "fwctl init <folder>/fleet --repo-id acme --profile production" in first.stderr
    again = team.init()
    assert again.exit_code == 1
    assert "alice.pub.json" in again.stdout
    assert "trust.yaml:8:" in again.stdout
    assert not (team.tree / "trust").exists()


def test_two_of_three_sign_the_first_trust_and_the_others_pin_its_fingerprint(team: Team) -> None:
    proposed = team.proposed()
    assert proposed.exit_code == 0, str(proposed)
    assert "nobody trusts it before it is signed" in proposed.stdout
    assert not (team.tree / "trust/1.root.json").exists()
    half = team.ok("alice", "trust", "sign", "--as", "alice")
    assert "fwctl trust sign --as bob" in half.stderr
    assert not (team.tree / "trust/1.root.json").exists(), "one of two is not enough"
    team.ok("bob", "trust", "sign", "--as", "bob")
    root = (team.tree / "trust/1.root.json").read_bytes()
    assert (team.folder / "bob/acme/root.json").read_bytes() == root, "who completed it has pinned it"
    team.ok("carol", "trust", "pin", "--fingerprint", hashlib.sha256(root).hexdigest())
    assert "root     1" in team.ok("carol", "trust", "status").stdout
    assert team.init("bob").exit_code == 0, "it stands"
    policy = json.loads((team.tree / "trust/policy/policy.json").read_text())
    assert len(policy["deviceCas"]) == 1, "evidence stands on the root alone"
    assert not list((team.folder / "carol/acme/keys").glob("reconciler*")), "the reconciler's keys are elsewhere"
    assert (team.folder / "reconciler/acme/keys/reconciler-order.pem").exists()


def test_a_root_is_pinned_only_by_its_whole_fingerprint_and_never_replaced(team: Team) -> None:
    right = team.founded()
    pinned = team.folder / "carol/acme/root.json"
    for wrong in ("0" * 64, right[:16], right[:-1], ""):
        refused = team.run("carol", "trust", "pin", "--fingerprint", wrong)
        assert (refused.exit_code, "E_PIN" in refused.stderr, pinned.exists()) == (4, True, False), str(refused)
    team.ok("carol", "trust", "pin", "--fingerprint", right.upper())
    other = team.folder / "other.json"
    other.write_bytes(pinned.read_bytes() + b"\n")
    digest = hashlib.sha256(other.read_bytes()).hexdigest()
    kept = team.run("carol", "trust", "pin", other, "--fingerprint", digest)
    assert (kept.exit_code, "E_TRUST_EXISTS" in kept.stderr) == (3, True), str(kept)
    assert hashlib.sha256(pinned.read_bytes()).hexdigest() == right


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("groups:", "group:", "E_SCHEMA"),
        ("security: [dave]", "security: [eve]", "E_TRUST_PLAN"),
        ("[alice, bob, carol]", "[alice, bob, bob]", "E_TRUST_PLAN"),
        ("root: {people: [alice, bob, dave], threshold: 2}", "root: {people: [alice], threshold: 2}", "E_TRUST_PLAN"),
        ("group: security, threshold: 1", "group: security, threshold: 2", "E_TRUST_PLAN"),
        ("group: security", "group: nobody", "E_TRUST_PLAN"),
        ("dave: [dave.pub.json]", "dave: [alice.pub.json]", "E_KEY_DUPLICATE"),
        ("dave: [dave.pub.json]", "dave: [dave.pub.json, dave.pub.json]", "E_KEY_DUPLICATE"),
        ("dave: [dave.pub.json]", "dave: []", "E_SCHEMA"),
        ("dave: [dave.pub.json]", "dave: [none.pub.json]", "E_NO_FILE"),
        ("threshold: 1}}", "threshold: yes}}", "E_"),
        ("spec:", "spec: &a", "E_YAML_ALIAS"),
        (
            'releases: {"*"',
            'reconciler: {order: bob.pub.json, freshness: carol.pub.json}\n  releases: {"*"',
            "E_KEY_DUPLICATE",
        ),
    ],
)
def test_a03_a_plan_that_cannot_be_is_refused_with_its_place_and_nothing_is_made(
    team: Team, old: str, new: str, code: str
) -> None:
    team.tree.mkdir()
    team.keys()
    assert old in PLAN
    team.plan(PLAN.replace(old, new, 1))
    answer = team.init()
    assert answer.exit_code == 1, str(answer)
    assert code in answer.stdout
    assert "trust.yaml:" in answer.stdout
    assert not (team.tree / "trust").exists()
    assert not (team.folder / "reconciler/acme/keys").exists()
    assert not (team.folder / "reconciler/acme/pki").exists()


def test_keys_of_a_reconciler_elsewhere_are_taken_from_their_files(team: Team) -> None:
    team.tree.mkdir()
    team.keys()
    for name in ("order", "freshness"):
        team.ok("machine", "keys", "generate", f"reconciler-{name}", "--fleet", "acme", "--unencrypted")
        out = team.tree / f"{name}.pub.json"
        team.ok("machine", "keys", "export", f"reconciler-{name}", "--fleet", "acme", "--out", out)
    team.plan(PLAN + "  reconciler: {order: order.pub.json, freshness: freshness.pub.json}\n")
    assert team.init("alice").exit_code == 0
    assert [path.name for path in (team.folder / "alice/acme/keys").glob("*.pem")] == ["alice.pem"]
    policy = json.loads((team.tree / "trust/proposal/policy/policy.json").read_text())
    told = json.loads((team.tree / "order.pub.json").read_text())
    assert [one["keyval"] for one in policy["orderKeys"]] == [told["keyval"]]


def test_two_managers_approve_and_security_for_the_second_stage(team: Team) -> None:
    """`trust status` names who signed and who is missing, for both quorums and both stages."""
    right = team.founded()
    for name in ("alice", "carol", "dave"):
        if not (team.folder / name / "acme/root.json").exists():
            team.ok(name, "trust", "pin", "--fingerprint", right)
    devices = "".join(f'    - {{id: unit-{at:02}, address: "127.0.0.1:9"}}\n' for at in range(1, 11))
    head = "apiVersion: fwctl/v1\nkind: DeviceInventory\nspec:\n"
    head += "  defaults: {model: sensor-v1, hardware: rev-a, env: prod}\n  devices:\n"
    team.fleet.write("devices/units.yaml", head + devices)
    (team.folder / "app.bin").write_bytes(b"firmware " * 100)
    add = ("firmware", "add", team.folder / "app.bin", "--model", "sensor-v1", "--version", "2.5.0", "--as", "carol")
    team.ok("carol", *add)
    team.fleet.write(
        "rollouts/prod/sensors.yaml",
        "apiVersion: fwctl/v1\nkind: Rollout\nmetadata: {name: sensors}\nspec:\n"
        '  firmware: {model: sensor-v1, version: "2.5.0"}\n  targets: {all: true}\n'
        "  strategy: {type: Canary, initialPercentage: 20, increments: [100], approvalBefore: [wave-2]}\n",
    )
    team.ok("alice", "plan", "sensors", "--lock")
    team.fleet.commit("A canary")
    seen = []
    for who in (None, "alice", "bob", "dave"):
        if who:
            team.ok(who, "approve", "sensors", "--yes")
        line = json.loads(team.ok("alice", "trust", "status", "--format", "json").stdout)["approvals"][0]
        missing = [(one["stage"], one["group"], one["have"]) for one in line["missing"]]
        seen.append((line["approvedStage"], missing, line["command"]))
    assert seen == [
        (
            0,
            [(1, "release-managers", 0), (2, "release-managers", 0), (2, "security", 0)],
            "fwctl approve prod/sensors --as alice",
        ),
        (
            0,
            [(1, "release-managers", 1), (2, "release-managers", 1), (2, "security", 0)],
            "fwctl approve prod/sensors --as bob",
        ),
        (1, [(2, "security", 0)], "fwctl approve prod/sensors --as dave"),
        (2, [], None),
    ]
    text = team.ok("alice", "trust", "status").stdout
    assert re.search(r"Rollout prod/sensors: approved\n", text)
    lint = team.ok("alice", "trust", "lint").stdout
    assert "W_SAME_PERSON" in lint
    assert "carol may both release sensor-v1 and approve" in lint
