"""The shell around the pure core: stores each record before acting on it, and moves the bytes. Synchronous.

One thread at a time may call the methods that change something; `record` is frozen and may be read by anybody.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Mapping
from dataclasses import replace

from securesystemslib.signer import Signer

from fwctl_agent.errors import Refusal
from fwctl_agent.protocol import canonical
from fwctl_agent.protocol.messages import OrderReply, OrderRequest, TrustVersions
from fwctl_agent.protocol.statements import OUTCOME, FailureClass, ProbeResult, Pull
from fwctl_agent.runtime import machine, steps
from fwctl_agent.runtime.content import check_content, digest_of, holds
from fwctl_agent.runtime.copies import TwoCopies
from fwctl_agent.runtime.identity import Identity
from fwctl_agent.runtime.intake import Fetched, Intake, hashed_so_far
from fwctl_agent.runtime.job import Job
from fwctl_agent.runtime.judging import Sent, judge
from fwctl_agent.runtime.machine import Change
from fwctl_agent.runtime.ports import AlwaysReady, Boot, Clock, Fs, Installer, InstallFailed, Moment, Ready
from fwctl_agent.runtime.power_on import adopt_boot, first_record
from fwctl_agent.runtime.record import Record, Stored
from fwctl_agent.runtime.settings import Settings
from fwctl_agent.runtime.trust_store import TrustStore
from fwctl_agent.trust.envelope import Sealed, seal
from fwctl_agent.trust.identity import DeviceCertificate
from fwctl_agent.trust.verification import Verification
from fwctl_agent.trust.verifier import TrustedTime

MAX_STARTS = 10
MAX_STEPS = 64


class Busy(Exception):
    """Another order runs."""

    def __init__(self, running: str) -> None:
        super().__init__(running)
        self.running = running


class Device:
    """One device: identity, journal, slots, trust. Constructing it is its power-on."""

    def __init__(
        self,
        settings: Settings,
        *,
        fs: Fs,
        boot: Boot,
        installer: Installer,
        clock: Clock,
        signer: Signer,
        root: str,
        ready: Ready | None = None,
        verification: Verification | None = None,
        identity: Identity | None = None,
    ) -> None:
        self.settings = settings
        self._identity = identity or Identity(fs, settings)
        self.verification = verification or Verification()
        self._fs = fs
        self._boot = boot
        self._installer = installer
        self._clock = clock
        self._ready = ready or AlwaysReady()
        self._signer = signer
        self._journal = TwoCopies(fs, "state/journal")
        self.trust = TrustStore(fs, root, self.verification)
        self._intake: Intake | None = None
        self.measured: tuple[ProbeResult, ...] = ()
        """the newest probe results since power-on; not stored while they are good"""
        self._hashed: str | None = None
        """slot whose content was hashed and found good since the last rest"""
        stored = self._journal.load()
        if stored is None:
            self.record = first_record(settings, installer)
            self._commit(Change(self.record), always=True)
        else:
            self.record = Record.from_wire(stored)
        if (self.record.device, self.record.repo_id) != (settings.id, settings.repo_id):
            raise Refusal("E_JOURNAL", f"the journal belongs to device {self.record.device}")
        self.booted = boot.start()
        self._commit(adopt_boot(self.record, self.booted))
        self._commit(machine.started(self.record, limit=MAX_STARTS, now=self.moment()))
        if self._identity.unfinished:
            self._finish_rotation()
        self._show_current()

    # -- questions ----------------------------------------------------------------------------------------------

    def moment(self) -> Moment:
        """Return the clocks, the wall one never below the floor clock."""
        moment = self._clock.moment()
        floor = self.record.floor_clock
        return moment if moment.wall >= floor else replace(moment, wall=floor)

    def time(self) -> TrustedTime:
        wall = self._clock.moment().wall
        floor = self.record.floor_clock
        return TrustedTime(max(wall, floor), wall < floor, floor)

    def reply(self, order: str) -> OrderReply | None:
        """Return where `order` stands; None if this device has never accepted it, or has forgotten it."""
        record = self.record
        job, stored = record.job, record.outcome(order)
        under_way = job is not None and job.active and not job.watching
        if job is not None and under_way and order in (job.order.id, *job.also):
            held = job.state == "staged" and not job.activating and stored is not None
            if not held:
                return self._progress(order, job)
        if stored is None:
            return None
        return OrderReply(order, stored.state, None, stored.envelope, None)

    def _progress(self, order: str, job: Job) -> OrderReply:
        offset = None
        pushed = not isinstance(job.order.delivery, Pull)
        if pushed and job.state in ("accepted", "downloading") and job.offset < job.release.length:
            intake = self._intake
            offset = intake.offset if intake and intake.order == job.order.id else job.offset
        resume = self.settings.boot_seconds if isinstance(self._look(), steps.Restart) else None
        return OrderReply(order, job.state, offset, None, resume)

    def waits_for(self, order: str) -> bool:
        """Say whether `order` wants something of the reconciler, rather than time."""
        job = self.record.job
        if job is None or not job.active or job.watching or order not in (job.order.id, *job.also):
            return True
        return isinstance(self._look(), steps.AwaitImage | steps.AwaitOrder | steps.AwaitConfirm | steps.Restart)

    def _look(self) -> steps.Step:
        policy = self.trust.trusted.policy
        floor = policy.floors.get(self.settings.model, 0) if policy else 0
        return steps.next_step(self.record, self._boot.state(), self.booted, floor=floor, now=self.moment())

    # -- requests -----------------------------------------------------------------------------------------------

    def put_trust(self, bundle: Mapping[str, str]) -> TrustVersions:
        self.trust.advance(bundle, now=self.time().now, fresh=True)
        return self.trust.trusted.versions

    def new_key(self) -> str:
        """Return a request for a certificate for a new key; the present one stays in force until that has come.

        Raises:
            Refusal: `E_NO_DEVICE_CA`.
        """
        if self._identity.unfinished:
            self._finish_rotation()
        return self._identity.request()

    def put_identity(self, pem: str) -> tuple[DeviceCertificate, bool]:
        """Take a new certificate; return it, and whether the key is a new one too.

        Raises:
            Refusal: it is not one for this device.
            Busy: an order runs whose outcome the old key is expected to sign.
            OSError: nothing was changed, or only the journal and the old key are still to follow: ask again.
        """
        policy = self.trust.trusted.policy
        new, rotated = self._identity.judge(pem, time=self.time(), revoked=policy.revoked if policy else ())
        job = self.record.job
        if rotated and job is not None and job.active:
            raise Busy(job.order.id)
        self._identity.store(pem)
        if self._identity.unfinished:
            self._finish_rotation()
        return new, rotated

    def _finish_rotation(self) -> None:
        """Sign what is kept again with the new key: whoever asks knows only the certificate that is in force."""
        signer = self._signer = self._identity.signer()
        outcomes = tuple(
            replace(stored, envelope=seal(Sealed.open(stored.envelope, OUTCOME).payload, OUTCOME, signer))
            for stored in self.record.outcomes
        )
        record = replace(self.record, outcomes=outcomes)
        self._journal.store_written(record.written)
        self.record = record
        self._identity.finish()

    def put_order(self, order: str, request: OrderRequest) -> OrderReply:
        """Judge and accept an order. A known id answers with what is stored, before any other check.

        Raises:
            Refusal: it may not be done, or not now.
            Busy: another order runs.
            OSError: the acceptance could not be made durable; nothing happened.
        """
        known = self.reply(order)
        if known is not None:
            return known
        sent = Sent.of(request)
        verb = sent.verb
        job = self.record.job
        if verb == "install" and job is not None and job.active:
            raise Busy(job.order.id)
        if verb in ("install", "activate"):
            self.trust.advance(request.trust, now=self.time().now, fresh=True)
        else:
            self.trust.advance_if_good(request.trust, now=self.time().now)
        change = self._judged(order, sent)
        if verb == "install" and (why := self._ready.why_not()) is not None:
            raise Refusal("E_DEFERRED", f"this device is not ready: {why}", klass="deferred")
        self._commit(change)
        # An image that is already there, a no-op, a confirm of good probes: all done within this request.
        return self._must_reply(order)

    def _must_reply(self, order: str) -> OrderReply:
        reply = self.reply(order)
        if reply is None:
            raise Refusal("E_INTERNAL", "the order was accepted but left no trace", klass="deferred")
        return reply

    def _judged(self, order: str, sent: Sent) -> Change:
        change = judge(
            order,
            sent,
            settings=self.settings,
            record=self.record,
            selector=self._boot.state(),
            policy=self.trust.trusted.policy,
            time=self.time(),
            now=self.moment(),
            verification=self.verification,
        )
        job = change.record.job
        if sent.verb == "revert" and job is not None and job.state == "reverting":
            check_content(self._installer, job.back, job.origin)
        return change

    # -- the image ----------------------------------------------------------------------------------------------

    def open_image(self, order: str, first: int, total: int | None) -> Intake | None:
        """Begin or go on receiving. None when no image is wanted, or not from `first` on: the reply says what is.

        Raises:
            Refusal: the image has another length than the signed one.
        """
        job = self.record.job
        if job is None or job.order.id != order or not isinstance(self._look(), steps.AwaitImage):
            return None  # also where the device fetches for itself
        if total is not None and total != job.release.length:
            raise Refusal("E_LENGTH", f"the signed length is {job.release.length} bytes, not {total}")
        intake = self._intake
        if intake is None or intake.order != order:
            intake = self._resume(job)
        if first != intake.offset:
            return None
        return self._taken_over(intake, job)

    def _taken_over(self, intake: Intake, job: Job) -> Intake:
        # A client that lost its connection may come back before we notice: the newer upload wins.
        self._intake = intake = intake.taken_over()
        if job.state == "accepted":
            self._commit(machine.receiving(self.record, offset=job.offset, now=self.moment()))
        return intake

    def fetches(self, order: str) -> Fetched | None:
        """Return what the device has to fetch for an order; None if that is over."""
        job = self.record.job
        if job is None or not isinstance(job.order.delivery, Pull) or self._look() != steps.Fetch(order):
            return None
        policy = self.trust.trusted.policy
        return Fetched(job.order.delivery.url, job.release.length, policy.storage if policy else ())

    def open_fetch(self, order: str) -> Intake | None:
        """Begin or go on fetching from the offset of the intake. None when nothing is to be fetched any more."""
        job = self.record.job
        if job is None or self.fetches(order) is None:
            return None
        intake = self._intake
        return self._taken_over(intake if intake and intake.order == order else self._resume(job), job)

    def fetch_again(self, intake: Intake) -> Intake | None:
        """Begin at the first byte again. None if this intake is over."""
        job = self._receiving(intake)
        if job is None:
            return None
        self._drop_intake()
        self._commit(machine.receiving(self.record, offset=0, now=self.moment()))
        return self._resume(machine.current_job(self.record))

    def fetch_failed(self, order: str, code: str, detail: str) -> None:
        """End an order whose image cannot be fetched."""
        if self.fetches(order) is not None:
            self._fail_image("download", code, detail)

    def _receiving(self, intake: Intake) -> Job | None:
        """Return the job that `intake` belongs to; None if it was taken over, or its order has ended meanwhile."""
        job = self.record.job
        if intake is not self._intake or job is None or job.order.id != intake.order:
            return None
        return job if job.state in ("accepted", "downloading") else None

    def _resume(self, job: Job) -> Intake:
        """Hash what is durable again and go on behind it (D01); start anew if it is not all there."""
        hasher, seen = hashed_so_far(self._installer, job)
        if seen != job.offset:
            self._commit(machine.receiving(self.record, offset=seen, now=self.moment()))
        stream = self._installer.open(job.slot, seen)
        self._intake = Intake(job.order.id, stream, hasher, seen, seen)
        return self._intake

    def feed(self, intake: Intake, data: bytes) -> bool:
        """Write the next bytes. False when this upload is over: taken over by another one, or failed."""
        job = self._receiving(intake)
        if job is None:
            return False
        if intake.offset + len(data) > job.release.length:
            self._fail_image("download", "E_LENGTH", f"more than the signed {job.release.length} bytes arrived")
            return False
        try:
            durable = intake.write(data)
        except OSError as error:
            self._fail_image("install", *_disk(error))
            return False
        if durable is not None:
            self._commit(machine.receiving(self.record, offset=durable, now=self.moment()))
        return True

    def close_image(self, intake: Intake) -> None:
        """The upload ended, by its end or by a lost connection: keep what arrived, judge it if it is whole."""
        job = self._receiving(intake)
        if job is None:
            return
        try:
            offset = intake.sync()
        except OSError as error:
            self._fail_image("install", *_disk(error))
            return
        if offset < job.release.length:
            if offset != job.offset:
                self._commit(machine.receiving(self.record, offset=offset, now=self.moment()))
            return
        if intake.digest() != job.release.image:
            self._fail_image("download", "E_HASH", "the image that arrived is not the one that was signed")
            return
        self._drop_intake()
        self._commit(machine.receiving(self.record, offset=offset, now=self.moment()))

    def _fail_image(self, klass: FailureClass, code: str, detail: str) -> None:
        self._drop_intake()
        self._commit(machine.failed(self.record, klass, code, detail, now=self.moment()))

    def _drop_intake(self) -> None:
        if self._intake is not None:
            with contextlib.suppress(OSError):
                self._intake.close()
        self._intake = None

    # -- doing it -----------------------------------------------------------------------------------------------

    def advance(self) -> steps.Rest:
        """Do everything that can be done now, and return what has to be waited for.

        Raises:
            OSError, InstallFailed: something that must be tried again; the record stands where it stood.
        """
        self._hashed = None
        for _ in range(MAX_STEPS):
            step = self._look()
            match step:
                case steps.Move(change):
                    self._commit(change)
                case steps.Verify() | steps.Stage() | steps.Flip() | steps.MarkGood() | steps.PointBack():
                    self._act(step)
                case _:
                    job = self.record.job
                    if self._intake and (job is None or self._intake.order != job.order.id):
                        self._drop_intake()
                    return step
        raise InstallFailed("E_INTERNAL", "no resting point was found")

    def _act(self, step: steps.Act) -> None:
        job = machine.current_job(self.record)
        try:
            match step:
                case steps.Verify():
                    self._verify(job)
                case steps.Stage():
                    self._stage(job)
                case steps.Flip():
                    self._flip(job)
                case steps.MarkGood():
                    self._mark_good(job)
                case _:
                    self._boot.go_back(job.back)
                    self._follow_selector(job.back)
        except Refusal as refusal:  # the read-back did not match
            if isinstance(step, steps.Flip):
                self._boot.go_back(job.back)  # before the slot is void, nothing may point to it (I2)
            self._commit(machine.failed(self.record, "install", refusal.code, refusal.message, now=self.moment()))
        except (OSError, InstallFailed) as error:
            if not isinstance(step, steps.Verify | steps.Stage):
                raise
            code, detail = _disk(error) if isinstance(error, OSError) else (error.code, error.detail)
            self._commit(machine.failed(self.record, "install", code, detail, now=self.moment()))

    def _verify(self, job: Job) -> None:
        """Read back what arrived, after fsync, and hash it: what was streamed proves nothing about the disk (A42)."""
        found = digest_of(self._installer.arrived(job.slot, job.release.length))
        if found == job.release.image:
            self._hashed = job.slot
            self._commit(machine.verified(self.record, now=self.moment()))
        elif job.reused:
            self._commit(machine.download_again(self.record, now=self.moment()))
        else:
            raise Refusal("E_HASH", "what was read back is not the signed image")

    def _stage(self, job: Job) -> None:
        """Put the verified bytes where the device boots from, unless an earlier try did: an image is written once."""
        earlier = job.reused or job.starts > 0
        if not (earlier and holds(self._installer, job.slot, job.image)):
            moved = self._installer.stage(job.slot, job.release.length)
            if moved or self._hashed != job.slot:
                check_content(self._installer, job.slot, job.image)
        self._hashed = job.slot
        self._commit(machine.staged(self.record, now=self.moment()))

    def _flip(self, job: Job) -> None:
        if self._hashed != job.slot:
            # Time has passed since staging: somebody may have written to the slot (I2, A42).
            check_content(self._installer, job.slot, job.image)
        try:
            self._boot.try_slot(job.slot, self.settings.tries)
        except InstallFailed as error:
            raise Refusal(error.code, error.detail) from error
        self._follow_selector(job.slot)

    def _mark_good(self, job: Job) -> None:
        try:
            self._boot.mark_good(job.slot)
        except InstallFailed as error:
            evidence = (ProbeResult("mark-good", False, error.detail),)
            self._commit(machine.probed(self.record, False, evidence, now=self.moment()))

    def _follow_selector(self, slot: str) -> None:
        """Without a reboot the selected slot is current at once."""
        if self.settings.reboot == "none":
            self.booted = slot

    def probed(self, ok: bool, evidence: tuple[ProbeResult, ...]) -> None:
        """Take a verdict, unless the state it was asked for is over."""
        if isinstance(self._look(), steps.Probe):
            self.measured = evidence
            job = machine.current_job(self.record)
            if ok and job.watching:
                return
            self._commit(machine.probed(self.record, ok, evidence, now=self.moment()))

    # -- storing ------------------------------------------------------------------------------------------------

    def _commit(self, change: Change, *, always: bool = False) -> None:
        """Make the change durable, with its sealed outcomes, in one write; only then is it true."""
        stored = tuple(Stored(ended.outcome.order, ended.state, self._sealed(ended)) for ended in change.ended)
        record = machine.with_outcomes(change.record, stored)
        if record == self.record and not always:
            return
        self._journal.store_written(record.written)
        moved = record.current != self.record.current
        self.record = record
        if moved:
            self._show_current()

    def _sealed(self, ended: machine.Ended) -> dict[str, object]:
        return seal(canonical.encode(ended.outcome.to_wire()), OUTCOME, self._signer)

    def _show_current(self) -> None:
        # For people only; the selector decides.
        with contextlib.suppress(OSError):
            self._fs.link("slots/current", f"{self.record.current}.img")


def _disk(error: OSError) -> tuple[str, str]:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return ("E_DISK_FULL" if full else "E_IO"), error.strerror or "input/output error"
