"""Real repositories: names, history, reads by blob, and commits of our own."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from fwctl.errors import InputError, TrustRefused, WorldError
from fwctl.gitrepo import CommitId, Repo, init, open_repo, worktree_files

FILES = {"fleet.yaml": b"a\r\n", "devices/a b.yaml": b"\x00\xff", "rollouts/prod/x.yaml": "ü\n".encode()}


@pytest.fixture(autouse=True)
def identity(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Give git a home of its own, with an identity."""
    home = tmp_path / "home"
    home.mkdir()
    (home / ".gitconfig").write_text("[user]\n\tname = Ada\n\temail = ada@example.org\n")
    monkeypatch.setenv("HOME", str(home))
    for name in [name for name in os.environ if name.startswith(("GIT_", "XDG_CONFIG"))]:
        monkeypatch.delenv(name)
    return home


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    repo = init(tmp_path / "fleet")
    repo.commit_files(FILES, "first")
    return repo


def git(repo: Repo, *args: str) -> str:
    done = subprocess.run(["git", *args], cwd=repo.worktree, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def tree_of(repo: Repo) -> Path:
    assert repo.worktree is not None
    return repo.worktree


def test_committed_bytes_come_back_as_they_were(repo: Repo, tmp_path: Path) -> None:
    tree = repo.tree(repo.head())
    assert tree.read_all() == FILES
    assert list(tree.paths()) == sorted(FILES)
    assert tree.read("fleet.yaml") == b"a\r\n"
    assert tree.read_all(lambda path: path.startswith("devices/")) == {"devices/a b.yaml": b"\x00\xff"}
    assert git(repo, "status", "--porcelain") == ""
    with pytest.raises(InputError, match="E_PATH_MISSING"):
        tree.read("devices/none.yaml")


def test_thousands_of_files_go_through_one_process(repo: Repo) -> None:
    files = {f"approvals/prod/x/{n}.json": b"%d" % n for n in range(3000)}
    tree = repo.tree(repo.commit_files(files, "many"))
    assert tree.read_all(lambda path: path.startswith("approvals/")) == files


def test_files_outside_the_managed_folders_are_nobodys_business(repo: Repo) -> None:
    (tree_of(repo) / "docs").mkdir()
    (tree_of(repo) / "docs/link").symlink_to("/etc/passwd")
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", "docs")
    assert repo.tree(repo.head()).read_all() == FILES
    assert repo.dirty() == ()


def test_history_knows_who_and_what(repo: Repo) -> None:
    first = repo.head()
    second = repo.commit_files({"fleet.yaml": b"b\n"}, "second: ü")
    assert [commit.subject for commit in repo.log("fleet.yaml", 5)] == ["second: ü", "first"]
    assert [commit.id for commit in repo.log("devices", 5)] == [first]
    author = repo.author(second)
    assert (author.name, author.email, author.id) == ("Ada", "ada@example.org", second)
    assert author.time.utcoffset() is not None


def test_equal_content_makes_no_commit(repo: Repo) -> None:
    assert repo.commit_files(FILES, "again") == repo.head()
    assert repo.commit_files({}, "nothing") == repo.head()


def test_a_commit_takes_its_files_alone(repo: Repo) -> None:
    """What the user has staged or edited stays theirs."""
    (tree_of(repo) / "fleet.yaml").write_bytes(b"staged\n")
    git(repo, "add", "fleet.yaml")
    (tree_of(repo) / "devices/a b.yaml").write_bytes(b"edited")
    commit = repo.commit_files({"groups/g.yaml": b"g"}, "ours")
    assert git(repo, "show", "--name-only", "--format=", commit) == "groups/g.yaml"
    assert git(repo, "diff", "--cached", "--name-only") == "fleet.yaml"
    assert repo.dirty() == ("devices/a b.yaml", "fleet.yaml")


def test_hooks_and_filters_of_the_repository_never_run(repo: Repo, tmp_path: Path) -> None:
    sentinel = tmp_path / "ran"
    hook = repo.git_dir / "hooks" / "pre-commit"
    hook.parent.mkdir(exist_ok=True)
    for name in ("pre-commit", "post-commit", "reference-transaction", "post-index-change", "commit-msg"):
        hook.with_name(name).write_text(f"#!/bin/sh\ntouch {sentinel}\n")
        hook.with_name(name).chmod(0o755)
    for key in ("filter.evil.clean", "filter.evil.smudge", "core.fsmonitor", "core.pager", "diff.external"):
        git(repo, "config", key, f"touch {sentinel}; cat")
    (tree_of(repo) / "devices/.gitattributes").write_text("* filter=evil text eol=lf\n")
    commit = repo.commit_files({"devices/n.yaml": b"1\r\n", "devices/.gitattributes": b"* filter=evil\n"}, "x")
    (tree_of(repo) / "devices/n.yaml").write_bytes(b"2\r\n")
    assert repo.tree(commit).read("devices/n.yaml") == b"1\r\n"
    assert repo.dirty() == ("devices/n.yaml",)
    assert repo.log("devices/n.yaml", 1)[0].id == commit
    assert not sentinel.exists()


def test_variables_of_a_surrounding_git_do_not_lead_astray(
    repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Inside a hook, GIT_DIR and GIT_INDEX_FILE name another repository."""
    other = init(tmp_path / "other")
    other.commit_files({"fleet.yaml": b"other"}, "other")
    monkeypatch.setenv("GIT_DIR", str(other.git_dir))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other.git_dir / "index"))
    monkeypatch.setenv("GIT_OBJECT_DIRECTORY", str(tmp_path / "nowhere"))
    monkeypatch.setenv("GIT_TRACE", str(tmp_path / "trace"))
    again = open_repo(str(repo.worktree), cache=tmp_path / "cache")
    assert again.tree(again.head()).read_all() == FILES
    assert again.commit_files({"fleet.yaml": b"new"}, "new") == repo.head()
    assert not (tmp_path / "trace").exists()


def test_names_lead_to_commits(repo: Repo) -> None:
    git(repo, "tag", "-a", "v1", "-m", "x")
    git(repo, "branch", "feature/ü")
    head = repo.head()
    assert {repo.resolve(name) for name in ("HEAD", "main", "v1", "feature/ü", head, head[:10], "HEAD^{commit}")} == {
        head
    }
    for unknown in ("nope", "HEAD~5", "f" * 40, "HEAD^{tree}", "HEAD^{blob}"):
        with pytest.raises(InputError) as caught:
            repo.resolve(unknown)
        assert caught.value.code == "E_GIT_REF"


def test_an_empty_repository_says_so(tmp_path: Path) -> None:
    repo = init(tmp_path / "fleet")
    with pytest.raises(InputError, match="E_GIT_EMPTY"):
        repo.head()
    (tmp_path / "fleet/fleet.yaml").write_text("x")
    assert repo.dirty() == ("fleet.yaml",)


def test_a_damaged_repository_is_never_an_empty_one(repo: Repo) -> None:
    head = repo.head()
    (repo.git_dir / "objects" / head[:2] / head[2:]).unlink()
    with pytest.raises(WorldError, match="E_GIT"):
        repo.head()
    with pytest.raises(WorldError, match="E_GIT"):
        repo.dirty()
    with pytest.raises(WorldError, match="E_GIT"):
        repo.tree(head).paths()


def test_a_missing_blob_is_an_error_not_an_absent_file(repo: Repo) -> None:
    tree = repo.tree(repo.head())
    blob = tree.paths()["fleet.yaml"]
    (repo.git_dir / "objects" / blob[:2] / blob[2:]).unlink()
    with pytest.raises(WorldError, match="E_GIT"):
        repo.tree(repo.head()).read_all()


@pytest.mark.parametrize("where", ["missing", "file", "plain"])
def test_what_is_no_repository_has_a_remedy(tmp_path: Path, where: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "plain").mkdir()
    with pytest.raises(InputError) as caught:
        open_repo(str(tmp_path / where), cache=tmp_path / "cache")
    assert caught.value.code == "E_GIT_REPO"
    assert "fwctl init" in caught.value.remedy


def test_a_folder_inside_and_a_linked_work_tree_open_their_own_head(repo: Repo, tmp_path: Path) -> None:
    inside = open_repo(str(tree_of(repo) / "devices"), cache=tmp_path / "cache")
    assert (inside.worktree, inside.head()) == (repo.worktree, repo.head())
    first = repo.head()
    git(repo, "worktree", "add", "-q", "-b", "side", str(tmp_path / "side"))
    repo.commit_files({"fleet.yaml": b"2"}, "second")
    side = open_repo(str(tmp_path / "side"), cache=tmp_path / "cache")
    assert side.head() == first
    moved = side.commit_files({"fleet.yaml": b"3"}, "third")
    assert side.head() == moved != repo.head()
    assert side.dirty() == ()


def test_a_bare_repository_reads_but_does_not_commit(repo: Repo, tmp_path: Path) -> None:
    subprocess.run(["git", "clone", "-q", "--bare", str(repo.worktree), str(tmp_path / "b.git")], check=True)
    bare = open_repo(str(tmp_path / "b.git"), cache=tmp_path / "cache")
    assert bare.tree(bare.head()).read_all() == FILES
    assert bare.dirty() == ()
    with pytest.raises(InputError, match="E_GIT_BARE"):
        bare.commit_files({"fleet.yaml": b""}, "x")


def test_history_must_descend_from_the_last_applied_commit(repo: Repo) -> None:
    first = repo.head()
    second = repo.commit_files({"fleet.yaml": b"2"}, "second")
    repo.require_descent(first, second)
    repo.require_descent(second, second)
    git(repo, "checkout", "-q", "--orphan", "other")
    git(repo, "commit", "-qm", "unrelated")
    for last, new in ((second, first), (first, repo.head()), (CommitId("f" * 40), first)):
        with pytest.raises(TrustRefused) as caught:
            repo.require_descent(last, new)
        assert caught.value.code == "E_GIT_REWIND"


def test_a_shallow_clone_cannot_answer_for_its_history(repo: Repo, tmp_path: Path) -> None:
    first = repo.head()
    repo.commit_files({"fleet.yaml": b"2"}, "second")
    url = tree_of(repo).as_uri()
    subprocess.run(["git", "clone", "-q", "--depth=1", url, str(tmp_path / "shallow")], check=True)
    shallow = open_repo(str(tmp_path / "shallow"), cache=tmp_path / "cache")
    with pytest.raises(InputError, match="E_GIT_SHALLOW"):
        shallow.require_descent(first, shallow.head())


def test_without_an_identity_nothing_is_committed(repo: Repo, identity: Path) -> None:
    (identity / ".gitconfig").write_text("")
    head = repo.head()
    with pytest.raises(InputError) as caught:
        repo.commit_files({"fleet.yaml": b"new"}, "x")
    assert caught.value.code == "E_GIT_IDENTITY"
    assert "user.name" in caught.value.remedy
    assert (repo.head(), repo.dirty()) == (head, ())


def test_the_environment_may_name_the_author(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_AUTHOR_NAME", "CI")
    assert repo.author(repo.commit_files({"fleet.yaml": b"ci"}, "x")).name == "CI"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_another_owner_needs_the_users_word(repo: Repo, tmp_path: Path, identity: Path) -> None:
    for path in [tree_of(repo), *tree_of(repo).rglob("*")]:
        os.chown(path, 12345, 12345)
    with pytest.raises(InputError) as caught:
        open_repo(str(repo.worktree), cache=tmp_path / "cache")
    assert caught.value.code == "E_GIT_OWNER"
    assert "safe.directory" in caught.value.remedy
    with (identity / ".gitconfig").open("a") as config:
        config.write(f"[safe]\n\tdirectory = /elsewhere\n\tdirectory = {repo.worktree}\n")
    again = open_repo(str(repo.worktree), cache=tmp_path / "cache")
    assert again.tree(again.head()).read_all() == FILES
    assert worktree_files(tree_of(again)) == FILES


def test_without_git_there_is_a_remedy(repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(WorldError, match="E_GIT_MISSING"):
        repo.head()


def test_a_commit_takes_files_away_with_the_folders_they_leave_empty(repo: Repo) -> None:
    repo.commit_files({"trust/a/b.json": b"b", "trust/a/c/d.json": b"d", "trust/e.json": b"e"}, "more")
    (tree_of(repo) / "trust/a/own.txt").write_text("not committed")
    gone = {"trust/a/b.json": None, "trust/a/c/d.json": None, "trust/never.json": None}
    commit = repo.commit_files({**gone, "trust/e.json": b"new"}, "less")
    assert repo.tree(commit).read_all() == FILES | {"trust/e.json": b"new"}
    assert git(repo, "status", "--porcelain", "-uall") == "?? trust/a/own.txt"
    assert not (tree_of(repo) / "trust/a/c").exists()
    assert repo.commit_files(gone, "again") == commit


def test_nothing_is_taken_away_through_a_link(repo: Repo, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept.txt").write_text("kept")
    (tree_of(repo) / "trust").symlink_to(outside)
    with pytest.raises(InputError, match="E_PATH"):
        repo.commit_files({"trust/kept.txt": None}, "away")
    assert (outside / "kept.txt").read_text() == "kept"
