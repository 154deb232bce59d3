"""Attacks on identities: with a stolen controller certificate, with one device, with a stick or a request between."""

from __future__ import annotations

import http.client
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fwctl.fleet.certificates import DeviceIssuer, key_digest, read_device_certificate, renew_controller
from fwctl.fleet.register import Book, Entry, Event, Register
from fwctl_agent.cli import main as agent_main
from fwctl_agent.protocol.enrolment import CERTIFICATE, DEVICE_CA, FACTORY_IMAGE, KEY, NEXT_KEY, ROOT, SETTINGS
from fwctl_agent.trust.identity import read_request
from tests.integration.identity.test_life import DEVICE, Site, lines, run_agent, snapshot
from tests.support.agents import Client, Running, Yard, agent
from tests.support.certificates import SERVER, forged
from tests.support.signing import REPO

NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)
CLOSED = (OSError, http.client.HTTPException)


# -- at the agent's door, with the controller's certificate ------------------------------------------------------------


@pytest.fixture
def yard(tmp_path: Path) -> Yard:
    return Yard(tmp_path / "yard")


@pytest.fixture
def folder(yard: Yard) -> Path:
    return yard.enroll(DEVICE)


@pytest.fixture
def running(folder: Path) -> Iterator[Running]:
    with agent(folder) as process:
        yield process


def identity(folder: Path) -> dict[str, bytes]:
    return snapshot(folder / "identity")


def certified(yard: Yard, folder: Path, *, later: timedelta, device: str = DEVICE) -> str:
    """Return a certificate for the device's key that ends so much later than its present one."""
    old = read_device_certificate((folder / CERTIFICATE).read_text())
    issuer = DeviceIssuer.load(yard.keystore, REPO)
    return issuer.certify(device, old.public_key, enrolled_at=old.enrolled_at, now=NOW + later).decode()


def put(client: Client, pem: str) -> tuple[int, dict[str, str]]:
    return client.ask("PUT", "/v1/identity", json.dumps({"certificate": pem}).encode())


OFFERS: dict[str, tuple[str, Callable[[Yard, Path], str]]] = {
    "nothing": ("E_CERTIFICATE", lambda yard, folder: ""),
    "no certificate": ("E_CERTIFICATE", lambda yard, folder: (folder / ROOT).read_text()[:9000]),
    "half a character": ("E_CERTIFICATE", lambda yard, folder: "\ud800"),
    "too long": ("E_LIMIT", lambda yard, folder: "x" * (1 << 20)),
    "its CA's": ("E_CERTIFICATE", lambda yard, folder: (folder / DEVICE_CA).read_text()),
    "an earlier one": ("E_CERT_OLD", lambda yard, folder: certified(yard, folder, later=-DAY)),
    "another device's": ("E_CERTIFICATE", lambda yard, folder: certified(yard, folder, later=DAY, device="device-002")),
    "another enrolment's": (
        "E_CERTIFICATE",
        lambda yard, folder: (
            DeviceIssuer.load(yard.keystore, REPO)
            .certify(
                DEVICE,
                read_device_certificate((folder / CERTIFICATE).read_text()).public_key,
                enrolled_at=NOW - 900 * DAY,
                now=NOW + DAY,
            )
            .decode()
        ),
    ),
    "a key it does not have": (
        "E_CERT_KEY",
        lambda yard, folder: (
            DeviceIssuer.load(yard.keystore, REPO)
            .issue(
                DEVICE,
                enrolled_at=read_device_certificate((folder / CERTIFICATE).read_text()).enrolled_at,
                now=NOW + DAY,
            )[1]
            .decode()
        ),
    ),
    "by itself": (
        "E_CERTIFICATE",
        lambda yard, folder: forged(None, None, [f"{DEVICE}.devices.{REPO}.fwctl"], SERVER),
    ),
    "by the controller's CA": (
        "E_CERTIFICATE",
        lambda yard, folder: forged(
            yard.authorities.controller_ca,
            yard.authorities.controller_ca_key,
            [f"{DEVICE}.devices.{REPO}.fwctl"],
            SERVER,
        ),
    ),
}


@pytest.mark.parametrize("what", OFFERS)
def test_a45_agent_takes_no_certificate_that_is_not_its_own(
    yard: Yard, folder: Path, running: Running, what: str
) -> None:
    code, make = OFFERS[what]
    before = identity(folder)
    with yard.client(DEVICE, running.address) as other, yard.client(DEVICE, running.address) as thief:
        assert other.device()["id"] == DEVICE
        status, reply = put(thief, make(yard, folder))
        assert status == 422
        assert reply["code"] in (code, "E_SCHEMA"), reply
        assert other.device()["id"] == DEVICE, "whoever works there is not turned out"
    assert identity(folder) == before


