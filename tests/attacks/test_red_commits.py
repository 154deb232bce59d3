"""Whoever may push commits, and writes them as raw objects; and whoever writes bills of materials."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from fwctl.errors import FwctlError, TrustRefused
from fwctl.gitrepo import CommitId, Repo, Signers, init, judge, open_repo, require_signed
from fwctl.manifests.components import MAX_COMPONENTS, Wanted, read_bill
from tests.support.committers import PLAIN, Forge, SshKey, signature_of

WHO = b"author Mallory <mallory@example.org> 1790000000 +0000"
DATE = b"1790000000"


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
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


def write(forge: Forge, raw: bytes) -> CommitId:
    """Write a commit that git itself would not write."""
    return CommitId(forge.git("hash-object", "-t", "commit", "-w", "--literally", "--stdin", stdin=raw))


def signed(raw: bytes, key: SshKey) -> bytes:
    head, _, body = raw.partition(b"\n\n")
    return head + b"\ngpgsig " + key.sign(raw).rstrip(b"\n").replace(b"\n", b"\n ") + b"\n\n" + body


ODD = {
    "the year 33658": (DATE, b"999999999999"),
    "a time of 19 digits": (DATE, b"9" * 19),
    "a time of 5000 digits": (DATE, b"9" * 5000),
    "a time before all": (DATE, b"-99999999999999"),
    "no time": (b" 1790000000 +0000", b""),
    "a time in words": (DATE, b"soon"),
    "no author": (WHO + b"\n", b""),
    "no name": (WHO, b"author <> 0 +0000"),
    "two authors": (WHO, WHO + b"\n" + WHO),
    "NUL in the author": (b"Mallory", b"Mal\0lory"),
    "NUL in the header": (b"committer", b"x \0\ncommitter"),
    "NUL in the message": (b"forged", b"for\0ged"),
    "an escape": (b"Mallory", b"\x1b[2J\x1b]0;Mal\x07lory\r"),
    "other directions": (b"Mallory", "\u202eMallory".encode()),
    "UTF-16": (b"\n\nforged", b"\nencoding UTF-16\n\nforged \xff\xfe"),
    "UTF-7": (b"\n\nforged", b"\nencoding UTF-7\n\n+AAA-G+AAA-alice"),
    "no encoding": (b"\n\nforged", b"\nencoding nonsense\n\nforged \xff"),
    "no message": (b"\n\nforged\n", b"\n\n"),
    "10 MB of message": (b"forged", b"f" * 10_000_000),
    "10 MB of one line in the header": (b"\n\nforged", b"\nx " + b"f" * 10_000_000 + b"\n\nforged"),
}


@pytest.mark.parametrize("name", ODD)
def test_a28_an_odd_commit_that_nobody_signed_is_refused_in_words(
    repo: Repo, forge: Forge, alice: SshKey, name: str
) -> None:
    commit = write(forge, forge.payload().replace(*ODD[name], 1))
    with pytest.raises(TrustRefused, match="E_GIT_SIG") as caught:
        require_signed(repo, commit, mode="head", since=None, signers=Signers([alice.line()]))
    assert str(caught.value).isprintable()
    told = repo.author(commit)
    assert (told.id, 1970 <= told.time.year <= 9999) == (commit, True)


@pytest.mark.parametrize("name", ODD)
def test_a28_an_odd_commit_is_judged_by_its_signature_alone(
    repo: Repo, forge: Forge, alice: SshKey, name: str, tmp_path: Path
) -> None:
    """Of a stranger it is refused; of alice it may be good, as far as git can tell; with others it harms nobody."""
    raw, mallory = forge.payload().replace(*ODD[name], 1), SshKey.make(tmp_path / "keys", "mallory")
    good, next_ = CommitId(forge.commit(alice)), CommitId(forge.commit(alice))
    theirs, hers = write(forge, signed(raw, mallory)), write(forge, signed(raw, alice))
    first, odd, other, last = judge(repo, [good, hers, theirs, next_], Signers([alice.line()]))
    assert (first.good, other.good, last.good) == (True, False, True)
    assert (first.signer, other.signer) == ("alice@example.org", "")
    assert odd.signer in ("", "alice@example.org")
    assert (odd.commit.id, other.commit.id) == (hers, theirs)


@pytest.mark.parametrize("name", [b"gpgsig-sha256", b"gpgsigx", b"gpgsig\t", b"gpgsig"])
def test_a28_a_header_that_git_leaves_out_of_what_is_signed_buys_nothing(
    repo: Repo, forge: Forge, alice: SshKey, name: bytes
) -> None:
    """Such lines can be put into a signed commit by anybody: tree, parents and signer stay what they are."""
    good = forge.commit(alice)
    raw = forge.git("cat-file", "commit", good).encode() + b"\n"
    tree, parent = forge.git("rev-parse", f"{good}^{{tree}}"), forge.git("rev-parse", f"{good}^")
    header, mark, rest = raw.partition(b"\ngpgsig ")
    for line in (b"parent " + b"0" * 40, b"tree " + b"0" * 40, b"evil"):
        twin = write(forge, header + b"\n" + name + b" " + line + mark + rest)
        (judged,) = judge(repo, [twin], Signers([alice.line()]))
        if judged.good:
            assert forge.git("rev-parse", f"{twin}^{{tree}}") == tree
            assert forge.git("rev-list", "--parents", "-1", twin).split() == [twin, parent]


def test_a28_a_good_signature_moved_to_another_tree_or_parent_is_bad(repo: Repo, forge: Forge, alice: SshKey) -> None:
    forge.commit(alice, subject="good")
    raw = forge.git("cat-file", "commit", "HEAD").encode() + b"\n"
    signature = signature_of(raw)
    (forge.tree / "fleet.yaml").write_bytes(b"evil")
    for payload in (forge.payload(), forge.payload(parents=[]), forge.payload(parents=[forge.head, forge.head])):
        commit = forge.write(payload, signature)
        with pytest.raises(TrustRefused, match="E_GIT_SIG"):
            require_signed(repo, CommitId(commit), mode="head", since=None, signers=Signers([alice.line()]))


def test_a28_strict_judges_every_parent_of_an_octopus(repo: Repo, forge: Forge, alice: SshKey) -> None:
    base = forge.commit(alice, subject="base")
    arms = []
    for number in range(5):
        forge.git("checkout", "-q", "-B", f"arm{number}", base)
        arms.append(forge.commit(None if number == 3 else alice, subject=f"arm {number}"))
    forge.git("checkout", "-q", "-B", "main", base)
    raw = forge.payload(parents=[base, *arms])
    merge = forge.write(raw, alice.sign(raw))
    signers = Signers([alice.line()])
    require_signed(repo, CommitId(merge), mode="head", since=CommitId(base), signers=signers)
    with pytest.raises(TrustRefused, match="E_GIT_SIG") as caught:
        require_signed(repo, CommitId(merge), mode="strict", since=CommitId(base), signers=signers)
    assert arms[3][:12] in caught.value.message


LYING = """\
[core]
	worktree = /etc
	fsmonitor = touch {sentinel}
	hooksPath = {hooks}
	pager = touch {sentinel}
	sshCommand = touch {sentinel}
	alternateRefsCommand = touch {sentinel}
	askPass = touch {sentinel}
