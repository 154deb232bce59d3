"""What to do next: a pure question, asked after every change and after every start."""

from __future__ import annotations

from dataclasses import dataclass

from fwctl_agent.protocol.statements import Pull
from fwctl_agent.runtime import machine
from fwctl_agent.runtime.job import Job
from fwctl_agent.runtime.machine import Change
from fwctl_agent.runtime.ports import Moment, Selector
from fwctl_agent.runtime.probes import Limits
from fwctl_agent.runtime.record import Record


@dataclass(frozen=True)
class Idle:
    """Nothing to do until somebody asks."""


@dataclass(frozen=True)
class AwaitImage:
    """Bytes from `offset` on are wanted."""

    offset: int


@dataclass(frozen=True)
class Fetch:
    """Bytes are wanted, and the device fetches them itself."""

    order: str


@dataclass(frozen=True)
class AwaitOrder:
    """Staged, held: activate or cancel is wanted."""


@dataclass(frozen=True)
class AwaitConfirm:
    """Probes are good; revert alone after `seconds`."""

    seconds: float


@dataclass(frozen=True)
class Probe:
    """Run the probe set within `seconds`; in watch, again and again."""

    name: str
    limits: Limits
    seconds: float
    watch: bool


@dataclass(frozen=True)
class Restart:
    """Only a start of the machine (or of the agent) leads on."""


@dataclass(frozen=True)
class Verify:
    """Read back what arrived and hash it."""


@dataclass(frozen=True)
class Stage:
    """Put verified bytes where the device boots from."""


@dataclass(frozen=True)
class Flip:
    """Select the new slot for a trial."""


@dataclass(frozen=True)
class MarkGood:
    """Make the trial slot the good one."""


@dataclass(frozen=True)
class PointBack:
    """Select the old slot again."""


@dataclass(frozen=True)
class Move:
    """Only the record changes."""

    change: Change


Rest = Idle | AwaitImage | Fetch | AwaitOrder | AwaitConfirm | Probe | Restart
Act = Verify | Stage | Flip | MarkGood | PointBack | Move
Step = Rest | Act


def next_step(record: Record, selector: Selector, booted: str, *, floor: int, now: Moment) -> Step:
    """Return the one thing to do. `booted` is the slot that runs, `floor` the policy's for this model."""
    job = record.job
    if job is None or not job.active:
        return Idle()
    match job.state:
        case "accepted" | "downloading":
            return Verify() if job.offset >= job.release.length else _bytes_wanted(job)
        case "verified":
            return Stage()
        case "staged":
            return _staged(record, job, selector, booted, now)
        case "trial":
            return _trial(record, job, selector, booted, floor, now)
        case "confirmed":
            left = _left(job, job.order.watch, now)
            return Move(machine.watch_over(record, floor=floor)) if left <= 0 else _probe(job, left, watch=True)
        case _:
            return _reverting(record, job, selector, booted, now)


def _bytes_wanted(job: Job) -> Step:
    return Fetch(job.order.id) if isinstance(job.order.delivery, Pull) else AwaitImage(job.offset)


def _staged(record: Record, job: Job, selector: Selector, booted: str, now: Moment) -> Step:
    if job.held:
        return AwaitOrder()
    if selector.failed == job.slot:
        return Move(machine.begin_revert(record, "health", "E_BOOT", now=now))
    if selector.trial != job.slot:
        return Flip()
    return Move(machine.on_trial(record, now=now)) if booted == job.slot else Restart()


def _trial(record: Record, job: Job, selector: Selector, booted: str, floor: int, now: Moment) -> Step:
    if booted != job.slot:
        # The boot loader fell back: the new image did not start often enough (D08).
        return Move(machine.begin_revert(record, "health", "E_BOOT", now=now))
    good = job.probes == "good"
    if good and job.confirm is not None:
        marked = selector.good == job.slot and selector.trial is None
        return Move(machine.confirmed(record, floor=floor, now=now)) if marked else MarkGood()
    left = _left(job, job.order.confirm_within, now)
    if left <= 0 and good:
        return Move(machine.begin_revert(record, "unconfirmed", "E_UNCONFIRMED", now=now))
    if left <= 0:
        return Move(machine.begin_revert(record, "health", "E_PROBE_TIMEOUT", now=now))
    return AwaitConfirm(left) if good else _probe(job, left, watch=False)


def _reverting(record: Record, job: Job, selector: Selector, booted: str, now: Moment) -> Step:
    if selector != Selector(job.back):
        return PointBack()
    return Move(machine.reverted(record, now=now)) if booted == job.back else Restart()


def _probe(job: Job, seconds: float, *, watch: bool) -> Probe:
    return Probe(job.order.probes, Limits(job.order.limits, job.order.minima), seconds, watch)


def _left(job: Job, span: int, now: Moment) -> float:
    """Seconds until `span` has passed since the state was entered.

    Monotonic within one boot of the machine, asleep or not; across boots by wall clock, where a clock that went back
    starts the span anew (D16: late is safe, the boot count bounds a trial).
    """
    return span - now.millis_since(job.since) / 1000
