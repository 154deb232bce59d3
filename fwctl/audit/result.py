"""What judging evidence comes to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Check:
    """One question to the evidence: what was found, and what is wrong with it."""

    name: str
    found: str
    wrong: tuple[str, ...]
    remark: str = ""

    @classmethod
    def of(cls, name: str, found: str, wrong: Sequence[str], remark: str = "") -> Check:
        return cls(name, found, tuple(wrong), remark)

    @property
    def holds(self) -> bool:
        return not self.wrong


@dataclass(frozen=True)
class Judged:
    """All checks on a folder of evidence."""

    rollout: str
    mandate: str
    commit: str
    as_of: datetime
    checks: tuple[Check, ...]

    @property
    def holds(self) -> bool:
        return all(check.holds for check in self.checks)
