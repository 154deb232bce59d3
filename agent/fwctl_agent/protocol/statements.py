"""The signed statements: release, approval over a mandate, order, outcome. Frozen values and their wire form."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Final, Literal, cast

from fwctl_agent.errors import Refusal
from fwctl_agent.protocol import canonical
from fwctl_agent.protocol.fields import (
    DIGEST,
    HEX64,
    ID,
    VERSION,
    WORD,
    Fields,
    format_time,
    integer,
    matching,
)
from fwctl_agent.protocol.lock import MAX_CHAIN, MAX_STAGE, Proof
from fwctl_agent.protocol.versions import VersionRange

RELEASE: Final = "application/vnd.fwctl.release.v1+json"
APPROVAL: Final = "application/vnd.fwctl.approval.v1+json"
ORDER: Final = "application/vnd.fwctl.order.v1+json"
OUTCOME: Final = "application/vnd.fwctl.outcome.v1+json"

Verb = Literal["install", "activate", "confirm", "revert", "cancel"]
FollowVerb = Literal["activate", "confirm", "revert", "cancel"]
FOLLOW_UPS: Final = ("activate", "confirm", "revert", "cancel")

Result = Literal["staged", "confirmed", "reverted", "failed", "cancelled"]
RESULTS: Final = ("staged", "confirmed", "reverted", "failed", "cancelled")

FailureClass = Literal[
    "refused", "deferred", "unreachable", "download", "install", "health", "unconfirmed", "silent-revert"
]
FAILURE_CLASSES: Final = (
    "refused",
    "deferred",
    "unreachable",
    "download",
    "install",
    "health",
    "unconfirmed",
    "silent-revert",
)


@dataclass(frozen=True)
class Release:
    """What a release engineer signs about one image. Its digest is that of the payload."""

    model: str
    version: str
    image: str
    """digest of the image"""
    length: int
    """bytes"""
    hardware: tuple[str, ...]
    release_counter: int
    """rises when the same model and version is released again"""
    security_version: int
    requires_from: VersionRange | None
    data_writes: int
    data_reads: tuple[int, ...]
    sbom: str | None

    @cached_property
    def digest(self) -> str:
        return canonical.digest(self.payload)

    @cached_property
    def payload(self) -> bytes:
        return canonical.encode(self.to_wire())

    def to_wire(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "version": self.version,
            "image": {"digest": self.image, "length": self.length},
            "hardware": list(self.hardware),
            "releaseCounter": self.release_counter,
            "securityVersion": self.security_version,
            "requiresFrom": self.requires_from.to_wire() if self.requires_from else None,
            "data": {"writes": self.data_writes, "reads": list(self.data_reads)},
            "sbom": self.sbom,
        }

    @classmethod
    def from_wire(cls, value: object) -> Release:
        top = Fields(value, "release")
        image, data = Fields(top.take("image"), "release.image"), Fields(top.take("data"), "release.data")
        release = cls(
            model=top.text("model", ID),
            version=top.text("version", VERSION),
            image=image.digest("digest"),
            length=image.integer("length", 1),
            hardware=top.items("hardware", matching(WORD, "release.hardware"), limit=64),
            release_counter=top.integer("releaseCounter"),
            security_version=top.integer("securityVersion"),
            requires_from=_range(top.take("requiresFrom")),
            data_writes=data.integer("writes"),
            data_reads=data.items("reads", integer, limit=64),
            sbom=top.maybe_digest("sbom"),
        )
        for fields in (top, image, data):
            fields.done()
        return release


def _range(value: object) -> VersionRange | None:
    if value is None:
        return None
    fields = Fields(value, "release.requiresFrom")
    found = VersionRange(fields.maybe_text("atLeast", VERSION), fields.maybe_text("below", VERSION))
    fields.done()
    return found


@dataclass(frozen=True)
class LateJoiners:
    """Which devices enrolled after the approval may join, and how many (the count is the reconciler's to keep)."""

    model: str
    env: str
    max: int


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
                "lateJoiners": {"model": late.model, "env": late.env, "max": late.max} if late else None,
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
    found = LateJoiners(fields.text("model", ID), fields.text("env", ID), fields.integer("max", 1))
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


def order_id(*, device: str, mandate: str, verb: str, release: str, attempt: int) -> str:
    """Return the content-derived id: freshness fields stay outside it, so re-sending is harmless."""
    return canonical.digest_of([device, mandate, verb, release, attempt])


@dataclass(frozen=True, kw_only=True)
class _Order:
    device: str
    mandate: str
    release: str
    attempt: int
    epoch: int
    issued_at: datetime
    expires: datetime

    def _common(self, verb: str, id_: str) -> dict[str, Any]:
        return {
            "id": id_,
            "verb": verb,
            "device": self.device,
            "mandate": self.mandate,
            "release": self.release,
            "attempt": self.attempt,
            "epoch": self.epoch,
            "issuedAt": format_time(self.issued_at),
            "expires": format_time(self.expires),
        }


@dataclass(frozen=True, kw_only=True)
class InstallOrder(_Order):
    """Fetch, verify and write the release; with `activation` now also try it."""

    leaf: str
    """the device's lock line; empty for a late joiner"""
    proof: Proof
    confirm_within: int
    """seconds from entering the trial until it reverts alone"""
    watch: int
    """seconds of probing after confirm"""
    probes: str
    """name of the probe set in the device's own configuration"""
    limits: tuple[tuple[str, int], ...]
    """absolute maxima of numeric probes, by name"""
    activation: Literal["now", "hold"]
    verb: Literal["install"] = "install"

    @cached_property
    def id(self) -> str:
        return order_id(
            device=self.device,
            mandate=self.mandate,
            verb=self.verb,
            release=self.release,
            attempt=self.attempt,
        )

    def to_wire(self) -> dict[str, Any]:
        return self._common(self.verb, self.id) | {
            "leaf": self.leaf,
            "proof": {"index": self.proof.index, "hashes": list(self.proof.hashes)},
            "delivery": {"type": "push"},
            "confirmWithin": self.confirm_within,
            "watch": self.watch,
            "probes": {"set": self.probes, "limits": dict(self.limits)},
            "activation": self.activation,
        }


@dataclass(frozen=True, kw_only=True)
class FollowUp(_Order):
    """Activate, confirm, revert or cancel what the install order `refers_to` began."""

    verb: FollowVerb
    refers_to: str

    @cached_property
    def id(self) -> str:
        return order_id(
            device=self.device,
            mandate=self.mandate,
            verb=self.verb,
            release=self.release,
            attempt=self.attempt,
        )

    def to_wire(self) -> dict[str, Any]:
        return self._common(self.verb, self.id) | {"refersTo": self.refers_to}


Order = InstallOrder | FollowUp


def order_from_wire(value: object) -> Order:
    """Read an order of any verb.

    Raises:
        Refusal: `E_SCHEMA`, also when the stated id is not the digest of the content.
    """
    top = Fields(value, "order")
    stated, verb = top.digest("id"), top.choice("verb", ("install", *FOLLOW_UPS))
    common: dict[str, Any] = {
        "device": top.text("device", ID),
        "mandate": top.digest("mandate"),
        "release": top.digest("release"),
        "attempt": top.integer("attempt", 1, 9999),
        "epoch": top.integer("epoch", 1),
        "issued_at": top.time("issuedAt"),
        "expires": top.time("expires"),
    }
    order: Order
    if verb == "install":
        order = _install(top, common)
    else:
        order = FollowUp(**common, verb=cast(FollowVerb, verb), refers_to=top.digest("refersTo"))
    top.done()
    if order.id != stated:
        raise Refusal("E_SCHEMA", "order.id is not the digest of the order's content")
    return order


def _install(top: Fields, common: dict[str, Any]) -> InstallOrder:
    proof = Fields(top.take("proof"), "order.proof")
    delivery = Fields(top.take("delivery"), "order.delivery")
    probes = Fields(top.take("probes"), "order.probes")
    delivery.choice("type", ("push",))
    order = InstallOrder(
        **common,
        leaf=top.text("leaf", limit=128 + 72 * MAX_CHAIN),
        proof=Proof(proof.integer("index"), proof.items("hashes", matching(HEX64, "order.proof.hashes"), limit=64)),
        confirm_within=top.integer("confirmWithin", 1, 7 * 86400),
        watch=top.integer("watch", 0, 30 * 86400),
        probes=probes.text("set", WORD),
        limits=tuple(sorted(probes.mapping("limits", integer, limit=64).items())),
        activation=cast(Literal["now", "hold"], top.choice("activation", ("now", "hold"))),
    )
    for fields in (proof, delivery, probes):
        fields.done()
    return order


@dataclass(frozen=True)
class RunningImage:
    """The image that a device runs. A factory image has no release and no mandate."""

    release: str | None
    image: str
    version: str
    mandate: str | None

    def to_wire(self) -> dict[str, Any]:
        return {
            "release": self.release,
            "image": self.image,
            "version": self.version,
            "mandate": self.mandate,
        }

    @classmethod
    def from_wire(cls, value: object) -> RunningImage:
        top = Fields(value, "running")
        image = cls(
            release=top.maybe_digest("release"),
            image=top.digest("image"),
            version=top.text("version", VERSION),
            mandate=top.maybe_digest("mandate"),
        )
        top.done()
        return image


@dataclass(frozen=True)
class SlotState:
    """One A/B slot: `empty`, `writing` or `verified`, and what stands in it."""

    name: str
    state: Literal["empty", "writing", "verified"]
    image: str | None
    version: str | None

    def to_wire(self) -> dict[str, Any]:
        return {"name": self.name, "state": self.state, "image": self.image, "version": self.version}

    @classmethod
    def from_wire(cls, value: object) -> SlotState:
        top = Fields(value, "slot")
        slot = cls(
            name=top.text("name", WORD),
            state=cast(Literal["empty", "writing", "verified"], top.choice("state", ("empty", "writing", "verified"))),
            image=top.maybe_digest("image"),
            version=top.maybe_text("version", VERSION),
        )
        top.done()
        return slot


@dataclass(frozen=True)
class ProbeResult:
    """What one probe said. `value` is a whole number where the probe measures something."""

    probe: str
    ok: bool
    detail: str
    value: int | None = None

    def to_wire(self) -> dict[str, Any]:
        return {"probe": self.probe, "ok": self.ok, "detail": self.detail, "value": self.value}

    @classmethod
    def from_wire(cls, value: object) -> ProbeResult:
        top = Fields(value, "probe")
        number = top.take("value")
        if number is not None and type(number) is not int:
            raise top.refuse("value", "must be a whole number or null")
        result = cls(top.text("probe", WORD), top.flag("ok"), top.text("detail", limit=500), number)
        top.done()
        return result


@dataclass(frozen=True)
class Phase:
    """How long one phase took on the device, by its monotonic clock."""

    name: str
    start: datetime
    millis: int

    def to_wire(self) -> dict[str, Any]:
        return {"name": self.name, "start": format_time(self.start), "millis": self.millis}

    @classmethod
    def from_wire(cls, value: object) -> Phase:
        top = Fields(value, "phase")
        phase = cls(top.text("name", WORD), top.time("start"), top.integer("millis"))
        top.done()
        return phase


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How an order ended, signed by the device. A later outcome of the same order has a higher counter."""

    device: str
    repo_id: str
    order: str
    mandate: str
    result: Result
    klass: FailureClass | None
    code: str | None
    running: RunningImage
    slots: tuple[SlotState, ...]
    evidence: tuple[ProbeResult, ...]
    phases: tuple[Phase, ...]
    counter: int

    def to_wire(self) -> dict[str, Any]:
        return {
            "device": self.device,
            "repoId": self.repo_id,
            "order": self.order,
            "mandate": self.mandate,
            "result": self.result,
            "class": self.klass,
            "code": self.code,
            "running": self.running.to_wire(),
            "slots": [slot.to_wire() for slot in self.slots],
            "evidence": [result.to_wire() for result in self.evidence],
            "phases": [phase.to_wire() for phase in self.phases],
            "counter": self.counter,
        }

    @classmethod
    def from_wire(cls, value: object) -> Outcome:
        top = Fields(value, "outcome")
        klass = top.maybe_text("class")
        if klass is not None and klass not in FAILURE_CLASSES:
            raise top.refuse("class", "is not a failure class")
        outcome = cls(
            device=top.text("device", ID),
            repo_id=top.text("repoId", ID),
            order=top.text("order", DIGEST),
            mandate=top.digest("mandate"),
            result=cast(Result, top.choice("result", RESULTS)),
            klass=cast("FailureClass | None", klass),
            code=top.maybe_text("code", WORD),
            running=RunningImage.from_wire(top.take("running")),
            slots=top.items("slots", SlotState.from_wire, limit=8),
            evidence=top.items("evidence", ProbeResult.from_wire, limit=64),
            phases=top.items("phases", Phase.from_wire, limit=32),
            counter=top.integer("counter", 1),
        )
        top.done()
        return outcome
