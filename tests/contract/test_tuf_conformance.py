"""The same repository histories, judged by our functional core and by `tuf.ngclient` (guards ADR-0002)."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tuf.api.exceptions import DownloadError, DownloadHTTPError, RepositoryError
from tuf.api.metadata import MetaFile
from tuf.ngclient import FetcherInterface, Updater

from fwctl_agent.errors import Refusal
from fwctl_agent.trust.metadata import POLICY_TARGET, TrustedMetadata
from tests.contract.tuf_history import Repo, key, one_key_under_two_ids
from tests.support.signing import NOW, Fleet

SECOND = timedelta(seconds=1)
Bundle = dict[str, str]
Build = Callable[[Repo], list[Bundle]]


class MemoryFetcher(FetcherInterface):
    """Serve one bundle; whatever is not in it does not exist."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle

    def _fetch(self, url: str) -> Iterator[bytes]:
        name = urlsplit(url).path.lstrip("/")
        if name not in self.bundle:
            raise DownloadHTTPError(f"no {name}", 404)
        yield self.bundle[name].encode()


def by_ngclient(pinned: str, bundles: list[Bundle], folder: Path, now: datetime = NOW) -> list[bool]:
    """Say which bundles ngclient takes. A refused one leaves no trace: ngclient keeps files up to the failure."""
    verdicts, metadata, backup = [], folder / "metadata", folder / "backup"
    metadata.mkdir()
    for bundle in bundles:
        shutil.rmtree(backup, ignore_errors=True)
        shutil.copytree(metadata, backup, symlinks=True)
        try:
            updater = Updater(str(metadata), "http://x/", fetcher=MemoryFetcher(bundle), bootstrap=pinned.encode())
            updater._trusted_set.reference_time = now
            updater.refresh()
            info = updater.get_targetinfo(POLICY_TARGET)
            assert info is not None
            info.verify_length_and_hashes(bundle[POLICY_TARGET].encode())
            verdicts.append(True)
        except (RepositoryError, DownloadError):
            verdicts.append(False)
            shutil.rmtree(metadata)
            shutil.copytree(backup, metadata, symlinks=True)
    return verdicts


def by_us(pinned: str, bundles: list[Bundle], now: datetime = NOW) -> list[bool]:
    """Say which bundles we take, restoring from the stored files between any two."""
    verdicts, state = [], TrustedMetadata.bootstrap(pinned)
    for bundle in bundles:
        try:
            state = state.advance(bundle, now=now, fresh=True)
            verdicts.append(True)
        except Refusal:
            verdicts.append(False)
        state = TrustedMetadata.restore(state.files)
    return verdicts


def good_then_same(repo: Repo) -> list[Bundle]:
    return [repo.bundle()] * 2


def growing(repo: Repo) -> list[Bundle]:
    found = [repo.bundle()]
    repo.bump("timestamp")
    found.append(repo.bundle())
    repo.bump("timestamp", "snapshot")
    found.append(repo.bundle())
    repo.bump("timestamp", "snapshot", "targets", "policy", by=3)
    return [*found, repo.bundle()]


def two_rotations_at_once(repo: Repo) -> list[Bundle]:
    found = [repo.bundle()]
    repo.rotate(root=[key(), key()])
    repo.rotate(root=[key()], targets=[key()])
    repo.bump("timestamp", "snapshot", "targets")
    return [*found, repo.bundle()]


def root_by_new_keys_only(repo: Repo) -> list[Bundle]:
    new = [key()]
    repo.rotate(new, root=new)
    return [repo.bundle()]


def root_by_old_keys_only(repo: Repo) -> list[Bundle]:
    repo.rotate(repo.keys["root"], root=[key()])
    return [repo.bundle()]


def root_by_revoked_key(repo: Repo) -> list[Bundle]:
    revoked = repo.keys["root"]
    repo.rotate(root=[key()])
    repo.rotate(revoked, root=revoked)
    return [repo.bundle()]


def root_of_wrong_version(repo: Repo) -> list[Bundle]:
    repo.rotate(root=[key()])
    repo.rotate()
    repo.roots["2.root.json"] = repo.roots.pop("3.root.json")
    return [repo.bundle()]


def root_expired(repo: Repo) -> list[Bundle]:
    repo.expires["root"] = NOW
    repo.rotate()
    return [repo.bundle()]


def middle_root_expired(repo: Repo) -> list[Bundle]:
    repo.expires["root"] = NOW - SECOND
    repo.rotate()
    del repo.expires["root"]
    repo.rotate()
    return [repo.bundle()]


