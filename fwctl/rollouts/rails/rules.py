"""Guard rails: what a RolloutPolicy demands of a plan, and the freezes under which nothing starts. Pure.

A policy is in force while the signed policy target names the digest of its file; what the commit says of it counts for
nothing (A27). A digest that no file has is a guard rail that nobody can read: everything that it could be about waits.

*Blast radius*: the most devices that can run the firmware before a gate has judged it on them. Each wave of a track is
judged before the next one opens, so it is the largest wave; tracks go side by side, so their largest waves add up. How
many are in flight at once does not count: nobody judges between two devices of a wave. A BlueGreen switch is one wave:
its first gate judges staged slots, not running firmware. Late joiners come when all waves have passed, and together: as
many as the manifest allows are one more wave.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from fractions import Fraction
from typing import Final

from fwctl.manifests.diagnostic import Loc
from fwctl.manifests.models.policy import AppliesTo, Freeze, RuleName, Rules, Share
from fwctl.manifests.models.rollout_parts import GuardRailException
from fwctl.manifests.repo import FleetRepo, LoadedPolicy
from fwctl.rollouts.plan import Plan, Wave
from fwctl_agent.protocol import canonical


@dataclass(frozen=True)
class Rails:
    """The policies of a commit, told apart by what the signed policy says of them."""

    in_force: tuple[LoadedPolicy, ...] = ()
    unsigned: tuple[LoadedPolicy, ...] = ()
    """their files are new or edited: not in force until signed"""
    missing: tuple[str, ...] = ()
    """signed digests that no file has"""


@dataclass(frozen=True)
class Violation:
    """One rule that a plan breaks: what is so, and what would satisfy the rule."""

    policy: str
    rule: RuleName
    message: str
    remedy: str
    loc: Loc
    """in the rollout's manifest"""


@dataclass(frozen=True)
class Excepted:
    """One rule that the approved manifest sets aside, with its reason; `message` is what it would have said."""

    policy: str
    rule: RuleName
    reason: str
    message: str


@dataclass(frozen=True)
class FreezeOf:
    """A freeze of one policy."""

    policy: str
    freeze: Freeze

    @property
    def words(self) -> str:
        why = f" ({self.freeze.reason})" if self.freeze.reason else ""
        return f"guard rail {self.policy}: frozen until {self.freeze.ends:%Y-%m-%d %H:%M:%SZ}{why}"


@dataclass(frozen=True)
class Guarded:
    """What the guard rails in force say of one rollout."""

    policies: tuple[str, ...] = ()
    """names of those that apply"""
    violations: tuple[Violation, ...] = ()
    excepted: tuple[Excepted, ...] = ()
    idle: tuple[int, ...] = ()
    """places in `exceptions` of those that set nothing aside"""
    freezes: tuple[FreezeOf, ...] = ()
    missing: tuple[str, ...] = ()


UNGUARDED: Final = Guarded()
"""where no signed policy is known"""


def rails_of(repo: FleetRepo, signed: Iterable[str]) -> Rails:
    """Tell the policies of a commit apart by the digests that are signed."""
    wanted = frozenset(signed)
    digests = {name: canonical.digest(one.raw) for name, one in repo.policies.items()}
    force = tuple(one for name, one in repo.policies.items() if digests[name] in wanted)
    rest = tuple(one for name, one in repo.policies.items() if digests[name] not in wanted)
    return Rails(force, rest, tuple(sorted(wanted - set(digests.values()))))


def applies(to: AppliesTo, plan: Plan) -> bool:
    """Say whether a policy is about this rollout."""
    return any(fnmatchcase(plan.env, one) for one in to.envs) and any(
        fnmatchcase(plan.release.model, one) for one in to.models
    )


def guard(rails: Rails, plan: Plan) -> Guarded:
    """Judge a plan by the policies in force, less what the approved manifest sets aside."""
    mine = [one for one in rails.in_force if applies(one.spec.applies_to, plan)]
    exceptions = plan.spec.exceptions
    violations: list[Violation] = []
    excepted: list[Excepted] = []
    used: set[int] = set()
    for policy in mine:
        for found in violations_of(policy, plan):
            if (at := _exception(exceptions, found.policy, found.rule)) is None:
                violations.append(found)
            else:
                used.add(at)
                excepted.append(Excepted(found.policy, found.rule, exceptions[at].reason, found.message))
    freezes: list[FreezeOf] = []
    for policy in mine:
        own = [FreezeOf(policy.name, freeze) for freeze in policy.spec.rules.freezes]
        at = _exception(exceptions, policy.name, "freezes") if own else None
        if at is None:
            freezes += own
        else:
            used.add(at)
            excepted.append(Excepted(policy.name, "freezes", exceptions[at].reason, _frozen(own)))
    idle = tuple(at for at in range(len(exceptions)) if at not in used)
    names = tuple(one.name for one in mine)
    return Guarded(names, tuple(violations), tuple(excepted), idle, tuple(freezes), rails.missing)


def violations_of(policy: LoadedPolicy, plan: Plan) -> Iterator[Violation]:
    """Return what a plan breaks of one policy, whatever is excepted."""
    for rule, check in _CHECKS.items():
        if (found := check(policy.spec.rules, plan)) is not None:
            message, remedy, loc = found
            yield Violation(policy.name, rule, message, remedy, loc)


def set_aside(plan: Plan) -> tuple[str, ...]:
    """Return the exceptions that the approved manifest makes, in words."""
    return tuple(f"{one.policy}, {one.rule}: {one.reason}" for one in plan.spec.exceptions)


