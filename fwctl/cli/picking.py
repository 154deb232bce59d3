"""The work behind `device list` and `device show`: which devices, and all that is known of one."""

from __future__ import annotations

import base64
import json
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from fwctl.cli.bills import Found
from fwctl.cli.looking import STATES, Book, DeviceLine, unknown
from fwctl.cli.planning import find_rollouts
from fwctl.errors import UsageError
from fwctl.manifests.repo import Device, LoadedFirmware
from fwctl.manifests.table import Profile
from fwctl.manifests.targets import group_mask
from fwctl.rollouts.compile import release_of
from fwctl.state import EventRow, OrderRow, OutcomeRow


@dataclass(frozen=True)
class Filter:
    """Which devices are asked for; empty means any."""

    group: str = ""
    model: str = ""
    env: str = ""
    state: str = ""
    region: str = ""
    site: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    rollout: str = ""
    version: str = ""
    """what they run"""
    unreachable: bool = False
    older_than: timedelta | None = None
    """the least age of the last observation; what was never seen is older than anything"""
    after: str = ""
    """ids behind this one"""
    component: Found | None = None
    """what is known of who runs a component"""

    def fits(self, profile: Profile) -> bool:
        """Say whether git's side of it holds for the devices of a profile."""
        wanted = {"model": self.model, "env": self.env, "region": self.region, "site": self.site}
        given = dict(profile.labels)
        return all(not value or getattr(profile, name) == value for name, value in wanted.items()) and all(
            given.get(key) == value for key, value in self.labels
        )

    def passes(self, line: DeviceLine, now: datetime) -> bool:
        """Say whether the ledger's side of it holds for a device."""
        row, states = line.row, (line.state, "quarantined" if line.quarantine else "")
        seen = row.observed_at if row else None
        return (
            (not self.state or self.state in states)
            and (not self.rollout or line.rollout == self.rollout)
            and (not self.version or line.runs == self.version)
            and (not self.unreachable or (row is not None and not row.reachable))
            and (self.older_than is None or seen is None or now - seen > self.older_than)
        )


@dataclass(frozen=True)
class DeviceDetail:
    """One device with its history."""

    line: DeviceLine
    release: str
    orders: tuple[OrderRow, ...]
    last_outcome: OutcomeRow | None
    evidence: tuple[Mapping[str, object], ...]
    events: tuple[EventRow, ...]
    now: datetime


def select(book: Book, wanted: Filter) -> Iterator[DeviceLine]:
    """Return the devices that pass all filters, by id, one after another.

    Raises:
        InputError: a group or rollout that does not exist.
        UsageError: a state that no device can have. Silence would look like "none".
    """
    ids = chosen(book, wanted)
    if wanted.state and wanted.state not in STATES:
        raise UsageError(
            f"no device can be {wanted.state[:40]!r}",
            code="E_USAGE",
            place="--state",
            remedy=f"One of: {', '.join(STATES)}",
        )
    if wanted.rollout:
        wanted = replace(wanted, rollout=find_rollouts(book.repo, wanted.rollout)[0].key)
    if wanted.component is not None:
        ids = tuple(device for device in ids if device in wanted.component.running)
    behind = ids[bisect_right(ids, wanted.after) :]
    return (line for line in book.devices(behind) if wanted.passes(line, book.now))


def chosen(book: Book, wanted: Filter) -> tuple[str, ...]:
    """Return the devices for which git's side of the filters holds, by id.

    Raises:
        InputError: a group that does not exist.
    """
    if wanted.group and wanted.group not in book.repo.groups:
        raise unknown(
            wanted.group,
            list(book.repo.groups),
            what="group",
            code="E_NO_GROUP",
            place="--group",
            see="fwctl group list",
        )
    mask = book.repo.devices.where(wanted.fits)
    if wanted.group:
        mask &= group_mask(book.repo, book.repo.groups[wanted.group])
    return book.repo.devices.named(mask)


class Page:
    """The first lines of many, at most `limit`; afterwards it knows the last one and whether there are more."""

    def __init__(self, lines: Iterator[DeviceLine], limit: int | None) -> None:
        self._lines = lines
        self._limit = limit
        self.last = ""
        self.more = False

    def __iter__(self) -> Iterator[DeviceLine]:
        for number, line in enumerate(self._lines):
            if number == self._limit:
                self.more = True
                return
            self.last = line.device.id
            yield line


def labels(given: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Return the labels of `KEY=VALUE` words.

    Raises:
        UsageError: one has no `=`.
    """
    for word in given:
        if "=" not in word:
            raise UsageError(
                f"{word[:40]!r} is no label", code="E_USAGE", place="--label", remedy="KEY=VALUE, such as ring=prod."
            )
    return tuple((key, value) for key, _, value in (word.partition("=") for word in given))


def age(text: str) -> timedelta:
    """Return the length of `2d`.

    Raises:
        UsageError: it is no duration.
    """
    from fwctl.cli.following import seconds

    return timedelta(seconds=seconds(text, place="--older-than"))


def device_detail(book: Book, name: str) -> DeviceDetail:
    """Return one device with its orders, its last outcome and its newest events.

    Raises:
        InputError: `E_NO_DEVICE`.
    """
    found(book.repo.devices, name, what="device", code="E_NO_DEVICE", place="devices/", see="fwctl device list")
    line = book.device(name)
    with book.settings.ledger(book.repo.fleet.spec.repo_id) as ledger:
        orders = ledger.orders(device=name) if ledger else ()
        outcomes = [
            outcome
            for mandate in dict.fromkeys(order.mandate for order in orders)
            for outcome in (ledger.outcomes(mandate, name) if ledger else ())
        ]
        events = tuple(reversed(ledger.latest_events(limit=10, device=name))) if ledger else ()
    last = max(outcomes, key=lambda one: one.counter, default=None)
    release = next((f"{m} {v}" for (m, v), one in book.repo.firmware.items() if _runs(line, one)), "")
    return DeviceDetail(line, release, orders, last, _evidence(last), events, book.now)


def found(known: Mapping[str, Device], name: str, *, what: str, code: str, place: str, see: str) -> Device:
    """Return what has that name.

    Raises:
        InputError: nothing has, with the closest name there is.
    """
    if name in known:
        return known[name]
    raise unknown(name, list(known), what=what, code=code, place=place, see=see)


def _runs(line: DeviceLine, firmware: LoadedFirmware) -> bool:
    return line.row is not None and line.row.running_release == release_of(firmware.model).digest


def _evidence(outcome: OutcomeRow | None) -> tuple[Mapping[str, object], ...]:
    """Return the probe results that the device signed with its last outcome."""
    if outcome is None:
        return ()
    payload = outcome.envelope.get("payload")
    try:
        return tuple(json.loads(base64.b64decode(str(payload))).get("evidence", ()))
    except (ValueError, AttributeError):
        return ()