[include]
	path = {more}
[filter "x"]
	smudge = touch {sentinel}
	clean = touch {sentinel}
	process = touch {sentinel}
	required = true
[diff]
	external = touch {sentinel}
[diff "x"]
	textconv = touch {sentinel}
	command = touch {sentinel}
[gpg]
	program = {liar}
	format = ssh
	minTrustLevel = never
[gpg "ssh"]
	program = {liar}
	allowedSignersFile = {allowed}
	revocationFile = {allowed}
	defaultKeyCommand = touch {sentinel}
[gpg "openpgp"]
	program = {liar}
[gpg "x509"]
	program = {liar}
[extensions]
	partialClone = evil
[remote "evil"]
	url = "ext::touch {sentinel}"
	promisor = true
	uploadpack = touch {sentinel}
	vcs = ext
[protocol]
	allow = always
[log]
	showSignature = true
	mailmap = true
[mailmap]
	file = {more}
[format]
	pretty = evil
[i18n]
	logOutputEncoding = UTF-16
[uploadpack]
	packObjectsHook = touch {sentinel}
"""


def test_a28_a_repository_that_says_how_to_read_it_is_not_listened_to(
    repo: Repo, forge: Forge, alice: SshKey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What somebody wrote into .git runs nothing, changes no verdict and no content."""
    mallory = SshKey.make(tmp_path / "keys", "mallory")
    (forge.tree / ".gitattributes").write_text("* filter=x diff=x\n")
    good, bad = CommitId(forge.commit(alice)), CommitId(forge.commit(mallory))
    sentinel, liar, hooks = tmp_path / "ran", tmp_path / "liar", tmp_path / "hooks"
    liar.write_text(f"#!/bin/sh\ntouch {sentinel}\necho 'Good \"git\" signature for alice@example.org'\nexit 0\n")
    liar.chmod(0o755)
    hooks.mkdir()
    for name in ("post-checkout", "pre-commit", "reference-transaction", "post-index-change"):
        (hooks / name).write_text(f"#!/bin/sh\ntouch {sentinel}\n")
        (hooks / name).chmod(0o755)
    (tmp_path / "allowed").write_text(mallory.line("alice@example.org") + "\n")
    (tmp_path / "more").write_text(f"[core]\n\tpager = touch {sentinel}\n[alias]\n\tlog = !touch {sentinel}\n")
    made = {"sentinel": sentinel, "hooks": hooks, "liar": liar}
    files = {"allowed": tmp_path / "allowed", "more": tmp_path / "more"}
    text = LYING.format(**made, **files)
    with (repo.git_dir / "config").open("a") as file:
        file.write(text)
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES"):
        monkeypatch.setenv(name, str(tmp_path))
    for name in ("GIT_EXTERNAL_DIFF", "GIT_SSH", "GIT_PROXY_COMMAND", "GIT_EDITOR", "GIT_PAGER"):
        monkeypatch.setenv(name, f"touch {sentinel}")
    monkeypatch.setenv("GIT_CONFIG_PARAMETERS", "'gpg.ssh.program'='" + str(liar) + "'")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", "/")
    monkeypatch.setenv("GIT_TRACE", str(sentinel))
    monkeypatch.setenv("GIT_NAMESPACE", "evil")
    found = judge(Repo(repo.git_dir, None, "x"), [good, bad], Signers([alice.line()]))
    assert [one.good for one in found] == [True, False]
    assert repo.file(good, "fleet.yaml") == b"1"
    assert repo.tree(good).paths()
    missing = CommitId("1" * 40)
    with pytest.raises(FwctlError):  # a promisor would be asked for it
        judge(Repo(repo.git_dir, None, "x"), [missing], Signers([alice.line()]))
    assert not sentinel.exists()