def test_a45_agent_keeps_nothing_but_the_certificate_of_a_text(yard: Yard, folder: Path, running: Running) -> None:
    """OpenSSL reads more kinds of PEM than the one that was judged, and a chain behind it."""
    good = certified(yard, folder, later=DAY)
    foreign = forged(None, None, ["x"], SERVER).partition("-----BEGIN CERTIFICATE-----")[2]
    trusted = f"-----BEGIN TRUSTED CERTIFICATE-----{foreign}".replace("END CERT", "END TRUSTED CERT")
    dressed = f"{trusted}\nSubject: anybody\n{good}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    with yard.client(DEVICE, running.address) as thief:
        status, reply = put(thief, dressed)
        assert (status, reply.get("code")) in ((200, None), (422, "E_CERTIFICATE")), reply
    if status == 200:
        assert (folder / CERTIFICATE).read_text() == good
    with yard.client(DEVICE, running.address) as client:
        assert client.device()["id"] == DEVICE
    running.process.terminate()
    running.wait()
    with agent(folder) as again, yard.client(DEVICE, again.address) as client:
        assert client.device()["id"] == DEVICE


def test_a45_agent_makes_one_key_however_often_it_is_asked(yard: Yard, folder: Path, running: Running) -> None:
    keys, before = set(), identity(folder).keys()
    with yard.client(DEVICE, running.address) as thief:
        for _ in range(50):
            status, reply = thief.ask("PUT", "/v1/identity/request", b"{}")
            assert status == 200, reply
            keys.add(key_digest(read_request(reply["request"], DEVICE, REPO)))
        for body in (b"", b"[]", b'{"key": 1}', b"{}" + b" " * (64 << 10), b'{"a":' * 5000):
            status, reply = yard.client(DEVICE, running.address).ask("PUT", "/v1/identity/request", body)
            assert (status, reply["class"]) == (422, "refused"), reply
    assert len(keys) == 1
    assert identity(folder).keys() - before == {Path(NEXT_KEY).name}


def test_a45_agent_lets_the_next_controller_in_although_a_thief_takes_all_he_can(yard: Yard, running: Running) -> None:
    with ExitStack() as stack:
        had = 0
        for _ in range(80):
            try:
                client = stack.enter_context(yard.client(DEVICE, running.address))
                had += client.device()["id"] == DEVICE
            except CLOSED:
                continue
        assert had == 32
        renew_controller(yard.keystore, REPO, datetime.now(UTC))
        with yard.client(DEVICE, running.address) as client:
            assert client.device()["id"] == DEVICE


def test_a46_agent_whose_clock_is_behind_lets_a_renewed_controller_in(yard: Yard, folder: Path) -> None:
    """The device's own clock may lie days before the hour in which its controller got a new certificate."""
    renew_controller(yard.keystore, REPO, NOW + 3 * DAY)
    with agent(folder) as process, yard.client(DEVICE, process.address) as client:
        assert client.device()["id"] == DEVICE


# -- where certificates are issued -------------------------------------------------------------------------------------


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_a45_cli_grants_no_request_for_a_name_that_somebody_else_has(site: Site, tmp_path: Path) -> None:
    site.ready()
    book = Register(site.authorities.folder)
    before = book.path.read_bytes()
    assert site.ask(folder=tmp_path / "impostor") == 0
    answer = site.enroll(out=tmp_path / "second")
    assert (answer.exit_code, "E_EXISTS" in answer.stderr) == (3, True), answer.stderr
    assert f"fwctl device revoke {DEVICE} --reason WHY" in answer.stderr
    assert not (tmp_path / "second").exists()
    assert book.path.read_bytes() == before


def test_a45_cli_grants_no_request_for_a_key_of_the_past(site: Site, tmp_path: Path) -> None:
    site.ready()
    old = (site.device / KEY).read_bytes()
    with run_agent(site):
        site.fleet.ok("device", "rotate", DEVICE)
    thief = tmp_path / "thief"
    (thief / "identity").mkdir(parents=True)
    (thief / NEXT_KEY).write_bytes(old)
    assert site.ask(folder=thief) == 0
    answer = site.enroll(out=tmp_path / "second")
    assert (answer.exit_code, "E_KEY_DUPLICATE" in answer.stderr) == (3, True), answer.stderr
    assert not (tmp_path / "second").exists()


def test_a45_cli_renews_nothing_for_who_shows_a_key_of_the_past(site: Site) -> None:
    site.ready()
    stolen = snapshot(site.device)
    with run_agent(site):
        site.fleet.ok("device", "rotate", DEVICE)
    for path, data in stolen.items():
        (site.device / path).write_bytes(data)
    (site.device / NEXT_KEY).unlink(missing_ok=True)
    with run_agent(site):
        for verb in ("renew", "rotate"):
            answer = site.fleet.run("device", verb, DEVICE, "--format", "json")
            assert (answer.exit_code, lines(answer)[0]["error"]["code"]) == (5, "E_REPORT")
    assert (site.device / CERTIFICATE).read_bytes() == stolen[CERTIFICATE]


