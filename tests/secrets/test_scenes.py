"""A49: whatever goes wrong, no secret stands in an answer, a log, a table, an object of git, or a device's journal."""

from __future__ import annotations

import asyncio
import re
import shutil
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fwctl_agent.protocol.statements import InstallOrder, Pull
from tests.secrets.scanner import Hit, scan
from tests.secrets.scenes import (
    DEVICE,
    ENVIRONMENT,
    PASSPHRASE,
    PIN,
    TOKEN,
    WRONG_PASSPHRASE,
    Marked,
    marked,
)
from tests.support.impostor import Impostor, Speaks, context_of
from tests.support.storage_server import Fault, always
from tests.support.token import Token
from tests.support.world import MODEL, firmware

IMAGE = firmware("2.5.0", 20_000)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Marked]:
    with marked(tmp_path) as made:
        yield made


def hits(scene: Marked) -> list[Hit]:
    return scan(scene.marks, folders=[scene.folder], texts=scene.said, meant=scene.meant())


def test_a49_keys_passphrases_and_pins(scene: Marked) -> None:
    """Keys are made, opened with the wrong passphrase, damaged, and looked for in a token that is not there."""
    scene.patch.setenv("FWCTL_PASSPHRASE_FILE", str(scene.secret("passphrase", PASSPHRASE)))
    assert scene.run("keys", "generate", "bob").code == 0
    scene.patch.setenv("FWCTL_PASSPHRASE_FILE", str(scene.secret("mistyped", WRONG_PASSPHRASE)))
    scene.fails("keys", "protect", "bob")
    scene.fails("approve", "nothing", "--as", "bob", "--yes")
    scene.fails("trust", "renew", "--as", "bob")
    key = next(path for path in scene.private_keys() if path.name == "alice.pem")
    text = key.read_text()
    stranger = scene.secrets / "stranger.pem"
    for number, damaged in enumerate((text.replace("M", "N", 1), text[:60], text.replace("-----BEGIN", "-----BEGAN"))):
        stranger.write_text(damaged)
        scene.fails("keys", "import", f"carol{number}", stranger)
        scene.fails("keys", "vet", stranger)
    scene.patch.setenv("FWCTL_PIN_FILE", str(scene.secret("pin", PIN)))
    scene.fails("keys", "import", "dave", "--hsm", "hsm:1?label=none", "--module", scene.folder / "none.so")
    scene.fails("keys", "import", "dave", "--hsm", f"hsm:1?label=none&pin-value={PIN}")
    scene.patch.setenv("FWCTL_PASSPHRASE_FILE", str(scene.secrets / "missing"))
    scene.fails("keys", "generate", "erin")
    scene.run("keys", "list")
    scene.run("keys", "list", "--format", "json")
    scene.run("doctor")
    assert hits(scene) == []


def test_a49_a_token_that_works_that_refuses_and_that_is_gone(scene: Marked) -> None:
    """A real PKCS#11 token: who signs with it, with a wrong PIN, with none, and while it is not there."""
    token = Token.make(scene.secrets / "token", scene.patch)
    address = token.key(1)
    assert scene.run("keys", "import", "dave", "--hsm", address, "--module", token.module).code == 0
    public = scene.folder / "dave.pub.json"
    assert scene.run("keys", "export", "dave", "--out", public).code == 0, scene.said
    assert scene.run("trust", "rotate-root", "--add", public, "--as", "alice").code == 0, scene.said
    assert scene.run("trust", "renew", "--as", "dave").code == 0, scene.said
    assert scene.run("trust", "drop", "--reason", "once more").code == 0, scene.said
    token.tries(WRONG_PASSPHRASE)
    scene.fails("trust", "renew", "--as", "dave")
    scene.fails("keys", "import", "erin", "--hsm", address, "--module", token.module)
    token.pin_file.unlink()
    scene.fails("trust", "renew", "--as", "dave")
    token.tries(PIN)
    token.store.rename(token.folder / "gone")
    scene.fails("trust", "renew", "--as", "dave")
    look(scene)
    assert hits(scene) == []


