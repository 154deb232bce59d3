"""Attacks on the change of trust itself: by who may push, and by who holds some keys but not enough of them.

The doors are the commands, typed in a real clone, the reader of proposals, and a real agent.
"""

from __future__ import annotations

import json
import os
import pty
import select
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from securesystemslib.signer import CryptoSigner

from fwctl.trust.public_key import PublicKeyFile, read_public_key
from fwctl.trust.repository import key_object
from tests.attacks.realm import Realm
from tests.cli.fleet import ENTRY, ENVIRONMENT, Answer, Fleet, build, run, subprocess_run

MALLORY = CryptoSigner.generate_ed25519()


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        return build(tmp_path_factory.mktemp("red") / "fleet")


@pytest.fixture
def alices(built: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    """The machine of the one person who signs everything."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    return built.copy(tmp_path / "alices")


def attacker(fleet: Fleet, folder: Path) -> Fleet:
    """Return a clone of somebody who may push, and has no key."""
    other = Fleet(folder)
    folder.mkdir(parents=True)
    subprocess.run(["git", "clone", "-q", str(fleet.tree), str(other.tree)], check=True, env=os.environ | ENVIRONMENT)
    (folder / "config/acme").mkdir(parents=True)
    shutil.copy(other.tree / "trust/1.root.json", folder / "config/acme/root.json")
    return other


def policy_of(fleet: Fleet) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((fleet.tree / "trust/policy/policy.json").read_text())
    return found


def head(fleet: Fleet) -> str:
    return fleet.git("rev-parse", "HEAD").strip()


def propose(fleet: Fleet, policy: dict[str, Any]) -> None:
    """Commit a proposal that nobody has signed."""
    file = fleet.folder / "edited.json"
    file.write_text(json.dumps(policy))
    assert "not trusted before" in fleet.ok("trust", "policy", file).stdout


def refused(fleet: Fleet, code: str, *words: str | Path) -> Answer:
    """Type a command that must say no, and change nothing."""
    before = head(fleet)
    answer = fleet.run(*words)
    assert answer.exit_code not in (0, 1), str(answer)
    assert f"[{code}]" in answer.stderr, str(answer)
    assert (head(fleet), fleet.git("status", "--porcelain")) == (before, "")
    return answer


def infiltrated(policy: dict[str, Any]) -> dict[str, Any]:
    """Return a policy under which mallory approves and releases everything."""
    people = {**policy["people"], "mallory": {"keys": [key_object(MALLORY.public_key)]}}
    return {**policy, "people": people, "groups": {"owners": ["alice", "mallory"]}, "maxApprovalDays": 3650}


CHANGES = (
    ("trust", "floor", "sensor-v1", "1"),
    ("trust", "withdraw", "sensor-v1@2.5.0", "--reason", "it bricks devices"),
    ("trust", "renew"),
    ("trust", "renew", "policy"),
)


@pytest.mark.parametrize("words", CHANGES, ids=" ".join)
def test_a27_an_unrelated_change_signs_no_proposal_of_somebody_else(
    alices: Fleet, tmp_path: Path, words: tuple[str, ...]
) -> None:
    """Who may push proposes, and waits for an owner in a hurry: the owner's signature must not go under both."""
    theirs = attacker(alices, tmp_path / "theirs")
    propose(theirs, infiltrated(policy_of(theirs)))
    alices.git("pull", "-q", str(theirs.tree))
    answer = refused(alices, "E_PROPOSAL_OPEN", *words)
    assert "you have not signed" in answer.stderr
    assert "mallory" not in policy_of(alices)["people"]
    alices.ok("trust", "drop", "--reason", "not ours")
    alices.ok(*words)
    assert "mallory" not in policy_of(alices)["people"]


def test_a27_a_guessed_change_with_more_in_it_is_not_signed(alices: Fleet, tmp_path: Path) -> None:
    """The proposal holds already what the owner is going to do, so that the owner's command finds nothing to add."""
    theirs = attacker(alices, tmp_path / "theirs")
    propose(theirs, {**infiltrated(policy_of(theirs)), "floors": {"sensor-v1": 1}})
    alices.git("pull", "-q", str(theirs.tree))
    refused(alices, "E_PROPOSAL_OPEN", "trust", "floor", "sensor-v1", "1")
    assert policy_of(alices)["floors"] == {}


def test_a27_a_guessed_change_with_an_end_far_away_is_not_signed(alices: Fleet, tmp_path: Path) -> None:
    theirs = attacker(alices, tmp_path / "theirs")
    propose(theirs, {**policy_of(theirs), "floors": {"sensor-v1": 1}})
    file = theirs.tree / "trust/proposal/policy.json"
    proposed = json.loads(file.read_text())
    proposed["signed"]["expires"] = "2125-01-01T00:00:00Z"
    file.write_text(json.dumps(proposed))
    theirs.commit()
    alices.git("pull", "-q", str(theirs.tree))
    refused(alices, "E_PROPOSAL_OPEN", "trust", "floor", "sensor-v1", "1")
    assert "2125-01-01" not in (alices.tree / "trust/policy.json").read_text()


def test_exactly_the_change_that_others_propose_is_signed_by_making_it(alices: Fleet, tmp_path: Path) -> None:
    theirs = attacker(alices, tmp_path / "theirs")
    propose(theirs, {**policy_of(theirs), "floors": {"sensor-v1": 1}})
    alices.git("pull", "-q", str(theirs.tree))
    alices.ok("trust", "floor", "sensor-v1", "1")
    assert policy_of(alices)["floors"] == {"sensor-v1": 1}


def revoked_then(alices: Fleet, tmp_path: Path) -> tuple[str, str]:
    """Let mallory approve, then revoke her; return the commit before and the one after."""
    key = tmp_path / "mallory.pub.json"
    key.write_bytes(PublicKeyFile("mallory", MALLORY.public_key).to_bytes())
    alices.ok("trust", "add-key", "mallory", key, "--group", "owners")
    before = head(alices)
    alices.ok("trust", "revoke", "mallory")
    return before, head(alices)


@pytest.mark.parametrize("way", ["commit", "merge", "much later"])
def test_a15_trust_that_was_taken_back_is_not_built_upon(alices: Fleet, tmp_path: Path, way: str) -> None:
    """The older policy is validly signed. A change on top of it would bring the revoked person back, newly signed."""
    before, after = revoked_then(alices, tmp_path)
    if way == "merge":
        alices.git("checkout", "-q", "-b", "side", before)
        alices.git("commit", "-q", "--allow-empty", "-m", "side")
        alices.git("merge", "-q", "-s", "ours", "-m", "Merge", after)
    else:
        alices.git("checkout", before, "--", "trust")
        alices.commit("Tidy up")
    for number in range(3 if way == "much later" else 0):
        (alices.tree / "trust/policy.json").open("a").write("\n" * (number + 1))
        alices.commit("Tidy up more")
    assert "mallory" in policy_of(alices)["people"]
    answer = refused(alices, "E_META_ROLLBACK", "trust", "floor", "sensor-v1", "1")
    assert after[:12] in alices.git("rev-parse", "--short=12", after)
    assert "policy from version 3 to 2" in answer.stderr
    alices.git("checkout", after, "--", "trust")
    alices.commit("Put it back")
    alices.ok("trust", "floor", "sensor-v1", "1")
    assert "mallory" not in policy_of(alices)["people"]


def test_a15_a_proposal_upon_trust_that_was_taken_back_is_not_signed(alices: Fleet, tmp_path: Path) -> None:
    before, after = revoked_then(alices, tmp_path)
    theirs = attacker(alices, tmp_path / "theirs")
    theirs.git("checkout", "-q", "-b", "old", before)
    propose(theirs, {**policy_of(theirs), "maxApprovalDays": 30})
    theirs.git("checkout", "-q", "-b", "new", after)
    theirs.git("checkout", "old", "--", "trust")
    theirs.commit("Tidy up")
    alices.git("pull", "-q", str(theirs.tree), "new")
    refused(alices, "E_META_ROLLBACK", "trust", "sign")


def test_a18_a_root_that_was_taken_back_is_not_built_upon(alices: Fleet) -> None:
    alices.ok("trust", "renew", "root")
    alices.git("rm", "-q", "trust/2.root.json")
    alices.commit("Tidy up")
    assert "root from version 2 to 1" in refused(alices, "E_META_ROLLBACK", "trust", "renew", "root").stderr


def test_junk_in_the_history_of_trust_stops_nobody(alices: Fleet) -> None:
    """A higher version that nobody signed was never trust."""
    file = alices.tree / "trust/policy.json"
    good = file.read_bytes()
    for text in (b"\xff", b"{}", b"[" * 5000, good.replace(b'"version": 1', b'"version": 999'), b"x" * (2 << 20)):
        file.write_bytes(text)
        alices.commit("Junk")
    file.write_bytes(good)
    alices.commit("Put it back")
    alices.ok("trust", "floor", "sensor-v1", "1")


def keys_here(folder: Path, *words: str) -> list[str]:
    return ["--config-dir", str(folder), "keys", *words, "--fleet", "acme"]


def test_r22_keys_and_pinned_root_are_the_owners_alone_whatever_the_umask(tmp_path: Path) -> None:
    """A folder that others may write is a pinned root that others choose."""
    config = tmp_path / "new" / "config"
    plain = [*keys_here(config, "generate", "alice"), "--unencrypted"]
    done = subprocess_run(*plain, before="import os; os.umask(0); ")
    assert done.returncode == 0, done.stderr
    for path in (tmp_path / "new", *(tmp_path / "new").rglob("*")):
        assert path.stat().st_mode & 0o077 == 0, path


def test_r22_of_many_who_make_one_key_at_once_one_does(tmp_path: Path) -> None:
    """The others are told that the name is taken; nobody holds the public half of a key that is lost."""
    words = [*keys_here(tmp_path, "generate", "alice"), "--unencrypted", "--out-public"]
    racing = [
        subprocess.Popen(
            [sys.executable, "-c", ENTRY, *words, str(tmp_path / f"{number}.pub.json")],
            env=os.environ | ENVIRONMENT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        for number in range(6)
    ]
    said = [(one.communicate(timeout=60)[1], one.returncode) for one in racing]
    assert sorted(code for _, code in said) == [0, 3, 3, 3, 3, 3], said
    assert all(b"E_KEY_EXISTS" in text for text, code in said if code)
    (out,) = tmp_path.glob("*.pub.json")
    listed = subprocess_run(*keys_here(tmp_path, "list"), "--format", "json")
    assert json.loads(listed.stdout)["keys"][0]["keyid"] == read_public_key(out).key.keyid


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("vet", "/dev/zero"), "E_KEY_FILE"),
        (("import", "alice", "/dev/zero", "--unencrypted"), "E_KEY_ALG"),
        (("vet", "."), "E_NO_FILE"),
    ],
    ids=" ".join,
)
def test_files_without_an_end_are_not_read_to_the_end(tmp_path: Path, words: tuple[str, ...], code: str) -> None:
    fleet = () if words[0] == "vet" else ("--fleet", "acme")
    capped = "import resource; resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30)); "
    done = subprocess_run("--config-dir", str(tmp_path), "keys", *words, *fleet, before=capped)
    assert done.returncode == 3, done.stderr
    assert code in done.stderr + done.stdout


