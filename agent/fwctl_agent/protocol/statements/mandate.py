"""The mandate, and the approval that a person signs over it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Final, Literal, cast

from fwctl_agent.protocol import canonical
from fwctl_agent.protocol.fields import ID, WORD, Fields, format_time
from fwctl_agent.protocol.lock import MAX_STAGE

APPROVAL: Final = "application/vnd.fwctl.approval.v1+json"


@dataclass(frozen=True)
class LateJoiners:
    """Which devices enrolled after the approval may join, and how many (the count is the reconciler's to keep)."""

    model: str
    env: str
    max: int
    stage: int = 1
    """the last one, which must be approved before any of them joins; on the wire only if it is not the first"""

    def to_wire(self) -> dict[str, Any]:
        later = {} if self.stage == 1 else {"stage": self.stage}
        return {"model": self.model, "env": self.env, "max": self.max, **later}


@dataclass(frozen=True)
class Mandate:
    """What one set of approvals authorises. Its id is the digest of its canonical JSON."""

    repo_id: str
    env: str
    name: str
    manifest: str
    lock: str
    lock_root: str
    lock_size: int
    plan: str
    releases: tuple[str, ...]
    round: int
    rollback: Literal["allowed", "forbidden"]
    late_joiners: LateJoiners | None

    @cached_property
    def id(self) -> str:
        return canonical.digest_of(self.to_wire())

    @property
    def path(self) -> str:
        """The manifest's path, which the policy's rules match."""
        return f"rollouts/{self.env}/{self.name}.yaml"

    def to_wire(self) -> dict[str, Any]:
        late = self.late_joiners
        return {
            "repoId": self.repo_id,
            "env": self.env,
            "name": self.name,
            "manifest": self.manifest,
            "lock": self.lock,
            "lockRoot": self.lock_root,
            "lockSize": self.lock_size,
            "plan": self.plan,
            "releases": list(self.releases),
            "round": self.round,
            "terms": {
                "rollback": self.rollback,
                "lateJoiners": late.to_wire() if late else None,
            },
        }

    @classmethod
    def from_wire(cls, value: object) -> Mandate:
        top = Fields(value, "mandate")
        terms = Fields(top.take("terms"), "mandate.terms")
        mandate = cls(
            repo_id=top.text("repoId", ID),
            env=top.text("env", ID),
            name=top.text("name", WORD),
            manifest=top.digest("manifest"),
            lock=top.digest("lock"),
            lock_root=top.digest("lockRoot"),
            lock_size=top.integer("lockSize", 1),
            plan=top.digest("plan"),
            releases=top.digests("releases", limit=256),
            round=top.integer("round", 1),
            rollback=cast(Literal["allowed", "forbidden"], terms.choice("rollback", ("allowed", "forbidden"))),
            late_joiners=_late(terms.take("lateJoiners")),
        )
        top.done()
        terms.done()
        return mandate


def _late(value: object) -> LateJoiners | None:
    if value is None:
        return None
    fields = Fields(value, "mandate.terms.lateJoiners")
    stage = fields.integer("stage", 2) if fields.has("stage") else 1
    found = LateJoiners(fields.text("model", ID), fields.text("env", ID), fields.integer("max", 1), stage)
    fields.done()
    return found


@dataclass(frozen=True)
class Approval:
    """One person's yes to a mandate, up to and including `stage`."""

    mandate: Mandate
    stage: int
    approved_at: datetime
    expires: datetime
    signer: str
    meaning: str

    def to_wire(self) -> dict[str, Any]:
        return {
            "mandate": self.mandate.to_wire(),
            "stage": self.stage,
            "approvedAt": format_time(self.approved_at),
            "expires": format_time(self.expires),
            "signer": self.signer,
            "meaning": self.meaning,
        }

    @classmethod
    def from_wire(cls, value: object) -> Approval:
        top = Fields(value, "approval")
        approval = cls(
            mandate=Mandate.from_wire(top.take("mandate")),
            stage=top.integer("stage", 1, MAX_STAGE),
            approved_at=top.time("approvedAt"),
            expires=top.time("expires"),
            signer=top.text("signer", WORD),
            meaning=top.text("meaning", limit=200),
        )
        top.done()
        return approval
