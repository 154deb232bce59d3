"""The client workflow of TUF as a functional core: bytes and a time in, a new trusted set or a refusal out.

It reads no file, opens no connection and asks no clock. Signatures, thresholds and formats are python-tuf's public
metadata API; the order of the checks is that of the TUF specification, section 5, whose numbers stand at each block
(ADR-0002 says why this is not `tuf.ngclient`). Two things are added: keys are vetted and counted by material, and
freshness (snapshot, timestamp) is a separate step, which a reviewer without the freshness key can leave out.

Names of files, relative to `trust/`: `N.root.json`, `timestamp.json`, `snapshot.json`, `targets.json`, `policy.json`
(the delegated role) and `policy/policy.json` (its one target).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, TypeVar

from securesystemslib.formats import encode_canonical
from tuf.api.exceptions import DownloadError, RepositoryError
from tuf.api.metadata import Metadata, MetaFile, Root, Signed, Snapshot, Targets, Timestamp

from fwctl_agent.errors import Refusal
from fwctl_agent.protocol import canonical
from fwctl_agent.protocol.messages import TrustVersions
from fwctl_agent.trust.policy import Policy
from fwctl_agent.trust.roles import (
    POLICY_ROLE,
    POLICY_TARGET,
    check_apart,
    check_delegation,
    check_root,
    keys_of,
    policy_target,
)
from fwctl_agent.trust.unreadable import unreadable

MAX_ROTATIONS: Final = 256
_ROOT_NAME: Final = re.compile(r"([1-9][0-9]{0,8})\.root\.json")
_KEPT: Final = ("timestamp.json", "snapshot.json", "targets.json", "policy.json", POLICY_TARGET)

__all__ = ["MAX_ROTATIONS", "POLICY_ROLE", "POLICY_TARGET", "TrustedMetadata", "parse_metadata"]

S = TypeVar("S", Root, Timestamp, Snapshot, Targets)


@dataclass(frozen=True)
class TrustedMetadata:
    """What is trusted now. `files` is all there is to persist: one atomic write keeps the set whole (D18)."""

    files: Mapping[str, str]
    root: Metadata[Root]
    timestamp: Metadata[Timestamp] | None = None
    snapshot: Metadata[Snapshot] | None = None
    targets: Metadata[Targets] | None = None
    role: Metadata[Targets] | None = None
    policy: Policy | None = None

    @classmethod
    def bootstrap(cls, root: str) -> TrustedMetadata:
        """Start from a pinned root, which is trusted because it was handed over (TUF 5.2).

        Raises:
            Refusal: the root is malformed, its keys are unusable, or it does not sign itself.
        """
        metadata = parse_metadata(root, Root, "root.json")
        check_root(metadata.signed)
        _verify(metadata.signed, "root", metadata)
        return cls({f"{metadata.signed.version}.root.json": root}, metadata)

    @classmethod
    def restore(cls, files: Mapping[str, str]) -> TrustedMetadata:
        """Rebuild from `files` that an earlier `advance` returned. Expiry is not looked at: it was, then.

        Raises:
            Refusal: the files are not a set that was ever returned.
        """
        roots = [name for name in files if _ROOT_NAME.fullmatch(name)]
        if len(roots) != 1:
            raise Refusal("E_SCHEMA", "stored trust has no single root")
        state = cls.bootstrap(files[roots[0]])
        rest = {name: text for name, text in files.items() if name in _KEPT}
        return state._load(rest, now=None, fresh="timestamp.json" in rest) if rest else state

    def advance(self, bundle: Mapping[str, str], *, now: datetime, fresh: bool) -> TrustedMetadata:
        """Return the set after `bundle`; this one stays as it is.

        With `fresh`, snapshot and timestamp must be there, valid at `now`, and not older than what is trusted. Without,
        only root, targets and policy are judged: for reviewers, who do not hold the freshness key. A set that knows
        freshness cannot go on without, or it would forget which versions it has seen (I4).

        Raises:
            Refusal: `E_ROOT_CHAIN`, `E_SIG_THRESHOLD`, `E_EXPIRED`, `E_META_ROLLBACK`, `E_META_MISMATCH`, `E_KEY_*`,
                `E_POLICY_INVALID` or `E_SCHEMA`.
        """
        if self.timestamp and not fresh:
            raise Refusal("E_META_ROLLBACK", "trust that knows a timestamp is only followed by trust with one")
        return self._roots(bundle, now)._load(bundle, now=now, fresh=fresh)

    @property
    def versions(self) -> TrustVersions:
        found = (self.root, self.targets, self.role, self.snapshot, self.timestamp)
        return TrustVersions(*(metadata.signed.version if metadata else 0 for metadata in found))

    def timestamp_version(self, text: str) -> int:
        """Return the version of a timestamp that the trusted root's key signed; expiry does not matter here.

        Raises:
            Refusal: it is not signed by that key, or malformed.
        """
        metadata = parse_metadata(text, Timestamp, "timestamp.json")
        _verify(self.root.signed, "timestamp", metadata)
        return metadata.signed.version

    def _roots(self, bundle: Mapping[str, str], now: datetime) -> TrustedMetadata:
        """TUF 5.3: walk from the trusted root to the newest one, one version at a time."""
        found = {int(match[1]): text for name, text in bundle.items() if (match := _ROOT_NAME.fullmatch(name))}
        state, version = self, self.root.signed.version
        newest = max(found, default=version)
        if newest - version > MAX_ROTATIONS:
            raise Refusal("E_ROOT_CHAIN", f"more than {MAX_ROTATIONS} root rotations at once")
        for number in range(version + 1, newest + 1):
            if number not in found:
                raise Refusal("E_ROOT_CHAIN", f"root version {number} is missing: roots are walked one by one")
            state = state._next_root(found[number])
        # TUF 5.3.10: only the newest root must not be expired.
        _check_expiry(state.root.signed, "root.json", now)
        return state

    def _next_root(self, text: str) -> TrustedMetadata:
        old, new = self.root, parse_metadata(text, Root, "root.json")
        check_root(new.signed)
        try:  # TUF 5.3.4: a threshold of the old keys and of the new keys
            _verify(old.signed, "root", new)
            _verify(new.signed, "root", new)
        except Refusal as error:
            raise Refusal("E_ROOT_CHAIN", f"root version {new.signed.version}: {error.message}") from error
        if new.signed.version != old.signed.version + 1:  # TUF 5.3.5
            raise Refusal("E_ROOT_CHAIN", f"root version {new.signed.version} does not follow {old.signed.version}")
        state = replace(self, root=new, files=_with_root(self.files, new.signed.version, text))
        # TUF 5.3.11: recovery from a fast-forward attack. A version binds only while the keys stay the same; that of
        # targets too, for a reviewer has no snapshot to remember it (and a device's snapshot remembers it anyway).
        if keys_of(old.signed, "targets") != keys_of(new.signed, "targets"):
            state = replace(state, targets=None, role=None)
        if any(keys_of(old.signed, role) != keys_of(new.signed, role) for role in ("timestamp", "snapshot")):
            kept = {name: text for name, text in state.files.items() if name not in ("timestamp.json", "snapshot.json")}
            return replace(state, timestamp=None, snapshot=None, files=kept)
        return state

    def _load(self, bundle: Mapping[str, str], *, now: datetime | None, fresh: bool) -> TrustedMetadata:
        files = {name: text for name, text in self.files.items() if _ROOT_NAME.fullmatch(name)}
        files |= {name: _text(bundle, name) for name in (_KEPT if fresh else _KEPT[2:])}
        timestamp = self._timestamp(files, now) if fresh else None
        snapshot = self._snapshot(files, timestamp, now) if timestamp else None
        # TUF 5.6: targets, then the delegated policy role
        targets = self._targets(self.root.signed, "targets", files, self.targets, snapshot, now)
        check_delegation(targets.signed)
        same = self.targets and keys_of(self.targets.signed, POLICY_ROLE) == keys_of(targets.signed, POLICY_ROLE)
        role = self._targets(targets.signed, POLICY_ROLE, files, self.role if same else None, snapshot, now)
        policy = policy_target(role.signed, files[POLICY_TARGET])
        check_apart(self.root.signed, targets.signed, policy)
        if self.policy and self.policy.repo_id != policy.repo_id:
            raise Refusal("E_META_MISMATCH", "the policy belongs to another repository")
        return replace(
            self, files=files, timestamp=timestamp, snapshot=snapshot, targets=targets, role=role, policy=policy
        )

    def _timestamp(self, files: Mapping[str, str], now: datetime | None) -> Metadata[Timestamp]:
        """TUF 5.4."""
        new = parse_metadata(files["timestamp.json"], Timestamp, "timestamp.json")
        _verify(self.root.signed, "timestamp", new)
        old = self.timestamp
        if old:
            _check_version("timestamp.json", old.signed.version, new.signed.version)
            if new.signed.version == old.signed.version and files["timestamp.json"] != self.files["timestamp.json"]:
                raise Refusal("E_META_ROLLBACK", "two different timestamps of one version")
            _check_version(
                "snapshot.json", old.signed.snapshot_meta.version, new.signed.snapshot_meta.version
            )  # TUF 5.4.3.2
        _check_expiry(new.signed, "timestamp.json", now)
        return new

    def _snapshot(
        self, files: Mapping[str, str], timestamp: Metadata[Timestamp], now: datetime | None
    ) -> Metadata[Snapshot]:
        """TUF 5.5."""
        text = files["snapshot.json"]
        new = parse_metadata(text, Snapshot, "snapshot.json")
        _check_meta(timestamp.signed.snapshot_meta, text, new.signed, "snapshot.json")
        _verify(self.root.signed, "snapshot", new)
        for name, info in (self.snapshot.signed.meta if self.snapshot else {}).items():  # TUF 5.5.5
            if name not in new.signed.meta:
                raise Refusal("E_META_ROLLBACK", f"{name} was removed from the snapshot")
            _check_version(name, info.version, new.signed.meta[name].version)
        _check_expiry(new.signed, "snapshot.json", now)
        return new

    @staticmethod
    def _targets(
        delegator: Root | Targets,
        role: str,
        files: Mapping[str, str],
        old: Metadata[Targets] | None,
        snapshot: Metadata[Snapshot] | None,
        now: datetime | None,
    ) -> Metadata[Targets]:
        """TUF 5.6.1 to 5.6.6, for the top-level role and for the policy role."""
        name = f"{role}.json"
        new = parse_metadata(files[name], Targets, name)
        _verify(delegator, role, new)
        if old:
            _check_version(name, old.signed.version, new.signed.version)
            if new.signed.version == old.signed.version and new.signed_bytes != old.signed_bytes:
                raise Refusal("E_META_ROLLBACK", f"two different {name} of version {new.signed.version}")
        if snapshot:
            if name not in snapshot.signed.meta:
                raise Refusal("E_META_MISMATCH", f"the snapshot does not list {name}")
            _check_meta(snapshot.signed.meta[name], files[name], new.signed, name)
        _check_expiry(new.signed, name, now)
        return new


def _with_root(files: Mapping[str, str], version: int, text: str) -> dict[str, str]:
    return {name: old for name, old in files.items() if not _ROOT_NAME.fullmatch(name)} | {f"{version}.root.json": text}


def _text(bundle: Mapping[str, str], name: str) -> str:
    if name not in bundle:
        raise Refusal("E_META_MISMATCH", f"trust/{name} is missing")
    return bundle[name]


def parse_metadata(text: str, kind: type[S], name: str) -> Metadata[S]:
    """Return metadata that can be read in one way only; no signature is looked at.

    Raises:
        Refusal: `E_SCHEMA`, or `E_SIG_TYPE` for metadata of another role.
    """
    data = text.encode(errors="surrogatepass")
    raw = canonical.decode(data, what=f"trust/{name}")  # python-tuf reads with json.loads: duplicate keys die before
    try:
        metadata = Metadata.from_bytes(data)
        signed_bytes = metadata.signed_bytes
    except (RepositoryError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise unreadable(raw, f"trust/{name}") from error
    signed = metadata.signed
    # python-tuf verifies what it understood, not what it read: null would become version 1
    if signed_bytes != str(encode_canonical(raw["signed"])).encode():
        raise Refusal("E_SCHEMA", f"trust/{name} can be read in two ways")
    if type(signed.version) is not int:
        raise Refusal("E_SCHEMA", f"trust/{name} has a version that is not a whole number")
    if not isinstance(signed, kind):
        raise Refusal("E_SIG_TYPE", f"trust/{name} is metadata of type {metadata.signed.type}")
    if any(type(info.version) is not int for info in _promised(signed)):  # python-tuf takes true for 1
        raise Refusal("E_SCHEMA", f"trust/{name} promises a version that is not a whole number")
    return metadata


def _promised(signed: Signed) -> Iterable[MetaFile]:
    match signed:
        case Timestamp():
            return (signed.snapshot_meta,)
        case Snapshot():
            return signed.meta.values()
        case _:
            return ()


def _verify(delegator: Root | Targets, role: str, new: Metadata[S]) -> None:
    try:
        result = delegator.get_verification_result(role, new.signed_bytes, new.signatures)
    except (ValueError, RepositoryError, DownloadError) as error:
        raise Refusal("E_SIG_THRESHOLD", f"{role} metadata: {error}") from error
    if not result.verified:
        code = "E_SIG_THRESHOLD" if new.signatures else "E_SIG_MISSING"
        raise Refusal(code, f"{role} metadata has {len(result.signed)} of {result.threshold} signatures")


def _check_meta(info: MetaFile, text: str, signed: Signed, name: str) -> None:
    """A stated length or hash must hold, and the version must be the one that was promised (no mix-and-match)."""
    data = text.encode()
    lengths = info.length is None or info.length == len(data)
    hashes = all(canonical.digest(data) == f"sha256:{value}" for value in (info.hashes or {}).values())
    if signed.version != info.version or not lengths or not hashes:
        raise Refusal("E_META_MISMATCH", f"{name} is version {signed.version}, promised was {info.version}")


def _check_version(name: str, old: int, new: int) -> None:
    if new < old:
        raise Refusal("E_META_ROLLBACK", f"{name} went back from version {old} to {new}")


def _check_expiry(signed: Signed, name: str, now: datetime | None) -> None:
    if now is not None and signed.is_expired(now):
        raise Refusal(
            "E_EXPIRED", f"{name} expired at {signed.expires:%Y-%m-%dT%H:%M:%SZ}: stale, or held back by somebody"
        )
