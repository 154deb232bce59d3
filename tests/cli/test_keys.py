"""`fwctl keys`, word for word; secrets come from files here, and from a terminal in `test_key_prompts.py`."""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, derive_private_key
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from securesystemslib.signer import CryptoSigner
from syrupy.assertion import SnapshotAssertion

from fwctl.trust.keystore import KeyStore
from fwctl.trust.public_key import PublicKeyFile, read_public_key
from tests.cli.fleet import Answer, Fleet, run
from tests.support.token import PIN, Token

SECRET = "canary correct horse battery"
OTHER = "canary another passphrase"


@pytest.fixture(autouse=True)
def _secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FWCTL_PIN_FILE", "FWCTL_NEW_PASSPHRASE_FILE"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "secret").write_text(SECRET + "\n")
    monkeypatch.setenv("FWCTL_PASSPHRASE_FILE", str(tmp_path / "secret"))


@pytest.fixture
def alone(tmp_path: Path) -> Fleet:
    """A folder without a repository."""
    (tmp_path / "alone" / "fleet").mkdir(parents=True)
    return Fleet(tmp_path / "alone")


def unspaced(answer: Answer) -> str:
    """Return an answer without what differs between two keys."""
    text = re.sub(r"([0-9a-f]{4} ){7}[0-9a-f]{4}", "<fingerprint>", str(answer))
    assert "canary" not in text
    return text


def keys(fleet: Fleet) -> KeyStore:
    return KeyStore(fleet.folder / "config" / "acme")


def pem(fleet: Fleet, name: str) -> bytes:
    return (keys(fleet).folder / "keys" / f"{name}.pem").read_bytes()


def modes(fleet: Fleet) -> set[int]:
    return {stat.S_IMODE(path.stat().st_mode) for path in (keys(fleet).folder / "keys").iterdir()}


def private(signer: CryptoSigner) -> bytes:
    return signer.private_bytes


def test_a_key_is_made_before_there_is_a_repository(alone: Fleet, snapshot: SnapshotAssertion) -> None:
    words = ("--fleet", "acme")
    assert unspaced(alone.run("keys", "generate", "bob", *words)) == snapshot(name="first")
    for command in ("generate bob", "list", "list --format json", "export bob", "generate a/b"):
        assert unspaced(alone.run("keys", *command.split(), *words)) == snapshot(name=command)
    assert unspaced(alone.run("keys", "list")) == snapshot(name="no fleet")
    assert unspaced(alone.run("keys", "list", "--fleet", "No Id")) == snapshot(name="no id")
    assert modes(alone) == {0o600}
    assert b"ENCRYPTED" in pem(alone, "bob")


def test_what_is_handed_on_is_the_public_half(alone: Fleet, snapshot: SnapshotAssertion) -> None:
    out = alone.folder / "bob.json"
    made = alone.run("keys", "generate", "bob", "--out-public", out, "--fleet", "acme")
    assert unspaced(made) == snapshot(name="generate")
    signature = keys(alone).signer("bob").sign(b"payload")
    read = read_public_key(out)
    read.key.verify_signature(signature, b"payload")
    assert read.person == "bob"
    answer = alone.run("keys", "export", "bob", "--out", out, "--fleet", "acme", "--format", "json")
    assert json.loads(answer.stdout)["public"] == "<folder>/bob.json"


def test_without_file_or_terminal_no_key_is_made(
    alone: Fleet, monkeypatch: pytest.MonkeyPatch, snapshot: SnapshotAssertion
) -> None:
    monkeypatch.delenv("FWCTL_PASSPHRASE_FILE")
    assert unspaced(alone.run("keys", "generate", "bob", "--fleet", "acme")) == snapshot
    assert keys(alone).names() == ()
    assert alone.run("keys", "generate", "bob", "--unencrypted", "--fleet", "acme").exit_code == 0
    assert b"ENCRYPTED" not in pem(alone, "bob")


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "E_PASSPHRASE"),
        (b"\n", "E_PASSPHRASE"),
        (b"\xff\xfe" * 9, "E_PASSPHRASE"),
        (b"short", "E_PASSPHRASE_SHORT"),
    ],
)
def test_a_file_that_holds_no_passphrase_makes_no_key(alone: Fleet, tmp_path: Path, content: bytes, code: str) -> None:
    (tmp_path / "secret").write_bytes(content)
    answer = alone.run("keys", "generate", "bob", "--fleet", "acme")
    assert (answer.exit_code, f"error[{code}]" in answer.stderr, keys(alone).names()) == (3, True, ())


