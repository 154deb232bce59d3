"""Mirrors of remote repositories: whatever a killed fetch left, the next one works or says why not."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fwctl.errors import WorldError
from fwctl.gitrepo import Repo, init, open_repo


@pytest.fixture(autouse=True)
def identity(monkeypatch: pytest.MonkeyPatch) -> None:
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "Ada")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "ada@example.org")


@pytest.fixture
def origin(tmp_path: Path) -> Repo:
    repo = init(tmp_path / "origin")
    repo.commit_files({"fleet.yaml": b"1", "devices/a.yaml": os.urandom(200_000)}, "first")
    return repo


def mirror(origin: Repo, tmp_path: Path) -> Repo:
    assert origin.worktree is not None
    return open_repo(origin.worktree.as_uri(), cache=tmp_path / "cache")


def test_a_mirror_follows_its_origin(origin: Repo, tmp_path: Path) -> None:
    first = mirror(origin, tmp_path)
    assert first.head() == origin.head()
    assert first.worktree is None
    origin.commit_files({"fleet.yaml": b"2"}, "second")
    again = mirror(origin, tmp_path)
    assert again.head() == origin.head()
    assert again.tree(again.head()).read("fleet.yaml") == b"2"


def test_a_rewound_origin_is_shown_as_it_is(origin: Repo, tmp_path: Path) -> None:
    """The mirror tells the truth; that history must descend is for `require_descent`."""
    first = origin.head()
    second = origin.commit_files({"fleet.yaml": b"2"}, "second")
    assert mirror(origin, tmp_path).head() == second
    subprocess.run(["git", "reset", "-q", "--hard", first], cwd=origin.worktree, check=True)
    now = mirror(origin, tmp_path)
    assert now.head() == first
    assert not now.is_ancestor(second, first)


def stale_locks(git_dir: Path) -> None:
    for name in ("HEAD.lock", "packed-refs.lock", "config.lock", "shallow.lock", "refs/heads/main.lock"):
        (git_dir / name).parent.mkdir(parents=True, exist_ok=True)
        (git_dir / name).write_text("")
    (git_dir / "objects/pack/tmp_pack_x").write_text("half")


def truncated_pack(git_dir: Path) -> None:
    for pack in git_dir.glob("objects/pack/*.pack"):
        pack.chmod(0o600)
        os.truncate(pack, 100)


def no_objects(git_dir: Path) -> None:
    shutil.rmtree(git_dir / "objects/pack")


def torn_head(git_dir: Path) -> None:
    (git_dir / "HEAD").write_text("")


def torn_config(git_dir: Path) -> None:
    (git_dir / "config").write_text("[core\n\x00")


def empty(git_dir: Path) -> None:
    shutil.rmtree(git_dir)
    git_dir.mkdir()


@pytest.mark.parametrize("damage", [stale_locks, truncated_pack, no_objects, torn_head, torn_config, empty])
def test_a_damaged_mirror_heals_by_itself(origin: Repo, tmp_path: Path, damage: Callable[[Path], None]) -> None:
    damage(mirror(origin, tmp_path).git_dir)
    origin.commit_files({"fleet.yaml": b"2"}, "second")
    healed = mirror(origin, tmp_path)
    assert healed.head() == origin.head()
    assert healed.tree(healed.head()).read("fleet.yaml") == b"2"
    assert not list((tmp_path / "cache").glob("*.new-*"))


def test_a_fetch_killed_at_any_moment_leaves_a_usable_mirror(origin: Repo, tmp_path: Path) -> None:
    assert origin.worktree is not None
    url, cache = origin.worktree.as_uri(), tmp_path / "cache"
    code = "import sys\nfrom pathlib import Path\nfrom fwctl.gitrepo import open_repo\n"
    code += "print('go', flush=True)\nopen_repo(sys.argv[1], cache=Path(sys.argv[2]))"
    for turn in range(6):
        origin.commit_files({"devices/a.yaml": os.urandom(2_000_000)}, f"turn {turn}")
        child = subprocess.Popen(
            [sys.executable, "-c", code, url, str(cache)], stdout=subprocess.PIPE, start_new_session=True
        )
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(0.02 + 0.06 * turn)
        os.killpg(child.pid, signal.SIGKILL)
        child.communicate()
        if turn % 2:  # every second time, the next kill meets what this one left
            healed = open_repo(url, cache=cache)
            assert healed.tree(healed.head()).read_all() == origin.tree(origin.head()).read_all()


def test_a_remote_that_is_gone_is_an_error_and_never_empty(origin: Repo, tmp_path: Path) -> None:
    before = mirror(origin, tmp_path)
    assert origin.worktree is not None
    origin.worktree.rename(tmp_path / "away")
    with pytest.raises(WorldError) as caught:
        mirror(origin, tmp_path)
    assert caught.value.code == "E_GIT_FETCH"
    assert "git ls-remote" in caught.value.remedy
    assert before.tree(before.head()).read("fleet.yaml") == b"1"
    (tmp_path / "away").rename(origin.worktree)
    assert mirror(origin, tmp_path).head() == before.head()


def test_a_remote_never_seen_is_an_error_too(tmp_path: Path) -> None:
    with pytest.raises(WorldError, match="E_GIT_FETCH"):
        open_repo((tmp_path / "nowhere").as_uri(), cache=tmp_path / "cache")
    with pytest.raises(WorldError, match="E_GIT_FETCH"):
        open_repo("https://127.0.0.1:9/fleet.git", cache=tmp_path / "cache")


def test_a_cache_that_cannot_be_made_is_an_error_of_the_world(origin: Repo, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(WorldError, match="E_DISK"):
        mirror(origin, tmp_path)


def test_a_mirror_of_a_mirror_inside_a_repository_stays_apart(origin: Repo, tmp_path: Path) -> None:
    """A broken mirror in a folder of another repository must not show that one instead."""
    assert origin.worktree is not None
    outer = init(tmp_path / "outer")
    outer.commit_files({"fleet.yaml": b"outer"}, "outer")
    cache = tmp_path / "outer/cache"
    made = open_repo(origin.worktree.as_uri(), cache=cache)
    (made.git_dir / "HEAD").unlink()
    healed = open_repo(origin.worktree.as_uri(), cache=cache)
    assert healed.head() == origin.head()
