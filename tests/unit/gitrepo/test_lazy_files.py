"""Files of a commit or work tree: identity at once, bytes when they are asked for."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import pytest

from fwctl.gitrepo import Files, init

BIG = b"x" * 70_000
CONTENT = {"fleet.yaml": b"1", "devices/big.csv": BIG, "groups/a.yaml": b"2"}


class Reads:
    """A store that says what was read of it."""

    def __init__(self) -> None:
        self.paths: list[list[str]] = []

    def __call__(self, paths: Collection[str]) -> Mapping[str, bytes]:
        self.paths.append(sorted(paths))
        return {path: CONTENT[path] for path in paths}


@pytest.fixture
def reads() -> Reads:
    return Reads()


@pytest.fixture
def files(reads: Reads) -> Files:
    known = Files.of(CONTENT)
    return Files({path: (known.blob_id(path), len(data)) for path, data in CONTENT.items()}, reads)


def test_names_and_ids_are_known_without_reading(files: Files, reads: Reads) -> None:
    assert list(files) == sorted(CONTENT)
    assert len(files) == 3
    assert "fleet.yaml" in files
    assert "none" not in files
    assert files.blob_id("fleet.yaml") == "56a6051ca2b02b04ef92d5150c9ef600403cb1de"
    assert reads.paths == []


def test_small_files_are_read_together_and_large_ones_alone(files: Files, reads: Reads) -> None:
    assert files["groups/a.yaml"] == b"2"
    assert files["fleet.yaml"] == b"1"
    assert reads.paths == [["fleet.yaml", "groups/a.yaml"]]
    assert files["devices/big.csv"] == BIG
    assert reads.paths[1:] == [["devices/big.csv"]]
    assert dict(files) == CONTENT
    with pytest.raises(KeyError):
        files["none"]


def test_changed_files_stand_beside_those_that_stay_unread(files: Files, reads: Reads) -> None:
    changed = files | {"fleet.yaml": b"new", "groups/b.yaml": b"3"}
    assert changed.blob_id("devices/big.csv") == files.blob_id("devices/big.csv")
    assert changed.blob_id("fleet.yaml") == Files.of({"fleet.yaml": b"new"}).blob_id("fleet.yaml")
    assert (changed["fleet.yaml"], changed["groups/b.yaml"], changed["groups/a.yaml"]) == (b"new", b"3", b"2")
    assert "groups/b.yaml" not in files
    assert ["devices/big.csv"] not in reads.paths
    assert changed["devices/big.csv"] == BIG


def test_files_that_are_left_out_are_not_there(files: Files) -> None:
    left = files.without(["fleet.yaml"])
    assert dict(left) == {path: data for path, data in CONTENT.items() if path != "fleet.yaml"}
    assert "fleet.yaml" in files


def test_what_follows_from_files_is_made_once(files: Files) -> None:
    assert files.once("what", list) is files.once("what", list)
    assert files.once("what", list) is not (files | {}).once("what", list)


@pytest.mark.usefixtures("_identity")
def test_a_commit_gives_the_ids_and_bytes_that_git_has(tmp_path: Path) -> None:
    repo = init(tmp_path / "repo")
    commit = repo.commit_files(CONTENT, "files")
    files = repo.tree(commit).files()
    assert dict(files) == CONTENT
    assert {path: files.blob_id(path) for path in files} == dict(repo.tree(commit).paths())
    assert {path: Files.of(CONTENT).blob_id(path) for path in files} == dict(repo.tree(commit).paths())


@pytest.fixture
def _identity(monkeypatch: pytest.MonkeyPatch) -> None:
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "Alice")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "alice@example.org")