def test_a_passphrase_file_without_an_end(tmp_path: Path) -> None:
    capped = "import resource; resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30)); "
    env = {"FWCTL_PASSPHRASE_FILE": "/dev/zero"}
    done = subprocess_run(*keys_here(tmp_path, "generate", "alice"), before=capped, env=env)
    assert (done.returncode, "E_PASSPHRASE" in done.stderr) == (3, True), done.stderr
    assert not list(tmp_path.rglob("*.pem"))


def on_terminal(fleet: Fleet, *words: str, answer: str) -> tuple[int, str]:
    """Run a command on a terminal of its own, and answer its question; return its exit code and all that was seen."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(sys.executable, [sys.executable, "-c", ENTRY, *fleet.options, *words], os.environ | ENVIRONMENT)
    seen, asked = "", False
    while select.select([terminal], [], [], 60)[0]:
        try:
            seen += os.read(terminal, 4096).decode()
        except OSError:  # it has ended
            break
        if not asked and seen.endswith("[y/N]: "):
            asked = True
            os.write(terminal, f"{answer}\n".encode())
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), seen


def test_a27_what_is_signed_is_shown_first_and_may_be_declined(alices: Fleet, tmp_path: Path) -> None:
    """It may have changed since somebody looked at it: what came with the last pull is told before it is signed."""
    theirs = attacker(alices, tmp_path / "theirs")
    propose(theirs, infiltrated(policy_of(theirs)))
    alices.git("pull", "-q", str(theirs.tree))
    before = head(alices)
    code, seen = on_terminal(alices, "trust", "sign", answer="n")
    assert (code, head(alices), alices.git("status", "--porcelain")) == (1, before, ""), seen
    shown, _, rest = seen.partition("Sign it?")
    assert "person mallory: key" in shown
    assert "group owners: mallory joins" in shown
    assert "90 -> 3650" in shown
    assert "Nothing was signed." in rest
    code, seen = on_terminal(alices, "trust", "sign", answer="y")
    assert (code, "mallory" in policy_of(alices)["people"]) == (0, True), seen


@pytest.mark.e2e
def test_a15_agent_one_version_is_one_content(own: Realm) -> None:
    """Two policies of one version, each signed by enough: the one that is there already stays."""
    first, second = own.next(maxApprovalDays=30), own.next(maxApprovalDays=3650)
    assert own.put_trust(first.files())[0] == 200
    own.trust_refused(second.files(), "E_META_ROLLBACK")
    assert own.put_trust(first.files())[0] == 200


@pytest.mark.e2e
@pytest.mark.parametrize("name", ["alice\n  policy: version 9", "al\u0456ce", "bob\x1b[2K"])
def test_a38_agent_names_that_could_forge_a_line(realm: Realm, name: str) -> None:
    forge = realm.next()
    forge.policy["people"][name] = {"keys": []}
    realm.trust_refused(forge.files(), "E_POLICY_INVALID")


def test_a24_a_key_that_comes_back_brings_its_approvals_only_under_a_signed_policy(
    alices: Fleet, tmp_path: Path
) -> None:
    """As docs/how-to/change-the-trust.md says: a returning person gets a new key, or the old approvals count again."""
    file = tmp_path / "bob.pub.json"
    alices.ok("keys", "generate", "bob", "--unencrypted", "--out-public", file)
    alices.ok("trust", "add-key", "bob", file, "--group", "owners", "--as", "alice")
    alices.ok("approve", "sensors", "--yes", "--as", "bob")
    alices.ok("trust", "revoke", "bob", "--as", "alice")
    assert alices.prepared().approved_stage == 0
    other = Fleet(tmp_path / "new")
    fresh = tmp_path / "fresh.pub.json"
    other.folder.mkdir()
    run(*keys_here(other.folder, "generate", "bob"), "--unencrypted", "--out-public", fresh, options=[])
    alices.ok("trust", "add-key", "bob", fresh, "--group", "owners", "--as", "alice")
    assert alices.prepared().approved_stage == 0
    alices.ok("trust", "add-key", "bob", file, "--group", "owners", "--as", "alice")
    assert alices.prepared().approved_stage == 1
