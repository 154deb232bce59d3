"""The cache of results: whatever happens to its file, it gives what was kept or nothing."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from fwctl.gitrepo.cache import Cache, code_id

KEPT = {f"key-{number}": bytes([number]) * (1000 + number * 700) for number in range(12)}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "below" / "cache.db"


def filled(file: Path) -> Cache:
    cache = Cache(file, code="1")
    for key, value in KEPT.items():
        cache.put("kind", key, value)
    return cache


def test_what_was_kept_is_found_by_kind_key_and_code(file: Path) -> None:
    cache = filled(file)
    assert {key: cache.get("kind", key) for key in KEPT} == KEPT
    assert Cache(file, code="1").get("kind", "key-3") == KEPT["key-3"]
    assert cache.get("other", "key-3") is None
    assert cache.get("kind", "key-99") is None
    assert Cache(file, code="2").get("kind", "key-3") is None, "other code may mean something else by it"


def test_a_result_can_be_replaced(file: Path) -> None:
    cache = filled(file)
    cache.put("kind", "key-3", b"new")
    assert cache.get("kind", "key-3") == b"new"


def test_reading_makes_no_file(file: Path) -> None:
    assert Cache(file).get("kind", "key") is None
    assert not file.parent.exists()


def test_nobody_else_can_read_it(file: Path) -> None:
    filled(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_the_code_has_one_name_in_all_processes() -> None:
    said = subprocess.run(
        [sys.executable, "-c", "from fwctl.gitrepo.cache import code_id; print(code_id())"],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert said.stdout.strip() == code_id()


def test_damage_to_any_page_is_never_taken_for_a_result(file: Path) -> None:
    filled(file)
    whole = file.read_bytes()
    lost = 0
    for page in range(0, len(whole), 4096):
        for junk in (b"\xff" * 4096, b"\0" * 4096, whole[:4096] if page else whole[4096:8192]):
            file.write_bytes(whole[:page] + junk + whole[page + 4096 :])
            cache = Cache(file, code="1")
            for key, value in KEPT.items():
                lost += (got := cache.get("kind", key)) is None
                assert got in (None, value)
            cache.put("kind", "again", b"1")
            cache = Cache(file, code="1")
            cache.put("kind", "again", b"2")
            assert cache.get("kind", "again") in (b"2", None)
    assert lost, "some of this damage must have been noticed"


def test_a_bit_that_flips_in_a_value_is_noticed(file: Path) -> None:
    filled(file)
    with closing(sqlite3.connect(file)) as db, db:
        db.execute("UPDATE results SET value = zeroblob(length(value))")
    cache = Cache(file, code="1")
    assert [cache.get("kind", key) for key in KEPT if key != "key-0"] == [None] * (len(KEPT) - 1)


def test_a_row_under_the_name_of_another_is_noticed(file: Path) -> None:
    filled(file)
    with closing(sqlite3.connect(file)) as db, db:
        digest, value = db.execute("SELECT digest, value FROM results LIMIT 1").fetchone()
        db.execute("UPDATE results SET digest = ?, value = ?", (digest, value))
    cache = Cache(file, code="1")
    assert sum(cache.get("kind", key) is not None for key in KEPT) == 1


@pytest.mark.parametrize("junk", [b"", b"no database", b"SQLite format 3\0" + b"x" * 5000, "another program's"])
def test_a_foreign_file_in_its_place_is_replaced(file: Path, junk: bytes | str) -> None:
    file.parent.mkdir()
    if isinstance(junk, bytes):
        file.write_bytes(junk)
    else:
        with closing(sqlite3.connect(file)) as db, db:
            db.execute("CREATE TABLE results (theirs)")
    cache = filled(file)
    assert {key: cache.get("kind", key) for key in KEPT} == KEPT


def test_a_file_of_an_older_form_is_replaced(file: Path) -> None:
    filled(file)
    with closing(sqlite3.connect(file)) as db, db:
        db.execute("ALTER TABLE results RENAME COLUMN value TO content")
    cache = filled(file)
    assert {key: cache.get("kind", key) for key in KEPT} == KEPT


def test_it_may_be_deleted_while_it_is_used(file: Path) -> None:
    cache = filled(file)
    file.unlink()
    assert cache.get("kind", "key-1") is None
    cache.put("kind", "key-1", b"1")
    assert cache.get("kind", "key-1") == b"1"
    file.unlink()
    file.parent.rmdir()
    cache.put("kind", "key-1", b"2")
    assert cache.get("kind", "key-1") == b"2"


def test_where_nothing_can_be_written_nothing_is_kept(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path / "file" / "cache.db", tmp_path):
        cache = filled(path)
        assert cache.get("kind", "key-1") is None


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_bytes(b"precious")
    (tmp_path / "cache.db").symlink_to(target)
    assert filled(tmp_path / "cache.db").get("kind", "key-1") is None
    assert target.read_bytes() == b"precious"


def test_a_lock_of_another_process_costs_the_result_not_the_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fwctl.gitrepo.cache._BUSY", 0.01)
    filled(file)
    with closing(sqlite3.connect(file, isolation_level=None)) as db:
        db.execute("BEGIN EXCLUSIVE")
        blocked = Cache(file, code="1")
        assert blocked.get("kind", "key-1") is None
        blocked.put("kind", "key-1", b"1")
        db.execute("ROLLBACK")
    assert Cache(file, code="1").get("kind", "key-1") == KEPT["key-1"]


def test_it_stays_within_its_size_and_keeps_the_newest(file: Path) -> None:
    cache = Cache(file, code="1", max_bytes=100_000)
    for number in range(50):
        cache.put("kind", str(number), bytes([number]) * 9_000)
        assert cache.get("kind", str(number)) is not None
    cache.put("kind", "too large", b"x" * 30_000)
    assert cache.get("kind", "too large") is None
    assert file.stat().st_size < 200_000
    assert cache.get("kind", "0") is None


_WRITER = """
import sys
from pathlib import Path
from fwctl.gitrepo.cache import Cache
cache = Cache(Path(sys.argv[1]), code="1")
for number in range(60):
    key = f"{number % 20}"
    cache.put("kind", key, key.encode() * 5000)
    got = cache.get("kind", f"{(number * 7) % 20}")
    assert got is None or got == f"{(number * 7) % 20}".encode() * 5000
"""


def test_processes_share_it(file: Path) -> None:
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    running = [subprocess.Popen([sys.executable, "-c", _WRITER, str(file)], env=env) for _ in range(3)]
    assert [one.wait(50) for one in running] == [0, 0, 0]
    cache = Cache(file, code="1")
    assert all(cache.get("kind", str(n)) == str(n).encode() * 5000 for n in range(20))
