"""Scripted faults of simulated devices: each kind met over real mutual TLS, by what a reconciler would see."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from securesystemslib.signer import SSlibKey

from fwctl_agent.config import ConfigError
from fwctl_agent.fault_file import read_script
from fwctl_agent.protocol.statements import OUTCOME, InstallOrder
from fwctl_agent.runtime.assemble import read_signer
from fwctl_agent.trust.envelope import Sealed
from tests.support.agents import Running, Yard, outcome_of, simulator, until
from tests.support.signing import image_of

IMAGE = image_of("firmware 2.5.0", 200_000)
DEVICE = "d0001"
LOST = (OSError, http.client.HTTPException)


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Yard:
    """Return three enrolled devices whose probes answer at once; each simulation starts them afresh, in memory."""
    yard = Yard(tmp_path_factory.mktemp("yard"))
    for number in range(3):
        settings = yard.enroll(f"d000{number}") / "agent.toml"
        text = settings.read_text().replace("attempts = 3", "attempts = 1").replace("interval = 2", "interval = 0.1")
        settings.write_text(text)
    return yard


@contextmanager
def faulty(yard: Yard, text: str, *options: str) -> Iterator[Running]:
    file = yard.folder / "faults.toml"
    file.write_text(f'seed = 7\n[[faults]]\ndevices = ["{DEVICE}"]\n{text}\n')
    with simulator(yard.folder / "enrolled", 3, "--memory", "--faults", str(file), *options) as running:
        yield running


def installed(yard: Yard, running: Running, device: str = DEVICE, **changes: Any) -> tuple[InstallOrder, Any]:
    """Install as far as it goes without a confirm; return the order and the newest reply."""
    request, order, _ = yard.fleet.install_request(device, IMAGE, **changes)
    with yard.client(device, running.address) as client:
        status, reply = client.put(order, request)
        assert status == 202, reply
        return order, client.push(order, IMAGE)[1]


def confirmed(yard: Yard, running: Running, device: str = DEVICE, **changes: Any) -> InstallOrder:
    order, _ = installed(yard, running, device, **changes)
    confirm, request = yard.follow_up("confirm", order)
    with yard.client(device, running.address) as client:
        assert outcome_of(client.put(confirm, request)[1]).result == "confirmed"
    return order


def told(yard: Yard, running: Running, device: str = DEVICE) -> Any:
    with yard.client(device, running.address) as client:
        return client.device()


def reachable(yard: Yard, running: Running, device: str = DEVICE) -> bool:
    try:
        told(yard, running, device)
    except LOST:
        return False
    return True


def version(yard: Yard, running: Running) -> str | None:
    """Return what the device says that it runs; None while it restarts."""
    try:
        return str(told(yard, running)["running"]["version"])
    except LOST:
        return None


def test_a_slow_device_answers_late_and_takes_bytes_slowly(yard: Yard) -> None:
    with faulty(yard, 'kind = "slow"\ndelay = 0.4\nbytesPerSecond = 200000') as running:
        begun = time.monotonic()
        told(yard, running)
        assert time.monotonic() - begun >= 0.4
        begun = time.monotonic()
        confirmed(yard, running)
        assert time.monotonic() - begun >= 0.4 * 3 + 0.9, "200,000 bytes at 200,000 a second, and three requests"
        begun = time.monotonic()
        confirmed(yard, running, "d0000")
        assert time.monotonic() - begun < 1.5, "its neighbour is not slow"


@pytest.mark.parametrize("how", ["hello", "request"])
def test_a_device_that_refuses_is_back_when_the_time_is_over(yard: Yard, how: str) -> None:
    with faulty(yard, f'kind = "refuse"\nhow = "{how}"\nafter = 2\nuntil = 4') as running:
        with yard.client(DEVICE, running.address) as client:
            client.device()
            time.sleep(2.1)
            with pytest.raises(LOST):
                client.device()
        assert not reachable(yard, running)
        assert reachable(yard, running, "d0000")
        until(lambda: reachable(yard, running))


@pytest.mark.parametrize(("where", "klass"), [("disk", "install"), ("transfer", "download")])
def test_flipped_bits_are_found_by_the_hash(yard: Yard, where: str, klass: str) -> None:
    with faulty(yard, f'kind = "corrupt"\nwhere = "{where}"') as running:
        outcome = outcome_of(installed(yard, running)[1])
        assert (outcome.result, outcome.klass, outcome.code) == ("failed", klass, "E_HASH")
        assert told(yard, running)["running"]["version"] == "1.0.0"


def test_only_the_bad_firmware_is_bad(yard: Yard) -> None:
    with faulty(yard, 'kind = "corrupt"\nversions = ["2.5.1"]') as running:
        confirmed(yard, running)


def test_bad_probes_end_the_trial(yard: Yard) -> None:
    with faulty(yard, 'kind = "unhealthy"\nversions = ["2.5.0"]\nprobe = "temperature"\nvalue = 95') as running:
        outcome = outcome_of(installed(yard, running)[1])
        assert (outcome.result, outcome.klass, outcome.code) == ("reverted", "health", "E_PROBE_FAILED")
        assert [(result.probe, result.ok, result.value) for result in outcome.evidence] == [("temperature", False, 95)]
        assert told(yard, running)["vitals"]["temperature"] == 95


def test_a_late_failure_reverts_within_the_watch_and_says_so_with_a_later_outcome(yard: Yard) -> None:
    with faulty(yard, 'kind = "unhealthy"\nlate = 1') as running:
        order = confirmed(yard, running, watch=600)
        document = told(yard, running)
        first = [outcome_of({"outcome": one}) for one in document["outcomes"]]
        assert (document["state"], document["running"]["version"]) == ("confirmed", "2.5.0")
        assert {outcome.result for outcome in first} == {"confirmed"}
        until(lambda: told(yard, running)["state"] == "idle")
        document = told(yard, running)
        last = outcome_of({"outcome": document["outcomes"][-1]})
        assert (last.order, last.result, last.klass, last.code) == (order.id, "reverted", "health", "E_PROBE_FAILED")
        assert last.counter > max(outcome.counter for outcome in first)
        assert (document["running"]["version"], document["counter"]) == ("1.0.0", last.counter)
        assert document["spent"] == [{"mandate": order.mandate, "reason": "watch"}]


def test_a_late_failure_after_the_watch_changes_nothing(yard: Yard) -> None:
    with faulty(yard, 'kind = "unhealthy"\nlate = 2') as running:
        confirmed(yard, running, watch=1)
        until(lambda: told(yard, running)["state"] == "idle")
        time.sleep(1.5)
        assert told(yard, running)["running"]["version"] == "2.5.0"


def test_a_silent_revert_leaves_a_confirmed_outcome_and_the_old_version(yard: Yard) -> None:
    with faulty(yard, 'kind = "silentRevert"\nlate = 3') as running:
        order = confirmed(yard, running, watch=600)
        assert told(yard, running)["running"]["version"] == "2.5.0"
        until(lambda: version(yard, running) == "1.0.0")
        document = told(yard, running)
        assert (document["running"]["mandate"], document["spent"]) == (None, [])
        with yard.client(DEVICE, running.address) as client:
            assert outcome_of(client.poll(order, 0)).result == "confirmed"


def test_a_device_that_vanishes_in_a_phase_comes_back_where_it_was(yard: Yard) -> None:
    with faulty(yard, 'kind = "vanish"\nphase = "accepted"\nseconds = 4') as running:
        request, order, _ = yard.fleet.install_request(DEVICE, IMAGE)
        with yard.client(DEVICE, running.address) as client, pytest.raises(LOST):
            client.put(order, request)
        assert not reachable(yard, running)
        assert reachable(yard, running, "d0000")
        until(lambda: reachable(yard, running))
        document = told(yard, running)
        assert (document["state"], document["order"]) == ("accepted", order.id)
        with yard.client(DEVICE, running.address) as client:
            assert client.push(order, IMAGE)[1]["state"] == "trial"


def test_a_device_that_is_gone_in_its_trial_goes_back_alone(yard: Yard) -> None:
    with faulty(yard, 'kind = "vanish"\nphase = "trial"\nseconds = 3') as running:
        with pytest.raises(LOST):
            installed(yard, running, confirm_within=1)
        until(lambda: reachable(yard, running))
        outcome = outcome_of({"outcome": told(yard, running)["outcomes"][-1]})
        assert (outcome.result, outcome.klass, outcome.code) == ("reverted", "unconfirmed", "E_UNCONFIRMED")


def test_a_device_that_loses_power_in_a_download_goes_on_from_its_journal(yard: Yard) -> None:
    with faulty(yard, 'kind = "vanish"\nphase = "downloading"\nseconds = 1\nhow = "power"') as running:
        with pytest.raises(LOST):
            installed(yard, running)
        assert not reachable(yard, running)
        until(lambda: reachable(yard, running))
        document = told(yard, running)
        assert document["state"] == "downloading"
        assert document["vitals"]["uptime"] <= 1
        request, order, _ = yard.fleet.install_request(DEVICE, IMAGE)
        with yard.client(DEVICE, running.address) as client:
            offset = client.put(order, request)[1]["image"]["offset"]
            assert client.push(order, IMAGE[offset:], offset)[1]["state"] == "trial"


def test_a_device_can_vanish_once_it_went_back(yard: Yard) -> None:
    with faulty(yard, 'kind = "vanish"\nphase = "reverted"\nseconds = 1') as running:
        order = confirmed(yard, running)
        revert, request = yard.follow_up("revert", order)
        with yard.client(DEVICE, running.address) as client, pytest.raises(LOST):
            client.put(revert, request)
        until(lambda: reachable(yard, running))
        with yard.client(DEVICE, running.address) as client:
            assert outcome_of(client.poll(revert, 0)).result == "reverted"


def test_a_device_that_never_comes_back_is_gone(yard: Yard) -> None:
    with faulty(yard, 'kind = "vanish"\nafter = 1') as running:
        until(lambda: not reachable(yard, running))
        time.sleep(0.5)
        assert not reachable(yard, running)
        assert reachable(yard, running, "d0002")


def test_a_device_can_claim_to_run_what_it_does_not(yard: Yard) -> None:
    with faulty(yard, 'kind = "lie"\nrunning = "9.9.9"') as running:
        assert told(yard, running)["running"]["version"] == "9.9.9"
        assert told(yard, running, "d0002")["running"]["version"] == "1.0.0"
    with faulty(yard, 'kind = "lie"\nrunning = "ordered"') as running:
        order, _ = installed(yard, running, activation="hold")
        document = told(yard, running)
        assert (document["running"]["version"], document["running"]["mandate"]) == ("2.5.0", order.mandate)
        assert [slot["version"] for slot in document["slots"]] == ["1.0.0", "2.5.0"]
    with faulty(yard, 'kind = "lie"\nrunning = "previous"') as running:
        confirmed(yard, running)
        assert told(yard, running)["running"]["version"] == "1.0.0"


@pytest.mark.parametrize("signed", [False, True])
def test_a_forged_outcome_does_not_verify_and_a_signed_lie_does(yard: Yard, signed: bool) -> None:
    text = f'kind = "lie"\noutcome = "confirmed"\nsigned = {str(signed).lower()}\n'
    text += f'[[faults]]\nkind = "corrupt"\ndevices = ["{DEVICE}"]'
    with faulty(yard, text) as running:
        reply = installed(yard, running)[1]
        honest = installed(yard, running, "d0000", confirm_within=1)
        assert honest[1]["state"] == "trial"
    outcome = outcome_of(reply)
    assert (outcome.result, outcome.klass, outcome.running.version) == ("confirmed", None, "1.0.0")
    key = yard.folder / "enrolled" / DEVICE / "identity" / "device.key.pem"
    public = read_signer(key).public_key
    assert isinstance(public, SSlibKey)
    assert bool(Sealed.open(reply["outcome"], OUTCOME).signers([public])) is signed


def test_a_wrong_clock_is_told_or_seen(yard: Yard) -> None:
    with faulty(yard, 'kind = "clock"\noffset = -315360000') as running:
        document = told(yard, running)
        assert document["clockSuspect"]
        confirmed(yard, running)
    with faulty(yard, 'kind = "clock"\noffset = 604800') as running:
        request, order, _ = yard.fleet.install_request(DEVICE, IMAGE)
        with yard.client(DEVICE, running.address) as client:
            status, reply = client.put(order, request)
        assert (status, reply["class"], reply["code"]) == (422, "refused", "E_EXPIRED")


def test_a_full_disk_fails_the_install_or_the_acceptance(yard: Yard) -> None:
    with faulty(yard, 'kind = "fullDisk"') as running:
        outcome = outcome_of(installed(yard, running)[1])
        assert (outcome.result, outcome.klass, outcome.code) == ("failed", "install", "E_DISK_FULL")
    with faulty(yard, 'kind = "fullDisk"\nwhat = "all"\nafter = 1.5') as running:
        told(yard, running)
        time.sleep(1.6)
        request, order, _ = yard.fleet.install_request(DEVICE, IMAGE)
        with yard.client(DEVICE, running.address) as client:
            status, reply = client.put(order, request)
        assert (status, reply["class"], reply["code"]) == (422, "deferred", "E_IO")


def test_facts_change_with_time_and_a_device_can_be_unready_for_a_while(yard: Yard) -> None:
    text = 'kind = "facts"\nfacts = {battery = 10}\nuntil = 2\n'
    text += f'[[faults]]\nkind = "unready"\nreason = "in use"\nuntil = 2\ndevices = ["{DEVICE}"]'
    with faulty(yard, text) as running:
        assert told(yard, running)["facts"] == {"battery": 10}
        assert told(yard, running, "d0002")["facts"] == {}
        request, order, _ = yard.fleet.install_request(DEVICE, IMAGE)
        with yard.client(DEVICE, running.address) as client:
            refusal = {"class": "deferred", "code": "E_DEFERRED", "message": "this device is not ready: in use"}
            assert client.put(order, request) == (422, refusal)
            assert client.device()["marks"] == []
        until(lambda: told(yard, running)["facts"] == {})
        confirmed(yard, running)


def test_the_start_says_how_many_devices_each_fault_hits(yard: Yard, tmp_path: Path) -> None:
    file = tmp_path / "faults.json"
    faults = [
        {"name": "bad-firmware", "kind": "unhealthy", "share": 0.34, "late": 5, "versions": ["2.5.1"]},
        {"kind": "vanish", "phase": "trial", "after": 3, "until": 60, "seconds": 10},
    ]
    file.write_text(json.dumps({"seed": 42, "faults": faults}))
    with simulator(yard.folder / "enrolled", 3, "--memory", "--faults", str(file)) as running:
        assert running.process.stdout is not None
        assert [running.process.stdout.readline() for _ in range(3)] == [
            "fwctl-agent: seed 42\n",
            "fwctl-agent: fault bad-firmware: unhealthy on 1 of 3 devices, from 5 s after confirm, with 2.5.1\n",
            "fwctl-agent: fault vanish-2: vanish on 3 of 3 devices, from 3 s after start, until 60 s, in trial\n",
        ]


def test_the_same_seed_hits_the_same_devices_again(yard: Yard, tmp_path: Path) -> None:
    def hit(seed: int) -> list[str]:
        file = tmp_path / "faults.toml"
        file.write_text(f'seed = {seed}\n[[faults]]\nkind = "facts"\nshare = 0.34\nfacts = {{hit = true}}\n')
        with simulator(yard.folder / "enrolled", 3, "--memory", "--faults", str(file)) as running:
            devices = [f"d000{number}" for number in range(3)]
            return [device for device in devices if told(yard, running, device)["facts"] == {"hit": True}]

    first = hit(1)
    assert len(first) == 1
    assert hit(1) == first
    assert any(hit(seed) != first for seed in (2, 3, 4, 5, 6))


def test_a_mistake_in_the_file_ends_the_start_with_place_and_remedy(yard: Yard, tmp_path: Path) -> None:
    file = tmp_path / "faults.toml"
    file.write_text('[[faults]]\nkind = "slwo"\n')
    arguments = ["simulate", "--enrolled", str(yard.folder / "enrolled"), "--devices", "3", "--faults", str(file)]
    done = subprocess.run(
        [sys.executable, "-m", "fwctl_agent", *arguments], capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == 3
    with pytest.raises(ConfigError) as caught:
        read_script(file, ["d0001"])
    assert done.stderr == f"fwctl-agent: {caught.value}\n"
    assert f"{file}: [faults[1]] kind: must be one of slow, refuse, corrupt" in done.stderr
    assert "help: correct the file of faults; docs/reference/faults.md tells what it takes" in done.stderr
