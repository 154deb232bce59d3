"""Who goes first: membership by stable hash, cut into waves that only ever grow with the percentage."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from fractions import Fraction

from fwctl.rollouts.plan import Wave


def by_lot(members: Sequence[str], rollout: str) -> tuple[str, ...]:
    """Return the members in the rollout's own order: a hash of (device, rollout), the same from every clone of git.

    Another rollout draws another order, so that it is not always the same devices that go first. Monotone: adding a
    device moves nobody past anybody else.
    """
    prefix, sha256 = f"{rollout}\0".encode(), hashlib.sha256
    drawn = [sha256(prefix + (device := member.encode())).digest() + device for member in members]
    drawn.sort()  # digests have one length, so this is the order of (digest, device)
    return tuple([lot[32:].decode() for lot in drawn])


def share(percent: float, total: int) -> int:
    """Return the whole devices in a share, rounded up: 5 % of 37 is 2. Exact, whatever the percentage."""
    exact = Fraction(str(percent)) * total / 100
    return min(total, -(-exact.numerator // exact.denominator))


def cut(
    ordered: Sequence[str],
    ends: Sequence[int],
    *,
    soak: int,
    approval_before: Sequence[str] = (),
    max_unavailable: int | None = None,
) -> tuple[Wave, ...]:
    """Cut `ordered` at the cumulative counts `ends`; waves that add nobody are merged into the next.

    A wave keeps the number of its step. An approval point attaches to the next wave that has devices at or after it,
    and opens a new stage (CONTRACTS, "The mandate").
    """
    waves: list[Wave] = []
    begin, stage, pending = 0, 1, False
    for number, end in enumerate(ends, start=1):
        name = f"wave-{number}"
        pending = pending or name in approval_before
        if end <= begin:
            continue
        if pending:
            stage, pending = stage + 1, False
        members = tuple(sorted(ordered[begin:end]))
        waves.append(Wave(name, stage, members, soak, max_unavailable=max_unavailable))
        begin = end
    return tuple(waves)
