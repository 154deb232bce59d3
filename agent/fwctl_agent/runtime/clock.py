"""The clocks of this machine, and trusted time (CONTRACTS, Identity and time)."""

from __future__ import annotations

import time
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from fwctl_agent.runtime.ports import Moment

BUILD_TIME: Final = datetime(2026, 1, 1, tzinfo=UTC)
"""No certificate, order or approval of this release is older: the floor clock starts here."""


class SystemClock:
    """Wall clock, and CLOCK_BOOTTIME with the kernel's boot id, so that deadlines outlive the process."""

    def __init__(self) -> None:
        try:
            self._boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()[:64]
        except OSError:
            # Without a boot id every start counts as a reboot, and deadlines fall back to the wall clock.
            self._boot = str(uuid.uuid4())

    def moment(self) -> Moment:
        ticks = time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000
        return Moment(datetime.now(UTC).replace(microsecond=0), self._boot, ticks)
