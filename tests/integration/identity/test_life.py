"""The life of a device's identity by the commands as typed, with real agents over TLS."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fwctl.fleet.certificates import (
    Authorities,
    DeviceIssuer,
    key_digest,
    load_certificate,
    read_device_certificate,
)
from fwctl.fleet.register import Register
from fwctl.trust.keystore import KeyStore
from fwctl_agent.cli import main as agent_main
from fwctl_agent.protocol.enrolment import CERTIFICATE, DEVICE_CA, KEY, NEXT_KEY
from tests.cli.fleet import Answer, Fleet
from tests.support.agents import agent

DEVICE = "gate-001"


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


class Site:
    """A fleet, and one device that made its own key."""

    def __init__(self, folder: Path) -> None:
        self.fleet = Fleet(folder)
        self.fleet.tree.mkdir(parents=True)
        self.fleet.ok("init", "--repo-id", "acme", "--as", "alice")
        self.device = folder / "device"
        self.request = folder / "request.csr"
        self.bundle = folder / "bundle"
        self.authorities = Authorities(folder / "config" / "acme" / "pki")
        self.keystore = KeyStore(folder / "config" / "acme")

    def ask(self, device: str = DEVICE, folder: Path | None = None) -> int:
        where = ["--config", str(folder or self.device), "--id", device, "--fleet", "acme"]
        return agent_main(["request", *where, "--out", str(self.request)])

    def enroll(self, device: str = DEVICE, out: Path | None = None) -> Answer:
        words = ("--request", self.request, "--model", "sensor-v1", "--address", f"127.0.0.1:{free_port()}")
        return self.fleet.run("device", "enroll", device, "--out", out or self.bundle, *words)

    def join(self, bundle: Path | None = None) -> int:
        return agent_main(["enroll", "--config", str(self.device), "--bundle", str(bundle or self.bundle)])

    def ready(self) -> Site:
        assert self.ask() == 0
        assert self.enroll().exit_code == 0
        assert self.join() == 0
        self.fleet.commit("Enrol a device")
        return self

    @property
    def certificate(self) -> Any:
        return read_device_certificate((self.device / CERTIFICATE).read_text())

    def age(self, end: datetime) -> None:
        """Give the device a certificate for its key that ends at `end`."""
        now = end - timedelta(days=1826)
        issuer, old = DeviceIssuer.load(self.keystore, "acme"), self.certificate
        ca: Any = FromLongAgo(issuer.ca)
        long_ago = DeviceIssuer(ca, issuer.key, "acme")
        pem = long_ago.certify(DEVICE, old.public_key, enrolled_at=old.enrolled_at, now=now)
        (self.device / CERTIFICATE).write_bytes(pem)


class FromLongAgo:
    """The device CA as it would be, had it been made many years ago."""

    def __init__(self, ca: Any) -> None:
        self._ca = ca
        self.not_valid_before_utc = ca.not_valid_before_utc - timedelta(days=9000)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ca, name)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def lines(answer: Answer) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(answer.stdout)["devices"]
    return found


@contextmanager
def run_agent(site: Site) -> Iterator[None]:
    with agent(site.device):
        yield


def revoked(site: Site) -> list[str]:
    found: list[str] = json.loads((site.fleet.tree / "trust/policy/policy.json").read_text())["revoked"]
    return found


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_key_that_never_leaves_its_device(site: Site) -> None:
    assert site.ask() == 0
    key = (site.device / NEXT_KEY).read_bytes()
    assert (site.device / NEXT_KEY).stat().st_mode & 0o777 == 0o600
    assert site.ask() == 0, "asking again is no harm"
    assert (site.device / NEXT_KEY).read_bytes() == key
    assert site.enroll().exit_code == 0
    assert KEY not in snapshot(site.bundle)
    secret = b"".join(key.splitlines()[1:-1])
    for data in (*snapshot(site.bundle).values(), *snapshot(site.fleet.folder / "config").values()):
        assert secret not in data.replace(b"\n", b"")
    assert site.join() == 0
    installed = snapshot(site.device)
    assert site.join() == 0, "installing again changes nothing"
    assert snapshot(site.device) == installed
    site.fleet.commit("Enrol a device")
    with run_agent(site):
        renewed = lines(site.fleet.ok("device", "renew", "--expiring", "2d", "--format", "json"))
        assert renewed == [], "its certificate is good for years"


def test_a_bundle_for_another_key_is_not_installed(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert site.ask(folder=tmp_path / "other") == 0
    assert site.enroll().exit_code == 0
    assert site.ask() == 0
    before = snapshot(site.device)
    assert site.join() == 3
    assert "not for the key of this device" in capsys.readouterr().err
    assert snapshot(site.device) == before


def test_a_second_device_with_a_copied_key_is_refused(site: Site, tmp_path: Path) -> None:
    site.ready()
    copied = tmp_path / "copied"
    (copied / "identity").mkdir(parents=True)
    (copied / NEXT_KEY).write_bytes((site.device / KEY).read_bytes())
    assert site.ask("gate-002", copied) == 0
    answer = site.enroll("gate-002", tmp_path / "bundle-2")
    assert answer.exit_code == 3
    assert "E_KEY_DUPLICATE" in answer.stderr
    assert not (tmp_path / "bundle-2").exists()
    assert not (site.fleet.tree / "devices/dev/gate-002.yaml").exists()


def test_a_request_for_another_name_is_refused(site: Site, tmp_path: Path) -> None:
    assert site.ask("gate-009") == 0
    answer = site.enroll()
    assert (answer.exit_code, "E_REQUEST" in answer.stderr) == (3, True)
    assert not site.bundle.exists()


def test_a_device_that_slept_past_its_end_renews_with_its_key_and_nothing_else(site: Site) -> None:
    site.ready()
    key, enrolled_at = site.certificate.key, site.certificate.enrolled_at
    site.age(datetime.now(UTC) - timedelta(days=400))
    slept = snapshot(site.device)
    with run_agent(site):
        rotated = site.fleet.run("device", "rotate", DEVICE, "--format", "json")
        assert rotated.exit_code == 5
        assert lines(rotated)[0]["error"]["code"] == "E_CERT_EXPIRED"
        assert f"fwctl device renew {DEVICE}" in lines(rotated)[0]["error"]["remedy"]
        assert (site.device / CERTIFICATE).read_bytes() == slept[CERTIFICATE]
        renewed = lines(site.fleet.ok("device", "renew", DEVICE, "--format", "json"))[0]
        assert renewed["certificate"] == "renewed"
        assert (site.certificate.key, site.certificate.enrolled_at) == (key, enrolled_at)
        # In force without a restart, and known to its issuer.
        assert lines(site.fleet.ok("device", "rotate", DEVICE, "--format", "json"))[0]["certificate"] == "rotated"
    found = site.certificate
    assert (found.enrolled_at, found.end > datetime.now(UTC)) == (enrolled_at, True)
    assert Register(site.authorities.folder).read().current(DEVICE) == (found.key,) != (key,)
    with run_agent(site):
        assert site.fleet.run("device", "rotate", DEVICE).exit_code == 0, "and after a restart"


def test_a45_a_lost_device_is_shut_out_at_once_and_for_good(site: Site, tmp_path: Path) -> None:
    site.ready()
    with run_agent(site):
        site.fleet.ok("device", "rotate", DEVICE)
        keys = Register(site.authorities.folder).read().keys(DEVICE)
        site.fleet.ok("device", "revoke", DEVICE, "--old", "--reason", "the old one may be known")
        assert revoked(site) == [keys[0]]
        assert site.fleet.run("device", "renew", DEVICE).exit_code == 0, "the new one counts"
        site.fleet.ok("device", "revoke", DEVICE, "--reason", "stolen")
        before = snapshot(site.device)
        for verb in ("renew", "rotate"):
            refused = site.fleet.run("device", verb, DEVICE, "--format", "json")
            assert refused.exit_code == 5
            assert lines(refused)[0]["error"]["code"] == "E_REVOKED"
        assert (site.device / CERTIFICATE).read_bytes() == before[CERTIFICATE]
    assert revoked(site) == sorted(keys)
    again = site.fleet.run("device", "enroll", DEVICE, "--request", site.request, "--out", tmp_path / "again")
    assert (again.exit_code, "E_REVOKED" in again.stderr) == (4, True), "not with the key that is revoked"


@pytest.mark.parametrize("lost", ["device-ca.key.pem", "controller.key.pem"])
def test_a_machine_without_the_keys_says_so_before_it_calls_anybody(site: Site, lost: str) -> None:
    site.ready()
    (site.authorities.folder / lost).unlink()
    for verb in ("renew", "rotate"):
        answer = site.fleet.run("device", verb, DEVICE)
        assert answer.exit_code == 3
        assert "E_NO_CA_KEY" in answer.stderr
        assert lost in answer.stderr


def test_a_folder_of_the_first_releases_says_what_it_lacks(site: Site) -> None:
    site.ready()
    site.age(datetime.now(UTC) + timedelta(days=10))
    (site.device / DEVICE_CA).unlink()
    with run_agent(site):
        for verb in ("renew", "rotate"):
            answer = site.fleet.run("device", verb, DEVICE, "--format", "json")
            assert lines(answer)[0]["error"]["code"] == "E_NO_DEVICE_CA"


def test_the_controller_gets_a_new_key_and_the_old_one_is_revoked(site: Site) -> None:
    site.ready()
    old = load_certificate(site.authorities.controller)
    site.fleet.ok("controller", "renew")
    new = load_certificate(site.authorities.controller)
    keys = [key_digest(one.public_key()) for one in (old, new)]  # type: ignore[arg-type]  # ours: P-256
    refused = site.fleet.run("controller", "revoke", keys[1], "--reason", "no")
    assert (refused.exit_code, "E_IN_USE" in refused.stderr, revoked(site)) == (2, True, [])
    site.fleet.ok("controller", "revoke", keys[0], "--reason", "it may be known")
    assert revoked(site) == keys[:1]
    with run_agent(site):
        assert site.fleet.run("device", "rotate", DEVICE).exit_code == 0


def test_a_controller_renewal_that_was_cut_leaves_a_pair_that_works(site: Site) -> None:
    site.ready()
    paths = site.authorities
    before = paths.controller_key.read_bytes()
    site.fleet.ok("controller", "renew")
    paths.controller_key.write_bytes(before)  # cut before the last of its writes
    with run_agent(site):
        assert site.fleet.run("device", "rotate", DEVICE).exit_code == 0
        site.fleet.ok("controller", "renew")
        assert site.fleet.run("device", "rotate", DEVICE).exit_code == 0
