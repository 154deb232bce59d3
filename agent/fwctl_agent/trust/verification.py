"""The checks whose result depends on nothing but the bytes, the policy and the time: a port of the device.

`Verification` makes every check. `SharedVerification` makes each one once for identical bytes, however many devices of
one process ask: a shortcut for dense simulations, never for a device. It remembers successes only, looks at every date
again, and leaves alone what belongs to one device: its order, its place in the lock, its own marks.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from tuf.api.metadata import Metadata

from fwctl_agent.errors import Refusal
from fwctl_agent.protocol import canonical
from fwctl_agent.protocol.messages import MAX_ORDER_BODY, OrderRequest
from fwctl_agent.protocol.statements import Mandate, Release
from fwctl_agent.trust.approvals import CLOCK_TOLERANCE, Tally, tally, verify_release
from fwctl_agent.trust.metadata import TrustedMetadata
from fwctl_agent.trust.policy import Policy

Envelopes = Iterable[Mapping[str, Any]]
_REST: Final = b',"approvals":'


class Verification:
    """Every check, every time."""

    def request(self, body: bytes) -> OrderRequest:
        """As `OrderRequest.from_bytes`."""
        return OrderRequest.from_bytes(body)

    def bootstrap(self, root: str) -> TrustedMetadata:
        """As `TrustedMetadata.bootstrap`."""
        return TrustedMetadata.bootstrap(root)

    def restore(self, files: Mapping[str, str]) -> TrustedMetadata:
        """As `TrustedMetadata.restore`."""
        return TrustedMetadata.restore(files)

    def advance(
        self, state: TrustedMetadata, bundle: Mapping[str, str], *, now: datetime, fresh: bool
    ) -> TrustedMetadata:
        """As `TrustedMetadata.advance`."""
        return state.advance(bundle, now=now, fresh=fresh)

    def tally(
        self, envelopes: Envelopes, *, mandate: str, policy: Policy, now: datetime, suspect: bool
    ) -> tuple[Tally, Mandate | None]:
        """As `approvals.tally`."""
        return tally(envelopes, mandate=mandate, policy=policy, now=now, suspect=suspect)

    def release(self, envelopes: Envelopes, *, digest: str, policy: Policy) -> Release:
        """As `approvals.verify_release`, without the signers."""
        return verify_release(envelopes, digest=digest, policy=policy)[0]


class Memo:
    """The newest results by key. Each entry keeps what its key names by `id` alive, so that no id comes back."""

    def __init__(self, size: int = 64) -> None:
        self._size = size
        self._found: OrderedDict[Hashable, tuple[Any, tuple[object, ...]]] = OrderedDict()

    def get(self, key: Hashable) -> Any:
        found = self._found.get(key)
        if found is None:
            return None
        self._found.move_to_end(key)
        return found[0]

    def put(self, key: Hashable, result: Any, *alive: object) -> None:
        self._found[key] = (result, alive)
        if len(self._found) > self._size:
            self._found.popitem(last=False)


class SharedVerification(Verification):
    """Each check once for identical bytes.

    `request` gives equal parts of two requests as one object; the checks know parts again by that identity, so what
    did not come through `request` is checked in full.
    """

    def __init__(self) -> None:
        self._parts = Memo()
        self._known = Memo(256)
        self._results = Memo()
        self.hits = 0
        """checks that were not made again"""

    def request(self, body: bytes) -> OrderRequest:
        at = body.find(_REST)
        if at < 0 or len(body) > MAX_ORDER_BODY:
            return super().request(body)
        rest = body[at:]
        try:
            # `{A` and `,B}` are the halves of one JSON object exactly if `{A}` and `{B}` are JSON objects; the strict
            # reader sees both, and a member of A cannot be in B again, where only the three others may stand.
            first = canonical.decode(body[:at] + b"}", what="order request")
            parts: OrderRequest | None = self._parts.get(rest)
            if parts is None:
                parts = OrderRequest.from_bytes(b'{"order":{}' + rest)
                self._parts.put(rest, parts)
                for part in (parts.approvals, parts.releases, parts.trust):
                    self._known.put(id(part), part)
        except Refusal:
            return super().request(body)
        if not isinstance(first, dict) or set(first) != {"order"} or not isinstance(first["order"], dict):
            return super().request(body)
        return OrderRequest(first["order"], parts.approvals, parts.releases, parts.trust)

    def bootstrap(self, root: str) -> TrustedMetadata:
        return self._hit("root", root) or self._keep(super().bootstrap(root), "root", root)

    def restore(self, files: Mapping[str, str]) -> TrustedMetadata:
        key = _content(files)
        return self._hit("files", key) or self._keep(super().restore(files), "files", key)

    def advance(
        self, state: TrustedMetadata, bundle: Mapping[str, str], *, now: datetime, fresh: bool
    ) -> TrustedMetadata:
        key = ("advance", id(state), id(bundle), fresh)
        found: tuple[TrustedMetadata, datetime] | None = self._hit(*key)
        if found is not None and now < found[1]:
            return found[0]
        after = super().advance(state, bundle, now=now, fresh=fresh)
        if self._known.get(id(bundle)) is bundle:
            # What a device stores of this set comes back as the same object when it starts again.
            after = self._hit("files", _content(after.files)) or self._keep(after, "files", _content(after.files))
            self._results.put(key, (after, _end(after)), state, bundle)
        return after

    def tally(
        self, envelopes: Envelopes, *, mandate: str, policy: Policy, now: datetime, suspect: bool
    ) -> tuple[Tally, Mandate | None]:
        key = ("tally", id(envelopes), mandate, id(policy))
        found: tuple[Tally, Mandate | None] | None = self._hit(*key)
        if found is not None and _all_in_force(found[0], now, suspect=suspect):
            return found
        counted = super().tally(envelopes, mandate=mandate, policy=policy, now=now, suspect=suspect)
        # Where one was ignored, or two are of one person, the dates of the others could change the result.
        if isinstance(envelopes, tuple) and len(counted[0].votes) == len(envelopes) and self._is_known(envelopes):
            self._results.put(key, counted, envelopes, policy)
        return counted

    def release(self, envelopes: Envelopes, *, digest: str, policy: Policy) -> Release:
        key = ("release", id(envelopes), digest, id(policy))
        found: Release | None = self._hit(*key)
        if found is None:
            found = super().release(envelopes, digest=digest, policy=policy)
            if self._is_known(envelopes):
                self._results.put(key, found, envelopes, policy)
        return found

    def _is_known(self, part: object) -> bool:
        return self._known.get(id(part)) is part

    def _hit(self, *key: Hashable) -> Any:
        found = self._results.get(key)
        self.hits += found is not None
        return found

    def _keep(self, result: TrustedMetadata, *key: Hashable) -> TrustedMetadata:
        self._results.put(key, result)
        return result


def _content(files: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(files.items()))


def _end(state: TrustedMetadata) -> datetime:
    """Return the moment from which a part of the set has expired."""
    parts: tuple[Metadata[Any] | None, ...] = (state.root, state.timestamp, state.snapshot, state.targets, state.role)
    ends: list[datetime] = [part.signed.expires for part in parts if part is not None]
    return min(ends)


def _all_in_force(judged: Tally, now: datetime, *, suspect: bool) -> bool:
    approvals = [vote.approval for vote in judged.votes]
    return all(now < one.expires and (suspect or one.approved_at <= now + CLOCK_TOLERANCE) for one in approvals)
