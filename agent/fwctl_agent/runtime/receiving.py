"""How an image comes to a device: pushed to it, or fetched by it, through the same intake."""

from __future__ import annotations

import contextlib

from fwctl_agent.errors import Refusal
from fwctl_agent.protocol.statements import FailureClass, Pull
from fwctl_agent.runtime import machine, steps
from fwctl_agent.runtime.intake import Fetched, Intake, hashed_so_far
from fwctl_agent.runtime.job import Job
from fwctl_agent.runtime.kept import Kept, what_failed


class Receiving(Kept):
    """The part of a device that takes bytes. At most one intake is open, and the newest upload has it."""

    _intake: Intake | None = None

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
            self._fail_image("install", *what_failed(error))
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
            self._fail_image("install", *what_failed(error))
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
