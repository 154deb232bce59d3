"""What a device keeps: its journal, its trust, its key; and the one way to change them. Synchronous.

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
from fwctl_agent.protocol.messages import TrustVersions
from fwctl_agent.protocol.statements import OUTCOME
from fwctl_agent.runtime import machine, steps
from fwctl_agent.runtime.copies import TwoCopies
from fwctl_agent.runtime.machine import Change
from fwctl_agent.runtime.ports import Boot, Clock, Fs, Installer, Moment
from fwctl_agent.runtime.power_on import adopt_boot, first_record
from fwctl_agent.runtime.record import Record, Stored
from fwctl_agent.runtime.settings import Settings
from fwctl_agent.runtime.trust_store import TrustStore
from fwctl_agent.trust.envelope import seal
from fwctl_agent.trust.verification import Verification
from fwctl_agent.trust.verifier import TrustedTime

MAX_STARTS = 10


class Busy(Exception):
    """Another order runs."""

    def __init__(self, running: str) -> None:
        super().__init__(running)
        self.running = running


class Kept:
    """The state that all parts of a device share. Constructing it is the device's power-on."""

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
        verification: Verification | None = None,
    ) -> None:
        self.settings = settings
        self.verification = verification or Verification()
        self._fs = fs
        self._boot = boot
        self._installer = installer
        self._clock = clock
        self._signer = signer
        self._journal = TwoCopies(fs, "state/journal")
        self.trust = TrustStore(fs, root, self.verification)
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

    def moment(self) -> Moment:
        """Return the clocks, the wall one never below the floor clock."""
        moment = self._clock.moment()
        floor = self.record.floor_clock
        return moment if moment.wall >= floor else replace(moment, wall=floor)

    def time(self) -> TrustedTime:
        wall = self._clock.moment().wall
        floor = self.record.floor_clock
        return TrustedTime(max(wall, floor), wall < floor, floor)

    def _look(self) -> steps.Step:
        policy = self.trust.trusted.policy
        floor = policy.floors.get(self.settings.model, 0) if policy else 0
        return steps.next_step(self.record, self._boot.state(), self.booted, floor=floor, now=self.moment())

    def put_trust(self, bundle: Mapping[str, str]) -> TrustVersions:
        self.trust.advance(bundle, now=self.time().now, fresh=True)
        return self.trust.trusted.versions

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


def what_failed(error: OSError) -> tuple[str, str]:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return ("E_DISK_FULL" if full else "E_IO"), error.strerror or "input/output error"
