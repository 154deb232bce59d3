"""Changing trust by commands: one person completes at once; people on several machines meet in git."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from securesystemslib.signer import CryptoSigner
from syrupy.assertion import SnapshotAssertion

from fwctl.trust.proposal import new_trust
from fwctl.trust.public_key import PublicKeyFile
from fwctl.trust.repository import RolePlan, TrustPlan, development_policy
from tests.cli.fleet import ENVIRONMENT, Fleet, subprocess_run


def export(folder: Path, person: str, signer: CryptoSigner) -> Path:
    """Write the file that a person hands on."""
    path = folder / f"{person}.pub.json"
    path.write_bytes(PublicKeyFile(person, signer.public_key).to_bytes())
    return path


def keep(fleet: Fleet, name: str, signer: CryptoSigner) -> None:
    path = fleet.folder / "config" / "acme" / "keys" / f"{name}.pem"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(signer.private_bytes)
    path.chmod(0o600)


def policy(fleet: Fleet) -> Any:
    return json.loads((fleet.tree / "trust/policy/policy.json").read_text())


def head(fleet: Fleet) -> str:
    return fleet.git("rev-parse", "HEAD").strip()


def trust_of(fleet: Fleet) -> dict[str, str]:
    """Return the trusted files of HEAD; the proposal is none of them."""
    names = fleet.git("ls-tree", "-r", "--name-only", "HEAD", "trust").split()
    return {name: fleet.git("show", f"HEAD:{name}") for name in names if not name.startswith("trust/proposal/")}


def versions(fleet: Fleet) -> dict[str, int]:
    answer = json.loads(fleet.ok("trust", "status", "--format", "json").stdout)
    return {role["role"]: role["version"] for role in answer["roles"]}


def another_machine(fleet: Fleet, folder: Path, name: str, signer: CryptoSigner) -> Fleet:
    """Return a clone with the key of one person, who has pinned the fleet's first root."""
    other = Fleet(folder)
    folder.mkdir(parents=True)
    subprocess.run(["git", "clone", "-q", str(fleet.tree), str(other.tree)], check=True, env=os.environ | ENVIRONMENT)
    keep(other, name, signer)
    shutil.copy(other.tree / "trust/1.root.json", folder / "config/acme/root.json")
    return other


@pytest.fixture
def bob() -> CryptoSigner:
    return CryptoSigner.generate_ed25519()


@pytest.fixture
def shared(planned: Fleet, tmp_path: Path, bob: CryptoSigner) -> Fleet:
    """A fleet whose root, targets and policy need alice and bob; this machine is alice's."""
    key = export(tmp_path, "bob", bob)
    roles = ("--role", "root", "--role", "targets", "--role", "policy")
    planned.ok("trust", "add-key", "bob", key, "--group", "owners", *roles)
    keep(planned, "bob", bob)
    planned.ok("trust", "rotate-root", "--threshold", "2", "--as", "alice")
    planned.ok("trust", "sign", "--as", "bob")
    (planned.folder / "config/acme/keys/bob.pem").unlink()
    return planned


def test_one_person_completes_a_change_at_once(
    planned: Fleet, tmp_path: Path, bob: CryptoSigner, snapshot: SnapshotAssertion
) -> None:
    before, key = head(planned), export(tmp_path, "bob", bob)
    answer = planned.ok("trust", "add-key", "bob", key, "--group", "owners")
    assert answer.stdout.replace(bob.public_key.keyid[:16], "<key>") == snapshot
    assert planned.git("rev-parse", "HEAD^").strip() == before
    assert planned.git("status", "--porcelain") == ""
    assert policy(planned)["groups"]["owners"] == ["alice", "bob"]
    assert versions(planned) == {"root": 1, "targets": 1, "policy": 2}
    after = head(planned)
    assert "it is so already" in planned.ok("trust", "add-key", "bob", key, "--group", "owners").stdout
    assert head(planned) == after


def test_what_a_person_sees_of_an_open_change(
    planned: Fleet, tmp_path: Path, bob: CryptoSigner, snapshot: SnapshotAssertion
) -> None:
    def masked(text: str) -> str:
        return text.replace(bob.public_key.keyid[:16], "<key>").replace(str(tmp_path), "<tmp>")

    key = export(tmp_path, "bob", bob)
    answer = planned.ok("trust", "rotate-root", "--add", key, "--threshold", "2")
    assert masked(str(answer)) == snapshot(name="proposed")
    for format_ in ("text", "json", "markdown"):
        assert masked(str(planned.ok("trust", "status", "--format", format_))) == snapshot(name=format_)
    keep(planned, "bob", bob)
    assert masked(str(planned.ok("trust", "sign", "--as", "bob", "--format", "json"))) == snapshot(name="changed")


