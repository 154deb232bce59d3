"""Hostile addresses, names and trees: nothing runs, nothing leaks, one code per class."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from fwctl.errors import InputError
from fwctl.gitrepo import Local, Remote, Repo, check_ref, init, open_repo, parse_location, worktree_files
from fwctl.gitrepo.location import check_host

SECRET = "root:x:0:0 the content of another file"


@pytest.fixture(autouse=True)
def identity(monkeypatch: pytest.MonkeyPatch) -> None:
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "Ada")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "ada@example.org")


def hostile(sentinel: Path) -> list[str]:
    return [
        f"ext::sh -c touch% {sentinel}",
        f"ext::sh%20-c%20touch%20{sentinel}",
        f"--upload-pack=touch {sentinel}",
        f"-c core.pager=touch {sentinel}",
        f"--output={sentinel}",
        f"-oProxyCommand=touch {sentinel}",
        f"ssh://-oProxyCommand=touch%20{sentinel}/x",
        f"ssh://-oProxyCommand=touch${{IFS}}{sentinel}/x",
        f"ssh://user@-oProxyCommand=x/{sentinel}",
        f"-oProxyCommand=x:{sentinel}",
        f"user@-oProxyCommand=x:{sentinel}",
        f"host:--upload-pack={sentinel}",
        f"host:-x{sentinel}",
        f"fd::17/{sentinel}",
        f"transport::{sentinel}",
        "http://example.org/x.git",
        "git://example.org/x.git",
        "ftp://example.org/x.git",
        "HTTPS://example.org/x.git",
        "https://user:secret@example.org/x.git",
        "https://example.org",
        "https://example.org/",
        "https://example.org:99999/x",
        "https://example.org/x?upload-pack=1",
        "https://example.org/x#y",
        "https://exa mple.org/x",
        "https://example.org\\@evil.org/x",
        "https://a@b@c/x",
        "https:///x",
        "https://[::1/x",
        "file://",
        "file://host/x",
        "file:///x y",
        "file:///x\ny",
        "",
        " ",
        " /tmp/x",
        "\n",
        "/tmp/x\0",
        "x" * 5000,
    ]


def test_no_hostile_address_reaches_git(tmp_path: Path) -> None:
    sentinel = tmp_path / "ran"
    for address in hostile(sentinel):
        with pytest.raises(InputError) as caught:
            open_repo(address, cache=tmp_path / "cache")
        assert caught.value.code == "E_GIT_URL", address
        assert "secret" not in str(caught.value), address
        assert "\n" not in str(caught.value), address
    assert not sentinel.exists()
    assert not (tmp_path / "cache").exists()


def test_honest_addresses_are_understood() -> None:
    assert parse_location("/srv/fleet") == Local(Path("/srv/fleet"))
    assert parse_location("./a:b") == Local(Path("./a:b"))
    assert parse_location("fleet") == Local(Path("fleet"))
    for url, protocol in (
        ("https://example.org/team/fleet.git", "https"),
        ("https://ci@example.org:8443/team/fleet", "https"),
        ("https://[::1]:8443/fleet", "https"),
        ("ssh://git@example.org:2222/~ada/fleet.git", "ssh"),
        ("git@example.org:team/fleet.git", "ssh"),
        ("example.org:/srv/fleet.git", "ssh"),
        ("file:///srv/fleet.git", "file"),
    ):
        assert parse_location(url) == Remote(url, protocol)


@pytest.mark.parametrize(
    "address",
    [
        "https://evil.example/x.git",
        "https://git.example.org.evil.example/x.git",
        "https://git.example.org@evil.example/x.git",
        "ssh://git@evil.example/git.example.org/x",
        "git@evil.example:git.example.org/x",
        "https://[::1]/x",
        "file:///srv/x.git",
    ],
)
def test_a32_only_hosts_of_the_operators_list_are_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    for hosts in ("git.example.org, other.example.org", ""):
        monkeypatch.setenv("FWCTL_GIT_HOSTS", hosts)
        with pytest.raises(InputError) as caught:
            open_repo(address, cache=tmp_path / "cache")
        assert caught.value.code == "E_GIT_URL"
        assert "FWCTL_GIT_HOSTS" in caught.value.message
    assert not (tmp_path / "cache").exists()


def test_a_host_of_the_operators_list_may_be_asked() -> None:
    for address in (
        "https://git.example.org/x",
        "https://ci@Git.Example.org:8443/x",
        "ssh://git@git.example.org/x",
        "git@git.example.org:x",
        "git.example.org:x",
        "https://[::1]:8443/x",
    ):
        remote = parse_location(address)
        assert isinstance(remote, Remote)
        check_host(remote, "other.example.org, GIT.example.org, ::1")
        check_host(remote, None)


def test_no_hostile_name_reaches_git(tmp_path: Path) -> None:
    repo = init(tmp_path / "fleet")
    repo.commit_files({"fleet.yaml": b"x"}, "first")
    sentinel = tmp_path / "ran"
    names = [f"--output={sentinel}", "-c", "--all", "--git-dir=/tmp", "^HEAD", "HEAD..HEAD", "HEAD:fleet.yaml", ""]
    for name in [*names, ":/first", "a b", "a\nb", "a\0b", "x" * 600, "HEAD...main"]:
        with pytest.raises(InputError) as caught:
            repo.resolve(name)
        assert caught.value.code == "E_GIT_URL", name
    with pytest.raises(InputError, match="E_PATH"):
        repo.log(f"--output={sentinel}", 1)
    assert not sentinel.exists()
    assert check_ref("feature/x@{1}") == "feature/x@{1}"


def raw_commit(repo: Repo, entries: list[tuple[str, str, bytes]]) -> None:
    """Commit entries (mode, content or object, raw path) that no honest work tree could hold."""

    def git(*args: str, stdin: bytes = b"") -> bytes:
        return subprocess.run(["git", *args], cwd=repo.worktree, input=stdin, check=True, capture_output=True).stdout

    lines = []
    for mode, content, path in entries:
        oid = (
            content.encode()
            if mode == "160000"
            else git("hash-object", "-w", "--stdin", stdin=content.encode()).strip()
        )
        kind = b"commit" if mode == "160000" else b"blob"
        lines.append(mode.encode() + b" " + kind + b" " + oid + b"\t" + path)
    folders: dict[bytes, list[bytes]] = {}
    for line in lines:  # one level of folders is enough to say everything
        head, _, path = line.partition(b"\t")
        folder, _, name = path.rpartition(b"/")
        folders.setdefault(folder, []).append(head + b"\t" + name)
    top = folders.pop(b"", [])
    for folder, children in folders.items():
        tree = git("mktree", "-z", "--missing", stdin=b"\0".join(children) + b"\0").strip()
        top.append(b"040000 tree " + tree + b"\t" + folder)
    root = git("mktree", "-z", "--missing", stdin=b"\0".join(top) + b"\0").strip().decode()
    commit = git("commit-tree", root, "-m", "x").strip().decode()
    git("update-ref", "HEAD", commit)


GOOD = ("100644", "x", b"fleet.yaml")


@pytest.mark.parametrize(
    ("entries", "word"),
    [
        ([("120000", "/etc/passwd", b"rollouts/x.yaml")], "link"),
        ([("120000", "/etc", b"rollouts")], "link"),
        ([("160000", "a" * 40, b"devices/sub")], "submodule"),
        ([("160000", "a" * 40, b"trust")], "submodule"),
        ([("100644", SECRET, b"devices/..")], "dots"),
        ([("100644", SECRET, b"devices/.")], "dots"),
        ([("100644", SECRET, b"devices/.GIT")], ".git"),
        ([("100644", SECRET, b"devices/a\nb.yaml")], "invisible"),
        ([("100644", SECRET, b"devices/a\tb.yaml")], "invisible"),
        ([("100644", SECRET, "devices/a\u202eb.yaml".encode())], "invisible"),
        ([("100644", SECRET, b"devices/\xff.yaml")], "invisible"),
        ([("100644", SECRET, b"devices/-x.yaml")], "dash"),
        ([("100644", SECRET, b"devices/a\\b.yaml")], "backslash"),
        ([("100644", SECRET, b"devices/x.yaml ")], "blanks"),
        ([("100644", SECRET, "devices/u\u0308.yaml".encode())], "NFC"),
        ([("100644", SECRET, b"devices/A.yaml"), ("100644", "b", b"devices/a.yaml")], "case"),
        ([("100644", SECRET, b"devices/a.yaml"), ("100644", "b", b"devices/a.yaml")], "twice"),
        ([("100644", SECRET, b"Rollouts/x.yaml")], "lower case"),
        ([("100644", SECRET, b"FLEET.yaml")], "lower case"),
    ],
)
def test_odd_entries_of_a_commit_are_refused(tmp_path: Path, entries: list[tuple[str, str, bytes]], word: str) -> None:
    repo = init(tmp_path / "fleet")
    raw_commit(repo, [GOOD, *entries] if entries[0][2] != b"FLEET.yaml" else entries)
    with pytest.raises(InputError) as caught:
        repo.tree(repo.head()).paths()
    assert caught.value.code == "E_PATH"
    assert word in str(caught.value)
    assert SECRET not in repr(caught.value)
    assert "\n" not in str(caught.value)


def test_links_in_the_work_tree_are_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "x.yaml").write_text(SECRET)
    for number, (link, target) in enumerate((("devices/x.yaml", outside / "x.yaml"), ("rollouts", outside))):
        root = tmp_path / f"fleet{number}"
        repo = init(root)
        (root / "devices").mkdir()
        (root / link).symlink_to(target)
        with pytest.raises(InputError) as caught:
            worktree_files(root)
        assert caught.value.code == "E_PATH"
        with pytest.raises(InputError, match="E_PATH"):
            repo.dirty()


def test_a_folder_swapped_for_a_link_is_not_followed(tmp_path: Path) -> None:
    """The index lists devices/x.yaml; on disk, devices leads elsewhere."""
    repo = init(tmp_path / "fleet")
    repo.commit_files({"devices/x.yaml": b"x"}, "first")
    (tmp_path / "fleet/devices/x.yaml").unlink()
    (tmp_path / "fleet/devices").rmdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/x.yaml").write_text(SECRET)
    (tmp_path / "fleet/devices").symlink_to(tmp_path / "outside")
    with pytest.raises(InputError, match="E_PATH"):
        worktree_files(tmp_path / "fleet")
    with pytest.raises(InputError, match="E_PATH"):
        repo.commit_files({"devices/x.yaml": b"overwritten"}, "x")
    assert (tmp_path / "outside/x.yaml").read_text() == SECRET


def test_special_files_do_not_hang_the_reader(tmp_path: Path) -> None:
    repo = init(tmp_path / "fleet")
    repo.commit_files({"devices/x.yaml": b"x"}, "first")
    (tmp_path / "fleet/devices/x.yaml").unlink()
    os.mkfifo(tmp_path / "fleet/devices/x.yaml")
    with pytest.raises(InputError, match="E_PATH"):
        worktree_files(tmp_path / "fleet")


@pytest.mark.parametrize(
    "path", ["../x", "/etc/x", "devices/../../x", ".git/hooks/pre-commit", "devices/.GIT/x", "-x", ""]
)
def test_a_commit_of_ours_stays_inside(tmp_path: Path, path: str) -> None:
    repo = init(tmp_path / "fleet")
    with pytest.raises(InputError, match="E_PATH"):
        repo.commit_files({path: b"x"}, "x")
    assert not (tmp_path / "x").exists()


def test_ignored_files_stay_out_of_the_work_trees_listing(tmp_path: Path) -> None:
    repo = init(tmp_path / "fleet")
    repo.commit_files({".gitignore": b"*.key\n", "trust/a.json": b"1"}, "first")
    (tmp_path / "fleet/trust/secret.key").write_text("k")
    (tmp_path / "fleet/trust/b.json").write_text("2")
    assert worktree_files(tmp_path / "fleet") == {"trust/a.json": b"1", "trust/b.json": b"2"}
    assert repo.dirty() == ("trust/b.json",)
