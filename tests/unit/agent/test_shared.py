"""Shared verification: a device that shares says and stores byte for byte what one alone does; only successes count."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest

from fwctl_agent.errors import Refusal
from fwctl_agent.protocol import canonical
from fwctl_agent.protocol.messages import OrderRequest
from fwctl_agent.runtime.boot import FileBoot
from fwctl_agent.runtime.device import Device
from fwctl_agent.runtime.document import document
from fwctl_agent.runtime.fs import MemoryFs, Pool
from fwctl_agent.runtime.installers import SlotsInstaller
from fwctl_agent.trust.verification import SharedVerification, Verification
from tests.support.signing import NOW, Fleet
from tests.unit.agent.bench import FACTORY, IMAGE, Bench, Clock

NAMES = [f"d{number:02}" for number in range(4)]
WORLD = Bench()
FILES = [f"state/{name}.{copy}" for name in ("journal", "trust", "selector") for copy in (0, 1)] + ["slots/b.img"]


@dataclass
class Twin:
    """One simulated device: the real core over memory."""

    name: str
    verification: Verification
    clock: Clock = field(default_factory=Clock)
    fs: MemoryFs = field(default_factory=MemoryFs)
    device: Device = field(init=False)

    def __post_init__(self) -> None:
        self.fs.replace("slots/a.img", FACTORY)
        self.power_on()

    def power_on(self) -> None:
        self.device = Device(
            replace(WORLD.settings, id=self.name),
            fs=self.fs,
            boot=FileBoot(self.fs),
            installer=SlotsInstaller(self.fs),
            clock=self.clock,
            signer=WORLD.signer,
            root=WORLD.fleet.files()["1.root.json"],
            verification=self.verification,
        )

    def put(self, order: str, body: bytes) -> object:
        """Return the reply, or the refusal, as a peer would see it."""
        try:
            reply = self.device.put_order(order, self.verification.request(body))
        except Refusal as refusal:
            return refusal.klass, refusal.code, refusal.message
        self.device.advance()
        return reply.to_wire()

    def push(self, order: str) -> None:
        intake = self.device.open_image(order, 0, len(IMAGE))
        if intake is not None:
            self.device.feed(intake, IMAGE)
            self.device.close_image(intake)
        self.device.advance()
        self.device.probed(True, ())
        self.device.advance()

    def state(self) -> object:
        return document(self.device, uptime=0).to_wire(), [self.fs.read(path) for path in FILES]


def orders(fleet: Fleet, **changes: Any) -> list[tuple[str, OrderRequest, str, OrderRequest]]:
    """Return an install and a confirm for every device, of one mandate."""
    release = fleet.release(IMAGE)
    lock = fleet.lock(release, NAMES)
    mandate = fleet.mandate(lock)
    found = []
    for name in NAMES:
        order = fleet.install(name, release, lock, mandate, **changes)
        request = fleet.request(order, approvals=[fleet.approval(mandate)], releases=fleet.signed_release(release))
        confirm = fleet.follow_up("confirm", order)
        found.append((order.id, request, _id(confirm), confirm))
    return found


def _id(request: OrderRequest) -> str:
    statement = canonical.decode(base64.b64decode(request.order["payload"]), what="order")
    return str(statement["id"])


def test_devices_that_share_end_where_devices_alone_do_with_less_work() -> None:
    shared = SharedVerification()
    for name, (order, request, confirm, confirm_request) in zip(NAMES, orders(WORLD.fleet), strict=True):
        before = shared.hits
        ends = []
        for verification in (Verification(), shared):
            twin = Twin(name, verification)
            replies = [twin.put(order, request.to_bytes())]
            twin.push(order)
            replies.append(twin.put(confirm, confirm_request.to_bytes()))
            ends.append((replies, twin.state()))
        assert ends[0] == ends[1]
        assert ends[0][1][0]["running"]["version"] == "2.5.0"  # type: ignore[index]
        if name != NAMES[0]:
            assert shared.hits - before >= 4, "the root, the metadata, the approvals and the release"


def _flip(text: str) -> str:
    data = bytearray(base64.b64decode(text))
    data[7] ^= 1
    return base64.b64encode(data).decode()


def _bad_order(request: OrderRequest) -> OrderRequest:
    signature = request.order["signatures"][0]
    return replace(request, order=request.order | {"signatures": [signature | {"sig": _flip(signature["sig"])}]})


def _bad_approval(request: OrderRequest) -> OrderRequest:
    signature = request.approvals[0]["signatures"][0]
    bad = request.approvals[0] | {"signatures": [signature | {"sig": _flip(signature["sig"])}]}
    return replace(request, approvals=(bad,))


def _bad_release(request: OrderRequest) -> OrderRequest:
    signature = request.releases[0]["signatures"][0]
    bad = request.releases[0] | {"signatures": [signature | {"sig": _flip(signature["sig"])}]}
    return replace(request, releases=(bad,))


def _bad_trust(request: OrderRequest) -> OrderRequest:
    stamp = json.loads(request.trust["timestamp.json"])
    stamp["signatures"][0]["sig"] = stamp["signatures"][0]["sig"][::-1]
    return replace(request, trust={**request.trust, "timestamp.json": json.dumps(stamp)})


@pytest.mark.parametrize(
    "spoil",
    [
        _bad_order,
        _bad_approval,
        _bad_release,
        _bad_trust,
        lambda request: replace(request, approvals=()),
        lambda request: replace(request, releases=()),
        lambda request: replace(request, trust={}),
    ],
)
def test_what_is_refused_alone_is_refused_where_good_bytes_are_known(
    spoil: Callable[[OrderRequest], OrderRequest],
) -> None:
    shared = SharedVerification()
    found = orders(WORLD.fleet)
    good = Twin(NAMES[0], shared)
    assert isinstance(good.put(found[0][0], found[0][1].to_bytes()), dict)
    body = spoil(found[1][1]).to_bytes()
    for _ in range(2):
        twins = [Twin(NAMES[1], Verification()), Twin(NAMES[1], shared)]
        replies = [twin.put(found[1][0], body) for twin in twins]
        assert replies[0] == replies[1]
        assert isinstance(replies[0], tuple), "it is refused"
        assert twins[0].state() == twins[1].state()
    other = [Twin(NAMES[2], one).put(found[1][0], found[1][1].to_bytes()) for one in (Verification(), shared)]
    assert other[0] == other[1]
    assert other[0][:2] == ("refused", "E_ORDER_REPLAY"), "another device's order"  # type: ignore[index]


@pytest.mark.parametrize("days", [-1, 0.01, 0.5, 2, 8, 40, 400])
def test_dates_are_looked_at_again(days: float) -> None:
    shared = SharedVerification()
    found = orders(WORLD.fleet, expires=NOW + timedelta(hours=24), issued_at=NOW)
    Twin(NAMES[0], shared).put(found[0][0], found[0][1].to_bytes())
    replies = []
    for verification in (Verification(), shared):
        clock = Clock(wall=NOW + timedelta(days=days))
        replies.append(Twin(NAMES[1], verification, clock).put(found[1][0], found[1][1].to_bytes()))
    assert replies[0] == replies[1]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b'{"order":{},"approvals":[],"releases":[],"trust":{}}',
        b'{"order":{"a":1,"a":2},"approvals":[],"releases":[],"trust":{}}',
        b'{"order":{},"order":{},"approvals":[],"releases":[],"trust":{}}',
        b'{"order":{},"approvals":[],"releases":[],"trust":{},"order":{}}',
        b'{"order":{},"approvals":[],"approvals":[],"releases":[],"trust":{}}',
        b'{"order":{"x":"\\",\\"approvals\\":"},"approvals":[],"releases":[],"trust":{}}',
        b'{"order":{"x":{"y":1,"approvals":[]}},"approvals":[],"releases":[],"trust":{}}',
        b'{"order":{},"approvals":[],"releases":[],"trust":{}} ',
        b'{"order":{},"approvals":[],"releases":[],"trust":{}}}',
        b'{"order":[],"approvals":[],"releases":[],"trust":{}}',
        b'{,"approvals":[],"releases":[],"trust":{}}',
        b'{"trust":{},"order":{},"approvals":[],"releases":[]}',
        b'{"order":{},"approvals":[],"releases":[],"trust":{"a":1}}',
        b'{"order":{},"approvals":' + b"[" * 40 + b"]" * 40 + b',"releases":[],"trust":{}}',
    ],
)
def test_a_body_is_read_as_strictly_in_halves(body: bytes) -> None:
    def read(verification: Verification) -> object:
        try:
            return verification.request(body)
        except Refusal as refusal:
            return refusal.code, refusal.message

    shared = SharedVerification()
    assert read(shared) == read(Verification())
    assert read(shared) == read(Verification()), "the second time too"


def test_a_device_put_away_wakes_up_with_what_it_had_and_shares_its_memory() -> None:
    shared, pool = SharedVerification(), Pool()
    twins = []
    for name, (order, request, confirm, confirm_request) in zip(NAMES, orders(WORLD.fleet), strict=True):
        twin = Twin(name, shared)
        twin.put(order, request.to_bytes())
        twin.push(order)
        twin.put(confirm, confirm_request.to_bytes())
        twins.append(twin)
    for twin in twins:
        before = twin.state()
        twin.fs.settle(pool)
        assert twin.state() == before
        twin.power_on()
        assert twin.state() == before
    for path in ("slots/a.img", "slots/b.img", "state/trust.1"):
        assert len({id(twin.fs.read(path)) for twin in twins}) == 1, path
    assert len({id(twin.device.trust.trusted) for twin in twins}) == 1


def test_a_pool_forgets_what_is_old() -> None:
    pool = Pool(2)
    first = pool.one(bytes(bytearray(b"one")))
    assert pool.one(bytes(bytearray(b"one"))) is first
    for text in (b"two", b"three"):
        pool.one(text)
    again = bytes(bytearray(b"one"))
    assert pool.one(again) is again