@pytest.mark.parametrize(
    "address",
    [
        f"https://alice:{TOKEN}@127.0.0.1:9/fleet.git",
        f"https://{TOKEN}@127.0.0.1:9/fleet.git",
        f"https://alice:{TOKEN}/x@127.0.0.1:9/fleet.git",
        f"https://alice:a {TOKEN}@127.0.0.1:9/fleet.git",
        f"https://alice:{'x' * 100}{TOKEN}@127.0.0.1:9/fleet.git",
        f"https://127.0.0.1:9/fleet.git?access_token={TOKEN}",
        f"https://127.0.0.1:9/fleet.git#{TOKEN}",
        f"ftp://alice:{TOKEN}@127.0.0.1:9/fleet.git",
    ],
)
def test_a49_tokens_in_addresses_of_repositories(scene: Marked, address: str) -> None:
    scene.world.location = address
    for command in (("status",), ("validate",), ("doctor",), ("reconcile", "--once"), ("status", "--format", "json")):
        scene.fails(*command)
    assert hits(scene) == []


def test_a49_a_token_in_the_remote_of_the_work_tree(scene: Marked) -> None:
    scene.world.git("remote", "add", "origin", f"https://alice:{TOKEN}@127.0.0.1:9/fleet.git")
    for command in ("status", "doctor", "validate", "trust status", "events", "drift"):
        scene.run(*command.split())
    assert hits(scene) == []


@pytest.mark.e2e
@pytest.mark.parametrize("peer", ["no TLS", "another's certificate", "an old protocol", "cuts the handshake"])
def test_a49_a_peer_that_is_not_the_device(scene: Marked, peer: str) -> None:
    """Whatever stands at the device's address gets nothing, and neither does who reads what is said of it."""
    contexts: dict[str, ssl.SSLContext | None] = dict.fromkeys(("no TLS", "cuts the handshake"))
    if peer == "another's certificate":
        contexts[peer] = context_of(scene.world.enroll("unit-2"))
        scene.world.commit("Enrol another")
    elif peer == "an old protocol":
        contexts[peer] = context_of(scene.world.folder / "devices" / DEVICE)
        contexts[peer].maximum_version = ssl.TLSVersion.TLSv1_2  # type: ignore[union-attr]
    heard: list[bytes] = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read(1 << 16))
        if peer == "no TLS":
            writer.write(b"HTTP/1.1 400 Bad\r\n\r\n" + heard[-1])

    scene.server.add(IMAGE)
    scene.world.release(IMAGE)
    with Impostor(address_of(scene), listen, contexts[peer]) as server:
        scene.run("reconcile", "--once", "--max-duration", "4")
        scene.run("device", "show", DEVICE)
        assert server.connections or heard or peer not in ("no TLS", "cuts the handshake")
    scene.said["heard"] = b"".join(heard).decode("latin-1")
    look(scene)
    assert hits(scene) == []


@pytest.mark.e2e
@pytest.mark.parametrize("said", ["a message", "a code"])
def test_a49_an_impostor_that_says_again_what_it_was_told(scene: Marked, said: str) -> None:
    """With the device's own key it is handed the address, query and all: the operator is not told it once more."""
    folder = scene.world.folder / "devices" / DEVICE
    told: list[str] = []

    def answer(order: InstallOrder) -> tuple[int, Any]:
        assert isinstance(order.delivery, Pull)
        url = order.delivery.url
        told.append(url)
        return 422, {"class": "refused", "code": "E_URL", "message": "no"} | {
            "a code": {"code": url},
            "a message": {"message": f"cannot get {url} ({url})"},
        }[said]

    scene.server.add(IMAGE)
    scene.world.release(IMAGE)
    with Impostor(address_of(scene), Speaks(DEVICE, answer, {}), context_of(folder)):
        scene.run("reconcile", "--once", "--max-duration", "4")
        look(scene)
    assert told, scene.said
    assert hits(scene) == []


def address_of(scene: Marked) -> str:
    inventory = scene.world.repo / "devices"
    found = re.findall(r"127\.[0-9.]+:[0-9]+", "".join(path.read_text() for path in sorted(inventory.rglob("*.yaml"))))
    return str(found[0])


