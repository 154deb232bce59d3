"""A fleet whose approver and reconciler sign with a token; it may vanish in mid-pass, and nothing is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from fwctl.trust.keystore import ORDER
from tests.support.token import PIN, Token
from tests.support.world import REPO, World, firmware

pytestmark = pytest.mark.e2e
IMAGE = firmware("firmware 2.5.0")
PROBES = "attempts = 3\ninterval = 2\ndeadline = 60\n"
VANISH = """
[[probes.default.checks]]
name = "fault"
type = "command"
argv = ["/bin/sh", "-c", "test -e {flag} || {{ touch {flag} && {act}; }}"]
timeout = 10
"""


@pytest.fixture
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Token:
    return Token.make(tmp_path / "token", monkeypatch)


@pytest.fixture
def world(tmp_path: Path, token: Token) -> World:
    world = World(tmp_path / "world")
    world.folder.mkdir()
    for number, name in ((1, "alice"), (2, ORDER)):
        words = ("--hsm", token.key(number), "--module", token.module, "--fleet", REPO)
        world.fwctl("keys", "import", name, *words)
    return world.init()


def everything_written(world: World) -> bytes:
    files = [path for path in world.folder.rglob("*") if path.is_file()]
    return b"".join(path.read_bytes() for path in files)


def test_a_device_is_updated_with_keys_that_lie_in_a_token(world: World) -> None:
    with world:
        world.enroll("device-001")
        world.agent("device-001")
        world.release(IMAGE)
        assert world.reconciled()["rollouts"][0]["state"] == "complete"
        assert world.active_bytes("device-001") == IMAGE
        assert not list((world.config / REPO / "keys").glob(f"{ORDER}.pem"))
        assert PIN.encode() not in everything_written(world)


@pytest.mark.parametrize("fault", ["the token is gone", "the PIN is wrong"])
def test_r17_a_token_that_fails_in_mid_pass_ends_the_pass_and_the_next_goes_on(
    world: World, token: Token, fault: str
) -> None:
    """The device has installed and waits for its confirm, which cannot be signed."""
    flag, gone, wrong = (token.folder / name for name in ("flag", "gone", "wrong"))
    wrong.write_text("canary-no")
    acts = {"the token is gone": f"mv {token.store} {gone}", "the PIN is wrong": f"cp {wrong} {token.pin_file}"}
    with world:
        probes = PROBES + VANISH.format(flag=flag, act=acts[fault])
        world.enroll("device-001", settings={PROBES: probes})
        world.agent("device-001")
        world.release(IMAGE)
        ran = world.once()
        assert flag.exists()
        assert (ran.code, "error[E_SIGNER]" in ran.err) == (5, True), ran.text
        assert world.standings() == {"device-001": "in-flight"}
        assert "canary" not in ran.text
        if gone.exists():
            gone.rename(token.store)
        token.tries(PIN)
        assert world.reconciled()["rollouts"][0]["state"] == "complete"
        assert world.active_bytes("device-001") == IMAGE
        with world.ledger() as ledger:
            (row,) = ledger.rollouts()
            verbs = [(order.verb, order.attempt) for order in ledger.orders(mandate=row.mandate, device="device-001")]
            assert ledger.verify_chain() is None
        assert sorted(verbs) == [("confirm", 1), ("install", 1)]
        assert b"canary" not in everything_written(world)


def test_r17_nobody_approves_without_the_token(world: World, token: Token) -> None:
    with world:
        world.enroll("device-001")
        world.release(IMAGE, approve=False)
        before = world.git("rev-parse", "HEAD")
        token.store.rename(token.folder / "gone")
        ran = world.run("approve", "sensors", "--yes")
        assert (ran.code, "error[E_SIGNER]" in ran.err) == (5, True), ran.text
        assert (world.git("rev-parse", "HEAD"), world.git("status", "--porcelain")) == (before, "")
