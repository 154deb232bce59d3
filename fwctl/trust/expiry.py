"""What ends by itself, when, and what renews it: one judgement for `doctor`, `status` and their JSON.

Pure but for `certificates`, which reads files; light to import, because `status` does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from fwctl.trust.authority import Authority, Verdict

Level = Literal["ok", "notice", "warning", "critical", "expired"]
LEVELS: Final[tuple[tuple[int, Level], ...]] = ((7, "critical"), (14, "warning"), (30, "notice"))
"""days left, and how urgent that is"""
LISTED: Final = 100
"""of many devices, so many certificates are told one by one"""


@dataclass(frozen=True)
class Thing:
    """Something that ends. `renew` is the literal command that keeps it from ending."""

    what: str
    expires: datetime
    renew: str
    rollout: str = ""
    """of an approval: once its rollout is complete, nothing needs it any more"""
    begins: datetime | None = None
    """of what lives for weeks: nobody is warned in the first half of its life"""


@dataclass(frozen=True)
class Expiring:
    """When a thing ends, in whole days (below 0: since), and how urgent that is."""

    what: str
    expires: datetime
    days: int
    level: Level
    renew: str


def expiring(things: Iterable[Thing], now: datetime) -> tuple[Expiring, ...]:
    """Return all things as they stand at `now`, what ends first before the others. Pure."""
    found = (
        Expiring(one.what, one.expires, (one.expires - now).days, _level_of(one, now), one.renew) for one in things
    )
    return tuple(sorted(found, key=lambda one: (one.expires, one.what)))


def ending(found: Iterable[Expiring]) -> tuple[Expiring, ...]:
    """Return what somebody has to renew within 30 days, or had to."""
    return tuple(one for one in found if one.level != "ok")


def as_json(found: Iterable[Expiring]) -> list[dict[str, Any]]:
    """Return what ends, for programs: ready to be made a metric (`days` by `what`)."""
    return [
        {
            "what": one.what,
            "expires": f"{one.expires:%Y-%m-%dT%H:%M:%SZ}",
            "days": one.days,
            "level": one.level,
            "renew": one.renew,
        }
        for one in found
    ]


def metadata(authority: Authority) -> Iterator[Thing]:
    """Yield root, targets and policy."""
    trusted = authority.trusted
    for name, one in (("root", trusted.root), ("targets", trusted.targets), ("policy", trusted.role)):
        if one is not None:
            yield Thing(name, one.signed.expires, "fwctl trust renew")


def approvals(key: str, verdict: Verdict | None) -> Iterator[Thing]:
    """Yield the approvals of a rollout that count."""
    for vote in verdict.tally.votes if verdict else ():
        command = f"fwctl approve {key} --as {vote.person} --renew"
        what, approval = f"approval of {key} by {vote.person}", vote.approval
        yield Thing(what, approval.expires, command, key, approval.approved_at)


def certificates(named: Mapping[str, tuple[Path, str]]) -> Iterator[Thing]:
    """Yield the certificates among these files (name -> file, command) that can be read."""
    from cryptography import x509

    for name, (path, renew) in named.items():
        try:
            yield Thing(name, x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc, renew)
        except (OSError, ValueError):
            continue  # the doctor says so by itself


def devices(newest: Mapping[str, str], now: datetime) -> tuple[Thing, ...]:
    """Return the certificates (device -> PEM) that end first: all that end within 30 days, else the first one.

    Of very many, the first hundred: who renews them sees the next ones then.
    """
    from cryptography import x509

    ends: list[tuple[datetime, str]] = []
    for device, pem in newest.items():
        try:
            ends.append((x509.load_pem_x509_certificate(pem.encode()).not_valid_after_utc, device))
        except ValueError:
            continue
    ends.sort()
    soon = [one for one in ends if _level(one[0] - now) != "ok"]
    return tuple(
        Thing(f"certificate of {device}", end, f"fwctl device renew {device}")
        for end, device in (soon or ends[:1])[:LISTED]
    )


def wanted(things: Iterable[Thing], complete: Callable[[str], bool]) -> tuple[Thing, ...]:
    """Leave out the approvals of rollouts that are complete: nothing waits for them."""
    return tuple(one for one in things if not one.rollout or not complete(one.rollout))


def _level_of(one: Thing, now: datetime) -> Level:
    left = one.expires - now
    young = one.begins is not None and left > (one.expires - one.begins) / 2
    return "ok" if young else _level(left)


def _level(left: timedelta) -> Level:
    if left <= timedelta():
        return "expired"
    return next((level for days, level in LEVELS if left <= timedelta(days=days)), "ok")