def test_a_folder_holds_a_passphrase_for_each_key(
    alone: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "many").mkdir()
    for name in ("bob", "carol"):
        (tmp_path / "many" / name).write_text(f"passphrase of {name}")
    monkeypatch.setenv("FWCTL_PASSPHRASE_FILE", str(tmp_path / "many"))
    for name in ("bob", "carol"):
        alone.ok("keys", "generate", name, "--fleet", "acme")
        load_pem_private_key(pem(alone, name), f"passphrase of {name}".encode())
    answer = alone.run("keys", "generate", "dave", "--fleet", "acme")
    assert (answer.exit_code, "error[E_NO_FILE]" in answer.stderr) == (3, True)


def test_an_encrypted_key_approves_and_a_wrong_passphrase_does_not(
    planned: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, snapshot: SnapshotAssertion
) -> None:
    for name in ("alice", "reconciler-order", "reconciler-freshness"):
        planned.ok("keys", "protect", name)
    monkeypatch.delenv("FWCTL_PASSPHRASE_FILE")
    for command in ("trust status", "status", "validate", "keys list"):
        assert planned.run(*command.split()).exit_code == 0, "it asks for a passphrase"
    head = planned.git("rev-parse", "HEAD")
    assert "error[E_PASSPHRASE]" in planned.run("approve", "sensors", "--yes").stderr
    (tmp_path / "secret").write_text(OTHER)
    monkeypatch.setenv("FWCTL_PASSPHRASE_FILE", str(tmp_path / "secret"))
    wrong = planned.run("approve", "sensors", "--yes")
    assert (wrong.exit_code, wrong.stderr) == snapshot
    assert planned.git("rev-parse", "HEAD") == head
    (tmp_path / "secret").write_text(SECRET)
    planned.ok("approve", "sensors", "--yes")
    answer = planned.run("reconcile", "--once", "--max-duration", "1")
    assert "E_KEY" not in answer.stderr
    assert "E_PASSPHRASE" not in answer.stderr


def test_a_passphrase_is_put_on_a_key_and_changed(
    planned: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, snapshot: SnapshotAssertion
) -> None:
    before = keys(planned).public("alice").keyid
    assert unspaced(planned.run("keys", "protect", "alice")) == snapshot(name="put on")
    load_pem_private_key(pem(planned, "alice"), SECRET.encode())
    assert unspaced(planned.run("keys", "protect", "alice")) == snapshot(name="no new one")
    (tmp_path / "new").write_text(OTHER)
    monkeypatch.setenv("FWCTL_NEW_PASSPHRASE_FILE", str(tmp_path / "new"))
    planned.ok("keys", "protect", "alice")
    load_pem_private_key(pem(planned, "alice"), OTHER.encode())
    changed = pem(planned, "alice")
    assert "error[E_KEY_PASSPHRASE]" in planned.run("keys", "protect", "alice").stderr
    assert (pem(planned, "alice"), keys(planned).public("alice").keyid, modes(planned)) == (changed, before, {0o600})
    assert "error[E_KEY_MISSING]" in planned.run("keys", "protect", "nobody").stderr


def test_halves_that_do_not_belong_together_sign_nothing(planned: Fleet, snapshot: SnapshotAssertion) -> None:
    stranger = CryptoSigner.generate_ed25519().public_key
    keys(planned).public_path("alice").write_bytes(PublicKeyFile("alice", stranger).to_bytes())
    assert unspaced(planned.run("approve", "sensors", "--yes")) == snapshot


def test_a_store_of_an_earlier_release_works_on(planned: Fleet) -> None:
    for path in (keys(planned).folder / "keys").glob("*.pub.json"):
        path.unlink()
    planned.ok("approve", "sensors", "--yes")
    planned.ok("keys", "protect", "alice")
    assert keys(planned).public_path("alice").exists()
    keys(planned).public_path("alice").unlink()
    answer = planned.run("keys", "list")
    assert "the public half of alice is not here" in answer.stdout
    planned.ok("keys", "export", "alice")
    assert "the public half" not in planned.ok("keys", "list").stdout


