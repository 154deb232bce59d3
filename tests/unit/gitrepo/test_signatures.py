"""Signed commits: real keys, real git; every way in which a signature can look good and not be."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fwctl.errors import FwctlError, InputError, TrustRefused, WorldError
from fwctl.gitrepo import CommitId, Repo, Signers, init, judge, open_repo, require_signed
from fwctl.gitrepo import signatures as module
from tests.support.committers import PLAIN, Forge, PgpHome, SshKey, signature_of, tool


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Give git a home whose configuration trusts everybody: it must have no say."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("GNUPGHOME", raising=False)
    for name, value in PLAIN.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    repo = init(tmp_path / "fleet")
    repo.commit_files({"fleet.yaml": b"1"}, "first")
    return repo


@pytest.fixture
def forge(repo: Repo) -> Forge:
    return Forge(Path(repo.origin))


@pytest.fixture
def alice(tmp_path: Path) -> SshKey:
    return SshKey.make(tmp_path / "keys", "alice")


@pytest.fixture
def mallory(tmp_path: Path) -> SshKey:
    return SshKey.make(tmp_path / "keys", "mallory")


@pytest.fixture
def pgp(tmp_path: Path) -> Iterator[PgpHome]:
    home = PgpHome.make(tmp_path / "pgp")
    yield home
    home.close()


def refused(repo: Repo, signers: Signers, *, mode: str = "head", since: str = "") -> TrustRefused:
    with pytest.raises(TrustRefused) as caught:
        require_signed(repo, repo.head(), mode=mode, since=CommitId(since) if since else None, signers=signers)
    assert caught.value.code == "E_GIT_SIG"
    assert caught.value.exit_code == 4
    assert "\n" not in str(caught.value)
    return caught.value


def accepted(repo: Repo, signers: Signers, *, mode: str = "head", since: str = "") -> list[str]:
    judged = require_signed(repo, repo.head(), mode=mode, since=CommitId(since) if since else None, signers=signers)
    return [one.signer for one in judged]


def test_a_signed_commit_is_told_with_who_signed_it(repo: Repo, forge: Forge, alice: SshKey) -> None:
    commit = forge.commit(alice, subject="signed")
    (judged,) = judge(repo, [repo.head()], Signers([alice.line()]))
    assert (judged.good, judged.signer, judged.commit.id, judged.commit.subject) == (
        True,
        "alice@example.org",
        commit,
        "signed",
    )
    assert judged.key.startswith("SHA256:")
    assert accepted(repo, Signers([alice.line()])) == ["alice@example.org"]
    assert accepted(repo, Signers(["# a remark", alice.line(options="")])) == ["alice@example.org"]


def test_a28_an_unsigned_commit_is_refused(repo: Repo, alice: SshKey) -> None:
    error = refused(repo, Signers([alice.line()]))
    assert "not signed" in error.message
    assert error.place == f"{repo.head()[:12]} by Ada: first"
    assert "alice@example.org may sign" in error.remedy
    assert "Nobody whom the policy names" in refused(repo, Signers()).remedy


def test_a28_an_unknown_key_is_refused_though_git_prints_good(
    repo: Repo, forge: Forge, alice: SshKey, mallory: SshKey, tmp_path: Path
) -> None:
    forge.commit(mallory)
    allowed = tmp_path / "allowed"
    allowed.write_text(alice.line() + "\n")
    command = ["git", "-c", f"gpg.ssh.allowedSignersFile={allowed}", "verify-commit", "HEAD"]
    said = subprocess.run(command, cwd=repo.origin, capture_output=True, text=True, check=False)
    assert (said.returncode, 'Good "git" signature' in said.stderr) == (1, True)
    assert "does not name" in refused(repo, Signers([alice.line()])).message
    refused(repo, Signers())


def test_a28_neither_the_commit_nor_the_machine_can_name_signers(
    repo: Repo, forge: Forge, alice: SshKey, mallory: SshKey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files, repository and user configuration, environment: all say that Mallory may sign, and how to verify."""
    (forge.tree / "allowed_signers").write_text(mallory.line() + "\n")
    (forge.tree / "trust").mkdir()
    (forge.tree / "trust/allowed_signers").write_text(mallory.line() + "\n")
    sentinel, evil = tmp_path / "ran", tmp_path / "evil"
    evil.write_text(f'#!/bin/sh\ntouch {sentinel}\necho "Good \\"git\\" signature for alice"\nexit 0\n')
    evil.chmod(0o755)
    settings = {
        "gpg.ssh.allowedSignersFile": str(forge.tree / "allowed_signers"),
        "gpg.ssh.program": str(evil),
        "gpg.program": str(evil),
        "gpg.openpgp.program": str(evil),
        "gpg.x509.program": str(evil),
    }
    forge.commit(mallory)
    for key, value in settings.items():
        forge.git("config", key, value)
    user = tmp_path / "home/.gitconfig"
    for key, value in settings.items():
        tool("git", "config", "--file", user, key, value)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(user))
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "gpg.ssh.program")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", str(evil))
    refused(repo, Signers([alice.line()]))
    assert not sentinel.exists()


