"""What the signatures in a commit are worth: trusted policy, approvals and releases of each rollout."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from fwctl.errors import TrustRefused
from fwctl_agent.errors import Refusal
from fwctl_agent.protocol import canonical
from fwctl_agent.protocol.messages import TrustVersions
from fwctl_agent.protocol.statements import APPROVAL, Approval, Mandate, Release
from fwctl_agent.trust.approvals import CLOCK_TOLERANCE, STRANGER, Ignored, Tally, tally, verify_release
from fwctl_agent.trust.envelope import Sealed
from fwctl_agent.trust.metadata import TrustedMetadata
from fwctl_agent.trust.policy import Policy

TRUST = "trust/"
_APPROVAL = re.compile(r"approvals/[^/]+/[^/]+/(?P<mandate>[0-9a-f]{64})/[^/]+\.dsse\.json")
_APPROVER = re.compile(r"(?P<who>.+)\.[0-9]+(\.[0-9]{8}T[0-9]{6}Z)?\.dsse\.json")


def approval_path(mandate: Mandate, signer: str, stage: int, *, renewed: datetime | None = None) -> str:
    """Return where one person's approval of one stage stands in the repository; a renewal beside it, by its time."""
    folder = f"{approval_folder(mandate.env, mandate.name)}{mandate.id.removeprefix('sha256:')}/"
    at = f".{renewed:%Y%m%dT%H%M%SZ}" if renewed else ""
    return f"{folder}{signer}.{stage}{at}.dsse.json"


def approver_of(path: str) -> str:
    """Return whose approval a file says it is; for messages only."""
    name = path.rpartition("/")[2]
    found = _APPROVER.fullmatch(name)
    return found["who"] if found else name.removesuffix(".dsse.json")


def approval_folder(env: str, name: str) -> str:
    return f"approvals/{env}/{name}/"


def release_path(model: str, version: str, signer: str) -> str:
    """Return where one signer's release statement stands, beside the firmware manifest."""
    return f"firmware/{model}/{version}.{signer}.dsse.json"


def envelope_bytes(envelope: Mapping[str, Any]) -> bytes:
    """Return an envelope as it is committed: one readable, stable file."""
    return (json.dumps(envelope, indent=1, sort_keys=True) + "\n").encode()


@dataclass(frozen=True)
class Verdict:
    """How far a rollout is approved. `code` and `why` say what is missing for the next stage."""

    stage: int
    """highest stage that is approved; 0 for none"""
    code: str
    why: str
    approvers: tuple[str, ...]
    stale: tuple[str, ...]
    """paths of approvals of other content"""
    tally: Tally


