"""Folders made many at a time: complete or not there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from fwctl.errors import WorldError
from fwctl.files import write_folders

FILES = {"settings": b"one\n", "identity/key": b"secret", "identity/certificate": b"public", "a/b/c": b"deep"}
Folders = Iterator[tuple[Path, Mapping[str, bytes]]]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_folders_are_complete_and_keys_are_for_the_owner(tmp_path: Path) -> None:
    wanted = [tmp_path / "far" / "away" / name for name in ("one", "two")]
    write_folders([(folder, FILES) for folder in wanted], private=("identity/key",))
    assert [contents(folder) for folder in wanted] == [FILES, FILES]
    assert {mode(folder / "identity") for folder in wanted} == {0o700}
    assert (mode(wanted[0] / "identity" / "key"), mode(wanted[0] / "settings")) == (0o600, 0o644)


def test_what_a_killed_process_left_is_replaced(tmp_path: Path) -> None:
    (tmp_path / ".one.new" / "identity").mkdir(parents=True)
    (tmp_path / ".one.new" / "stale").write_text("half")
    write_folders([(tmp_path / "one", FILES)], private=())
    assert contents(tmp_path) == {f"one/{path}": data for path, data in FILES.items()}


def test_a_folder_in_use_is_not_replaced_and_nothing_is_left_lying_about(tmp_path: Path) -> None:
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "thesis.txt").write_text("mine")
    with pytest.raises(WorldError, match="cannot write") as caught:
        write_folders([(tmp_path / name, FILES) for name in ("one", "two", "three")], private=())
    assert (caught.value.code, caught.value.place) == ("E_DISK", str(tmp_path / "two"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"]
    assert contents(tmp_path / "one") == FILES
    assert contents(tmp_path / "two") == {"thesis.txt": b"mine"}


def test_an_interruption_leaves_nothing_half_made(tmp_path: Path) -> None:
    def folders() -> Folders:
        yield tmp_path / "one", FILES
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_folders(folders(), private=())
    assert list(tmp_path.iterdir()) == []
