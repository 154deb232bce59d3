"""Whoever serves images, pushes commits or writes bills of materials, and means harm: other members of the classes.

The storage speaks raw bytes over real TLS, commits are written as raw objects, bills as raw JSON.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fwctl.errors import FwctlError
from fwctl.storage import HttpsStorage
from fwctl.storage.https import Limits as StorageLimits
from fwctl_agent.errors import Refusal
from fwctl_agent.protocol import canonical
from fwctl_agent.protocol.statements import InstallOrder, Outcome, Pull
from fwctl_agent.runtime.pull import Tries
from fwctl_agent.trust.addresses import check_address, check_resolved
from fwctl_agent.trust.policy import StorageHost
from tests.support.storage_server import Fault, StorageServer, in_turn
from tests.unit.agent.test_pull import IMAGE, Rig, rigged

SIZE = len(IMAGE)
STRANGE = bytes(byte ^ 1 for byte in IMAGE)
SECRET = "?sig=canary0123456789"
OK = b"HTTP/1.1 200 OK\r\n"
LENGTH = b"Content-Length: %d\r\n" % SIZE


@pytest.fixture
def server(tmp_path: Path) -> Iterator[StorageServer]:
    with StorageServer(tmp_path) as server:
        server.add(IMAGE)
        yield server


@pytest.fixture
async def rig(server: StorageServer) -> AsyncIterator[Rig]:
    rig = rigged(server)
    yield rig
    await rig.host.stop()


def says(*pieces: bytes) -> Callable[[int, str], Iterable[bytes]]:
    """Answer every request with these bytes."""
    return lambda number, wanted: pieces


def of(rig: Rig, order: InstallOrder) -> Outcome:
    """Return the outcome of an order that must not have changed what the device runs."""
    outcome = rig.bench.outcome(order.id)
    assert outcome.result == "failed"
    assert outcome.running.version == "1.0.0"
    assert "canary" not in str(outcome.to_wire())
    assert str(outcome.to_wire()).isprintable()
    rig.bench.check_bootable()
    return outcome


DIGITS = b"9" * 5000
ANSWERS = {
    "nothing": (b"",),
    "no HTTP": (b"\x00\x01\x02\xff" * 100 + b"\r\n\r\n",),
    "HTTP/0.9": (IMAGE,),
    "a length of 5000 digits": (OK + b"Content-Length: " + DIGITS + b"\r\n\r\n", IMAGE),
    "a negative length": (OK + b"Content-Length: -1\r\n\r\n", IMAGE),
    "a signed length": (OK + b"Content-Length: +%d\r\n\r\n" % SIZE, IMAGE),
    "two lengths": (OK + LENGTH + b"Content-Length: 5\r\n\r\n", IMAGE),
    "lengths in a list": (OK + b"Content-Length: %d, 5\r\n\r\n" % SIZE, IMAGE),
    "digits of another script": (OK + "Content-Length: ٣٠٠٠٠٠\r\n\r\n".encode(), IMAGE),
    "a status of 5000 digits": (b"HTTP/1.1 " + DIGITS + b" OK\r\n\r\n",),
    "status 99": (b"HTTP/1.1 099 OK\r\n" + LENGTH + b"\r\n", IMAGE),
    "status 206 unasked": (b"HTTP/1.1 206 OK\r\n" + LENGTH + b"\r\n", IMAGE),
    "several ranges": (b"HTTP/1.1 206 OK\r\nContent-Type: multipart/byteranges; boundary=x\r\n" + LENGTH + b"\r\n",),
    "switching protocols": (b"HTTP/1.1 101 X\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", IMAGE),
    "a head without end": (OK + b"X: " + b"a" * 200_000,),
    "thousands of fields": (OK + b"X: a\r\n" * 20_000 + b"\r\n",),
    "a folded field": (OK + b"Content-Length:\r\n " + DIGITS + b"\r\n\r\n",),
    "NUL in a field": (OK + b"X: a\x00b\r\n" + LENGTH + b"\r\n", IMAGE),
    "gzip": (OK + LENGTH + b"Content-Encoding: gzip\r\n\r\n", IMAGE),
    "gzip in chunks": (OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n",),
    "a chunk without size": (OK + b"Transfer-Encoding: chunked\r\n\r\n\r\n" + IMAGE,),
    "a negative chunk": (OK + b"Transfer-Encoding: chunked\r\n\r\n-5\r\nabcde\r\n",),
    "a chunk of 5000 digits": (OK + b"Transfer-Encoding: chunked\r\n\r\n" + DIGITS + b"\r\n", IMAGE),
    "a chunk that lies": (OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nabcdefgh\r\n0\r\n\r\n",),
    "a chunk's extension without end": (OK + b"Transfer-Encoding: chunked\r\n\r\n5;" + b"a" * 100_000,),
    "too little in chunks": (OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n",),
    "too much in chunks": (OK + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (SIZE + 1, IMAGE + b"x"),),
    "a redirect with a body": (b"HTTP/1.1 302 X\r\nLocation: https://169.254.169.254/\r\n" + LENGTH + b"\r\n", IMAGE),
    "come back in a century": (b"HTTP/1.1 429 X\r\nRetry-After: 3153600000\r\nContent-Length: 0\r\n\r\n",),
    "come back never": (b"HTTP/1.1 503 X\r\nRetry-After: " + DIGITS + b"\r\nContent-Length: 0\r\n\r\n",),
}


@pytest.mark.parametrize("name", ANSWERS)
async def test_a41_what_a_storage_says_ends_the_order_and_nothing_else(
    rig: Rig, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    rig.server.script = says(*ANSWERS[name])
    outcome = of(rig, await rig.run())
    assert (outcome.klass, str(outcome.code).startswith(("E_STORAGE_", "E_LENGTH", "E_R", "E_URL"))) == (
        "download",
        True,
    )
    assert "bug" not in caplog.text
    assert "canary" not in caplog.text


@pytest.mark.parametrize("name", ANSWERS)
def test_a41_what_a_storage_says_is_a_typed_error_for_the_reconciler(server: StorageServer, name: str) -> None:
    server.script = says(*ANSWERS[name])
    try:
        found = drained(storage(server))
    except FwctlError as error:
        assert "canary" not in f"{error!r} {error.to_json()}"  # noqa: PT017  either way is right
        assert str(error).isprintable()  # noqa: PT017
    else:
        assert (found, name) == (IMAGE, "NUL in a field")


def storage(server: StorageServer, **limits: float) -> HttpsStorage:
    return HttpsStorage(
        url=server.url,
        allow=(StorageHost(**server.entry()),),
        query=SECRET,
        ca=server.ca,
        limits=replace(StorageLimits(head=2, idle=1), **limits),  # type: ignore[arg-type]
    )


def drained(storage: HttpsStorage) -> bytes:
    parts = []
    with storage.open(canonical.digest(IMAGE)) as reader:
        while part := reader.read(1 << 20):
            parts.append(part)
    return b"".join(parts)


def dripping(head: bytes, drop: bytes, seconds: float = 0.2) -> Callable[[int, str], Iterable[bytes]]:
    """Send a head, and then one drop after the other, without end."""

    def pieces() -> Iterator[bytes]:
        yield head
        while True:
            time.sleep(seconds)
            yield drop

    return lambda number, wanted: pieces()


DRIPS = {
    "a head": (OK, b"X"),
    "fields": (OK, b"X: a\r\n"),
    "to be continued": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "the size of a chunk": (OK + LENGTH + b"Transfer-Encoding: chunked\r\n\r\n", b"0"),
    "the extension of a chunk": (OK + LENGTH + b"Transfer-Encoding: chunked\r\n\r\n5;", b"a"),
    "what follows the last chunk": (OK + LENGTH + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X: a\r\n"),
    "a body": (OK + LENGTH + b"\r\n", b"X"),
}


@pytest.mark.parametrize("name", DRIPS)
def test_r19_a_storage_that_drips_does_not_hold_the_reconciler(server: StorageServer, name: str) -> None:
    server.script = dripping(*DRIPS[name])
    with pytest.raises(FwctlError) as caught:
        drained(storage(server, grace=1.0, rate=1024))
    assert caught.value.code in ("E_STORAGE_CUT", "E_LENGTH", "E_STORAGE_STATUS")


@pytest.mark.parametrize("name", DRIPS)
async def test_r19_a_storage_that_drips_does_not_hold_a_device(server: StorageServer, name: str) -> None:
    from fwctl_agent.runtime.pull_http import Limits

    rig = rigged(server, limits=Limits(head=1, idle=1, grace=1.0))
    server.script = dripping(*DRIPS[name])
    outcome = of(rig, await rig.run())
    assert (outcome.klass, outcome.code) in (("download", "E_STORAGE_CUT"), ("download", "E_STORAGE_UNREACHABLE"))
    await rig.host.stop()


def test_a12_a_storage_with_more_bytes_than_the_image_is_not_read_to_their_end(
    server: StorageServer, tmp_path: Path
) -> None:
    """It would go on for years: what is sent is never too slow."""

    def endless() -> Iterator[bytes]:
        yield OK + b"Content-Length: 999999999999999\r\n\r\n"
        while True:
            yield bytes(1 << 16)

    server.script = lambda number, wanted: endless()
    (tmp_path / "image").write_bytes(IMAGE)
    with pytest.raises(FwctlError) as caught:
        storage(server).put(canonical.digest(IMAGE), tmp_path / "image")
    assert caught.value.code == "E_HASH"


def test_r19_a_name_with_many_addresses_does_not_hold_the_reconciler(server: StorageServer) -> None:
    """Each may swallow a handshake: the time is for all of them."""
    asked: list[str] = []

    class Silent(StorageServer):
        def _serve(self, raw: object) -> None:
            asked.append("")
            self._over.wait(20)

    with Silent(server.folder) as silent:
        many = [f"127.0.{number // 250}.{number % 250 + 1}" for number in range(2000)]
        silent.host = "storage.example"
        one = replace(storage(silent, connect=0.1, head=0.5), resolve=lambda host, port: ["127.0.0.1"] * 2 + many)
        with pytest.raises(FwctlError):
            drained(one)
    assert len(asked) <= 7


async def test_r18_a_storage_cannot_have_the_slot_written_without_end(rig: Rig) -> None:
    """It brings half, the whole but one byte, half, ...: always something new, never the image."""
    sent: list[int] = []

    def answer(number: int, wanted: str) -> Iterable[bytes]:
        sent.append(SIZE // 2 if number % 2 == 0 else SIZE - 1)
        return OK + LENGTH + b"\r\n", IMAGE[: sent[-1]]

    rig.server.script = answer
    rig.host._tries = Tries(first=0.001, longest=0.002)
    outcome = of(rig, await rig.run())
    assert (outcome.klass, outcome.code) == ("download", "E_RANGE")
    assert sum(sent) <= 10 * SIZE


async def test_a41_bytes_of_two_objects_never_make_an_image(server: StorageServer) -> None:
    """Swapped between two tries, at every place that is the edge of something."""
    for at in (1, 100, (1 << 16) - 1, 1 << 16, (1 << 16) + 1, SIZE - 1):
        rig = rigged(server)

        def swap(number: int, wanted: str, at: int = at) -> Iterable[bytes]:
            if not wanted:
                return OK + LENGTH + b"\r\n", STRANGE[:at]
            head = b"HTTP/1.1 206 X\r\nContent-Range: bytes %d-%d/%d\r\n" % (at, SIZE - 1, SIZE)
            return head + b"Content-Length: %d\r\n\r\n" % (SIZE - at), IMAGE[at:]

        server.script = swap
        first = await rig.run(f"{server.url}/x")
        assert of(rig, first).code == "E_HASH"
        server.script = None
        again = rig.bench.accept(IMAGE, attempt=2, delivery=Pull(server.add(IMAGE)))
        await rig.over(again)
        rig.installed(again)
        assert server.ranges[-1] == ""  # nothing of the mixture was kept
        await rig.host.stop()


async def test_r18_a_connection_that_breaks_at_any_byte_leaves_a_way_on(server: StorageServer) -> None:
    for at in (0, 1, 65_535, 65_536, 65_537, 131_072, SIZE - 1):
        for fault in (Fault(reset_at=at), Fault(close_at=at), Fault(reset_at=at, chunked=True)):
            rig = rigged(server)
            server.fault = in_turn(*[Fault()] * len(server.ranges), fault)
            rig.installed(await rig.run())
            await rig.host.stop()


HOST = "storage.example"
ENTRY = StorageHost("https", HOST, 443, None)
ADDRESSES = (
    *("https://storage.example:0/", "https://storage.example:65536/", "https://storage.example:+443/"),
    *("https://storage.example:０/", "https://storage.example:443:443/", "https://storage.example:/"),
    *("https://storage.example:0443/", "https://storage.example: 443/", "https://Storage.example/"),
    *("HTTPS://storage.example/", "https:/storage.example/", "https:storage.example/", "//storage.example/"),
    *("https://storage.example./", "https://storage%2eexample/", "https://storage.example%00/", "https:///x"),
    *("https://storage.example\x00/", "https://storage.example\t/", "https://storage.example/\r\nHost: x"),
    *("https://storage.example/%0", "https://storage.example/a?b\nX: y", "https://storage.example/a#b"),
    *("https://storage.example/../x", "https://storage.example/a/%2e%2e/x", "https://storage.example/."),
    *("https://storage.example\\@evil/", "https://a@storage.example/", "https://storage.example@evil/"),
    *("https://storage.example:443@evil/", "https://st\u043erage.example/", "https://storage\u3002example/"),
    *("https://[storage.example]/", "https://[::1", "https://[::1%25eth0]/", "https://[fe80::1%eth0]/"),
    *(" https://storage.example/", "https://storage.example/ ", "https://storage.example/" + "a" * 5000, "https://"),
    *("https://storage.example/\u00e4", 'https://storage.example/"', "https://storage.example/<x>", ""),
)


@pytest.mark.parametrize("url", ADDRESSES, ids=ascii)
def test_a39_an_address_has_one_spelling(url: str) -> None:
    with pytest.raises(Refusal, match="E_URL") as caught:
        check_address(url, (ENTRY,))
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("host", ["*", "*.example", "", "STORAGE.example", "storage.example.", "0", "[::1]"])
def test_a39_an_odd_entry_of_the_list_opens_nothing(host: str) -> None:
    for url in ("https://storage.example/", f"https://{host}/", "https://a.example/"):
        if host == "[::1]" and url == "https://[::1]/":
            continue
        with pytest.raises(Refusal, match="E_URL"):
            check_address(url, (StorageHost("https", host, 443, "0.0.0.0/0"),))


NEVER = (
    *("169.254.169.254", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1", "fe80::1"),
    *("fe80::1%eth0", "64:ff9b:1::a9fe:a9fe", "::a9fe:a9fe", "0.0.0.0", "::", "255.255.255.255", "224.0.0.1"),
    *("ff02::1", "2001:0:a9fe:a9fe::1", "fd00:ec2::254", "100.100.100.200", "168.63.129.16", "192.0.0.192"),
    *("::ffff:0:169.254.169.254", "2001:db8::5efe:a9fe:a9fe", "fec0::1", "fd20:ce::254", "::ffff:100.100.100.200"),
    *("2606:4700::5efe:169.254.169.254", "2606:4700:0:0:200:5efe:a9fe:a9fe", "10.0.0.1/8", "0x7f.1", "127.1", ""),
)


@pytest.mark.parametrize("ip", NEVER)
@pytest.mark.parametrize("cidr", [None, "0.0.0.0/0", "::/0", "169.254.0.0/16", "fe80::/10", "nonsense", "10.0.0.1/8"])
def test_a39_some_addresses_are_never_connected_to_whatever_the_list_says(ip: str, cidr: str | None) -> None:
    with pytest.raises(Refusal, match="E_URL"):
        check_resolved(ip, replace(ENTRY, cidr=cidr))


PRIVATE = (
    *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "::1", "fd12::1", "::ffff:10.1.2.3"),
    *("64:ff9b::a01:203", "2002:a01:203::1", "2606:4700::5efe:a01:203"),
)


@pytest.mark.parametrize("ip", PRIVATE)
def test_a39_private_addresses_need_their_own_range(ip: str) -> None:
    for cidr in (None, "8.8.8.0/24", "2606:4700::/32", "192.0.2.0/24"):
        with pytest.raises(Refusal, match="E_URL"):
            check_resolved(ip, replace(ENTRY, cidr=cidr))


async def test_a39_of_several_addresses_only_the_allowed_ones_are_tried(server: StorageServer) -> None:
    async def mixed(host: str, port: int) -> list[str]:
        return ["169.254.169.254", "10.0.0.1", "::1", "127.0.0.1"]

    rig = rigged(server, resolve=mixed)
    rig.installed(await rig.run())
    await rig.host.stop()
