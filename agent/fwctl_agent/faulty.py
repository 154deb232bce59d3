"""Do what a script of faults says, at the ports of a simulated device: disk, clock, senses, server."""

from __future__ import annotations

import asyncio
import base64
import errno
import json
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, Final, TypeVar

from securesystemslib.signer import Signer

from fwctl_agent import faults
from fwctl_agent.faults import Fault, Sight, hits
from fwctl_agent.protocol import canonical
from fwctl_agent.protocol.statements import OUTCOME, ProbeResult
from fwctl_agent.runtime import probes
from fwctl_agent.runtime.assemble import read_signer
from fwctl_agent.runtime.device import Device
from fwctl_agent.runtime.job import Job
from fwctl_agent.runtime.ports import Clock, Fs, Moment, Ready, Stream
from fwctl_agent.runtime.senses import Senses
from fwctl_agent.runtime.settings import ProbeSet
from fwctl_agent.trust.envelope import seal

K = TypeVar("K")
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

SLICE_SECONDS: Final = 0.25
"""how often a slowed body goes on"""


@dataclass
class Subject:
    """One simulated device that has faults, and what they have done to it so far."""

    name: str
    """its TLS name"""
    faults: tuple[Fault, ...]
    key: Path
    clock: Clock
    started: float = field(default_factory=time.monotonic)
    device: Device | None = None
    struck: set[tuple[str, str | None]] = field(default_factory=set)
    gone_until: float = 0.0

    @cached_property
    def signer(self) -> Signer:
        return read_signer(self.key)

    @property
    def gone(self) -> bool:
        """True while nobody can reach it."""
        return time.monotonic() < self.gone_until

    def find(self, kind: type[K]) -> K | None:
        """Return what the first fault of this kind that acts now says."""
        return next(iter(self.active(kind)), None)

    def active(self, kind: type[K]) -> list[K]:
        """Return what all faults of this kind that act now say, in the order of the file."""
        sight = self._sight()
        return [fault.what for fault in self.faults if isinstance(fault.what, kind) and hits(fault, sight)]

    def strike(self, kind: type[K], *, per_order: bool) -> K | None:
        """As `find`, but each fault strikes once, or once for each order."""
        sight = self._sight()
        job = self.device.record.job if self.device else None
        order = job.order.id if per_order and job is not None else None
        for fault in self.faults:
            if isinstance(fault.what, kind) and (fault.name, order) not in self.struck and hits(fault, sight):
                self.struck.add((fault.name, order))
                return fault.what
        return None

    def _sight(self) -> Sight:
        up = time.monotonic() - self.started
        if self.device is None:
            return Sight(up=up)
        record = self.device.record
        job = record.job
        running = record.image.running.version
        if job is None:
            return Sight(up=up, version=running)
        confirmed = self._since(job) if job.state == "confirmed" else None
        concerned = job.active or confirmed is not None
        return Sight(
            up=up,
            phase=job.state,
            version=job.release.version if concerned else running,
            confirmed=confirmed,
        )

    def _since(self, job: Job) -> float:
        return self.clock.moment().millis_since(job.since) / 1000


class FaultyFs:
    """A disk that fills up, flips bits, and is dead once the power is cut."""

    def __init__(self, fs: Fs, subject: Subject) -> None:
        self._fs = fs
        self._subject = subject
        self._dead = False

    def cut(self) -> None:
        """The power is gone: whoever still holds this disk changes nothing any more."""
        self._dead = True

    def check(self, path: str) -> None:
        """Raise what a write to `path` meets now."""
        if self._dead:
            raise OSError(errno.EIO, "the power is gone")
        full = self._subject.find(faults.FullDisk)
        if full is not None and (full.what == "all" or path.startswith("slots/")):
            raise OSError(errno.ENOSPC, "No space left on device")

    def spoiled(self, data: bytes) -> bytes:
        found = self._subject.find(faults.Corrupt)
        return flipped(data) if found is not None and found.where == "disk" else data

    def read(self, path: str) -> bytes | None:
        return self._fs.read(path)

    def replace(self, path: str, data: bytes) -> None:
        self.check(path)
        self._fs.replace(path, data)

    def open(self, path: str, offset: int) -> Stream:
        return FaultyStream(self, path, self._fs.open(path, offset))

    def chunks(self, path: str, size: int) -> Iterator[bytes]:
        return self._fs.chunks(path, size)

    def link(self, path: str, target: str) -> None:
        if not self._dead:
            self._fs.link(path, target)


class FaultyStream:
    """One descriptor of a `FaultyFs`."""

    def __init__(self, fs: FaultyFs, path: str, stream: Stream) -> None:
        self._fs = fs
        self._path = path
        self._stream = stream

    def write(self, data: bytes) -> None:
        self._fs.check(self._path)
        self._stream.write(self._fs.spoiled(data))

    def sync(self) -> None:
        self._fs.check(self._path)
        self._stream.sync()

    def close(self) -> None:
        self._stream.close()


class FaultyClock:
    """A wall clock that is off; the monotonic one never is."""

    def __init__(self, clock: Clock, subject: Subject) -> None:
        self._clock = clock
        self._subject = subject

    def moment(self) -> Moment:
        moment = self._clock.moment()
        wrong = self._subject.find(faults.WrongClock)
        return moment if wrong is None else replace(moment, wall=moment.wall + timedelta(seconds=wrong.offset))


