"""A device on a bench: the real core over a disk that can lose power or fail at any single operation."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import PurePosixPath
from typing import Any

from securesystemslib.signer import CryptoSigner, SSlibKey

from fwctl_agent.errors import Refusal
from fwctl_agent.protocol import canonical
from fwctl_agent.protocol.messages import OrderRequest
from fwctl_agent.protocol.statements import OUTCOME, FollowVerb, InstallOrder, Outcome, order_from_wire
from fwctl_agent.runtime import steps
from fwctl_agent.runtime.boot import FileBoot
from fwctl_agent.runtime.device import Device
from fwctl_agent.runtime.fs import StepwiseFs
from fwctl_agent.runtime.installers import SlotsInstaller
from fwctl_agent.runtime.ports import Moment, Stream
from fwctl_agent.runtime.record import Record
from fwctl_agent.runtime.settings import Factory, ProbeSet, Settings
from fwctl_agent.trust.envelope import Sealed
from tests.support.signing import ENV, HARDWARE, MODEL, NOW, REPO, Fleet, image_of

DEVICE = "device-001"
FACTORY = image_of("factory", 500)
IMAGE = image_of("firmware 2.5.0", 3000)


class PowerCut(BaseException):
    """The process is gone; nothing of it runs on."""


@dataclass
class Inode:
    data: bytearray = field(default_factory=bytearray)
    synced: bytes = b""


@dataclass
class Disk(StepwiseFs):
    """Files that are durable only after fsync, names only after fsync of their folder."""

    names: dict[str, Inode] = field(default_factory=dict)
    durable: dict[str, Inode] = field(default_factory=dict)
    operations: int = 0
    trap: Callable[[int, str], None] = lambda number, what: None

    def step(self, what: str) -> None:
        self.operations += 1
        self.trap(self.operations, what)

    def cut_power(self, *, torn: bool) -> None:
        """Forget what was not synced; `torn` keeps half of the unsynced bytes."""
        self.names = dict(self.durable)
        for inode in self.names.values():
            lost = bytes(inode.data)[len(inode.synced) :]
            inode.data = bytearray(inode.synced + (lost[: len(lost) // 2] if torn else b""))

    def put(self, path: str, data: bytes) -> None:
        self.names[path] = self.durable[path] = Inode(bytearray(data), data)

    def read(self, path: str) -> bytes | None:
        return bytes(self.names[path].data) if path in self.names else None

    def chunks(self, path: str, size: int) -> Iterator[bytes]:
        data = self.read(path) or b""
        yield from (data[start : start + size] for start in range(0, len(data), size))

    def _create(self, path: str) -> Stream:
        self.step(f"create {path}")
        self.names[path] = Inode()
        return Writer(self, path, self.names[path])

    def _open_at(self, path: str, offset: int) -> Stream:
        self.step(f"open {path}")
        inode = self.names.setdefault(path, Inode())
        del inode.data[offset:]
        inode.synced = inode.synced[:offset]
        return Writer(self, path, inode)

    def _rename(self, path: str, onto: str) -> None:
        self.step(f"rename {onto}")
        self.names[onto] = self.names.pop(path)
        if onto.startswith("state/journal."):
            check_journal(bytes(self.names[onto].data))

    def _sync_folder(self, folder: str) -> None:
        self.step(f"sync folder {folder}")
        here = PurePosixPath(folder)
        for path in {path for path in (*self.names, *self.durable) if PurePosixPath(path).parent == here}:
            if path in self.names:
                self.durable[path] = self.names[path]
            else:
                self.durable.pop(path)

    def _symlink(self, path: str, target: str) -> None:
        self.step(f"link {path}")
        self.names[path] = Inode(bytearray(target.encode()), target.encode())


@dataclass
class Writer:
    disk: Disk
    path: str
    inode: Inode

    def write(self, data: bytes) -> None:
        # A write is not one thing: half of it may have happened.
        half = len(data) // 2
        self.inode.data += data[:half]
        self.disk.step(f"write {self.path}")
        self.inode.data += data[half:]

    def sync(self) -> None:
        self.disk.step(f"sync {self.path}")
        self.inode.synced = bytes(self.inode.data)

    def close(self) -> None:
        pass


@dataclass
class Clock:
    """Time that passes only when told."""

    wall: datetime = NOW
    boot: str = "boot-1"
    tick: int = 1000

    def moment(self) -> Moment:
        return Moment(self.wall, self.boot, self.tick)

    def pass_time(self, seconds: float) -> None:
        self.wall += timedelta(seconds=seconds)
        self.tick += int(seconds * 1000)

    def reboot(self) -> None:
        self.boot, self.tick = self.boot[:40] + "x", 0


@dataclass
class Switch:
    """A device whose readiness a test turns on and off."""

    why: str | None = None

    def why_not(self) -> str | None:
        return self.why


@dataclass
class Bench:
    """One device, its fleet, and what a reconciler would do."""

    fleet: Fleet = field(default_factory=Fleet)
    disk: Disk = field(default_factory=Disk)
    clock: Clock = field(default_factory=Clock)
    signer: CryptoSigner = field(default_factory=CryptoSigner.generate_ed25519)
    changes: dict[str, Any] = field(default_factory=dict)
    ready: Switch = field(default_factory=Switch)
    device: Device = field(init=False)

    def __post_init__(self) -> None:
        self.disk.put("slots/a.img", FACTORY)
        self.power_on()

    @property
    def settings(self) -> Settings:
        settings = Settings(
            id=DEVICE,
            repo_id=REPO,
            model=MODEL,
            hardware=HARDWARE,
            env=ENV,
            enrolled_at=NOW - timedelta(days=30),
            host="127.0.0.1",
            port=0,
            factory=Factory(version="1.0.0", image=canonical.digest(FACTORY), length=len(FACTORY), security_version=1),
            reboot="none",
            tries=3,
            boot_seconds=7,
            installer="slots",
            commands={},
            command_timeout=5,
            probes={"default": ProbeSet(name="default", attempts=1, interval=1, deadline=10, checks=())},
        )
        return replace(settings, **self.changes)

    def power_on(self) -> Device:
        self.device = Device(
            self.settings,
            fs=self.disk,
            boot=FileBoot(self.disk),
            installer=SlotsInstaller(self.disk),
            clock=self.clock,
            signer=self.signer,
            root=self.fleet.files()["1.root.json"],
            ready=self.ready,
        )
        return self.device

    def install(self, image: bytes = IMAGE, **changes: Any) -> tuple[InstallOrder, OrderRequest]:
        request, order, _ = self.fleet.install_request(DEVICE, image, **changes)
        return order, request

    def accept(self, image: bytes = IMAGE, **changes: Any) -> InstallOrder:
        order, request = self.install(image, **changes)
        self.device.put_order(order.id, request)
        return order

    def follow(self, verb: FollowVerb, order: InstallOrder, attempt: int = 1) -> str:
        """Send a follow-up order and return its id; let the device do what follows."""
        request = self.fleet.follow_up(verb, order, attempt)
        follow = order_from_wire(Sealed.open(request.order, request.order["payloadType"]).statement())
        self.device.put_order(follow.id, request)
        self.device.advance()
        return follow.id

    def push(self, order: InstallOrder, image: bytes = IMAGE, piece: int = 1000) -> None:
        """Send the image from where the device wants it."""
        reply = self.device.reply(order.id)
        if reply is None or reply.offset is None:
            return
        intake = self.device.open_image(order.id, reply.offset, len(image))
        if intake is None:
            return
        for start in range(reply.offset, len(image), piece):
            if not self.device.feed(intake, image[start : start + piece]):
                break
        self.device.close_image(intake)

    def to_trial(self, image: bytes = IMAGE, **changes: Any) -> InstallOrder:
        order = self.accept(image, **changes)
        self.push(order, image)
        self.device.advance()
        return order

    def to_confirmed(self, image: bytes = IMAGE, **changes: Any) -> InstallOrder:
        order = self.to_trial(image, **changes)
        self.device.probed(True, ())
        self.follow("confirm", order, order.attempt)
        return order

    def outcome(self, order: str) -> Outcome:
        """Return the stored outcome of an order; its signature must verify under the device's key."""
        reply = self.device.reply(order)
        assert reply is not None, "the device does not know the order"
        assert reply.outcome is not None, reply
        sealed = Sealed.open(reply.outcome, OUTCOME)
        key = self.signer.public_key
        assert isinstance(key, SSlibKey)
        assert sealed.signers([key]), "the outcome is not signed by the device"
        return Outcome.from_wire(sealed.statement())

    def strive(self, order: InstallOrder, request: OrderRequest, image: bytes = IMAGE) -> None:
        """Do what a reconciler does until the install order has ended; bounded."""
        for _ in range(12):
            reply = self.device.reply(order.id)
            if reply is not None and reply.outcome is not None:
                return
            if reply is None:
                self.device.put_order(order.id, request)
            self.push(order, image)
            rest = self.device.advance()
            if isinstance(rest, steps.Probe):
                self.device.probed(True, ())
                rest = self.device.advance()
            if isinstance(rest, steps.AwaitConfirm):
                try:
                    self.follow("confirm", order, order.attempt)
                except Refusal as refusal:
                    if refusal.klass != "resync":
                        raise
            elif isinstance(rest, steps.Restart):
                self.clock.reboot()
                self.power_on()
        raise AssertionError("the order did not end")

    def check_bootable(self) -> None:
        """I1 and I2: what the boot pointer names, and what runs, was verified."""
        record, selector = self.device.record, FileBoot(self.disk).state()
        names = {selector.good, selector.trial or selector.good, record.current}
        for name in names:
            image = record.slot(name).image
            data = self.disk.read(f"slots/{name}.img")
            assert image is not None, f"the pointer reaches slot {name}, which was not verified"
            assert data is not None
            assert canonical.digest(data) == image.running.image


def check_journal(copy: bytes) -> None:
    """What the device puts together from written parts is the whole record, written."""
    body = copy.partition(b"\n")[2]
    assert body == canonical.dump(Record.from_wire(canonical.decode(body, what="journal")).to_wire())


def disk_full(number: int, *, forever: bool) -> Callable[[int, str], None]:
    """Return a trap that fails operation `number`, and with `forever` every later write too."""

    def trap(at: int, what: str) -> None:
        if at == number or (forever and at > number):
            raise OSError(errno.ENOSPC, "No space left on device")

    return trap


def power_cut(number: int) -> Callable[[int, str], None]:
    def trap(at: int, what: str) -> None:
        if at == number:
            raise PowerCut

    return trap