@pytest.mark.e2e
def test_a49_an_address_with_a_secret_all_the_way_to_the_device(scene: Marked) -> None:
    """The storage fails in every way while a device pulls, then works, then gives other bytes."""
    world, server = scene.world, scene.server
    image = firmware("2.5.0")
    file = world.folder / "2.5.0.bin"
    file.write_bytes(image)
    world.agent(DEVICE)
    add = ("firmware", "add", file, "--model", MODEL, "--version", "2.5.0")
    for fault in (Fault(status=503), Fault(status=403), Fault(status=302, headers=ELSEWHERE), Fault(close_at=10)):
        server.fault = always(fault)
        scene.fails(*add)
    server.fault = always(Fault())
    scene.fails(*add)
    server.add(image)
    world.release(image)
    server.fault = always(Fault(status=403))
    scene.run("reconcile", "--once", "--max-duration", "5")
    look(scene)
    server.fault = always(Fault())
    for _ in range(3):
        scene.run("reconcile", "--once", "--max-duration", "6")
    assert world.active_bytes(DEVICE) == image
    assert any("CANARY-presigned" in one.target for one in server.requests), "the secret was never used"
    assert elsewhere(scene) == []
    other = firmware("2.6.0")
    server.add(other)
    world.release(other, "2.6.0")
    for fault in (Fault(status=302, headers=ELSEWHERE), Fault(wrong=True)):
        server.fault = always(fault)
        scene.run("reconcile", "--once", "--max-duration", "6")
        look(scene)
    assert world.active_bytes(DEVICE) == image
    assert elsewhere(scene) == []


def elsewhere(scene: Marked) -> list[Hit]:
    """Return the hits outside the one place more that is meant to hold an address: the journal of the device.

    The device goes on with a download after a loss of power, and keeps the signed order that proves the epoch.
    """
    state = scene.world.folder / "devices" / DEVICE / "state"
    assert state.stat().st_mode & 0o077 == 0, "others can read the device's state"
    found = hits(scene)
    in_journal = [hit for hit in found if hit.mark == "presigned query" and hit.where.startswith(f"{state}/journal.")]
    return [hit for hit in found if hit not in in_journal]


def look(scene: Marked) -> None:
    """Have everything told that can be told."""
    for command in (
        *("status", "status --format json", "doctor", "plan sensors", "drift", "trust status", "events"),
        *("rollout show sensors", "rollout report sensors", "rollout report sensors --format html"),
        *("events --format json", f"device show {DEVICE}", f"device history {DEVICE}"),
    ):
        scene.run(*command.split())


ELSEWHERE = (("Location", f"https://127.0.0.1:9/?stolen={TOKEN}"),)


def test_a49_a_bug_shows_no_value(scene: Marked) -> None:
    """The traceback of a bug shows lines of code, never what stood in variables."""
    scene.patch.setenv("FWCTL_DEBUG", "1")
    setup = (
        "import fwctl.trust.keystore as k\n"
        "old = k.KeyStore.signer\n"
        "def signer(self, name):\n"
        "    secret = old(self, name).private_bytes\n"
        "    return secret[0].nothing\n"
        "k.KeyStore.signer = signer\n"
    )
    process = scene.world.spawn("trust", "renew", setup=setup)
    assert process.wait() == 70
    assert "Traceback" in process.said()
    assert hits(scene) == []


def test_a49_damaged_ledgers_and_keys(scene: Marked) -> None:
    world = scene.world
    scene.run("reconcile", "--once", "--max-duration", "5")
    ledger = world.ledger_file
    ledger.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(next(path for path in scene.private_keys() if path.name == "alice.pem"), scene.secrets / "alice.pem")
    ledger.write_bytes(b"SQLite format 2\0" + b"\xff" * 5000)
    scene.fails("status")
    scene.fails("reconcile", "--once")
    scene.fails("events")
    for path in scene.private_keys():
        if path.is_relative_to(world.config):
            text = path.read_text()
            path.write_text(text.replace("A", "B", 1))
            for command in ("doctor", "reconcile --once", "trust renew", "keys list", "device enroll unit-2 --all"):
                scene.run(*command.split())
            path.write_text(text)
    assert hits(scene) == []


def test_a49_the_search_of_this_world_can_fail(scene: Marked) -> None:
    """Somebody adds a print of the environment to a log, and commits a key."""
    (scene.world.state / "debug.log").parent.mkdir(parents=True, exist_ok=True)
    (scene.world.state / "debug.log").write_text(f"environ: {ENVIRONMENT}\n")
    key = next(path for path in scene.private_keys() if path.name == "alice.pem")
    (scene.world.repo / "notes.txt").write_bytes(key.read_bytes())
    scene.world.commit("Notes")
    (scene.world.repo / "notes.txt").unlink()
    scene.world.commit("No notes")
    found = hits(scene)
    assert {hit.where.rpartition("/")[2] for hit in found} == {"debug.log", ".git: git objects"}
    assert {hit.mark for hit in found} >= {"environment", "alice.pem, raw"}