@dataclass(frozen=True)
class Authority:
    """The trust that a commit carries, verified from the pinned root."""

    trusted: TrustedMetadata
    files: Mapping[str, bytes]
    """the commit's trust files, statements and approvals, by path"""

    @classmethod
    def verify(
        cls, files: Mapping[str, bytes], *, pinned: str, now: datetime, lowest: TrustVersions | None = None
    ) -> Authority:
        """Verify root, targets and policy of a commit.

        `lowest` are the versions of the last applied commit: nothing may fall below them.

        Raises:
            TrustRefused: with the verifier's code.
        """
        try:
            bundle = {path.removeprefix(TRUST): data.decode() for path, data in files.items() if path.startswith(TRUST)}
            trusted = TrustedMetadata.bootstrap(pinned).advance(bundle, now=now, fresh=False)
            _check_lowest(trusted.versions, lowest)
        except (Refusal, UnicodeDecodeError) as error:
            refusal = error if isinstance(error, Refusal) else Refusal("E_SCHEMA", "trust files are not UTF-8")
            raise TrustRefused(
                f"the repository's trust is refused: {refusal.message}",
                code=refusal.code,
                place=TRUST,
                remedy="Find out who changed `trust/` (`git log trust/`); without a valid signature nothing goes out.",
            ) from error
        return cls(trusted, files)

    @property
    def policy(self) -> Policy:
        if self.trusted.policy is None:
            raise TypeError("verified trust has a policy")
        return self.trusted.policy

    def releases(self, model: str, version: str) -> tuple[dict[str, Any], ...]:
        """Return the release envelopes that stand beside a firmware manifest; unreadable ones are left out."""
        prefix = f"firmware/{model}/{version}."
        return tuple(envelope for _, envelope in self._envelopes(prefix))

    def check_release(self, release: Release, *, final: bool = True) -> tuple[str, ...]:
        """Return who signed a release. A stop that is not `final` may lie below the policy's floor (CONTRACTS).

        Raises:
            TrustRefused: `E_SIG_MISSING`, `E_SIG_THRESHOLD`, `E_WITHDRAWN`, `E_ROLLBACK_FLOOR`, ...
        """
        floor = self.policy.floors.get(release.model, 0)
        try:
            _, signed = verify_release(
                self.releases(release.model, release.version), digest=release.digest, policy=self.policy
            )
            # Every device would refuse it (A22): nobody shall approve it either.
            if final and release.security_version < floor:
                why = f"security version {release.security_version} lies below the policy's floor {floor}"
                raise Refusal("E_ROLLBACK_FLOOR", why)
        except Refusal as error:
            raise TrustRefused(
                error.message,
                code=error.code,
                place=f"firmware/{release.model}/{release.version}.yaml",
                remedy=_remedy(error.code, release),
            ) from error
        return tuple(sorted(signed))

    def approvals(self, mandate: Mandate) -> tuple[dict[str, Any], ...]:
        """Return the approval envelopes of this mandate."""
        return tuple(envelope for _, envelope in self._envelopes(self._folder(mandate)))

    @staticmethod
    def _folder(mandate: Mandate) -> str:
        return f"{approval_folder(mandate.env, mandate.name)}{mandate.id.removeprefix('sha256:')}/"

    def judge(self, mandate: Mandate, *, stages: int, now: datetime) -> Verdict:
        """Return how far `mandate` is approved, of `stages` stages."""
        judged = self._tally(mandate, now)
        approved, code, why, people = 0, "", "", set[str]()
        for stage in range(1, stages + 1):
            try:
                people |= {vote.person for vote in judged.approved(self.policy, mandate.path, stage)}
                approved = stage
            except Refusal as error:
                code, why = error.code, error.message + self._may_approve(judged, mandate.path, stage)
                break
        stale = self.stale(mandate)
        if approved == 0 and stale and code == "E_SIG_MISSING":
            who = ", ".join(sorted({approver_of(path) for path in stale}))
            code, why = "E_APPROVAL_STALE", f"nobody has approved this content yet; earlier content was, by {who}"
        return Verdict(approved, code, why, tuple(sorted(people)), stale, judged)

    def _tally(self, mandate: Mandate, now: datetime) -> Tally:
        """Count the approvals of a mandate. What does not count says whose it is, and what became of the key."""

        def judged(*envelopes: Mapping[str, Any]) -> Tally:
            return tally(envelopes, mandate=mandate.id, policy=self.policy, now=now)[0]

        pairs = tuple(self._envelopes(self._folder(mandate)))
        counted = judged(*(envelope for _, envelope in pairs))
        if not counted.ignored:
            return counted
        people = {vote.person for vote in counted.votes}
        alone = ((path, one) for path, envelope in pairs for one in judged(envelope).ignored)
        ignored = (self._told(path, one) for path, one in alone if one.code != "E_EXPIRED" or one.who not in people)
        return replace(counted, ignored=tuple(ignored))

    def _told(self, path: str, one: Ignored) -> Ignored:
        """Name the person of an approval under a key that the policy does not have: nothing else tells who it was."""
        if one.why != STRANGER or self.trusted.role is None:
            return one
        version, who = self.trusted.role.signed.version, approver_of(path)
        why = f"revoked in policy version {version}, or never known: it has no such key"
        return replace(one, who=who, why=why)

    def _may_approve(self, judged: Tally, path: str, stage: int) -> str:
        """Name whose approvals could still make it up, in whatever group, once somebody has begun."""
        missing = judged.missing(self.policy, path, stage) if judged.ignored or judged.votes else ()
        names = sorted({name for _, candidates in missing for name in candidates if self.policy.people[name]})
        return f"; may approve: {', '.join(names) or 'nobody is left'}" if missing else ""

    def stale(self, mandate: Mandate) -> tuple[str, ...]:
        """Return the paths of approvals of this rollout that are about other content."""
        folder, own = approval_folder(mandate.env, mandate.name), mandate.id.removeprefix("sha256:")
        found = ((path, _APPROVAL.fullmatch(path)) for path in sorted(self.files) if path.startswith(folder))
        return tuple(path for path, match in found if match and match["mandate"] != own)

    def approval_dates(self, mandate: Mandate) -> tuple[datetime, ...]:
        """Return when earlier content of this rollout was approved, as the statements say; unverified."""
        stale = frozenset(self.stale(mandate))
        return tuple(date for path, date in self._dates(approval_folder(mandate.env, mandate.name)) if path in stale)

    def all_approval_dates(self) -> tuple[datetime, ...]:
        """Return when anything here was approved, as the statements say; unverified."""
        return tuple(date for _, date in self._dates("approvals/"))

    def _dates(self, prefix: str) -> Iterator[tuple[str, datetime]]:
        for path, envelope in self._envelopes(prefix):
            if (made := self.made_at(envelope)) is not None:
                yield path, made

    @staticmethod
    def made_at(envelope: Mapping[str, Any]) -> datetime | None:
        """Return when an approval says it was made; None for what is no approval."""
        try:
            return Approval.from_wire(Sealed.open(dict(envelope), APPROVAL).statement()).approved_at
        except Refusal:
            return None

    def approved_at(self, verdict: Verdict, mandate: Mandate) -> datetime | None:
        """Return when the oldest approval was given that a device counts for a late joiner; None if too few are."""
        try:
            votes = verdict.tally.approved(self.policy, mandate.path, 1)
        except Refusal:
            return None
        return min((vote.approval.approved_at for vote in votes), default=None)

    def next_change(self, now: datetime) -> datetime | None:
        """Return the first moment after `now` at which time alone changes what is trusted or approved."""
        roles = (self.trusted.root, self.trusted.targets, self.trusted.role)
        moments = [role.signed.expires for role in roles if role is not None]
        for _, envelope in self._envelopes("approvals/"):
            try:
                approval = Approval.from_wire(Sealed.open(envelope, APPROVAL).statement())
            except Refusal:
                continue  # it counts for nothing, whatever the time
            moments += [approval.expires, approval.approved_at - CLOCK_TOLERANCE]
        return min((moment for moment in moments if moment > now), default=None)

    def bundle(self, newer_than: int) -> dict[str, str]:
        """Return the trust files for a device that trusts root version `newer_than`."""
        names = {path.removeprefix(TRUST): data for path, data in self.files.items() if path.startswith(TRUST)}
        roots = {
            name: data.decode()
            for name, data in names.items()
            if name.endswith(".root.json") and name.split(".")[0].isdigit() and int(name.split(".")[0]) > newer_than
        }
        rest = {name: text for name, text in self.trusted.files.items() if not name.endswith(".root.json")}
        return roots | rest

    def _envelopes(self, prefix: str) -> Iterator[tuple[str, dict[str, Any]]]:
        for path, data in sorted(self.files.items()):
            if path.startswith(prefix) and path.endswith(".dsse.json"):
                try:
                    value = canonical.decode(data, what=path)
                except Refusal:
                    continue  # counts for nothing; `trust status` names it
                if isinstance(value, dict):
                    yield path, value


def _check_lowest(versions: TrustVersions, lowest: TrustVersions | None) -> None:
    for role in ("root", "targets", "policy"):
        if lowest and getattr(versions, role) < getattr(lowest, role):
            raise Refusal(
                "E_META_ROLLBACK",
                f"{role} has version {getattr(versions, role)}, version {getattr(lowest, role)} was applied before",
            )


def _remedy(code: str, release: Release) -> str:
    if code in ("E_WITHDRAWN", "E_ROLLBACK_FLOOR"):
        return "Roll out a release that is neither withdrawn nor below the floor of its model in the policy."
    return f"Run `fwctl firmware sign {release.model}@{release.version}` and commit the statement."
