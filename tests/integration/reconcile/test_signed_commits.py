"""Signed commits through the whole command line and a real agent: what is not validly signed changes nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.committers import Forge, SshKey, signature_of, tool
from tests.support.people import change_policy
from tests.support.world import IDENTITY, World, firmware

pytestmark = pytest.mark.e2e

DEVICE = "device-001"


class Signed:
    """A fleet of one real agent whose policy demands signed commits. It runs 2.5.0; 2.6.0 is approved, not applied."""

    def __init__(self, world: World, mode: str) -> None:
        self.world = world
        self.alice = SshKey.make(world.folder / "keys", "alice")
        self.mallory = SshKey.make(world.folder / "keys", "mallory")
        world.init(pass_interval="1s")
        world.enroll(DEVICE)
        self.forge = Forge(world.repo, env=IDENTITY)
        self.sign_as(self.alice)
        self.demand(mode, self.alice.line())
        world.agent(DEVICE)
        world.release(firmware("old"), "2.5.0")
        self.applied = str(world.reconciled("--new-ledger")["commit"])
        world.release(firmware("new"), "2.6.0")
        self.good = self.forge.head

    def sign_as(self, key: SshKey | None) -> None:
        """Set whether and with what this clone signs; fwctl's own commits follow it."""
        self.world.git("config", "commit.gpgSign", "true" if key else "false")
        if key:
            self.world.git("config", "gpg.format", "ssh")
            self.world.git("config", "user.signingKey", str(key.path))

    def demand(self, mode: str, *lines: str, keys: tuple[str, ...] = ()) -> None:
        def edit(policy: dict[str, Any]) -> None:
            policy.update(gitVerify=mode, gitSigners=list(lines), gitKeys=list(keys))

        change_policy(self.world, edit)

    def facts(self) -> dict[str, Any]:
        """Return what must stay as it is: the device, its slots, the ledger's orders, what was applied."""
        with self.world.ledger() as ledger:
            applied, orders = ledger.meta("last_applied_commit"), list(ledger.orders())
        return {
            "applied": applied,
            "orders": orders,
            "journal": self.world.journal(DEVICE),
            "image": self.world.active_bytes(DEVICE),
        }

    def refused(self, code: str = "E_GIT_SIG", exit_code: int = 4) -> str:
        """Run a pass that must change nothing; return what it said."""
        before = self.facts()
        ran = self.world.once()
        assert (ran.code, code in ran.err) == (exit_code, True), ran.text
        assert self.facts() == before
        return ran.err


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[[str], Signed]]:
    with World(tmp_path) as world:
        yield lambda mode: Signed(world, mode)


def unsigned(fleet: Signed) -> None:
    fleet.forge.commit(subject="unsigned")


def unknown(fleet: Signed) -> None:
    fleet.forge.commit(fleet.mallory, subject="by somebody else")


def other_namespace(fleet: Signed) -> None:
    payload = fleet.forge.payload()
    fleet.forge.write(payload, fleet.alice.sign(payload, namespace="file"))


def copied(fleet: Signed) -> None:
    raw = fleet.forge.git("cat-file", "commit", fleet.good).encode()
    fleet.forge.write(fleet.forge.payload(), signature_of(raw))


def signed_tag(fleet: Signed) -> None:
    fleet.forge.commit(subject="unsigned")
    fleet.forge.git(*fleet.alice.settings, "tag", "-s", "-m", "signed", "v1")


def replaced(fleet: Signed) -> None:
    evil = fleet.forge.commit(fleet.mallory)
    fleet.forge.git("update-ref", f"refs/replace/{evil}", fleet.good)


def with_an_approvers_key(fleet: Signed) -> None:
    """Alice's key for approvals is in the policy, and yet says nothing about commits."""
    from cryptography.hazmat.primitives import serialization

    pem = fleet.world.keystore.key_path("alice").read_bytes()
    key = serialization.load_pem_private_key(pem, None)
    path = fleet.world.folder / "keys" / "approver"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption())
    )
    path.chmod(0o600)
    path.with_suffix(".pub").write_bytes(tool("ssh-keygen", "-y", "-f", path))
    fleet.forge.commit(SshKey(path), subject="signed with the key for approvals")


def signers_in_the_commit(fleet: Signed) -> None:
    """The policy file, edited but not signed: the trust of the commit is refused before anything else."""
    for name in ("allowed_signers", ".git-signers", "docs/allowed_signers"):
        (fleet.world.repo / name).parent.mkdir(exist_ok=True)
        (fleet.world.repo / name).write_text(fleet.mallory.line() + "\n")
    fleet.forge.git("config", "gpg.ssh.allowedSignersFile", str(fleet.world.repo / "allowed_signers"))
    fleet.forge.commit(fleet.mallory)


def test_a28_no_pass_acts_on_a_commit_that_is_not_validly_signed(make: Callable[[str], Signed]) -> None:
    fleet = make("head")
    attacks = (unsigned, unknown, other_namespace, copied, signed_tag, replaced, with_an_approvers_key)
    for attack in (*attacks, signers_in_the_commit):
        attack(fleet)
        said = fleet.refused()
        assert fleet.forge.head[:12] in said, attack.__name__
        assert "alice@example.org may sign" in said
        shown = fleet.world.run("status")
        assert "is not validly signed" in shown.err, shown.text
        fleet.forge.git("reset", "-q", "--hard", fleet.good)
    fleet.forge.commit(fleet.alice, subject="signed by Alice")
    assert "is signed by alice@example.org" in fleet.world.fwctl("plan").err
    fleet.world.reconciled()
    assert fleet.world.active_bytes(DEVICE) == firmware("new")


def test_a28_strict_is_about_every_commit_and_a_work_tree_about_none(make: Callable[[str], Signed]) -> None:
    fleet = make("strict")
    hidden = fleet.forge.commit(fleet.mallory, subject="hidden")
    fleet.forge.commit(fleet.alice, subject="on top")
    assert hidden[:12] in fleet.refused()
    found = fleet.world.run("validate", "--against", fleet.good, "--format", "json")
    assert [one["code"] for one in json.loads(found.out)["diagnostics"]] == ["E_GIT_SIG"], found.text
    assert found.code == 1
    before = fleet.facts()
    tried = fleet.world.once("--work-tree")
    assert (tried.code, "a work tree is not signed" in tried.err) == (4, True), tried.text
    at_once = fleet.world.run("pause", "sensors", "--reason", "test", "--now")
    assert (at_once.code, "E_GIT_SIG" in at_once.err) == (4, True), at_once.text
    assert fleet.facts() == before


def test_a28_a_signer_whom_the_policy_no_longer_names_is_refused(make: Callable[[str], Signed]) -> None:
    fleet = make("head")
    fleet.demand("head", fleet.alice.line(options='valid-before="20200101"'))
    assert "not for that time" in fleet.refused()
    fleet.demand("head", fleet.mallory.line())
    assert "mallory@example.org may sign" in fleet.refused()
    told = {one["name"]: one for one in json.loads(fleet.world.run("doctor", "--format", "json").out)["checks"]}
    assert told["commit"]["status"] == "fail", told
    assert "is not validly signed" in fleet.world.run("validate").err
    fleet.sign_as(fleet.mallory)
    fleet.world.commit("Signed by who may now")
    assert "is signed by mallory@example.org" in fleet.world.fwctl("validate").err
    approved = fleet.world.fwctl("approve", "sensors", "--yes", "--renew").err
    assert approved.count("is signed by mallory@example.org") == 2, approved
    fleet.world.reconciled()
    assert fleet.world.active_bytes(DEVICE) == firmware("new")