def test_a28_a_signature_for_something_else_is_refused(repo: Repo, forge: Forge, alice: SshKey) -> None:
    payload = forge.payload()
    forge.write(payload, alice.sign(payload, namespace="file"))
    assert "made for git" in refused(repo, Signers([alice.line(options="")])).message


def test_a28_a_key_that_may_not_sign_for_git_is_refused(repo: Repo, forge: Forge, alice: SshKey) -> None:
    forge.commit(alice)
    refused(repo, Signers([alice.line(options='namespaces="file"')]))
    refused(repo, Signers([alice.line(options='namespaces="gitx,file"')]))
    assert accepted(repo, Signers([alice.line(options='namespaces="file,git"')])) == ["alice@example.org"]


def test_a28_a_key_counts_only_at_the_time_it_was_named_for(repo: Repo, forge: Forge, alice: SshKey) -> None:
    forge.commit(alice, when="2026-06-01T12:00:00Z")
    for options in ('valid-before="20260501"', 'valid-after="20260701"'):
        assert "not for that time" in refused(repo, Signers([alice.line(options=options)])).message
    assert accepted(repo, Signers([alice.line(options='valid-after="20260501",valid-before="20260701"')]))


def test_a28_a_signature_of_another_commit_is_refused(repo: Repo, forge: Forge, alice: SshKey) -> None:
    signed = forge.commit(alice)
    signature = signature_of(forge.git("cat-file", "commit", signed).encode())
    (forge.tree / "fleet.yaml").write_text("evil")
    forge.write(forge.payload(), signature)
    refused(repo, Signers([alice.line()]))


def test_a28_more_than_one_signature_is_none(repo: Repo, forge: Forge, alice: SshKey, mallory: SshKey) -> None:
    payload = forge.payload()
    forge.write(payload, mallory.sign(payload), alice.sign(payload))
    assert "more than one" in refused(repo, Signers([alice.line()])).message
    forge.write(payload, alice.sign(payload), b"-----BEGIN PGP SIGNATURE-----\n\nx\n-----END PGP SIGNATURE-----\n")
    refused(repo, Signers([alice.line()]))


def test_a28_a_signed_tag_does_not_sign_the_commit(repo: Repo, forge: Forge, alice: SshKey) -> None:
    forge.git(*alice.settings, "tag", "-s", "v1", "-m", "signed tag")
    signers = Signers([alice.line()])
    with pytest.raises(TrustRefused, match="E_GIT_SIG"):
        require_signed(repo, repo.resolve("v1"), mode="head", since=None, signers=signers)


