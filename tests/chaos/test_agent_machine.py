"""Any sequence of orders, bytes, cuts, passing time and full disks: the invariants I1 to I4 hold (Hypothesis)."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from fwctl_agent.errors import Refusal
from fwctl_agent.protocol.messages import DeviceDocument, OrderRequest
from fwctl_agent.protocol.statements import FollowVerb, InstallOrder, ProbeResult
from fwctl_agent.runtime import steps
from fwctl_agent.runtime.device import Busy
from fwctl_agent.runtime.document import document
from fwctl_agent.runtime.ports import InstallFailed
from tests.support.signing import image_of
from tests.unit.agent.bench import DEVICE, Bench, PowerCut, disk_full, power_cut

IMAGES = [image_of(f"firmware {number}", 900 + number) for number in range(3)]
SEED = Bench()
VERBS: list[FollowVerb] = ["activate", "confirm", "revert", "cancel"]
BAD = (ProbeResult("app", False, "no answer"),)

# Made once: signing is what would take the time.
ORDERS: list[tuple[InstallOrder, OrderRequest, bytes]] = [
    (*SEED.install(image, attempt=attempt, confirm_within=100, watch=watch, activation=activation), image)
    for image, watch in zip(IMAGES, (0, 50, 0), strict=True)
    for activation in ("now", "hold")
    for attempt in (1 if activation == "now" else 2, 3 if activation == "now" else 4)
]


class Life(RuleBasedStateMachine):
    """One device and everybody who may touch it."""

    @initialize(reboot=st.sampled_from(["none", "exit"]))
    def unpack(self, reboot: str) -> None:
        self.bench = Bench(fleet=SEED.fleet, signer=SEED.signer, changes={"reboot": reboot})
        self.seen = self.told()
        self.ended: dict[str, tuple[str, int]] = {}

    def told(self) -> DeviceDocument:
        return DeviceDocument.from_wire(document(self.bench.device, uptime=0).to_wire())

    def attempt(self, action: Any) -> None:
        """Do something; whatever cuts it short, the device comes back from its disk."""
        try:
            action()
        except (Refusal, Busy, OSError, InstallFailed):
            pass
        except PowerCut:
            self.bench.disk.trap = lambda at, what: None
            self.bench.disk.cut_power(torn=True)
            self.bench.clock.reboot()
            self.bench.power_on()

    @rule(index=st.integers(0, len(ORDERS) - 1))
    def order(self, index: int) -> None:
        order, request, _ = ORDERS[index]
        self.attempt(lambda: self.bench.device.put_order(order.id, request))

    @rule(whole=st.booleans(), good=st.booleans())
    def send(self, whole: bool, good: bool) -> None:
        job = self.bench.device.record.job
        for order, _, image in ORDERS:
            if job is not None and order.id == job.order.id:
                data = image if good else image[:-1] + b"!"
                self.attempt(lambda order=order, data=data: self.bytes(order, data, whole))

    def bytes(self, order: InstallOrder, data: bytes, whole: bool) -> None:
        reply = self.bench.device.reply(order.id)
        if reply is None or reply.offset is None:
            return
        intake = self.bench.device.open_image(order.id, reply.offset, len(data))
        if intake is not None:
            end = len(data) if whole else (reply.offset + len(data)) // 2
            self.bench.device.feed(intake, data[reply.offset : end])
            self.bench.device.close_image(intake)

    @rule(verb=st.sampled_from(VERBS), attempt=st.integers(1, 3))
    def follow(self, verb: FollowVerb, attempt: int) -> None:
        job = self.bench.device.record.job
        if job is not None:
            self.attempt(lambda: self.bench.follow(verb, job.order, attempt))

    @rule()
    def go_on(self) -> None:
        self.attempt(self.bench.device.advance)

    @rule(ok=st.booleans())
    def probe(self, ok: bool) -> None:
        self.attempt(lambda: self.bench.device.probed(ok, () if ok else BAD))

    @rule(times=st.integers(1, 4))
    def cooperate(self, times: int) -> None:
        """Do what the device waits for: chance alone would seldom get it through a whole update."""
        for _ in range(times):
            self.attempt(self.next_thing)

    def next_thing(self) -> None:
        rest, job = self.bench.device.advance(), self.bench.device.record.job
        if isinstance(rest, steps.Idle):
            order, request, _ = ORDERS[self.bench.device.record.counter % len(ORDERS)]
            self.bench.device.put_order(order.id, request)
        elif isinstance(rest, steps.AwaitImage) and job is not None:
            image = next(image for order, _, image in ORDERS if order.id == job.order.id)
            self.bytes(job.order, image, whole=True)
        elif isinstance(rest, steps.AwaitConfirm) and job is not None:
            self.bench.follow("confirm", job.order, job.order.attempt)
        elif isinstance(rest, steps.AwaitOrder) and job is not None:
            self.bench.follow("activate", job.order, job.order.attempt)
        elif isinstance(rest, steps.Probe):
            self.bench.device.probed(True, ())
        elif isinstance(rest, steps.Restart):
            self.bench.power_on()

    @rule(seconds=st.sampled_from([1, 60, 1000]))
    def wait(self, seconds: int) -> None:
        self.bench.clock.pass_time(seconds)

    @rule(kind=st.sampled_from(["kill", "power", "torn", "clock"]))
    def restart(self, kind: str) -> None:
        if kind != "kill":
            self.bench.disk.cut_power(torn=kind == "torn")
            self.bench.clock.reboot()
        if kind == "clock":
            self.bench.clock.wall = self.bench.clock.wall.replace(year=1970)
        self.bench.disk.trap = lambda at, what: None
        self.bench.power_on()

    @rule(number=st.integers(1, 30), kind=st.sampled_from(["cut", "full", "error"]))
    def lay_a_trap(self, number: int, kind: str) -> None:
        at = self.bench.disk.operations + number
        self.bench.disk.trap = power_cut(at) if kind == "cut" else disk_full(at, forever=kind == "full")

    @invariant()
    def bootable(self) -> None:
        if hasattr(self, "bench"):
            self.bench.check_bootable()

    @invariant()
    def monotonic(self) -> None:
        if not hasattr(self, "bench"):
            return
        now, before = self.told(), self.seen
        assert now.counter >= before.counter
        assert now.floor >= before.floor
        assert now.floor_clock >= before.floor_clock
        assert now.trust.timestamp >= before.trust.timestamp
        assert {spent.mandate for spent in before.spent} <= {spent.mandate for spent in now.spent}
        marks = {(mark.mandate, mark.verb): mark.attempt for mark in now.marks}
        assert all(marks[(mark.mandate, mark.verb)] >= mark.attempt for mark in before.marks)
        self.seen = now

    @invariant()
    def outcomes_do_not_change_their_counter_backwards(self) -> None:
        if not hasattr(self, "bench"):
            return
        for stored in self.bench.device.record.outcomes:
            outcome = self.bench.outcome(stored.order) if self.settled(stored.order) else None
            if outcome is not None:
                before = self.ended.get(stored.order)
                assert before is None or outcome.counter > before[1] or (outcome.result, outcome.counter) == before
                assert outcome.device == DEVICE
                self.ended[stored.order] = (outcome.result, outcome.counter)

    def settled(self, order: str) -> bool:
        reply = self.bench.device.reply(order)
        return reply is not None and reply.outcome is not None

    @invariant()
    def a_spent_mandate_does_not_run(self) -> None:
        if hasattr(self, "bench"):
            job = self.bench.device.record.job
            now = self.seen
            settled = job is None or not job.active
            if settled and now.running.mandate is not None:
                assert now.running.mandate not in {spent.mandate for spent in now.spent}


Life.TestCase.settings = settings(
    max_examples=80, stateful_step_count=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
TestLife = Life.TestCase
