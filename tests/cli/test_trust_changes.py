"""Changing trust by commands: one person completes at once; two people on two machines, through git."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from securesystemslib.signer import CryptoSigner

from fwctl.trust.public_key import PublicKeyFile
from tests.cli.fleet import Fleet, run


class Machine:
    """One person's machine: a clone with a key and a pinned root of its own."""

    def __init__(self, folder: Path, origin: Path) -> None:
        self.fleet = Fleet(folder)
        folder.mkdir(parents=True)
        self.fleet.git_clone(origin) if hasattr(self.fleet, "git_clone") else None


def export(folder: Path, person: str, signer: CryptoSigner) -> Path:
    path = folder / f"{person}.pub.json"
    path.write_bytes(PublicKeyFile(person, signer.public_key).to_bytes())
    return path


def keep(fleet: Fleet, name: str, signer: CryptoSigner) -> None:
    path = fleet.folder / "config" / "acme" / "keys" / f"{name}.pem"
    path.write_bytes(signer.private_bytes)
    path.chmod(0o600)


def policy(fleet: Fleet) -> Any:
    return json.loads((fleet.tree / "trust/policy/policy.json").read_text())


def test_one_person_adds_a_key_in_one_commit(planned: Fleet, tmp_path: Path) -> None:
    bob = CryptoSigner.generate_ed25519()
    before = planned.git("rev-parse", "HEAD").strip()
    answer = planned.ok("trust", "add-key", "bob", export(tmp_path, "bob", bob), "--group", "owners")
    print(answer)
    assert planned.git("rev-parse", "HEAD^").strip() == before
    assert planned.git("status", "--porcelain") == ""
    assert policy(planned)["groups"]["owners"] == ["alice", "bob"]
    planned.ok("validate")
    print(planned.ok("trust", "status"))
    again = planned.ok("trust", "add-key", "bob", export(tmp_path, "bob", bob), "--group", "owners")
    print(again)
    print(planned.ok("trust", "rotate-root", "--add", export(tmp_path, "bob", bob), "--threshold", "2"))
    keep(planned, "bob", bob)
    print(planned.run("trust", "renew"))
    print(planned.run("trust", "renew", "--as", "alice"))
    print(planned.run("trust", "sign", "--as", "bob"))
    print(planned.run("trust", "revoke", "bob", "--as", "alice"))
    print(planned.git("log", "--stat", "-3"))
