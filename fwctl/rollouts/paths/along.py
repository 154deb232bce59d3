"""The path of one device along a chain of releases: what it gets of it follows from the version that it runs.

Upwards a device passes every barrier above it, and jumps directly where the next release accepts what it runs
(`requiresFrom`), else over the releases that were chosen between. Downwards it goes directly. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence

from fwctl_agent.protocol.statements import Release
from fwctl_agent.protocol.versions import version_key

Path = tuple[Release, ...]


class Paths:
    """The paths along one chain; each is found once, because a fleet runs few versions."""

    def __init__(self, stops: Sequence[Release], barriers: frozenset[str]) -> None:
        self._stops = tuple(stops)
        self._barriers = barriers
        self._by_digest = {stop.digest: stop for stop in stops}
        self._known: dict[tuple[str, str], Path | None] = {}

    @property
    def target(self) -> Release:
        return self._stops[-1]

    @property
    def direct(self) -> bool:
        """Say whether nobody needs to ask: one release that accepts whatever runs."""
        return len(self._stops) == 1 and self.target.requires_from is None

    def stop(self, digest: str) -> Release | None:
        """Return a release of the chain."""
        return self._by_digest.get(digest)

    def of(self, version: str, hardware: str = "") -> Path | None:
        """Return the releases that a device on this version gets, the target last; None if no legal path leads there.

        `hardware`, where it is known, is what each of them must list. A device that runs the target itself has
        arrived; who asks knows that by the digest, not by the version.
        """
        key = (version, hardware)
        if key not in self._known:
            self._known[key] = self._find(version, hardware)
        return self._known[key]

    def _find(self, version: str, hardware: str) -> Path | None:
        """Find the path with the fewest releases; of two such, the one that gets further first."""
        if version_key(version) >= version_key(self.target.version):
            return (self.target,) if _fits(self.target, version, hardware) else None
        last = len(self._stops) - 1
        ways: list[Path | None] = [None] * last + [(self.target,)]
        for at in range(last - 1, -1, -1):
            stop = self._stops[at]
            ways[at] = self._shortest(stop.version, at + 1, ways, hardware, before=(stop,))
        above = (at for at, stop in enumerate(self._stops) if version_key(stop.version) > version_key(version))
        return self._shortest(version, next(above), ways, hardware)

    def _shortest(
        self, version: str, first: int, ways: Sequence[Path | None], hardware: str, *, before: Path = ()
    ) -> Path | None:
        """Return `before` and the shortest way on for a device on `version`, over stops from number `first` on."""
        found: Path | None = None
        for at in range(first, len(self._stops)):
            stop, way = self._stops[at], ways[at]
            if way is not None and _fits(stop, version, hardware) and (found is None or len(way) <= len(found)):
                found = way
            if stop.digest in self._barriers:
                break  # nobody jumps over it
        return None if found is None else (*before, *found)


def _fits(release: Release, version: str, hardware: str) -> bool:
    """Say whether a device on this version may get the release next."""
    wanted = release.requires_from
    return (wanted is None or version in wanted) and (not hardware or hardware in release.hardware)
