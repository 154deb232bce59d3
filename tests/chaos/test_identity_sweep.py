"""A device gets a new key: interrupted at every disk operation, it has the old identity or the new one, whole."""

from __future__ import annotations

import contextlib
from datetime import datetime, timedelta

import pytest
from securesystemslib.signer import SSlibKey

from fwctl.fleet.certificates import Authorities, DeviceIssuer, create_authorities
from fwctl.trust.keystore import KeyStore
from fwctl_agent.errors import Refusal
from fwctl_agent.protocol.enrolment import CERTIFICATE, DEVICE_CA, KEY
from fwctl_agent.protocol.statements import OUTCOME
from fwctl_agent.runtime.device import Busy
from fwctl_agent.runtime.identity import Identity
from fwctl_agent.trust.envelope import Sealed
from fwctl_agent.trust.identity import read_device_certificate, read_request
from tests.support.signing import NOW, REPO, Fleet
from tests.unit.agent.bench import DEVICE, Bench, PowerCut, disk_full, power_cut

ENROLLED = NOW - timedelta(days=30)


@pytest.fixture(scope="module")
def keystore(tmp_path_factory: pytest.TempPathFactory) -> KeyStore:
    keystore = KeyStore(tmp_path_factory.mktemp("keys"))
    create_authorities(keystore, REPO, ENROLLED)
    return keystore


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    return Fleet()


def issue(keystore: KeyStore, request: str, *, now: datetime = NOW) -> str:
    key = read_request(request, DEVICE, REPO)
    return DeviceIssuer.load(keystore, REPO).certify(DEVICE, key, enrolled_at=ENROLLED, now=now).decode()


def enrolled(keystore: KeyStore, fleet: Fleet, *, busy: bool = False) -> Bench:
    """Return a device with an identity, which has kept one outcome, or works on its first order."""
    bench = Bench(fleet=fleet)
    key, certificate = DeviceIssuer.load(keystore, REPO).issue(DEVICE, enrolled_at=ENROLLED, now=ENROLLED)
    bench.disk.put(KEY, key)
    bench.disk.put(CERTIFICATE, certificate)
    bench.disk.put(DEVICE_CA, Authorities(keystore.pki).device_ca.read_bytes())
    start(bench)
    if busy:
        bench.to_trial(watch=0)
    else:
        bench.to_confirmed(watch=0)
    return bench


def start(bench: Bench) -> None:
    bench.signer = Identity(bench.disk, bench.settings).signer()  # type: ignore[assignment]  # the bench asks for its key only
    bench.power_on()


def check(bench: Bench) -> str:
    """Return the key in force: certificate, own signatures and those of everything that is kept agree on it."""
    certificate = read_device_certificate((bench.disk.read(CERTIFICATE) or b"").decode())
    identity = Identity(bench.disk, bench.settings)
    assert identity.signer().public_key == SSlibKey.from_crypto(certificate.public_key)
    for stored in bench.device.record.outcomes:
        assert Sealed.open(stored.envelope, OUTCOME).signers([SSlibKey.from_crypto(certificate.public_key)])
    return certificate.key


def rotate(bench: Bench, keystore: KeyStore) -> None:
    bench.device.put_identity(issue(keystore, bench.device.new_key()))


@pytest.mark.parametrize("loss", ["kill", "power", "torn"])
def test_a_rotation_survives_a_cut_at_every_operation(keystore: KeyStore, fleet: Fleet, loss: str) -> None:
    whole = enrolled(keystore, fleet)
    before, old = whole.disk.operations, check(whole)
    rotate(whole, keystore)
    assert check(whole) != old
    count = whole.disk.operations - before
    assert count > 12
    for number in range(1, count + 1):
        bench = enrolled(keystore, fleet)
        old = check(bench)
        bench.disk.trap = power_cut(bench.disk.operations + number)
        with pytest.raises(PowerCut):
            rotate(bench, keystore)
        bench.disk.trap = lambda at, what: None
        if loss != "kill":
            bench.disk.cut_power(torn=loss == "torn")
            bench.clock.reboot()
        start(bench)
        between = check(bench)
        rotate(bench, keystore)  # what the operator does: the same command again
        assert check(bench) not in (old, *([between] if between != old else ())), number
        start(bench)
        assert not Identity(bench.disk, bench.settings).unfinished


def test_a_rotation_survives_a_full_disk_at_every_operation(keystore: KeyStore, fleet: Fleet) -> None:
    whole = enrolled(keystore, fleet)
    before = whole.disk.operations
    rotate(whole, keystore)
    count = whole.disk.operations - before
    for number in range(1, count + 1):
        bench = enrolled(keystore, fleet)
        old = check(bench)
        bench.disk.trap = disk_full(bench.disk.operations + number, forever=False)
        with contextlib.suppress(OSError):
            rotate(bench, keystore)
        bench.disk.trap = lambda at, what: None
        rotate(bench, keystore)
        assert check(bench) != old
        start(bench)
        check(bench)


def test_the_request_is_for_one_key_until_its_certificate_has_come(keystore: KeyStore, fleet: Fleet) -> None:
    bench = enrolled(keystore, fleet)
    first = read_request(bench.device.new_key(), DEVICE, REPO)
    start(bench)
    pem = bench.device.new_key()
    assert read_request(pem, DEVICE, REPO) == first
    bench.device.put_identity(issue(keystore, pem))
    assert read_request(bench.device.new_key(), DEVICE, REPO) != first


def test_no_rotation_while_an_order_runs_whose_outcome_the_old_key_signs(keystore: KeyStore, fleet: Fleet) -> None:
    bench = enrolled(keystore, fleet, busy=True)
    pem, old = issue(keystore, bench.device.new_key()), check(bench)
    with pytest.raises(Busy):
        bench.device.put_identity(pem)
    assert check(bench) == old
    current = read_device_certificate((bench.disk.read(CERTIFICATE) or b"").decode()).public_key
    issuer = DeviceIssuer.load(keystore, REPO)
    renewal = issuer.certify(DEVICE, current, enrolled_at=ENROLLED, now=NOW).decode()
    assert bench.device.put_identity(renewal)[1] is False, "a renewal keeps the key, so it may come at any time"


def test_a_folder_without_the_device_ca_takes_no_new_certificate(keystore: KeyStore, fleet: Fleet) -> None:
    bench = enrolled(keystore, fleet)
    del bench.disk.names[DEVICE_CA]
    before = {path: bench.disk.read(path) for path in bench.disk.names}
    for ask in (bench.device.new_key, lambda: bench.device.put_identity("")):
        with pytest.raises(Refusal) as caught:
            ask()
        assert caught.value.code == "E_NO_DEVICE_CA"
    assert {path: bench.disk.read(path) for path in bench.disk.names} == before
