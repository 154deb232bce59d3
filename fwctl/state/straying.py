"""What the search for drift asks of the ledger: few rows where nothing has drifted, found by index."""

from __future__ import annotations

from collections.abc import Iterator

from fwctl.rollouts.drift import Astray, Promise, Silent
from fwctl.state.reader import Reader
from fwctl.state.times import from_text

ASTRAY = """
    SELECT d.id, d.running_release, d.running_image, d.running_version, d.observed_at, EXISTS (
        SELECT 1 FROM events AS e WHERE e.device = d.id AND e.device <> '' AND e.at <= o.finished_at
        AND e.kind IN ('device.seen', 'device.changed', 'device.reachable') AND e.data ->> 'image' = d.running_image
    )
    FROM orders AS o JOIN devices AS d ON d.id = o.device
    WHERE o.mandate = ? AND o.verb = 'install' AND o.status = 'settled' AND o.class = ''
    AND d.running_release <> ? AND d.observed_at >= o.finished_at AND NOT EXISTS (
        SELECT 1 FROM orders AS n WHERE n.device = o.device AND (n.status <> 'settled'
            OR (n.number > o.number AND n.class = '' AND n.verb IN ('install', 'revert')))
    )
"""
SILENT = "SELECT id, observed_at, unreachable_since, failure_count, reason FROM devices WHERE reachable = 0"
OLDEST = "SELECT min(tried_at) FROM devices WHERE reachable = 1"


def astray(ledger: Reader, promise: Promise) -> Iterator[Astray]:
    """Yield the devices that a mandate was confirmed on last, and that run another release than it brought."""
    for device, release, image, version, seen, before in ledger.ask(ASTRAY, (promise.mandate, promise.release)):
        yield Astray(device, release, image, version, from_text(seen), bool(before))


def silent(ledger: Reader) -> Iterator[Silent]:
    """Yield the devices that did not answer last."""
    for device, seen, since, tries, why in ledger.ask(SILENT, ()):
        yield Silent(device, from_text(seen), from_text(since), tries, why)