def timestamp_back(repo: Repo) -> list[Bundle]:
    repo.bump("timestamp", by=4)
    found = [repo.bundle()]
    repo.bump("timestamp", by=-1)
    return [*found, repo.bundle()]


def snapshot_back(repo: Repo) -> list[Bundle]:
    repo.bump("snapshot", by=4)
    found = [repo.bundle()]
    repo.bump("snapshot", by=-1)
    repo.bump("timestamp")
    return [*found, repo.bundle()]


def targets_back(repo: Repo) -> list[Bundle]:
    repo.bump("targets")
    found = [repo.bundle()]
    repo.bump("targets", by=-1)
    repo.bump("timestamp", "snapshot")
    return [*found, repo.bundle()]


def policy_back(repo: Repo) -> list[Bundle]:
    repo.bump("policy")
    found = [repo.bundle()]
    repo.bump("policy", by=-1)
    repo.bump("timestamp", "snapshot")
    return [*found, repo.bundle()]


def role_removed_from_snapshot(repo: Repo) -> list[Bundle]:
    found = [repo.bundle()]
    repo.bump("timestamp", "snapshot")
    return [*found, repo.bundle(snapshot=repo.snapshot({"targets.json": MetaFile(1)}))]


def snapshot_of_other_version(repo: Repo) -> list[Bundle]:
    return [repo.bundle(timestamp=repo.timestamp(MetaFile(2)))]


def targets_of_other_version(repo: Repo) -> list[Bundle]:
    meta = {"targets.json": MetaFile(2), "policy.json": MetaFile(1)}
    return [repo.bundle(snapshot=repo.snapshot(meta))]


def policy_of_other_version(repo: Repo) -> list[Bundle]:
    meta = {"targets.json": MetaFile(1), "policy.json": MetaFile(2)}
    return [repo.bundle(snapshot=repo.snapshot(meta))]


def length_and_hash_promised(repo: Repo) -> list[Bundle]:
    text = repo.snapshot()
    info = MetaFile.from_data(1, text.encode(), ["sha256"])
    good = repo.bundle(snapshot=text, timestamp=repo.timestamp(info))
    return [repo.bundle(snapshot=text + " ", timestamp=repo.timestamp(info)), good]


def hash_of_other_bytes(repo: Repo) -> list[Bundle]:
    text = repo.snapshot()
    info = MetaFile(1, len(text.encode()), {"sha256": "0" * 64})
    return [repo.bundle(snapshot=text, timestamp=repo.timestamp(info))]


def expired(role: str, ago: timedelta) -> Build:
    def build(repo: Repo) -> list[Bundle]:
        repo.expires[role] = NOW - ago
        return [repo.bundle()]

    return build


def signed_by_stranger(role: str) -> Build:
    def build(repo: Repo) -> list[Bundle]:
        mine, repo.keys[role] = repo.keys[role], [key()]
        wrong = repo.text(role)
        repo.keys[role] = mine
        return [repo.bundle(**{role: wrong})]

    return build


def one_of_two(role: str) -> Build:
    def build(repo: Repo) -> list[Bundle]:
        repo.thresholds[role] = 2
        both = [key(), key()]
        if role == "policy":
            repo.keys["policy"] = both
        else:
            repo.rotate(**{role: both})
        good = repo.bundle()
        repo.keys[role] = both[:1]
        wrong = repo.text(role)
        repo.keys[role] = both
        return [repo.bundle(**{role: wrong}), good]

    return build


def fast_forward_recovered(repo: Repo) -> list[Bundle]:
    repo.bump("timestamp", "snapshot", by=1_000_000)
    found = [repo.bundle()]
    repo.versions |= {"timestamp": 1, "snapshot": 1}
    fresh = key()
    repo.rotate(timestamp=[fresh], snapshot=[fresh])
    return [*found, repo.bundle()]


def fast_forward_of_targets_recovered(repo: Repo) -> list[Bundle]:
    repo.bump("targets", "policy", by=1_000_000)
    found = [repo.bundle()]
    repo.versions |= {"targets": 2, "policy": 2, "snapshot": 2, "timestamp": 2}
    repo.rotate(timestamp=[key()], snapshot=[key()], targets=[key()])
    return [*found, repo.bundle()]


def fast_forward_of_policy_recovered(repo: Repo) -> list[Bundle]:
    repo.bump("policy", by=1_000_000)
    found = [repo.bundle()]
    repo.versions |= {"policy": 2, "snapshot": 2, "timestamp": 2, "targets": 2}
    repo.rotate(timestamp=[key()], snapshot=[key()], policy=[key()])
    return [*found, repo.bundle()]


