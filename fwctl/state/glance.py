"""Of which devices there is something to tell: the others are where they should be, or have never been asked."""

from __future__ import annotations

from datetime import datetime

from fwctl.state.reader import Reader
from fwctl.state.times import from_text

# Nearly every device is read: to walk an index and look each of them up would cost twice that. Hence the unary plus: a
# term with it cannot make a partial index qualify (sqlite.org/optoverview.html).
_PLAIN = "spent = '' AND +reachable = 1 AND deferred_since IS NULL AND next_due IS NULL"
_ARRIVED = f"SELECT id, observed_at FROM devices WHERE running_release = ? AND {_PLAIN}"  # noqa: S608
_OTHERS = f"SELECT id FROM devices WHERE NOT ({_PLAIN})"  # noqa: S608
_ORDERED = "SELECT DISTINCT device FROM orders WHERE mandate = ?"
_UNSETTLED = "SELECT device FROM orders WHERE mandate = ? AND (status <> 'settled' OR class <> '')"


def arrived(ledger: Reader, release: str) -> dict[str, datetime | None]:
    """Return which devices run a release, answer, and are not due for anything; and when each was seen."""
    return {device: from_text(seen) for device, seen in ledger.ask(_ARRIVED, (release,))}


def telling(ledger: Reader, mandate: str) -> set[str]:
    """Return the devices that are silent, deferred, due or have taken something back, and those with an order of the
    mandate that is open or ended badly."""
    found = [*ledger.ask(_OTHERS, ()), *ledger.ask(_UNSETTLED, (mandate,))]
    return {device for (device,) in found}


def ordered(ledger: Reader, mandate: str) -> set[str]:
    """Return the devices that ever had an order of a mandate."""
    return {device for (device,) in ledger.ask(_ORDERED, (mandate,))}
