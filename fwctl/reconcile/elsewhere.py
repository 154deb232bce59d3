"""Who is out of service for another reason than one rollout: in flight for another one, or out of reach."""

from __future__ import annotations

from collections.abc import Iterable

from fwctl.state import Ledger


class Elsewhere:
    """Kept from look to look: only devices that something is new about are asked for again."""

    def __init__(self, ledger: Ledger, mandate: str) -> None:
        self._ledger, self._mandate = ledger, mandate
        self._down: frozenset[str] | None = None

    def look(self, news: Iterable[str]) -> frozenset[str]:
        """Return who is out of service; devices in quarantine are given up, and count no more."""
        known, some = self._down, None if self._down is None else frozenset(news)
        if known is not None and not some:
            return known
        found = self._ledger.out_of_service(but=self._mandate, among=some)
        found -= {row.device for row in self._ledger.quarantine()}
        if known is not None and some is not None:
            found |= known - some
        if known is None or found != set(known):
            self._down = frozenset(found)
        return self._down if self._down is not None else frozenset()