def target_of_other_bytes(repo: Repo) -> list[Bundle]:
    return [repo.bundle(target=repo.policy_text() + "\n")]


HISTORIES: dict[str, tuple[Build, list[bool]]] = {
    "the same bundle twice": (good_then_same, [True, True]),
    "versions rise": (growing, [True] * 4),
    "two root rotations at once": (two_rotations_at_once, [True, True]),
    "A18 root signed by new keys only": (root_by_new_keys_only, [False]),
    "A18 root signed by old keys only": (root_by_old_keys_only, [False]),
    "A18 root signed by a revoked key": (root_by_revoked_key, [False]),
    "A18 root file of another version": (root_of_wrong_version, [False]),
    "A14 root expired": (root_expired, [False]),
    "TUF 5.3.10 expired root on the way": (middle_root_expired, [True]),
    "A15 timestamp back": (timestamp_back, [True, False]),
    "A15 snapshot back": (snapshot_back, [True, False]),
    "A15 targets back": (targets_back, [True, False]),
    "A15 policy back": (policy_back, [True, False]),
    "A15 role removed from snapshot": (role_removed_from_snapshot, [True, False]),
    "A16 snapshot is not the promised one": (snapshot_of_other_version, [False]),
    "A16 targets are not the promised ones": (targets_of_other_version, [False]),
    "A16 policy is not the promised one": (policy_of_other_version, [False]),
    "promised length and hash": (length_and_hash_promised, [False, True]),
    "promised hash of other bytes": (hash_of_other_bytes, [False]),
    "recovery from a fast-forward of freshness": (fast_forward_recovered, [True, True]),
    "recovery from a fast-forward of targets": (fast_forward_of_targets_recovered, [True, True]),
    "recovery from a fast-forward of policy": (fast_forward_of_policy_recovered, [True, True]),
    "policy target of other bytes": (target_of_other_bytes, [False]),
}
for _role in ("timestamp", "snapshot", "targets", "policy"):
    HISTORIES[f"A14 {_role} expires now"] = (expired(_role, timedelta()), [False])
    HISTORIES[f"A14 {_role} expires in a second"] = (expired(_role, -SECOND), [True])
    HISTORIES[f"{_role} signed by a stranger"] = (signed_by_stranger(_role), [False])
    HISTORIES[f"A02 {_role} signed by one of two"] = (one_of_two(_role), [False, True])


@pytest.mark.parametrize("name", HISTORIES)
def test_both_clients_agree(name: str, tmp_path: Path) -> None:
    build, expected = HISTORIES[name]
    repo = Repo()
    pinned, bundles = repo.pinned, build(repo)
    assert by_us(pinned, bundles) == expected
    assert by_ngclient(pinned, bundles, tmp_path) == expected


def test_both_clients_take_what_fwctl_mints(tmp_path: Path) -> None:
    fleet = Fleet()
    bundles = [fleet.bundle(version) for version in (1, 2, 9, 3)]
    expected = [True, True, True, False]
    assert by_us(bundles[0]["1.root.json"], bundles) == expected
    assert by_ngclient(bundles[0]["1.root.json"], bundles, tmp_path) == expected


def gap_in_roots(repo: Repo) -> list[Bundle]:
    """ngclient stops at the gap and goes on with the root it has; we take a gap for an attempt to hide a rotation."""
    repo.rotate()
    repo.rotate()
    del repo.roots["2.root.json"]
    return [repo.bundle()]


def equal_timestamp_of_other_bytes(repo: Repo) -> list[Bundle]:
    """ngclient silently keeps the one it has; we say that the freshness key signed two things as one version."""
    found = [repo.bundle()]
    repo.expires["timestamp"] = NOW + timedelta(days=99)
    return [*found, repo.bundle()]


def key_under_two_ids(repo: Repo) -> list[Bundle]:
    """A03: ngclient counts key ids, we count key material."""
    repo.thresholds["targets"] = 2
    repo.rotate(targets=one_key_under_two_ids())
    return [repo.bundle()]


@pytest.mark.parametrize("build", [gap_in_roots, equal_timestamp_of_other_bytes, key_under_two_ids])
def test_where_we_are_stricter_on_purpose(build: Build, tmp_path: Path) -> None:
    repo = Repo()
    pinned, bundles = repo.pinned, build(repo)
    assert all(by_ngclient(pinned, bundles, tmp_path))
    assert by_us(pinned, bundles)[-1] is False
