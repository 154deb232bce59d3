"""A45 at the agent's door: a real agent lets in the controller of its fleet, and nobody else."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fwctl.fleet.certificates import DeviceIssuer, key_digest, load_certificate, renew_controller
from tests.support.agents import Client, Running, Yard, agent
from tests.support.certificates import CLIENT, SERVER, forged
from tests.support.signing import REPO

DEVICE = "device-001"
NAME = f"controller.{REPO}.fwctl"
HOUR = timedelta(hours=1)
NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Yard:
    return Yard(tmp_path_factory.mktemp("yard"))


@pytest.fixture(scope="module")
def running(yard: Yard) -> Iterator[Running]:
    with agent(yard.enroll(DEVICE)) as process:
        yield process


def by_controller_ca(yard: Yard, names: list[str], begin: datetime | None = None, end: datetime | None = None) -> str:
    return forged(
        yard.authorities.controller_ca, yard.authorities.controller_ca_key, names, CLIENT, begin=begin, end=end
    )


def by_device_ca(yard: Yard, _: Path) -> str:
    return forged(yard.authorities.device_ca, yard.authorities.device_ca_key, [NAME], CLIENT)


def a_device(yard: Yard, _: Path) -> str:
    key, certificate = DeviceIssuer.load(yard.keystore, REPO).issue("device-002", enrolled_at=NOW, now=NOW)
    return (key + certificate).decode()


def under_the_controller(yard: Yard, _: Path) -> str:
    paths = yard.authorities
    return forged(paths.controller, paths.controller_key, [NAME], CLIENT, chain=paths.controller.read_text())


def foreign(_: Yard, folder: Path) -> str:
    return by_controller_ca(Yard(folder / "other"), [NAME])


IMPOSTORS: dict[str, Callable[[Yard, Path], str]] = {
    "expired": lambda yard, _: by_controller_ca(yard, [NAME], begin=NOW - 3 * HOUR, end=NOW - HOUR),
    "not valid yet": lambda yard, _: by_controller_ca(yard, [NAME], begin=NOW + HOUR, end=NOW + 3 * HOUR),
    "another fleet's CA": foreign,
    "signed by itself": lambda yard, _: forged(None, None, [NAME], CLIENT),
    "signed by the controller": under_the_controller,
    "signed by the device CA": by_device_ca,
    "a device": a_device,
    "for servers": lambda yard, _: forged(
        yard.authorities.controller_ca, yard.authorities.controller_ca_key, [NAME], SERVER
    ),
    "another name": lambda yard, _: by_controller_ca(yard, ["controller.other.fwctl"]),
    "a name below": lambda yard, _: by_controller_ca(yard, [f"x.{NAME}"]),
    "two names": lambda yard, _: by_controller_ca(yard, [NAME, f"x.{NAME}"]),
    "every name": lambda yard, _: by_controller_ca(yard, [f"*.{NAME}"]),
}


def context_of(yard: Yard, folder: Path, pem: str) -> ssl.SSLContext:
    file = folder / "client.pem"
    file.write_text(pem)
    context = yard.client_context(certificate=False)
    context.load_cert_chain(file)
    return context


def refused(address: str, context: ssl.SSLContext) -> None:
    with pytest.raises((OSError, http.client.HTTPException)):
        Client(DEVICE, address, context).device()


@pytest.mark.parametrize("who", IMPOSTORS)
def test_a45_an_impostor_is_told_nothing(yard: Yard, running: Running, tmp_path: Path, who: str) -> None:
    refused(running.address, context_of(yard, tmp_path, IMPOSTORS[who](yard, tmp_path)))
    with yard.client(DEVICE, running.address) as client:
        assert client.device()["id"] == DEVICE


def test_a45_the_forger_can_forge_what_is_good(yard: Yard, running: Running, tmp_path: Path) -> None:
    with Client(DEVICE, running.address, context_of(yard, tmp_path, by_controller_ca(yard, [NAME]))) as client:
        assert client.device()["id"] == DEVICE


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
@pytest.mark.parametrize(
    ("setting", "newest", "good"),
    [
        ("", "TLSv1_1", False),
        ("", "TLSv1_2", False),
        ("", "TLSv1_3", True),
        ('tls = "1.2"', "TLSv1_1", False),
        ('tls = "1.2"', "TLSv1_2", True),
        ('tls = "1.2"', "TLSv1_3", True),
    ],
)
def test_a45_old_tls_is_refused(yard: Yard, setting: str, newest: str, good: bool) -> None:
    folder = yard.enroll("device-009")
    file = folder / "agent.toml"
    file.write_text(file.read_text().replace("\n[factory]", f"{setting}\n[factory]", 1))
    context = yard.client_context()
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion[newest]
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with agent(folder) as process:
        if good:
            with Client("device-009", process.address, context) as client:
                assert client.device()["id"] == "device-009"
        else:
            with pytest.raises((OSError, http.client.HTTPException)):
                Client("device-009", process.address, context).device()


def test_a45_a_revoked_controller_is_out_with_the_next_request(tmp_path: Path) -> None:
    yard = Yard(tmp_path / "yard")
    old = yard.client_context()
    digest = key_digest(load_certificate(yard.authorities.controller).public_key())  # type: ignore[arg-type]  # ours: P-256
    yard.fleet.policy["revoked"] = [digest]
    with agent(yard.enroll(DEVICE)) as process:
        with Client(DEVICE, process.address, old) as client:
            status, versions = client.ask("PUT", "/v1/trust", json.dumps(yard.fleet.bundle()).encode())
            assert (status, versions["policy"]) == (200, 1)
            with pytest.raises((OSError, http.client.HTTPException)):
                client.device()  # on the connection that stands, too: a thief would hold it for ever
        refused(process.address, old)
        renew_controller(yard.keystore, REPO, datetime.now(UTC))
        with Client(DEVICE, process.address, yard.client_context()) as client:
            assert client.device()["id"] == DEVICE