def test_a_rotation_that_was_refused_is_not_the_last_one(site: Site) -> None:
    """The device asks for its pending key again; a renewal in between has not made that a key of the past."""
    site.ready()
    register, now = Register(site.authorities.folder), NOW
    with run_agent(site):
        key = site.certificate.key
        register.add([Entry("issued", DEVICE, f"sha256:{'5' * 64}", now + DAY, now)])
        register.add([Entry("inForce", DEVICE, key, now + DAY, now)])
        assert register.read().current(DEVICE) == (key, f"sha256:{'5' * 64}")
        assert lines(site.fleet.ok("device", "rotate", DEVICE, "--format", "json"))[0]["certificate"] == "rotated"
    assert set(register.read().superseded(DEVICE)) == {key, f"sha256:{'5' * 64}"}


HANDS = st.lists(st.tuples(st.sampled_from(["issued", "inForce"]), st.integers(0, 4)), max_size=20)


@given(HANDS)
@settings(max_examples=300, deadline=None)
def test_a_key_that_was_replaced_never_counts_again(hands: list[tuple[Event, int]]) -> None:
    """Several operators write lines in any order: a key leaves, and does not come back."""
    entries: list[Entry] = []
    past: set[str] = set()
    for event, key in hands:
        entries.append(Entry(event, DEVICE, f"key-{key}", NOW, NOW))
        book = Book({DEVICE: tuple(entries)})
        superseded = set(book.superseded(DEVICE))
        assert past <= superseded
        assert superseded.isdisjoint(book.current(DEVICE))
        assert superseded | set(book.current(DEVICE)) == set(book.keys(DEVICE))
        assert book.current(DEVICE), "one key is always left, or the device could never be renewed"
        past = superseded


def test_who_renews_while_another_rotates_does_not_bring_the_old_key_back() -> None:
    steps: list[tuple[Event, str]] = [
        ("inForce", "old"),
        ("issued", "new"),
        ("inForce", "new"),
        ("issued", "old"),
        ("inForce", "old"),
    ]
    book = Book({DEVICE: tuple(Entry(event, DEVICE, key, NOW, NOW) for event, key in steps)})
    assert (book.current(DEVICE), book.superseded(DEVICE)) == (("new",), ("old",))


# -- on the way: a stick that was elsewhere ----------------------------------------------------------------------------


def link(path: Path, to: Path) -> None:
    path.unlink()
    path.symlink_to(to)


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def no_end(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def large(path: Path) -> None:
    with path.open("ab") as file:
        file.truncate((1 << 30) + 1)


def behind_a_link(path: Path) -> None:
    path.parent.rename(path.parent.with_name("elsewhere"))
    path.parent.symlink_to("elsewhere")


TRICKS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "the image is a secret of the device": (FACTORY_IMAGE, lambda path: link(path, path.parents[2] / "secret")),
    "the certificate is a link": (CERTIFICATE, lambda path: link(path, path.parents[2] / "secret")),
    "a pipe": (ROOT, pipe),
    "no end": (FACTORY_IMAGE, no_end),
    "too large": (FACTORY_IMAGE, large),
    "a large certificate": (CERTIFICATE, large),
    "settings without an end": (SETTINGS, no_end),
    "behind a link": (CERTIFICATE, behind_a_link),
    "a folder": (ROOT, a_folder),
}


@pytest.mark.parametrize("trick", TRICKS)
def test_a45_agent_installs_files_of_a_bundle_and_nothing_else(
    site: Site, trick: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert site.ask() == 0
    assert site.enroll().exit_code == 0
    (site.bundle.parent / "secret").write_text("the device's own")
    path, play = TRICKS[trick]
    play(site.bundle / path)
    before = snapshot(site.device)
    assert site.join() == 3
    assert re.search(r"cannot be read|is larger than", capsys.readouterr().err)
    assert snapshot(site.device) == before


def test_a_request_is_not_written_through_a_link(site: Site) -> None:
    victim = site.request.with_name("victim")
    victim.write_text("of value")
    site.request.symlink_to(victim)
    words = ["request", "--config", str(site.device), "--id", DEVICE, "--fleet", "acme", "--out", str(site.request)]
    assert agent_main(words) != 0
    assert victim.read_text() == "of value"


def test_a_request_that_is_no_file_of_that_size_is_not_read_whole(site: Site) -> None:
    site.request.symlink_to("/dev/zero")
    answer = site.enroll()
    assert (answer.exit_code, "E_REQUEST" in answer.stderr) == (3, True), answer.stderr