def test_a28_odd_signatures_are_refused(repo: Repo, forge: Forge, alice: SshKey) -> None:
    sentinel = forge.tree.parent / "ran"
    for signature in (
        b"-----BEGIN SIGNED MESSAGE-----\nMIIB\n-----END SIGNED MESSAGE-----\n",
        b"-----BEGIN SSH SIGNATURE-----\n-----END SSH SIGNATURE-----\n",
        b"-----BEGIN SSH SIGNATURE-----\n" + b"A" * 100_000 + b"\n-----END SSH SIGNATURE-----\n",
        b'Good "git" signature for alice@example.org with ED25519 key SHA256:x\n',
        b"[GNUPG:] GOODSIG 0 alice\n",
        b"",
        b"\xff\xfe\n",
        f"$(touch {sentinel})\n".encode(),
    ):
        forge.write(forge.payload(), signature)
        refused(repo, Signers([alice.line()]))
    assert not sentinel.exists()


def test_a28_a_signature_that_ends_git_is_bad_and_no_other_is(repo: Repo, forge: Forge, alice: SshKey) -> None:
    """The commit is larger than a pipe, and ssh-keygen ends before it has read it: git is killed."""
    good = forge.commit(alice)
    forge.write(
        forge.payload(subject="x" * 1_000_000), b"-----BEGIN SSH SIGNATURE-----\nx\n-----END SSH SIGNATURE-----\n"
    )
    evil = forge.head
    judged = judge(repo, [CommitId(evil), CommitId(good)], Signers([alice.line()]))
    assert [one.good for one in judged] == [False, True]
    refused(repo, Signers([alice.line()]))


def test_a28_replaced_and_grafted_history_is_not_believed(
    repo: Repo, forge: Forge, alice: SshKey, mallory: SshKey
) -> None:
    signed = forge.commit(alice, subject="good")
    evil = forge.commit(mallory, subject="evil")
    forge.git("update-ref", f"refs/replace/{evil}", signed)
    refused(repo, Signers([alice.line()]))
    forge.git("update-ref", "-d", f"refs/replace/{evil}")
    last = forge.commit(alice, subject="after")
    (forge.tree / ".git/info").mkdir(exist_ok=True)
    (forge.tree / ".git/info/grafts").write_text(f"{last} {signed}\n")
    signers = Signers([alice.line()])
    assert accepted(repo, signers, mode="head") == ["alice@example.org"]
    assert evil[:12] in refused(repo, signers, mode="strict", since=signed).place


def test_strict_judges_all_commits_since_the_last_applied_one(
    repo: Repo, forge: Forge, alice: SshKey, mallory: SshKey
) -> None:
    signers, first = Signers([alice.line()]), forge.head
    forge.commit(alice, subject="one")
    assert accepted(repo, signers, mode="strict", since=first) == ["alice@example.org"]
    assert accepted(repo, signers, mode="strict") == ["alice@example.org"]
    forge.git("checkout", "-qb", "side")
    hidden = forge.commit(mallory, subject="hidden in a branch")
    forge.git("checkout", "-q", "main")
    forge.commit(alice, subject="two")
    forge.git(*alice.settings, "merge", "-q", "--no-ff", "-S", "side", "-m", "merge")
    assert accepted(repo, signers, mode="head", since=first) == ["alice@example.org"]
    error = refused(repo, signers, mode="strict", since=first)
    assert error.place.startswith(hidden[:12])
    assert "1 of 4 commits" in error.message
    assert accepted(repo, signers, mode="strict", since=forge.head) == ["alice@example.org"]
    both = Signers([alice.line(), mallory.line()])
    assert len(accepted(repo, both, mode="strict", since=first)) == 4


def test_strict_judges_the_commit_itself_where_nothing_new_came(repo: Repo, alice: SshKey) -> None:
    refused(repo, Signers([alice.line()]), mode="strict", since=repo.head())
    refused(repo, Signers([alice.line()]), mode="strict")


def test_strict_needs_the_whole_history(repo: Repo, forge: Forge, alice: SshKey, tmp_path: Path) -> None:
    first = forge.commit(alice)
    forge.commit(alice)
    forge.commit(alice)
    tool("git", "clone", "-q", "--depth", "2", f"file://{repo.origin}", tmp_path / "shallow")
    shallow = open_repo(str(tmp_path / "shallow"), cache=tmp_path / "cache")
    with pytest.raises(InputError, match="E_GIT_SHALLOW"):
        require_signed(shallow, shallow.head(), mode="strict", since=CommitId(first), signers=Signers([alice.line()]))


