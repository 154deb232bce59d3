"""Limits by place: how many devices of one may be out of service, and how many image bytes one gets in a minute.

A place is what devices have in common by the labels that a limit names. Each budget answers for one device whether it
may start now, knows who is chosen in the present round, and collects the places where something has changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

from fwctl.manifests.scalars import Amount
from fwctl.manifests.table import Profile
from fwctl.rollouts.queues import Timers

NOWHERE: Final = "no "
"""begins the name of a place whose devices lack the label: they count as one place"""


class Places:
    """Where devices are, by number. Devices that are no members may be asked for, too, because their outages count."""

    def __init__(self, keys: Sequence[str], profile: Callable[[str], Profile | None]) -> None:
        self._keys, self._profile = keys, profile
        self._numbers: dict[str, int] = {}
        self._known: dict[int, tuple[Profile | None, int]] = {}
        self.names: list[str] = []

    def of(self, device: str) -> int:
        """Return where a device is; its labels are read once for all that share them."""
        profile = self._profile(device)
        # a profile is kept with its number, so that its identity stays its own
        known = self._known.get(id(profile))
        if known is None:
            name = place_name(self._keys, profile)
            number = self._numbers.setdefault(name, len(self._numbers))
            if number == len(self.names):
                self.names.append(name)
            known = self._known[id(profile)] = (profile, number)
        return known[1]


def place_name(keys: Sequence[str], profile: Profile | None) -> str:
    """Return the name of a place; devices that lack a label are in a place of those that lack it."""
    if profile is None:
        return "no inventory"
    facts = profile.facts
    lacking = [key for key in keys if key not in facts]
    return NOWHERE + ", ".join(lacking) if lacking else ", ".join(f"{key} {facts[key]}" for key in keys)


def share_of(most: Amount, size: int) -> int:
    """Return how many of a place with so many members may be out of service; shares round down: it is a promise."""
    return most.value if most.unit == "devices" else size * most.value // 100


class Outages:
    """`limits.disruption`: who is out of service where, because it is in flight, or because it cannot be reached."""

    def __init__(self, places: Places, members: Sequence[str], most: Amount) -> None:
        self._names, self._members, self._of = places.names, members, places.of
        self._place = list(map(places.of, members))
        self._most = {place: share_of(most, size) for place, size in Counter(self._place).items()}
        self._flying: dict[int, set[str]] = {}
        self._away: dict[int, set[str]] = {}
        self._elsewhere: frozenset[str] = frozenset()
        self._others: dict[int, set[str]] = {}
        self._chosen: dict[int, set[str]] = {}
        self.stirred: set[int] = set()
        """places where somebody may be able to start who could not"""

    def place(self, seat: int) -> int:
        return self._place[seat]

    def note(self, seat: int, *, flying: bool, away: bool) -> None:
        """Take in whether a device is in flight, and whether it cannot be reached."""
        place, device = self._place[seat], self._members[seat]
        if self._move(self._flying, place, device, flying) | self._move(self._away, place, device, away):
            self.stirred.add(place)

    @staticmethod
    def _move(sets: dict[int, set[str]], place: int, device: str, wanted: bool) -> bool:
        if (device in sets.get(place, ())) == wanted:
            return False
        if wanted:
            sets.setdefault(place, set()).add(device)
        else:
            sets[place].discard(device)
        return True

    def elsewhere(self, devices: frozenset[str]) -> None:
        """Take in who is out of service although this rollout does nothing with it: members of others, or of none."""
        for device in self._elsewhere ^ devices:
            if (place := self._of(device)) in self._most:
                self._move(self._others, place, device, device in devices)
                self.stirred.add(place)
        self._elsewhere = devices

    def take(self, seat: int) -> None:
        """Count a device as in flight for the rest of this round."""
        self._chosen.setdefault(self._place[seat], set()).add(self._members[seat])

    def end(self) -> None:
        """End the round: who was chosen is in flight by being visited, or not at all."""
        self.stirred.update(self._chosen)
        self._chosen = {}

    def may(self, seat: int) -> bool:
        """Say whether a device may start.

        No more are in flight than may be out of service; who is out of service already takes nothing more of that.
        """
        place, device = self._place[seat], self._members[seat]
        most, chosen = self._most[place], self._chosen.get(place, _NOBODY)
        flying = self._flying.get(place, _NOBODY)
        if len(flying) + len(chosen - flying) >= most:
            return False
        down = self._down(place)
        return device in down or len(down) < most

    def _down(self, place: int) -> set[str]:
        return set().union(
            *(sets.get(place, _NOBODY) for sets in (self._flying, self._away, self._others, self._chosen))
        )

    def is_down(self, seat: int) -> bool:
        """Say whether a device is out of service already."""
        return self._members[seat] in self._down(self._place[seat])

    def why(self, seat: int) -> str:
        """Return who is out of service where this device is."""
        place = self._place[seat]
        down, away = self._down(place), self._away.get(place, _NOBODY) | self._others.get(place, _NOBODY)
        busy = down - away
        some = [f"{named(busy)} in flight"] if busy else []
        some += [f"{named(away)} offline or busy elsewhere"] if away else []
        return f"{self._names[place]} has {len(down)} of at most {self._most[place]} out of service: {'; '.join(some)}"


_NOBODY: Final[frozenset[str]] = frozenset()


def named(devices: Iterable[str]) -> str:
    found = sorted(devices)
    return ", ".join(found[:3]) + (f" and {len(found) - 3} more" if len(found) > 3 else "")


class Traffic:
    """`limits.bytesPerMinutePerSite`: what each site is being sent, one image per start.

    An image counts from its start on for a minute. One that is larger than the allowance has the site for itself, for
    as many minutes as it is allowances: it waits until nothing else counts there, so it goes in the end.
    """

    def __init__(self, sites: Places, members: Sequence[str], *, per_minute: int, size: int) -> None:
        self._names, self._site = sites.names, list(map(sites.of, members))
        self._most = max(1, per_minute // size) if size else len(members) + 1
        self.span = timedelta(seconds=max(60.0, -(-60 * size // per_minute)))
        self._live: dict[int, set[int]] = {}
        self._starting: set[int] = set()
        self._ends = Timers()
        self._by_site: dict[int, Timers] = {}
        self._chosen: Counter[int] = Counter()
        self.stirred: set[int] = set()

    def place(self, seat: int) -> int:
        return self._site[seat]

    def note(self, seat: int, started_at: datetime | None, now: datetime, *, starting: bool) -> None:
        """Take in when a device was started last; `starting`: it is being visited, and may be started any moment."""
        site, end = self._site[seat], started_at + self.span if started_at else None
        live = end is not None and end > now
        (self._starting.add if starting else self._starting.discard)(seat)
        if live or starting or seat in self._live.get(site, ()):
            self._ends.set(seat, end if live else None)
            self._by_site.setdefault(site, Timers()).set(seat, end if live else None)
            sent = self._live.setdefault(site, set())
            (sent.add if live or starting else sent.discard)(seat)
            self.stirred.add(site)

    def tick(self, now: datetime) -> None:
        """Forget what was sent long enough ago."""
        for seat in self._ends.due(now):
            site = self._site[seat]
            self._by_site[site].set(seat, None)
            if seat not in self._starting:
                self._live[site].discard(seat)
                self.stirred.add(site)

    def take(self, seat: int) -> None:
        """Count a device as started for the rest of this round."""
        self._chosen[self._site[seat]] += 1

    def end(self) -> None:
        """End the round."""
        self.stirred.update(self._chosen)
        self._chosen.clear()

    def may(self, seat: int) -> bool:
        """Say whether a device may be sent its image now."""
        return not self.full(self._site[seat])

    def full(self, site: int) -> bool:
        return len(self._live.get(site, ())) + self._chosen[site] >= self._most

    def until(self, site: int) -> datetime | None:
        """Return when the next image may go to a full site; None if that depends on visits."""
        return self._by_site[site].next() if site in self._by_site else None

    def why(self, seat: int) -> str:
        """Return what is on its way to where this device is."""
        site = self._site[seat]
        number = len(self._live.get(site, ())) + self._chosen[site]
        return f"{self._names[site]} is being sent {number} image{'s' if number != 1 else ''}"