def test_two_people_on_two_machines(shared: Fleet, tmp_path: Path, bob: CryptoSigner) -> None:
    assert versions(shared) == {"root": 3, "targets": 2, "policy": 2}
    other = another_machine(shared, tmp_path / "bobs", "bob", bob)
    before = trust_of(shared)
    answer = shared.ok("trust", "renew", "root")
    assert "fwctl trust sign --as bob" in answer.stderr
    assert trust_of(shared) == before
    shared.ok("validate")
    other.git("pull", "-q")
    other.ok("trust", "sign")
    assert versions(other)["root"] == 4
    assert other.git("ls-tree", "-r", "--name-only", "HEAD", "trust/proposal") == ""
    assert other.git("status", "--porcelain") == ""


def test_one_proposal_gathers_what_one_person_changes(planned: Fleet, tmp_path: Path, bob: CryptoSigner) -> None:
    """As docs/how-to/add-a-second-signer.md has it: two of two for all three roles, completed by the second person."""
    key = export(tmp_path, "bob", bob)
    planned.ok("trust", "add-key", "bob", key, "--role", "root", "--role", "targets", "--role", "policy")
    for role in ("root", "targets", "policy"):
        planned.ok("trust", "threshold", role, "2")
    assert proposed(planned) == {"3.root.json", "targets.json", "policy.json"}
    other = another_machine(planned, tmp_path / "bobs", "bob", bob)
    other.ok("trust", "sign")
    assert versions(other) == {"root": 3, "targets": 3, "policy": 2}
    assert json.loads(other.ok("trust", "status", "--format", "json").stdout)["proposal"] is None


def test_a_first_trust_is_completed_and_pinned_by_its_signers(planned: Fleet, tmp_path: Path) -> None:
    """Nobody has a pinned root before there is one: whoever signs the first root and completes it pins it."""
    alice, bob = CryptoSigner.generate_ed25519(), CryptoSigner.generate_ed25519()
    people = {"alice": alice.public_key, "bob": bob.public_key}
    machines = [CryptoSigner.generate_ed25519().public_key for _ in range(2)]
    first = TrustPlan(
        RolePlan(people, 2),
        RolePlan(people, 2),
        RolePlan(people, 2),
        machines[0],
        development_policy(repo_id="acme", people=people, order_key=machines[1]),
    )
    shutil.rmtree(planned.folder / "config")
    shutil.rmtree(planned.tree / "trust")
    for path, data in new_trust(first, now=datetime.now(UTC)).items():
        planned.write(path, data.decode())
    planned.commit("Propose the first trust")
    for format_ in ("text", "json", "markdown"):
        answer = planned.ok("trust", "status", "--format", format_)
        assert "1.root.json" in answer.stdout
        assert "fwctl trust sign --as alice" in answer.stderr
    keep(planned, "alice", alice)
    planned.ok("trust", "sign")
    answer = planned.run("trust", "floor", "sensor-v1", "1")
    assert (answer.exit_code, "E_PROPOSAL_OPEN" in answer.stderr) == (6, True), str(answer)
    assert not (planned.folder / "config/acme/root.json").exists()
    keep(planned, "bob", bob)
    assert "pinned" in planned.ok("trust", "sign", "--as", "bob").stdout
    assert (planned.folder / "config/acme/root.json").read_bytes() == (planned.tree / "trust/1.root.json").read_bytes()
    assert versions(planned) == {"root": 1, "targets": 1, "policy": 1}


def test_signatures_on_two_branches_never_conflict(shared: Fleet, tmp_path: Path, bob: CryptoSigner) -> None:
    carol = CryptoSigner.generate_ed25519()
    keep(shared, "bob", bob)
    shared.ok("trust", "rotate-root", "--add", export(tmp_path, "carol", carol), "--threshold", "3", "--as", "alice")
    shared.git("branch", "carols")
    shared.ok("trust", "sign", "--as", "bob")
    shared.git("checkout", "-q", "carols")
    keep(shared, "carol", carol)
    shared.ok("trust", "sign", "--as", "carol")
    shared.git("merge", "-q", "--no-edit", "main" if "main" in shared.git("branch") else "master")
    # all three signatures are there; whoever comes next completes it
    answer = shared.ok("trust", "sign", "--as", "alice")
    assert (versions(shared)["root"], "The trust is changed" in answer.stdout) == (4, True)


