"""The open proposal, for those who look: what it changes, who has to sign it, what they type."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fwctl.errors import FwctlError
from fwctl.trust.difference import difference
from fwctl.trust.proposal import Need, Proposal, Waste


@dataclass(frozen=True)
class Open:
    """The proposal at HEAD, or why it cannot be one any more."""

    differences: tuple[str, ...]
    needs: tuple[Need, ...]
    wasted: tuple[Waste, ...]
    problem: FwctlError | None = None

    @property
    def missing(self) -> tuple[Need, ...]:
        return tuple(need for need in self.needs if not need.holds)

    @property
    def commands(self) -> tuple[str, ...]:
        """What those who are missing type, each on their own machine."""
        if self.problem:
            return ('fwctl trust drop --reason "it cannot become trust"',)
        names = dict.fromkeys(name for need in self.missing for name in need.missing)
        return tuple(f"fwctl trust sign --as {name}" for name in names) or ("fwctl trust sign",)


def read_open(files: Mapping[str, bytes], pinned: str) -> Open | None:
    """Return the open proposal of a commit for those who look."""
    try:
        proposal = Proposal.read(files, pinned=pinned)
    except FwctlError as error:
        return Open((), (), (), error)
    return open_of(proposal) if proposal else None


def open_of(proposal: Proposal) -> Open:
    return Open(difference(proposal), proposal.needs(), proposal.wasted())
