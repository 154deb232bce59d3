"""R22: `kill -9` at every call that writes a key: the old one or the new one, never half, never open to others."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from fwctl.trust.keystore import KeyStore

pytestmark = pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace to inject faults")

SECRET = "correct horse battery"
RENAMES = "rename,renameat,renameat2"
POINTS = [("fsync", at) for at in (1, 2, 3, 4)] + [(RENAMES, at) for at in (1, 2)]
"""the public half first: temporary file, rename, folder; then the private one"""


def killed(store: KeyStore, statement: str, call: str, at: int) -> int:
    """Run one statement on the store `keys` and kill it as it begins the call; return its exit status."""
    program = (
        "import sys; from pathlib import Path; from fwctl.trust.keystore import KeyStore; "
        f"keys = KeyStore(Path(sys.argv[1])); {statement}"
    )
    fault = f"inject={call}:signal=KILL:when={at}"
    argv = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e", fault, sys.executable, "-c", program]
    env = os.environ | {"COVERAGE_PROCESS_CONFIG": "", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run([*argv, str(store.folder)], env=env, timeout=60, check=False, capture_output=True).returncode


def check_files(store: KeyStore) -> None:
    """Whatever lies there is for the owner alone, temporary files too."""
    for path in (store.folder / "keys").iterdir():
        assert not stat.S_IMODE(path.stat().st_mode) & 0o177, path


@pytest.mark.parametrize(("call", "at"), POINTS)
def test_r22_a_key_is_whole_or_not_there(tmp_path: Path, call: str, at: int) -> None:
    store = KeyStore(tmp_path / "acme")
    assert killed(store, f"keys.generate('alice', {SECRET!r})", call, at) != 0, "it was not killed"
    check_files(store)
    if store.has("alice"):
        load_pem_private_key((store.key_path("alice")).read_bytes(), SECRET.encode())
        assert store.public("alice")
        return
    assert store.names() == ()
    store.generate("alice", SECRET)  # the same command again
    assert store.names() == ("alice",)
    assert store.public("alice").keytype == "ed25519"


@pytest.mark.parametrize(("call", "at"), [("fsync", 1), ("fsync", 2), (RENAMES, 1)])
def test_r22_a_key_survives_being_protected(tmp_path: Path, call: str, at: int) -> None:
    store = KeyStore(tmp_path / "acme")
    public = store.generate("alice").public_key
    assert killed(store, f"keys.protect('alice', {SECRET!r})", call, at) != 0, "it was not killed"
    check_files(store)
    passphrase = SECRET.encode() if store.kind("alice") == "encrypted" else None
    load_pem_private_key(store.key_path("alice").read_bytes(), passphrase)
    assert store.public("alice").keyid == public.keyid
    assert store.names() == ("alice",)