def test_a_change_made_on_two_branches_is_stale_on_one(shared: Fleet, bob: CryptoSigner) -> None:
    keep(shared, "bob", bob)
    shared.git("branch", "other")
    shared.ok("trust", "renew", "root", "--as", "alice")
    shared.ok("trust", "sign", "--as", "bob")
    main = shared.git("branch", "--show-current").strip()
    shared.git("checkout", "-q", "other")
    shared.ok("trust", "rotate-root", "--threshold", "1", "--as", "alice")
    shared.git("merge", "-q", "--no-edit", main)
    before = trust_of(shared)
    for words in (("sign", "--as", "bob"), ("renew", "root", "--as", "alice")):
        answer = shared.run("trust", *words)
        assert (answer.exit_code, "E_PROPOSAL_STALE" in answer.stderr) == (6, True), str(answer)
    assert "E_PROPOSAL_STALE" in shared.ok("trust", "status").stdout
    assert trust_of(shared) == before
    shared.ok("trust", "drop", "--reason", "made twice")
    shared.ok("trust", "renew", "root", "--as", "alice")


def test_what_others_signed_is_not_amended(shared: Fleet, tmp_path: Path, bob: CryptoSigner) -> None:
    other = another_machine(shared, tmp_path / "bobs", "bob", bob)
    shared.ok("trust", "renew", "root")
    other.git("pull", "-q")
    commit = head(other)
    answer = other.run("trust", "rotate-root", "--threshold", "1")
    assert (answer.exit_code, "E_PROPOSAL_OPEN" in answer.stderr, "alice" in answer.stderr) == (6, True, True)
    assert head(other) == commit
    # alice may: nobody else signed
    shared.ok("trust", "rotate-root", "--threshold", "1")
    assert "needs 2 of 2 -> 1 of 2" in shared.ok("trust", "status").stdout


def proposed(fleet: Fleet) -> set[str]:
    answer = json.loads(fleet.ok("trust", "status", "--format", "json").stdout)
    return {need["file"] for need in answer["proposal"]["needs"]}


@pytest.mark.parametrize(
    ("role", "files"),
    [
        ("root", {"4.root.json"}),
        ("targets", {"4.root.json", "targets.json"}),
        ("policy", {"targets.json", "policy.json"}),
    ],
)
def test_only_what_a_threshold_touches_is_signed_again(shared: Fleet, role: str, files: set[str]) -> None:
    """A file whose signatures are not enough any more is signed again; nothing else is."""
    before = trust_of(shared)
    shared.ok("trust", "threshold", role, "1" if role == "root" else "2")
    assert proposed(shared) == files
    assert trust_of(shared) == before


def test_an_amendment_that_takes_everything_back(shared: Fleet) -> None:
    shared.ok("trust", "rotate-root", "--threshold", "1")
    assert "taken away" in shared.ok("trust", "rotate-root", "--threshold", "2").stdout
    answer = shared.run("trust", "sign")
    assert (answer.exit_code, "E_NO_PROPOSAL" in answer.stderr) == (3, True)


def test_a24_a_revoked_approver_counts_no_more(planned: Fleet, tmp_path: Path, bob: CryptoSigner) -> None:
    planned.ok("trust", "add-key", "bob", export(tmp_path, "bob", bob), "--group", "owners")
    keep(planned, "bob", bob)
    planned.ok("approve", "sensors", "--yes", "--as", "bob")
    assert planned.prepared().approved_stage == 1
    planned.ok("trust", "revoke", "bob", "--as", "alice")
    assert planned.prepared().approved_stage == 0
    answer = planned.ok("trust", "status")
    assert "not approved, 0 of 1" in answer.stdout
    assert planned.run("approve", "sensors", "--yes", "--as", "bob").exit_code == 4


def test_only_one_key_of_a_person_is_revoked(planned: Fleet, tmp_path: Path, bob: CryptoSigner) -> None:
    second = CryptoSigner.generate_ed25519()
    for signer in (bob, second):
        planned.ok("trust", "add-key", "bob", export(tmp_path, "bob", signer), "--group", "owners")
    planned.ok("trust", "revoke", "bob", "--key", bob.public_key.keyid[:12])
    (left,) = policy(planned)["people"]["bob"]["keys"]
    assert left["keyval"] == second.public_key.keyval
    assert policy(planned)["groups"]["owners"] == ["alice", "bob"]