def test_a28_what_was_verified_is_what_is_read_though_the_branch_moves(repo: Repo, forge: Forge, alice: SshKey) -> None:
    good = CommitId(forge.commit(alice))
    commit = repo.head()
    tree = repo.tree(commit)
    (forge.tree / "fleet.yaml").write_bytes(b"evil")
    evil = forge.commit(None)
    for ref in (f"refs/heads/{good}", f"refs/tags/{good}", f"refs/heads/{good[:12]}"):
        forge.git("update-ref", ref, evil)
    forge.git("replace", good, evil)
    require_signed(repo, commit, mode="head", since=None, signers=Signers([alice.line()]))
    assert repo.file(commit, "fleet.yaml") == b"1"
    assert open_repo(repo.origin, cache=forge.tree.parent / "cache").tree(commit).paths() == tree.paths()
    assert repo.resolve(good) == good


# -- bills of materials --------------------------------------------------------------------------------------------

BILL: dict[str, Any] = {"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1}


def part(number: int = 0, **more: Any) -> dict[str, Any]:
    return {"type": "library", "name": f"part-{number}", "version": "1"} | more


def many(number: int) -> list[dict[str, Any]]:
    return [part(at) for at in range(number)]


@pytest.mark.parametrize(
    "more",
    [
        {"components": [part(pedigree={"ancestors": many(40_000)})]},
        {"components": [part(pedigree={"variants": [part(components=many(40_000))]})]},
        {"components": [part(properties=[{"name": f"n{at}", "value": "x"} for at in range(40_000)])]},
        {"components": [part(licenses=[{"license": {"name": f"n{at}"}} for at in range(40_000)])]},
        {"components": [part()], "services": [{"name": f"s{at}"} for at in range(40_000)]},
        {"components": [part()], "vulnerabilities": [{"id": f"CVE-{at}"} for at in range(40_000)]},
        {"components": [part()], "dependencies": [{"ref": f"r{at}"} for at in range(40_000)]},
        {"components": [part()], "metadata": {"tools": {"components": many(40_000)}}},
    ],
    ids=["ancestors", "variants", "properties", "licences", "services", "vulnerabilities", "dependencies", "tools"],
)
def test_what_is_not_asked_for_in_a_bill_is_not_built(more: dict[str, Any]) -> None:
    """The library takes a fifth of a millisecond and 9 KB for each: 16 MB of them would take the machine."""
    data = json.dumps(BILL | more).encode()
    begun = time.process_time()
    (found,) = read_bill(data, place="x")
    assert (found.name, found.version) == ("part-0", "1")
    assert time.process_time() - begun < 4


def test_parts_of_the_firmware_itself_are_counted_too() -> None:
    main = part(components=many(MAX_COMPONENTS + 1))
    with pytest.raises(FwctlError, match="E_SBOM_FORMAT"):
        read_bill(json.dumps(BILL | {"metadata": {"component": main}}).encode(), place="x")


@pytest.mark.parametrize(
    "wanted", ["pkg:deb/debian/openssl@3.0.1", "openssl@3.0.1", "openssl@3.0.1-r0", "PKG:deb/debian/openssl"]
)
def test_a_component_cannot_hide_behind_a_second_version_or_an_upper_case_letter(wanted: str) -> None:
    more = part(name="OpenSSL", version="3.0.1-r0", purl="pkg:deb/debian/openssl@3.0.1?arch=arm#x")
    assert Wanted.parse(wanted).any(read_bill(json.dumps(BILL | {"components": [more]}).encode(), place="x"))