def frozen(freezes: Sequence[FreezeOf], now: datetime) -> FreezeOf | None:
    """Return the freeze that holds at this moment; of several the one that lasts longest."""
    here = [one for one in freezes if one.freeze.begins <= now < one.freeze.ends]
    return max(here, key=lambda one: one.freeze.ends, default=None)


def next_change(freezes: Sequence[FreezeOf], now: datetime) -> datetime | None:
    """Return the next moment at which a freeze begins or ends."""
    moments = (moment for one in freezes for moment in (one.freeze.begins, one.freeze.ends))
    return min((moment for moment in moments if moment > now), default=None)


def blast_radius(plan: Plan) -> int:
    """Return the most devices that can run the firmware before a gate has judged it on them."""
    return max(sum(_largest(waves) for waves in _tracks(plan)), _joiners(plan))


def first_devices(plan: Plan) -> int:
    """Return how many devices get the firmware first, before anything is known of it: the first wave of each track."""
    return sum(len(waves[0].devices) for waves in _tracks(plan))


def allowed(share: Share, total: int) -> int:
    """Return the whole devices that a share allows among `total`; percentages round up, so that one can always go."""
    limits = [share.devices] if share.devices is not None else []
    if share.percent is not None:
        limits.append(max(1, -(-total * Fraction(str(share.percent)) // 100)))
    return int(min(limits))


Found = tuple[str, str, Loc] | None
_TYPE: Final[Loc] = ("spec", "strategy", "type")
_STRATEGY: Final[Loc] = ("spec", "strategy")
_LATE: Final[Loc] = ("spec", "lateJoiners", "max")


def _canary(rules: Rules, plan: Plan) -> Found:
    share, total, first = rules.minimum_canary, len(plan.members), first_devices(plan)
    if share is None or first <= (most := allowed(share, total)):
        return None
    what = f"the first wave has {_of(first, total)}; {_told(share)} allows {most}"
    return what, f"Begin with at most {_devices(most)}: a Canary with a smaller `initialPercentage`.", _STRATEGY


def _soak(rules: Rules, plan: Plan) -> Found:
    least = rules.minimum_soak
    short = [wave for wave in plan.waves if least is not None and wave.soak < least]
    if least is None or not short:
        return None
    names = ", ".join(wave.name for wave in short[:3]) + (f" and {len(short) - 3} more" if len(short) > 3 else "")
    what = f"{names} soaks for {_span(min(wave.soak for wave in short))}; at least {_span(least)} is asked for"
    return what, f"Set the strategy's `soak` to {_span(least)} or more.", (*_STRATEGY, "soak")


def _radius(rules: Rules, plan: Plan) -> Found:
    share, total, radius = rules.maximum_blast_radius, len(plan.members), blast_radius(plan)
    if share is None or radius <= (most := allowed(share, total)):
        return None
    if radius == (late := _joiners(plan)):
        what = f"{_devices(late)} may join late, all at once; {_told(share)} allows {most}"
        return what, f"Set `lateJoiners.max` to {most} or less, or lock again when devices come.", _LATE
    what = f"{_of(radius, total)} can run the firmware before a gate has judged it there; {_told(share)} allows {most}"
    return what, f"Use more and smaller waves: none with more than {_devices(most)}.", _STRATEGY


def _strategies(rules: Rules, plan: Plan) -> Found:
    used = plan.spec.strategy.type
    if rules.strategies is None or used in rules.strategies:
        return None
    listed = " or ".join(rules.strategies)
    return f"the strategy is {used}; only {listed} is allowed", f"Use {listed}.", _TYPE


_CHECKS: Final[Mapping[RuleName, Callable[[Rules, Plan], Found]]] = {
    "strategies": _strategies,
    "minimumCanary": _canary,
    "minimumSoak": _soak,
    "maximumBlastRadius": _radius,
}


def _tracks(plan: Plan) -> list[list[Wave]]:
    """Return the approved waves that go one after another, by track; late joiners come when all is judged."""
    found: dict[str, list[Wave]] = {}
    for wave in plan.waves:
        found.setdefault(wave.track, []).append(wave)
    return list(found.values())


def _joiners(plan: Plan) -> int:
    """Return how many may join under the approval: whoever is there by now says nothing of those to come."""
    return plan.spec.late_joiners.max if plan.spec.late_joiners is not None else 0


def _largest(waves: Iterable[Wave]) -> int:
    return max(len(wave.devices) for wave in waves)


def _exception(exceptions: Sequence[GuardRailException], policy: str, rule: RuleName) -> int | None:
    at = (n for n, one in enumerate(exceptions) if (one.policy, one.rule) == (policy, rule) and one.reason.strip())
    return next(at, None)


def _frozen(own: Sequence[FreezeOf]) -> str:
    return "frozen " + ", ".join(f"{one.freeze.from_} to {one.freeze.until}" for one in own)


def _of(part: int, total: int) -> str:
    return f"{part} of {_devices(total)}"


def _devices(number: int) -> str:
    return f"{number} device{'s' * (number != 1)}"


def _told(share: Share) -> str:
    parts = [f"{share.percent:g} %"] if share.percent is not None else []
    return " and ".join([*parts, *([_devices(share.devices)] if share.devices is not None else [])])


def _span(seconds: int) -> str:
    """Return seconds as one writes a duration."""
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds and seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
