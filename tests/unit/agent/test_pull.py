"""Pull delivery: a real device core and a real HTTPS server that misbehaves; only the disk is in memory."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fwctl_agent.errors import Refusal
from fwctl_agent.protocol.statements import InstallOrder, Pull
from fwctl_agent.runtime.host import Host
from fwctl_agent.runtime.intake import CHECKPOINT
from fwctl_agent.runtime.pull import Tries
from fwctl_agent.runtime.pull_http import HttpsSource, Limits
from tests.support.signing import Fleet, image_of
from tests.support.storage_server import Fault, StorageServer, always, in_turn
from tests.unit.agent.bench import Bench

IMAGE = image_of("firmware 2.5.0", 300_000)
OTHER = image_of("firmware 6.6.6", 300_000)
SECRET = "X-Amz-Signature=canary0123456789"
TRIES = Tries(barren=3, first=0.01, longest=0.05)
LIMITS = Limits(head=5, idle=2)


@dataclass
class Rig:
    """One device that pulls, and the storage it pulls from."""

    server: StorageServer
    bench: Bench
    host: Host

    def order(self, url: str = "", image: bytes = IMAGE) -> InstallOrder:
        return self.bench.accept(image, delivery=Pull(url or f"{self.server.add(image)}?{SECRET}"))

    async def run(self, url: str = "", image: bytes = IMAGE) -> InstallOrder:
        """Give an order and wait until the device has ended it, or tries the image."""
        order = self.order(url, image)
        await self.over(order)
        return order

    async def over(self, order: InstallOrder) -> None:
        """Wait until nothing is fetched for an order any more."""
        await self.host.settle()
        async with asyncio.timeout(20):
            while self.bench.device.fetches(order.id) is not None:
                await asyncio.sleep(0.01)
        await self.host.settle()

    def failed(self, order: InstallOrder, code: str) -> str:
        """Check that the order ended as a failure of the storage and nothing else changed; return what is said."""
        outcome = self.bench.outcome(order.id)
        assert (outcome.result, outcome.klass, outcome.code) == ("failed", "download", code)
        assert outcome.running.version == "1.0.0"
        assert [slot.state for slot in outcome.slots] == ["verified", "empty"]
        self.bench.check_bootable()
        (evidence,) = outcome.evidence
        assert "canary" not in str(outcome.to_wire())
        return evidence.detail

    def installed(self, order: InstallOrder) -> None:
        job = self.bench.device.record.job
        assert job is not None
        assert (job.order.id, job.state) == (order.id, "trial")
        assert self.bench.disk.read("slots/b.img") == IMAGE
        self.bench.check_bootable()


def rigged(server: StorageServer, *, trusted: bool = True, host: str = "127.0.0.1", **settings: Any) -> Rig:
    """Return a device that fetches from `server`, listed as `host`."""
    bench = Bench(fleet=Fleet(policy={"storage": [server.entry(host=host)]}))
    source = HttpsSource(ca=server.ca if trusted else None, **{"limits": LIMITS} | settings)
    return Rig(server, bench, Host(bench.device, restart=lambda _: None, source=source, tries=TRIES))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[StorageServer]:
    with StorageServer(tmp_path) as server:
        yield server


@pytest.fixture
async def rig(server: StorageServer) -> AsyncIterator[Rig]:
    rig = rigged(server)
    yield rig
    await rig.host.stop()


async def test_an_image_is_fetched_verified_and_tried(rig: Rig) -> None:
    order = await rig.run()
    rig.installed(order)
    (asked,) = rig.server.requests
    assert (asked.range, asked.host) == ("", f"127.0.0.1:{rig.server.port}")
    assert asked.target.endswith(f"?{SECRET}")


@pytest.mark.parametrize(
    ("fault", "ranges"),
    [
        (Fault(status=503), ["", ""]),
        (Fault(status=429), ["", ""]),
        (Fault(reset_at=100_000), ["", "bytes=100000-"]),
        (Fault(close_at=100_000), ["", "bytes=100000-"]),
        (Fault(reset_at=0), ["", ""]),
        (Fault(silent=True), ["", ""]),
    ],
    ids=["503", "429", "reset", "closed", "reset at once", "silent"],
)
async def test_r18_what_fails_once_is_tried_again_from_where_it_broke_off(
    rig: Rig, fault: Fault, ranges: list[str]
) -> None:
    rig.server.fault = in_turn(fault)
    rig.installed(await rig.run())
    assert rig.server.ranges == ranges


async def test_r18_a_storage_that_ignores_ranges_is_read_from_the_start_again(rig: Rig) -> None:
    rig.server.fault = in_turn(Fault(reset_at=100_000), Fault(ignore_range=True))
    rig.installed(await rig.run())
    assert rig.server.ranges == ["", "bytes=100000-"]


async def test_r18_a_storage_that_breaks_off_again_and_again_is_followed_to_the_end(rig: Rig) -> None:
    rig.server.fault = in_turn(*[Fault(reset_at=70_000)] * 4)
    rig.installed(await rig.run())
    assert rig.server.ranges == ["", *(f"bytes={at}-" for at in (70_000, 140_000, 210_000, 280_000))]


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (always(Fault(status=503)), "E_STORAGE_STATUS"),
        (always(Fault(reset_at=0)), "E_STORAGE_CUT"),
        (always(Fault(status=404)), "E_STORAGE_MISSING"),
        (always(Fault(status=403)), "E_STORAGE_STATUS"),
        (always(Fault(wrong=True)), "E_HASH"),
        (always(Fault(more=1)), "E_LENGTH"),
        (always(Fault(more=1, chunked=True)), "E_LENGTH"),
        (always(Fault(headers=(("Content-Encoding", "gzip"),))), "E_STORAGE_STATUS"),
        (in_turn(Fault(reset_at=100_000), Fault(content_range="bytes 0-299999/300000")), "E_RANGE"),
        (in_turn(Fault(reset_at=100_000), Fault(content_range="bytes 100000-1/7")), "E_RANGE"),
        (in_turn(Fault(reset_at=100_000), Fault(content_range="items 1")), "E_RANGE"),
        (in_turn(Fault(reset_at=100_000), Fault(more=5)), "E_LENGTH"),
        (in_turn(Fault(reset_at=100_000), Fault(wrong=True)), "E_HASH"),
    ],
)
async def test_a41_what_cannot_be_mended_ends_the_order_as_a_failure_of_the_storage(
    rig: Rig, fault: Callable[[int], Fault], code: str
) -> None:
    rig.server.fault = fault
    order = await rig.run()
    said = rig.failed(order, code)
    assert code == "E_HASH" or "127.0.0.1" in said or str(len(IMAGE)) in said


@pytest.mark.parametrize("location", ["http://127.0.0.1/", "https://127.0.0.1:1/", "/fw/other", ""])
@pytest.mark.parametrize("status", [301, 302, 303, 304, 307, 308])
async def test_a40_no_redirect_is_followed_wherever_it_leads(rig: Rig, status: int, location: str) -> None:
    rig.server.fault = always(Fault(status=status, headers=(("Location", location),)))
    rig.failed(await rig.run(), "E_REDIRECT")
    assert len(rig.server.requests) == 1


async def test_a41_another_object_under_the_same_name_is_not_installed(rig: Rig) -> None:
    address = rig.server.add(IMAGE)
    rig.server.images[address.removeprefix(rig.server.url.removesuffix("/fw"))] = OTHER[: len(IMAGE)]
    rig.failed(await rig.run(address), "E_HASH")


async def test_a_storage_whose_certificate_is_not_trusted_gets_no_request(server: StorageServer) -> None:
    rig = rigged(server, trusted=False)
    rig.failed(await rig.run(), "E_STORAGE_TLS")
    assert server.requests == []


async def test_a_storage_whose_certificate_is_of_another_host_gets_no_request(tmp_path: Path) -> None:
    with StorageServer(tmp_path, names=("other.example",)) as server:
        rig = rigged(server)
        rig.failed(await rig.run(), "E_STORAGE_TLS")
        assert server.requests == []


async def test_a_storage_that_is_away_ends_the_order_in_the_end(rig: Rig) -> None:
    rig.server.__exit__()
    rig.failed(await rig.run(), "E_STORAGE_UNREACHABLE")


async def test_a_storage_that_drips_is_given_up(server: StorageServer) -> None:
    rig = rigged(server, limits=Limits(head=5, idle=2, grace=0.1, rate=100_000))
    server.fault = always(Fault(rate=2_000))
    rig.failed(await rig.run(), "E_STORAGE_CUT")


async def test_a39_an_address_that_is_not_on_the_list_is_refused_and_nothing_is_asked(rig: Rig) -> None:
    before = rig.bench.device.record
    for url in (
        rig.server.add(IMAGE).replace("127.0.0.1", "127.0.0.2"),
        rig.server.add(IMAGE).replace("127.0.0.1", "localhost"),
        rig.server.add(IMAGE).replace(str(rig.server.port), "443"),
        rig.server.add(IMAGE).replace("https://", "https://evil@"),
    ):
        with pytest.raises(Refusal, match="E_URL"):
            rig.order(url)
    assert rig.bench.device.record == before
    assert rig.server.requests == []


async def test_a39_a_name_is_looked_up_once_and_what_was_checked_is_connected_to(server: StorageServer) -> None:
    """The second answer of a name service that rebinds would lead elsewhere: it is never asked for."""
    answers = iter([["127.0.0.1"], ["169.254.169.254"]])

    async def rebinding(host: str, port: int) -> Sequence[str]:
        return next(answers)

    rig = rigged(server, host="localhost", resolve=rebinding)
    rig.installed(await rig.run(server.add(IMAGE).replace("127.0.0.1", "localhost")))
    assert [one.host for one in server.requests] == [f"localhost:{server.port}"]
    assert next(answers) == ["169.254.169.254"]
    await rig.host.stop()


@pytest.mark.parametrize(
    "found", [["169.254.169.254"], ["10.0.0.1"], ["::ffff:10.0.0.1"], ["::1"], ["8.8.8.8"], ["not an address"], []]
)
async def test_a39_a_name_that_leads_where_it_must_not_is_never_connected_to(
    server: StorageServer, found: list[str]
) -> None:
    async def lying(host: str, port: int) -> Sequence[str]:
        return found

    rig = rigged(server, resolve=lying)
    rig.failed(await rig.run(), "E_URL")
    assert server.requests == []


async def test_no_proxy_of_the_environment_is_used(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    rig.installed(await rig.run())


async def test_a_download_can_be_cancelled_and_the_device_answers_meanwhile(rig: Rig) -> None:
    rig.server.fault = always(Fault(rate=100_000))
    order = rig.order()
    await rig.host.settle()
    async with asyncio.timeout(10):
        while not rig.server.requests:
            await asyncio.sleep(0.01)
    reply = rig.bench.device.reply(order.id)
    assert reply is not None
    assert (reply.state, reply.offset) in (("accepted", None), ("downloading", None))
    await rig.host.call(rig.bench.follow, "cancel", order)
    await rig.host.settle()
    assert rig.bench.outcome(order.id).result == "cancelled"
    rig.server.fault = in_turn()
    again = rig.bench.accept(IMAGE, attempt=2, delivery=order.delivery)
    await rig.over(again)
    rig.installed(again)


async def test_d01_a_device_that_lost_power_goes_on_behind_what_is_durable(server: StorageServer) -> None:
    image, rig = image_of("firmware 2.5.0", CHECKPOINT + 600_000), rigged(server)
    bench, server.fault = rig.bench, in_turn(Fault(rate=20_000_000))
    order = rig.order(image=image)
    await rig.host.settle()
    async with asyncio.timeout(20):
        while (job := bench.device.record.job) is not None and job.offset < CHECKPOINT:
            await asyncio.sleep(0.001)
    # What runs when the power goes writes to files that nobody reads any more.
    bench.disk, before = copy.deepcopy(bench.disk), rig.host
    bench.disk.cut_power(torn=True)
    bench.clock.reboot()
    source = HttpsSource(ca=server.ca, limits=LIMITS)
    rig.host = Host(bench.power_on(), restart=lambda _: None, source=source, tries=TRIES)
    await rig.over(order)
    assert bench.disk.read("slots/b.img") == image
    assert int(server.ranges[-1].removeprefix("bytes=").rstrip("-")) >= CHECKPOINT
    bench.check_bootable()
    await before.stop()
    await rig.host.stop()


async def test_a_pushed_image_is_not_taken_where_the_device_fetches(rig: Rig) -> None:
    rig.server.fault = always(Fault(silent=True))
    order = rig.order()
    await rig.host.settle()
    assert rig.bench.device.open_image(order.id, 0, len(IMAGE)) is None


async def test_secrets_of_the_address_are_in_no_log_and_no_document(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    rig.server.fault = always(Fault(status=503))
    order = await rig.run()
    rig.failed(order, "E_STORAGE_STATUS")
    assert "answers 503" in caplog.text
    assert "canary" not in caplog.text
    assert "canary" not in repr(rig.bench.device.record)
