"""The search itself: it finds a secret in each form and place, and finds none where none is."""

from __future__ import annotations

import base64
import os
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from securesystemslib.signer import CryptoSigner

from tests.secrets.scanner import Hit, Mark, pem_marks, scan
from tests.support.world import IDENTITY

SECRET = b"CANARY/7f3a+9c1d=secret"
MARK = Mark("token", SECRET)


def searched(folder: Path, *, meant: tuple[Path, ...] = ()) -> list[Hit]:
    return scan([MARK], folders=[folder], texts={}, meant=meant)


@pytest.mark.parametrize(
    "form",
    [
        lambda value: value,
        lambda value: value.hex().encode(),
        lambda value: value.hex().upper().encode(),
        base64.b64encode,
        lambda value: base64.b64encode(b"x" + value),
        lambda value: base64.urlsafe_b64encode(b'{"url":"' + value + b'"}'),
        lambda value: quote(value, safe="").encode(),
        lambda value: base64.b64encode(b'{"inner":"' + base64.b64encode(b'{"a":"' + value + b'"}' * 9) + b'"}'),
    ],
    ids=["plain", "hex", "HEX", "base64", "base64, shifted", "base64url", "percent", "base64 in base64"],
)
def test_a49_a_leak_is_found_in_every_form(tmp_path: Path, form: Callable[[bytes], bytes]) -> None:
    (tmp_path / "agent.log").write_bytes(b"GET failed: " + form(SECRET) + b" (404)\n")
    assert [hit.mark for hit in searched(tmp_path)][:1] == ["token"]


def test_a49_a_leak_is_found_in_a_database_and_its_log(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    db = sqlite3.connect(file)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("CREATE TABLE events (detail BLOB)")
    db.execute("INSERT INTO events VALUES (?)", [base64.b64encode(b'{"x": "' + SECRET + b'"}')])
    db.commit()
    assert {hit.where for hit in searched(tmp_path)} >= {f"{file}: rows"}
    db.close()


def test_a49_a_leak_is_found_in_a_commit_that_no_branch_names(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        subprocess.run(["git", "-C", tmp_path, *arguments], check=True, capture_output=True, env=os.environ | IDENTITY)

    git("init", "--quiet")
    (tmp_path / "file").write_bytes(SECRET)
    git("add", "file")
    git("commit", "--quiet", "-m", "leak")
    (tmp_path / "file").write_bytes(b"nothing")
    git("commit", "--quiet", "--amend", "-am", "no leak")
    assert [hit.where for hit in searched(tmp_path)] == [f"{tmp_path / '.git'}: git objects"]


def test_a49_a_private_key_is_found_by_its_lines_and_by_its_raw_value(tmp_path: Path) -> None:
    signer = CryptoSigner.generate_ed25519()
    marks = pem_marks("key", signer.private_bytes)
    raw = marks[0].value
    texts = {"log": f"loaded {raw.hex()}", "page": signer.private_bytes.decode(), "fine": str(signer.public_key.keyval)}
    found = scan(marks, folders=[], texts=texts, meant=[])
    assert {hit.where for hit in found} == {"log", "page"}
    assert len(raw) == 32


def test_a49_what_is_meant_to_hold_it_may(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(SECRET)
    (tmp_path / "other").write_bytes(SECRET[:-1] + b"T")
    assert searched(tmp_path, meant=(tmp_path / "key",)) == []
    assert searched(tmp_path) != []
