"""The shell around the pure core: stores each record before acting on it, and moves the bytes. Synchronous.

What is kept, how images come in, and how the key changes stand in `kept`, `receiving` and `rotating`; here are the
orders: what stands, what is accepted, and what has to be done. One thread at a time may call what changes something.
"""

from __future__ import annotations

from securesystemslib.signer import Signer

from fwctl_agent.errors import Refusal
from fwctl_agent.protocol.messages import OrderReply, OrderRequest
from fwctl_agent.protocol.statements import ProbeResult, Pull
from fwctl_agent.runtime import machine, steps
from fwctl_agent.runtime.content import check_content, digest_of, holds
from fwctl_agent.runtime.identity import Identity
from fwctl_agent.runtime.job import Job
from fwctl_agent.runtime.judging import Sent, judge
from fwctl_agent.runtime.kept import Busy, what_failed
from fwctl_agent.runtime.machine import Change
from fwctl_agent.runtime.ports import AlwaysReady, Boot, Clock, Fs, Installer, InstallFailed, Ready
from fwctl_agent.runtime.receiving import Receiving
from fwctl_agent.runtime.rotating import Rotating
from fwctl_agent.runtime.settings import Settings
from fwctl_agent.trust.verification import Verification

__all__ = ["Busy", "Device"]

MAX_STEPS = 64


class Device(Receiving, Rotating):
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
        super().__init__(
            settings,
            fs=fs,
            boot=boot,
            installer=installer,
            clock=clock,
            signer=signer,
            root=root,
            verification=verification,
        )
        self._identity = identity or Identity(fs, settings)
        self._ready = ready or AlwaysReady()
        self.measured: tuple[ProbeResult, ...] = ()
        """the newest probe results since power-on; not stored while they are good"""
        self._hashed: str | None = None
        """slot whose content was hashed and found good since the last rest"""
        if self._identity.unfinished:
            self._finish_rotation()
        self._show_current()

    # -- what stands --------------------------------------------------------------------------------------------

    def reply(self, order: str) -> OrderReply | None:
        """Return where `order` stands; None if this device has never accepted it, or has forgotten it."""
        record = self.record
        job, stored = record.job, record.outcome(order)
        under_way = job is not None and job.active and not job.watching and not (job.held and stored)
        if job is not None and under_way and order in (job.order.id, *job.also):
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

    # -- what is accepted ---------------------------------------------------------------------------------------

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
            code, detail = what_failed(error) if isinstance(error, OSError) else (error.code, error.detail)
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
            # Time has passed since staging: somebody may have written to the slot, or it has rotted (I2, A42).
            self._hash_again(job)
        try:
            self._boot.try_slot(job.slot, self.settings.tries)
        except InstallFailed as error:
            raise Refusal(error.code, error.detail) from error
        self._follow_selector(job.slot)

    def _hash_again(self, job: Job) -> None:
        """Prove a slot that is about to be booted. One that cannot be read any more holds no image either.

        Raises:
            Refusal: with the code of what failed; nothing has been selected.
        """
        try:
            check_content(self._installer, job.slot, job.image)
        except InstallFailed as error:
            raise Refusal(error.code, error.detail) from error
        except OSError as error:
            raise Refusal(*what_failed(error)) from error

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