def test_too_many_commits_are_refused_before_they_are_judged(
    repo: Repo, forge: Forge, alice: SshKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_COMMITS", 2)
    first = forge.head
    for _ in range(2):
        forge.commit(alice)
    assert len(accepted(repo, Signers([alice.line()]), mode="strict", since=first)) == 2
    forge.commit(alice)
    error = refused(repo, Signers([alice.line()]), mode="strict", since=first)
    assert "more than 2 commits" in error.message
    assert "--ref COMMIT" in error.remedy


def test_a_huge_commit_is_refused_before_it_is_read(repo: Repo, forge: Forge, alice: SshKey) -> None:
    forge.write(forge.payload(subject="x" * (module.MAX_BYTES + 1)))
    with pytest.raises(InputError) as caught:
        require_signed(repo, repo.head(), mode="head", since=None, signers=Signers([alice.line()]))
    assert caught.value.code == "E_SIZE"


def test_what_is_shown_of_a_commit_is_printable(repo: Repo, forge: Forge, alice: SshKey) -> None:
    forge.commit(subject="\x1b[31mred\u202e" + "long " * 100)
    place = refused(repo, Signers([alice.line()])).place
    assert place.isprintable()
    assert len(place) < 200


def test_off_asks_for_nothing(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert require_signed(repo, CommitId("a" * 40), mode="off", since=None, signers=Signers()) == ()


def test_without_the_program_nothing_is_believed(
    repo: Repo, forge: Forge, alice: SshKey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forge.commit(alice)
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    for name in ("git", "env", "sh"):
        (bin_ / name).symlink_to(tool("sh", "-c", f"command -v {name}").decode().strip())
    monkeypatch.setenv("PATH", str(bin_))
    with pytest.raises(WorldError) as caught:
        require_signed(repo, repo.head(), mode="head", since=None, signers=Signers([alice.line()]))
    assert (caught.value.code, caught.value.exit_code) == ("E_SIGN_TOOL", 5)
    assert "openssh-client" in caught.value.remedy
    payload = forge.payload
    monkeypatch.undo()
    forge.write(payload(), b"-----BEGIN PGP SIGNATURE-----\n\nx\n-----END PGP SIGNATURE-----\n")
    monkeypatch.setenv("PATH", str(bin_))
    with pytest.raises(FwctlError) as missing:
        require_signed(repo, repo.head(), mode="head", since=None, signers=Signers())
    assert (missing.value.code, missing.value.place) == ("E_SIGN_TOOL", "gpg")


def test_openpgp_signatures_count_with_keys_of_the_policy_only(repo: Repo, forge: Forge, pgp: PgpHome) -> None:
    gil, other = pgp.key("Gil <gil@example.org>"), pgp.key("Eve <eve@example.org>")
    payload = forge.payload()
    forge.write(payload, pgp.sign(payload, "gil@example.org"))
    assert accepted(repo, Signers(openpgp=[other, gil])) == ["Gil <gil@example.org>"]
    refused(repo, Signers(openpgp=[other]))
    refused(repo, Signers())
    refused(repo, Signers(openpgp=["-----BEGIN PGP PUBLIC KEY BLOCK-----\nx\n-----END PGP PUBLIC KEY BLOCK-----\n"]))
    forge.write(forge.payload(subject="other"), pgp.sign(payload, "gil@example.org"))
    assert "not one of this content" in refused(repo, Signers(openpgp=[gil])).message


def test_a28_the_users_own_keyring_has_no_say(
    repo: Repo, forge: Forge, pgp: PgpHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    gil = pgp.key("Gil <gil@example.org>")
    eve = pgp.key("Eve <eve@example.org>")
    payload = forge.payload()
    forge.write(payload, pgp.sign(payload, "eve@example.org"))
    monkeypatch.setenv("GNUPGHOME", str(pgp.folder))
    refused(repo, Signers(openpgp=[gil]))
    assert accepted(repo, Signers(openpgp=[gil, eve])) == ["Eve <eve@example.org>"]


def test_a28_expired_revoked_and_weak_openpgp_signatures_are_refused(repo: Repo, forge: Forge, pgp: PgpHome) -> None:
    old = pgp.key("Old <old@example.org>", at="20200101T000000", life="2d")
    payload = forge.payload()
    forge.write(payload, pgp.sign(payload, "old@example.org", "--faked-system-time", "20200101T000001"))
    assert "has expired" in refused(repo, Signers(openpgp=[old])).message

    rsa = pgp.key("Rsa <rsa@example.org>", kind="rsa2048")
    forge.write(payload, pgp.sign(payload, "rsa@example.org", "--digest-algo", "SHA1", "--weak-digest", "MD5"))
    assert "too weak" in refused(repo, Signers(openpgp=[rsa])).message
    forge.write(payload, pgp.sign(payload, "rsa@example.org"))
    assert accepted(repo, Signers(openpgp=[rsa])) == ["Rsa <rsa@example.org>"]

    ready = next(p for p in (pgp.folder / "openpgp-revocs.d").glob("*.rev") if "rsa@example.org" in p.read_text())
    pgp.gpg("--import", stdin=ready.read_text().replace(":-----BEGIN", "-----BEGIN").encode())
    assert "revoked" in refused(repo, Signers(openpgp=[pgp.export("rsa@example.org")])).message


def test_verifying_leaves_nothing_behind(
    repo: Repo, forge: Forge, pgp: PgpHome, alice: SshKey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    gil, payload = pgp.key("Gil <gil@example.org>"), forge.payload()
    forge.write(payload, pgp.sign(payload, "gil@example.org"))
    assert accepted(repo, Signers([alice.line()], [gil])) == ["Gil <gil@example.org>"]
    assert list(temporary.iterdir()) == []
    processes = tool("ps", "-eo", "args").decode()
    assert str(temporary) not in processes


def test_our_commits_are_signed_where_the_users_are(
    repo: Repo, alice: SshKey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    user, signers = tmp_path / "home/.gitconfig", Signers([alice.line()])
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(user))
    tool("git", "config", "--file", user, "gpg.format", "ssh")
    tool("git", "config", "--file", user, "user.signingKey", alice.path)
    repo.commit_files({"fleet.yaml": b"2"}, "not asked to sign")
    refused(repo, signers)
    tool("git", "config", "--file", user, "commit.gpgSign", "yes")
    repo.commit_files({"fleet.yaml": b"3"}, "asked to sign")
    assert accepted(repo, signers) == ["alice@example.org"]


def test_a_commit_that_cannot_be_signed_is_not_made(
    repo: Repo, alice: SshKey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    user, before = tmp_path / "home/.gitconfig", repo.head()
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(user))
    for key, value in (("gpg.format", "ssh"), ("user.signingKey", "/nonexistent"), ("commit.gpgSign", "true")):
        tool("git", "config", "--file", user, key, value)
    with pytest.raises(InputError) as caught:
        repo.commit_files({"fleet.yaml": b"2"}, "x")
    assert caught.value.code == "E_GIT_SIGNING"
    assert repo.head() == before


def test_a_repository_cannot_name_the_program_that_signs(
    repo: Repo, forge: Forge, alice: SshKey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sentinel, evil, user = tmp_path / "ran", tmp_path / "evil", tmp_path / "home/.gitconfig"
    evil.write_text(f"#!/bin/sh\ntouch {sentinel}\nexit 1\n")
    evil.chmod(0o755)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(user))
    settings = {"gpg.format": "ssh", "user.signingKey": alice.path, "commit.gpgSign": "true"}
    for key, value in (settings | {"gpg.ssh.program": evil, "gpg.program": evil}).items():
        forge.git("config", key, str(value))
    repo.commit_files({"fleet.yaml": b"2"}, "signed by the setting of the repository, with the usual program")
    assert accepted(repo, Signers([alice.line()])) == ["alice@example.org"]
    assert not sentinel.exists()
