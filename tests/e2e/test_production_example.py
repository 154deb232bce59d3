"""`examples/trust/production.sh` as it stands: what it claims, and the devices that it leaves behind."""

from __future__ import annotations

import json
import os
import re
import signal
import ssl
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.agents import Client, agent

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(500)]

SCRIPT = Path(__file__).parents[2] / "examples" / "trust" / "production.sh"
SECONDS = 400
DEVICES = ("device-001", "device-002")


@dataclass(frozen=True)
class Ran:
    """What the script said, and the folder with everybody's machine."""

    said: str
    folder: Path

    @property
    def claims(self) -> list[str]:
        """Return the lines of the summary."""
        return re.findall(r"^ok  (.+)$", self.said.partition("== Summary")[2], re.MULTILINE)

    def image(self, version: str) -> bytes:
        return (self.folder / "erin" / f"sensor-{version}.bin").read_bytes()

    def asked(self, device: str) -> Any:
        """Start the agent of a device again, and return what it says about itself to the real reconciler."""
        pki = self.folder / "reconciler" / "config" / "acme" / "pki"
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(pki / "device-ca.cert.pem")
        context.load_cert_chain(pki / "controller.cert.pem", pki / "controller.key.pem")
        with agent(self.folder / device / "agent") as running, Client(device, running.address, context) as client:
            return client.device()


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """The script, run once with nothing but the commands on its path; what it leaves running is ended."""
    folder = tmp_path_factory.mktemp("production")
    log, work = folder / "said.log", folder / "work"
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with log.open("wb") as out:
        process = subprocess.Popen(
            ["bash", str(SCRIPT), str(work)],
            env={**os.environ, "PATH": path, "FWCTL_CONFIG_DIR": str(folder / "not-this-one")},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = process.wait(SECONDS)
            left = _alive(process.pid)
        finally:
            if _alive(process.pid):
                os.killpg(process.pid, signal.SIGKILL)
    said = log.read_text()
    assert code == 0, said[-8000:]
    assert not left, "it stops what it started"
    return Ran(said, work)


def _alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_every_chapter_claims_something_and_all_of_it_holds(ran: Ran) -> None:
    assert re.findall(r"^== (\d)\.", ran.said, re.MULTILINE) == list("123456")
    assert f"{len(ran.claims)} claims, all of them hold" in ran.said
    for claim in (
        "two of three made the first trust",
        "too few approvals: the pass ends with 1",
        "two of three made root 2",
        "an approval of somebody revoked counts no more: the pass ends with 1",
        "both devices run what they ran, from the same bytes",
        "an auditor with the first root alone finds that the evidence holds",
    ):
        assert claim in ran.claims


def test_approving_is_one_command(ran: Ran) -> None:
    typed = re.findall(r"^(\w+)\$ fwctl approve (.+)$", ran.said, re.MULTILINE)
    first, second, third = ["alice", "carol", "dave"], ["alice", "bob", "dave", "carol"], ["alice", "carol", "dave"]
    assert typed == [(name, "sensors --yes") for name in (*first, *second, *third)]
    approvals = ran.folder / "thief" / "fleet" / "approvals"
    assert len(list(approvals.rglob("*.dsse.json"))) == len(typed), "and each of them made one"


@pytest.mark.parametrize("device", DEVICES)
def test_a_device_runs_what_was_approved_last_for_it_and_the_thief_changed_nothing(ran: Ran, device: str) -> None:
    slots = ran.folder / device / "agent" / "slots"
    document = ran.asked(device)
    assert document["running"]["version"] == "2.6.0"
    active = slots / f"{(slots / 'current').readlink().name.removesuffix('.img')}.img"
    standby = next(path for path in slots.glob("*.img") if path != active)
    assert (active.read_bytes(), standby.read_bytes()) == (ran.image("2.6.0"), ran.image("2.5.0"))
    assert sorted((slot["state"], slot["version"]) for slot in document["slots"]) == [
        ("verified", "2.5.0"),
        ("verified", "2.6.0"),
    ]
    assert document["spent"] == []
    assert document["state"] in ("idle", "confirmed")
    assert {(mark["verb"], mark["attempt"]) for mark in document["marks"]} == {("install", 1), ("confirm", 1)}
    assert document["trust"]["root"] == 3


def test_the_devices_refused_every_attempt_of_the_thief(ran: Ran) -> None:
    attempts = json.loads((ran.folder / "thief" / "attempts.json").read_text())
    assert len(attempts) >= 8
    assert {(one["status"], one["class"]) for one in attempts.values()} == {(422, "refused")}
    assert {one["device"] for one in attempts.values()} == set(DEVICES)


def test_the_thief_had_the_keys_that_the_devices_obey(ran: Ran) -> None:
    """Or refusing him would show nothing."""
    stolen, real = ran.folder / "thief" / "stolen", ran.folder / "reconciler" / "config" / "acme"
    for name in ("keys/reconciler-order.pem", "keys/reconciler-freshness.pem", "pki/controller.key.pem"):
        assert (stolen / name).read_bytes() == (real / name).read_bytes()
    assert not any((ran.folder / "reconciler").rglob("*ca.key.pem"))


def test_no_passphrase_is_in_what_it_says_or_shares(ran: Ran) -> None:
    secrets = [(ran.folder / name / "passphrase").read_text().strip() for name in ("alice", "bob", "dave", "erin")]
    texts = [ran.said, *(path.read_text(errors="replace") for path in (ran.folder / "evidence").rglob("*.json"))]
    assert not [secret for secret in secrets for text in texts if secret in text]
