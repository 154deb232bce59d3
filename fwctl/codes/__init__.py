"""Every code that can reach a user. `fwctl explain CODE` and `docs/reference/codes.md` are made from these tables.

One code can stand in several of them, since a finding, an error and a device's outcome may be about the same thing.
Nothing heavy is imported here: the shell's completion reads it, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from fwctl.codes.devices import DEVICES
from fwctl.codes.entry import Code, Outcome, Stop
from fwctl.codes.findings import FINDINGS
from fwctl.codes.git import GIT
from fwctl.codes.outcomes import OUTCOMES
from fwctl.codes.trust import TRUST
from fwctl.codes.work import WORK

__all__ = ["FINDINGS", "OUTCOMES", "STOPS", "Code", "Outcome", "Stop", "every_code"]

STOPS: Final[Mapping[str, Stop]] = MappingProxyType({**WORK, **GIT, **TRUST, **DEVICES})


def every_code() -> list[str]:
    """Return all codes, sorted."""
    return sorted({*FINDINGS, *STOPS, *OUTCOMES})