def test_keys_are_taken_in(planned: Fleet, tmp_path: Path, snapshot: SnapshotAssertion) -> None:
    def file(name: str, data: bytes) -> Path:
        path = tmp_path / "work" / name
        path.write_bytes(data)
        return path

    good = CryptoSigner.generate_ecdsa()
    weak = derive_private_key(1, SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    big = rsa(65537, 1024).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    cases = {
        "good": file("good.pem", private(good)),
        "twin": file("twin.pem", private(good)),
        "weak": file("weak.pem", weak),
        "rsa": file("rsa.pem", big),
        "alice": file("alice.pem", private(CryptoSigner.generate_ed25519())),
        "junk": file("junk.pem", b"junk"),
        "nothing": tmp_path / "work" / "nothing.pem",
    }
    for name, path in cases.items():
        assert unspaced(planned.run("keys", "import", name, path)) == snapshot(name=name)
    assert unspaced(planned.run("keys", "import", "nowhere")) == snapshot(name="nowhere")
    assert b"ENCRYPTED" in pem(planned, "good")
    assert keys(planned).people() == ("alice", "good")
    encrypted = file("again.pem", pem(planned, "good"))
    assert "E_KEY_DUPLICATE" in planned.run("keys", "import", "again", encrypted).stderr


def test_a03_a10_public_keys_are_vetted(planned: Fleet, tmp_path: Path, snapshot: SnapshotAssertion) -> None:
    def file(name: str, signer: CryptoSigner | None = None, **change: object) -> Path:
        value = json.loads(PublicKeyFile(name, (signer or CryptoSigner.generate_ed25519()).public_key).to_bytes())
        (tmp_path / "work" / f"{name}.json").write_text(json.dumps(value | change))
        return tmp_path / "work" / f"{name}.json"

    store, good = keys(planned), file("good")
    planned.ok("keys", "export", "alice", "--out", tmp_path / "work" / "alice.json")
    order, alice = store.signer("reconciler-order"), store.signer("alice")
    assert isinstance(order, CryptoSigner)
    assert isinstance(alice, CryptoSigner)
    cases: dict[str, list[Path]] = {
        "good": [good, tmp_path / "work" / "alice.json"],
        "twice": [good, _copied(good, "other")],
        "order": [file("mallory", order)],
        "somebody's": [file("eve", alice)],
        "weak": [file("zero", keyval={"public": "00" * 32}), file("none", scheme="none")],
        "nothing": [tmp_path / "work" / "nothing.json"],
    }
    for name, files in cases.items():
        assert unspaced(planned.run("keys", "vet", *files)) == snapshot(name=name)
    answer = planned.run("keys", "vet", *cases["twice"], "--format", "json")
    found = [[one["code"] for one in file["findings"]] for file in json.loads(answer.stdout)["keys"]]
    assert (answer.exit_code, found) == (1, [[], ["E_KEY_DUPLICATE"]])


def _copied(path: Path, name: str) -> Path:
    other = path.with_name(f"{name}.json")
    other.write_bytes(path.read_bytes())
    return other


def test_public_keys_are_vetted_where_there_is_no_fleet(alone: Fleet, tmp_path: Path) -> None:
    path = tmp_path / "bob.json"
    path.write_bytes(PublicKeyFile("bob", CryptoSigner.generate_ed25519().public_key).to_bytes())
    answer = alone.run("keys", "vet", path)
    assert (answer.exit_code, "no trusted policy is here" in answer.stdout) == (0, True)


def test_a_key_in_a_token_is_taken_in(
    planned: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, snapshot: SnapshotAssertion
) -> None:
    token = Token.make(tmp_path / "token", monkeypatch)
    words = ("--hsm", token.key(2), "--module", token.module)

    def shown(*command: str | Path) -> str:
        return unspaced(planned.run(*command)).replace(token.module, "<module>")

    assert shown("keys", "import", "bob", *words) == snapshot(name="import")
    assert shown("keys", "import", "carol", *words) == snapshot(name="twin")
    assert shown("keys", "import", "dave", "--hsm", "hsm:x", "--module", token.module) == snapshot(name="address")
    assert shown("keys", "import", "dave", "--hsm", token.address(9), "--module", token.module) == snapshot(name="none")
    assert shown("keys", "import", "dave", "--hsm", token.address(2)) == snapshot(name="module")
    assert shown("keys", "protect", "bob") == snapshot(name="protect")
    assert shown("keys", "list") == snapshot(name="list")
    store = (keys(planned).folder / "keys" / "bob.hsm.json").read_text()
    assert PIN not in store
    assert modes(planned) == {0o600}


@pytest.mark.parametrize("command", ["", "generate", "import", "list", "export", "protect", "vet"])
def test_help(command: str, snapshot: SnapshotAssertion) -> None:
    answer = run("keys", *command.split(), "--help", options=[])
    assert all(len(line) <= 80 for line in answer.stdout.splitlines())
    assert answer.stdout == snapshot