def test_floors_withdrawals_and_any_edit(planned: Fleet, tmp_path: Path) -> None:
    planned.ok("trust", "floor", "sensor-v1", "3")
    assert policy(planned)["floors"] == {"sensor-v1": 3}
    planned.ok("trust", "withdraw", "sensor-v1@2.5.0", "--reason", "it overheats")
    (digest,) = policy(planned)["withdrawn"]
    assert digest == planned.prepared().plan.release.digest
    assert "it overheats" in planned.git("log", "-1", "--format=%s")
    assert "E_WITHDRAWN" in planned.prepared().not_approved
    edited = policy(planned) | {"maxApprovalDays": 7}
    (tmp_path / "new.json").write_text(json.dumps(edited))
    assert "90 -> 7" in planned.ok("trust", "policy", tmp_path / "new.json").stdout
    # the file itself may be what was edited
    planned.write("trust/policy/policy.json", json.dumps(edited | {"maxApprovalDays": 8}))
    planned.ok("trust", "policy", planned.tree / "trust/policy/policy.json")
    assert (policy(planned)["maxApprovalDays"], planned.git("status", "--porcelain")) == (8, "")


def refusals() -> list[tuple[str, tuple[str, ...], int, str]]:
    return [
        ("a floor that goes down", ("floor", "sensor-v1", "1"), 2, "E_FLOOR_DOWN"),
        ("no such person", ("revoke", "mallory"), 2, "E_NO_PERSON"),
        ("no such key", ("revoke", "alice", "--key", "0" * 12), 2, "E_NO_PERSON"),
        ("no key id", ("revoke", "alice", "--key", "xyz"), 2, "E_USAGE"),
        ("nobody left", ("revoke", "alice"), 2, "E_THRESHOLD"),
        ("nobody left for the root", ("rotate-root", "--remove", "alice"), 2, "E_THRESHOLD"),
        ("a threshold above the keys", ("rotate-root", "--threshold", "2"), 2, "E_THRESHOLD"),
        ("a threshold of a role above the keys", ("threshold", "policy", "2"), 2, "E_THRESHOLD"),
        ("nothing to rotate", ("rotate-root",), 2, "E_USAGE"),
        ("no such firmware", ("withdraw", "sensor-v1@9.9", "--reason", "x"), 3, "E_NO_FIRMWARE"),
        ("no reason", ("withdraw", "sensor-v1@2.5.0", "--reason", " "), 2, "E_REASON"),
        ("no such file", ("policy", "/none"), 3, "E_NO_FILE"),
        ("nothing to sign", ("sign",), 3, "E_NO_PROPOSAL"),
        ("nothing to drop", ("drop", "--reason", "x"), 3, "E_NO_PROPOSAL"),
        ("not a signer", ("renew", "--as", "mallory"), 4, "E_NOT_SIGNER"),
    ]


def test_refusals_change_nothing(planned: Fleet, snapshot: SnapshotAssertion) -> None:
    planned.ok("trust", "floor", "sensor-v1", "2")
    commit = head(planned)
    for what, words, code, name in refusals():
        answer = planned.run("trust", *words)
        assert (answer.exit_code, f"[{name}]" in answer.stderr) == (code, True), f"{what}: {answer}"
        assert (head(planned), planned.git("status", "--porcelain")) == (commit, ""), what
        assert answer.stderr == snapshot(name=what)


@pytest.mark.parametrize("where", ["group", "holder", "private"])
def test_keys_that_are_not_added(planned: Fleet, tmp_path: Path, bob: CryptoSigner, where: str) -> None:
    key = export(tmp_path, "bob", bob)
    private = tmp_path / "mine.pem"
    private.write_bytes(bob.private_bytes)
    words, code = {
        "group": (("bob", key, "--group", "nobody"), "E_NO_GROUP"),
        "holder": (("carol", key), "E_KEY_HOLDER"),
        "private": (("bob", private), "E_KEY_FILE"),
    }[where]
    answer = planned.run("trust", "add-key", *words)
    assert (answer.exit_code in (2, 3), f"[{code}]" in answer.stderr) == (True, True), str(answer)


