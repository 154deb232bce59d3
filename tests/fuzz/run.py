"""Try cases on a target, and keep account: accepted, refused by code, or a finding."""

from __future__ import annotations

import resource
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Final

from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings

from tests.fuzz.mutate import mangle, structures

SECONDS: Final = 1.0
"""of processor time that one case may take"""
KIBIBYTES: Final = 100 * 1024
"""that the process may grow above what it had when the target was ready"""
ACCEPTED: Final = "accepted"
_BATCH: Final = 250
"""examples of one run of Hypothesis, which remembers them all"""


class Wrong(Exception):
    """A case was accepted or refused in a way that it must not be."""


@dataclass(frozen=True)
class Target:
    """One reader of bytes from outside.

    `judge` returns `ACCEPTED` or the code of the refusal. Whatever it raises is a finding: `Wrong` where a rule of its
    own was broken (accepted what was not signed, changed a state), else the exception that nobody expects.
    """

    name: str
    samples: tuple[bytes, ...]
    judge: Callable[[bytes], str]
    json: bool = True
    """the samples are JSON, so that their structure can be changed"""
    share: int = 1


@dataclass
class Account:
    """What the cases of one target came to."""

    target: str
    verdicts: Counter[str] = field(default_factory=Counter)
    findings: list[tuple[bytes, str]] = field(default_factory=list)
    slowest: float = 0.0
    start: int = field(default_factory=lambda: _peak())

    @property
    def cases(self) -> int:
        return self.verdicts.total() + len(self.findings)

    @property
    def grown(self) -> int:
        """KiB above the start, at the highest."""
        return _peak() - self.start

    def attempt(self, target: Target, data: bytes) -> None:
        """Try one case."""
        begun = time.process_time()
        try:
            verdict = target.judge(data)
        except Exception as error:  # noqa: BLE001  that is what is looked for
            self.findings.append((data, f"{type(error).__name__}: {error}"))
            return
        took = time.process_time() - begun
        self.slowest = max(self.slowest, took)
        if took > SECONDS:
            self.findings.append((data, f"took {took:.1f} s of processor time"))
        elif self.grown > KIBIBYTES:
            self.findings.append((data, f"the process has grown by {self.grown // 1024} MiB"))
            self.start = _peak()
        else:
            self.verdicts[verdict] += 1


def fuzz(target: Target, cases: int, number: int) -> Account:
    """Try that many cases, the same ones for the same seed `number`."""
    account = Account(target.name)
    for data in target.samples:
        account.attempt(target, data)
    if not account.verdicts[ACCEPTED]:
        raise Wrong(f"{target.name}: no sample is accepted: {account.verdicts} {[why for _, why in account.findings]}")
    structured = (cases - account.cases) // 3 if target.json else 0
    for batch in _batches(structured):
        _by_structure(target, account, batch, number + account.cases)
    by_chance(target, account, cases - account.cases, Random(f"{target.name} {number}"))
    return account


def by_chance(target: Target, account: Account, cases: int, chance: Random) -> None:
    try_all(target, account, (mangle(chance, chance.choice(target.samples), target.samples) for _ in range(cases)))


def try_all(target: Target, account: Account, cases: Iterable[bytes]) -> None:
    for data in cases:
        account.attempt(target, data)


def _by_structure(target: Target, account: Account, cases: int, number: int) -> None:
    @seed(number)
    @settings(
        max_examples=cases,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        verbosity=Verbosity.quiet,
        suppress_health_check=list(HealthCheck),
    )
    @given(structures(target.samples))
    def one(data: bytes) -> None:
        account.attempt(target, data)

    one()


def _batches(cases: int) -> Iterator[int]:
    while cases > 0:
        yield min(cases, _BATCH)
        cases -= _BATCH


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
