"""What one device and the reconciler say to each other, seen between them.

The tap stands where the devices are expected, shows their certificates, and carries every byte on to the simulator; it
holds both sides' keys, as only a benchmark does. So connections, requests and bytes are counted on the wire, whatever
library either side uses.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, median_low

from fwctl.fleet.certificates import Authorities, device_name
from fwctl_agent.protocol import enrolment
from fwctl_agent.server.tls import server_context
from tests.bench.yard import REPO_ID, Fleet

_LINE = re.compile(rb"(GET|PUT|POST|DELETE) (\S+) HTTP/1\.1\r\n")
_ORDER = re.compile(r"/v1/orders/[^/?]+")
Turns = tuple[tuple[int, int], ...]
"""bytes to the device and back, of each request of a connection"""


@dataclass
class Line:
    """One connection: what was asked, and the bytes each way."""

    device: str
    resumed: bool = False
    asked: list[str] = field(default_factory=list)
    turns: list[list[int]] = field(default_factory=list)
    down: bool = True
    """the last bytes came from the device, so the next to it begin a request"""

    def sent(self, data: bytes) -> None:
        found = _LINE.match(data) if self.down else None
        if found is not None or not self.turns:
            self.asked.append(_what(found))
            self.turns.append([0, 0])
        self.down = False
        self.turns[-1][0] += len(data)

    def replied(self, data: bytes) -> None:
        if self.turns:
            self.down = True
            self.turns[-1][1] += len(data)


@dataclass(frozen=True)
class Conversation:
    """What is said with one device in the middle of all: a tuple of turns per connection; and means over all."""

    connections: tuple[Turns, ...]
    asked: tuple[str, ...]
    mean_connections: float
    mean_requests: float
    resumed: int

    @classmethod
    def of(cls, lines: list[Line]) -> Conversation:
        """Take the device with the median number of requests as the one that stands for all."""
        by_device: dict[str, list[Line]] = defaultdict(list)
        for line in lines:
            if line.turns and line.turns[0][1]:  # others were refused, or met a device that was away
                by_device[line.device].append(line)
        requests = {device: sum(len(line.turns) for line in some) for device, some in by_device.items()}
        middle = median_low(requests.values())
        typical = by_device[next(device for device, number in sorted(requests.items()) if number == middle)]
        turns = tuple(tuple((up, down) for up, down in line.turns) for line in typical)
        means = fmean(len(some) for some in by_device.values()), fmean(requests.values())
        asked = tuple(what for line in typical for what in line.asked)
        return cls(turns, asked, *means, sum(line.resumed for line in lines))


class Tap:
    """Listens at the fleet's port and carries on to `port`."""

    def __init__(self, fleet: Fleet, port: int) -> None:
        self._fleet = fleet
        self._port = port
        self._names: dict[str, ssl.SSLContext] = {}
        self.lines: list[Line] = []
        authorities = Authorities(fleet.pki)
        self._onward = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=str(authorities.device_ca))
        self._onward.load_cert_chain(authorities.controller, authorities.controller_key)
        for folder in fleet.enrolled.iterdir():
            if (folder / enrolment.SETTINGS).is_file():
                self._names[device_name(folder.name, REPO_ID)] = server_context(*_identity(folder))

    async def serve(self, until: asyncio.Event, ready: threading.Event) -> None:
        front = next(iter(self._names.values()))
        front.sni_callback = self._choose
        server = await asyncio.start_server(self._carry, "0.0.0.0", self._fleet.port, ssl=front)
        ready.set()
        await until.wait()
        server.close()

    def _choose(self, connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> int | None:
        if name not in self._names:
            return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
        connection.context = self._names[name]
        connection.name = name  # type: ignore[attr-defined]
        return None

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tls = writer.get_extra_info("ssl_object")
        line = Line(tls.name.partition(".")[0], tls.session_reused)
        self.lines.append(line)
        with contextlib.suppress(OSError, ssl.SSLError):
            far = await asyncio.open_connection("127.0.0.1", self._port, ssl=self._onward, server_hostname=tls.name)
            await asyncio.wait(
                [
                    asyncio.create_task(_pump(reader, far[1], line.sent)),
                    asyncio.create_task(_pump(far[0], writer, line.replied)),
                ],
                return_when=asyncio.FIRST_COMPLETED,
            )
            far[1].transport.abort()
        writer.transport.abort()


@contextlib.contextmanager
def tapped(fleet: Fleet, port: int) -> Iterator[Tap]:
    """Run a tap in a thread of its own while the block runs."""
    tap, ready = Tap(fleet, port), threading.Event()
    loop, until = asyncio.new_event_loop(), asyncio.Event()
    thread = threading.Thread(target=lambda: loop.run_until_complete(tap.serve(until, ready)), daemon=True)
    thread.start()
    ready.wait(10)
    try:
        yield tap
    finally:
        loop.call_soon_threadsafe(until.set)
        thread.join(10)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Callable[[bytes], None]) -> None:
    with contextlib.suppress(OSError, ssl.SSLError):
        while data := await reader.read(1 << 18):
            seen(data)
            writer.write(data)
            await writer.drain()


def _identity(folder: Path) -> tuple[Path, Path, Path]:
    return folder / enrolment.CERTIFICATE, folder / enrolment.KEY, folder / enrolment.CONTROLLER_CA


def _what(found: re.Match[bytes] | None) -> str:
    if found is None:
        return "?"
    return f"{found[1].decode()} {_ORDER.sub('/v1/orders/{id}', found[2].decode())}"