def test_a03_one_key_for_two_people(planned: Fleet, tmp_path: Path) -> None:
    signer = CryptoSigner.generate_ed25519()
    planned.ok("trust", "add-key", "bob", export(tmp_path, "bob", signer))
    commit = head(planned)
    answer = planned.run("trust", "add-key", "carol", export(tmp_path, "carol", signer))
    assert "E_KEY_DUPLICATE" in answer.stderr
    assert (answer.exit_code, head(planned)) == (3, commit)


@pytest.mark.parametrize("role", ["root", "targets", "policy"])
def test_a_machines_key_does_not_sign_for_people(planned: Fleet, tmp_path: Path, role: str) -> None:
    keys = planned.folder / "config/acme/keys"
    for name in ("reconciler-order", "reconciler-freshness"):
        signer = CryptoSigner(load_pem_private_key((keys / f"{name}.pem").read_bytes(), None))
        answer = planned.run("trust", "add-key", "eve", export(tmp_path, "eve", signer), "--role", role)
        assert (answer.exit_code, "E_KEY_DUPLICATE" in answer.stderr) == (4, True), str(answer)


def test_edited_trust_is_not_overwritten(planned: Fleet) -> None:
    planned.write("trust/targets.json", "{}")
    answer = planned.run("trust", "renew")
    assert (answer.exit_code, "E_DIRTY" in answer.stderr) == (6, True)
    assert (planned.tree / "trust/targets.json").read_text() == "{}"


def test_garbage_as_a_proposal_is_named_and_can_be_dropped(planned: Fleet) -> None:
    for path, data in {"targets.json": "{}", "x.json": "{}", "9.root.json": "[]", "policy.json": "\x00"}.items():
        planned.write(f"trust/proposal/{path}", data)
        planned.commit()
        answer = planned.run("trust", "sign")
        assert (answer.exit_code, "E_PROPOSAL_INVALID" in answer.stderr) == (3, True), str(answer)
        assert "E_PROPOSAL_INVALID" in planned.ok("trust", "status").stdout
        planned.ok("validate")
        planned.ok("trust", "drop", "--reason", "garbage")
        assert not (planned.tree / "trust/proposal").exists()


def test_two_people_on_one_machine_say_who_they_are(shared: Fleet, bob: CryptoSigner) -> None:
    keep(shared, "bob", bob)
    commit = head(shared)
    answer = shared.run("trust", "renew")
    assert (answer.exit_code, "--as alice or --as bob" in answer.stderr) == (2, True)
    assert head(shared) == commit


KILLED = """
import os, signal
count = 0
def stop(*_):
    global count
    count += 1
    if count == {number}:
        os.kill(os.getpid(), signal.SIGKILL)
for name in ("rename", "unlink"):
    def wrapped(*args, _real=getattr(os, name), **more):
        stop()
        result = _real(*args, **more)
        return result
    setattr(os, name, wrapped)
import fwctl.gitrepo.commit as commit
real = commit.run
def run(*args, **more):
    stop()
    return real(*args, **more)
commit.run = run
"""


def test_r22_killed_anywhere_the_old_trust_stands(shared: Fleet, tmp_path: Path, bob: CryptoSigner) -> None:
    """Before each file, each removal and each git command; then the tree is put back as it says, and it is done."""
    keep(shared, "bob", bob)
    shared.ok("trust", "renew", "--as", "alice")
    before, number, killed = trust_of(shared), 0, 0
    while True:
        number += 1
        work = shared.copy(tmp_path / f"kill-{number}")
        done = subprocess_run(*work.options, "trust", "sign", "--as", "bob", before=KILLED.format(number=number))
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        killed += 1
        landed = trust_of(work) != before
        if not landed:
            answer = work.run("trust", "sign", "--as", "bob")
            if answer.exit_code == 6:
                assert "git checkout HEAD -- trust; git clean -fd trust" in answer.stderr
                work.git("checkout", "HEAD", "--", "trust")
                work.git("clean", "-qfd", "trust")
                answer = work.run("trust", "sign", "--as", "bob")
            assert answer.exit_code == 0, str(answer)
        assert versions(work) == {"root": 4, "targets": 3, "policy": 3}
        shutil.rmtree(work.folder)
    assert killed > 8, "it was killed at many places"


def test_the_pinned_root_stays_and_is_walked_from(planned: Fleet) -> None:
    pinned = (planned.folder / "config/acme/root.json").read_text()
    for _ in range(5):
        planned.ok("trust", "renew", "root")
    assert versions(planned)["root"] == 6
    assert (planned.folder / "config/acme/root.json").read_text() == pinned
    planned.ok("approve", "sensors", "--yes")
