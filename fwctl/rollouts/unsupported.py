"""What a manifest may say by its schema, but this release does not do yet: refused, never silently ignored.

A window or a limit that nobody enforces would be worse than none. Each entry goes when its feature lands.
"""

from __future__ import annotations

from collections.abc import Iterator

from fwctl.manifests.diagnostic import Loc
from fwctl.manifests.models import RolloutSpec

Found = tuple[Loc, str]


def not_enforced(spec: RolloutSpec) -> Iterator[Found]:
    """Return the place and the name of everything in `spec`, as it was written, that would not be enforced."""
    if spec.rollback.scope == "wave":
        yield ("spec", "rollback", "scope"), "a rollback of one wave"