class FaultySenses:
    """Probes that are bad, and facts that are made up."""

    def __init__(self, senses: Senses, subject: Subject) -> None:
        self._senses = senses
        self._subject = subject

    async def probe(self, probe_set: ProbeSet, limits: probes.Limits) -> probes.Verdict:
        ill = self._subject.find(faults.Unhealthy)
        if ill is None:
            return await self._senses.probe(probe_set, limits)
        return False, (ProbeResult(ill.probe, False, "simulated fault", ill.value),)

    def watches(self, probe_set: ProbeSet) -> bool:
        may_fall_ill = any(isinstance(fault.what, faults.Unhealthy) for fault in self._subject.faults)
        return may_fall_ill or self._senses.watches(probe_set)

    async def facts(self) -> Mapping[str, str | int | bool]:
        told = await self._senses.facts()
        for fault in self._subject.active(faults.Facts):
            told = {**told, **fault.facts}
        return told


class FaultyReady:
    """A device that says that it is not ready; else what its own command says."""

    def __init__(self, ready: Ready, subject: Subject) -> None:
        self._ready = ready
        self._subject = subject

    def why_not(self) -> str | None:
        found = self._subject.find(faults.Unready)
        return self._ready.why_not() if found is None else found.reason


@dataclass
class FaultyApp:
    """The agent's application behind a bad line: slow, cut, spoiled, or with answers that lie."""

    app: App
    subject_of: Callable[[Device], Subject | None]
    check: Callable[[Subject], None]
    """lets the simulator take a device away that has just entered a phase"""
    cut: Callable[[Subject], None]
    """drops every connection to a device"""

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        subject = self.subject_of(scope["state"]["host"].device)
        if subject is None:
            await self.app(scope, receive, send)
            return
        line = _Line(self, subject, scope["path"], receive, send)
        slow = subject.find(faults.Slow)
        if slow is not None and slow.delay:
            await asyncio.sleep(slow.delay)
        if subject.find(faults.Refuse) is not None:
            self.cut(subject)
        elif not line.lost():
            await self.app(scope, line.receive, line.send)
            return
        await line.end()


class _Line:
    """One request and its answer."""

    def __init__(self, app: FaultyApp, subject: Subject, path: str, receive: Receive, send: Send) -> None:
        self._app = app
        self._subject = subject
        self._path = path
        self._receive = receive
        self._send = send
        self._waiting: bytes = b""
        self._more = True
        self._head: Message | None = None

    def lost(self) -> bool:
        """Look whether the device has just gone."""
        self._app.check(self._subject)
        if self._subject.gone:
            self._app.cut(self._subject)
        return self._subject.gone

    async def end(self) -> None:
        """Wait until the connection is really cut, so that nobody answers."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def receive(self) -> Message:
        if not self._waiting:
            message = await self._receive()
            if message["type"] != "http.request":
                return message
            self._waiting, self._more = message.get("body", b""), message.get("more_body", False)
        if self.lost():
            await self.end()
            return {"type": "http.disconnect"}
        piece, slow = self._waiting, self._subject.find(faults.Slow)
        if slow is not None and slow.bytes_per_second is not None and piece:
            piece = piece[: max(1, int(slow.bytes_per_second * SLICE_SECONDS))]
            await asyncio.sleep(len(piece) / slow.bytes_per_second)
        self._waiting = self._waiting[len(piece) :]
        more = bool(self._waiting) or self._more
        spoil = self._subject.find(faults.Corrupt)
        if spoil is not None and spoil.where == "transfer" and self._path.endswith("/image"):
            piece = flipped(piece)
        return {"type": "http.request", "body": piece, "more_body": more}

    async def send(self, message: Message) -> None:
        if self.lost():
            await self.end()
            return
        lie = self._subject.find(faults.Lie)
        if message["type"] == "http.response.start":
            self._head = message
            return
        if self._head is not None:
            head, self._head = self._head, None
            if lie is not None and head["status"] in (200, 202):
                body = twisted(message.get("body", b""), lie, self._subject)
                length = (b"content-length", str(len(body)).encode())
                head["headers"] = [*(pair for pair in head["headers"] if pair[0].lower() != length[0]), length]
                message = {**message, "body": body}
            await self._send(head)
        await self._send(message)


def flipped(data: bytes) -> bytes:
    """Return the data with one bit turned over."""
    return bytes((data[0] ^ 1,)) + data[1:] if data else data


def twisted(body: bytes, lie: faults.Lie, subject: Subject) -> bytes:
    """Return an answer of the agent as a lying device would give it."""
    reply = json.loads(body)
    claimed = _claimed(lie, subject)
    if "running" in reply and "outcomes" in reply:
        reply["running"] = claimed or reply["running"]
        reply["outcomes"] = [_outcome(outcome, lie, claimed, subject.signer) for outcome in reply["outcomes"]]
    elif reply.get("outcome") is not None:
        reply["outcome"] = _outcome(reply["outcome"], lie, claimed, subject.signer)
    return canonical.dump(reply)


def _claimed(lie: faults.Lie, subject: Subject) -> dict[str, Any] | None:
    job = subject.device.record.job if subject.device else None
    if lie.running is None or (job is None and lie.running in ("ordered", "previous")):
        return None
    if job is not None and lie.running == "ordered":
        return job.image.running.to_wire()
    if job is not None and lie.running == "previous":
        return job.origin.running.to_wire()
    image = canonical.digest(lie.running.encode())
    return {"release": None, "image": image, "version": lie.running, "mandate": None}


def _outcome(
    envelope: dict[str, Any], lie: faults.Lie, claimed: dict[str, Any] | None, signer: Signer
) -> dict[str, Any]:
    if lie.outcome is None:
        return envelope
    outcome = json.loads(base64.b64decode(envelope["payload"]))
    outcome["result"] = lie.outcome
    outcome["running"] = claimed or outcome["running"]
    if lie.outcome in ("confirmed", "staged", "cancelled"):
        outcome["class"] = outcome["code"] = None
    payload = canonical.encode(outcome)
    if lie.signed:
        return seal(payload, OUTCOME, signer)
    return {**envelope, "payload": base64.b64encode(payload).decode()}
