"""A trust of several people from a plan that they write: `trust.yaml` to the files of a first proposal.

Pure but for the public keys, which the caller reads. What the plan says is checked twice: here, with the place in the
file, and by the verifier that devices use, over the trust that comes of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field, ValidationError
from securesystemslib.signer import SSlibKey

from fwctl.errors import FwctlError
from fwctl.manifests.diagnostic import Diagnostic, Loc, ordered
from fwctl.manifests.models.base import ApiVersion, Model
from fwctl.manifests.positions import Span
from fwctl.manifests.schema_findings import explain
from fwctl.manifests.sources import Source
from fwctl.manifests.strict_yaml import SMALL, read
from fwctl.trust.public_key import PublicKeyFile, key_object
from fwctl.trust.repository import RolePlan, TrustPlan
from fwctl_agent.errors import Refusal
from fwctl_agent.trust.keys import SCHEMES
from fwctl_agent.trust.policy import Policy

PersonName = Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?$")]
KeyPath = Annotated[str, Field(min_length=1, max_length=500)]
KeyFiles = Annotated[list[KeyPath], Field(min_length=1, max_length=8)]
Threshold = Annotated[int, Field(ge=1, le=100)]
Members = Annotated[list[PersonName], Field(min_length=1, max_length=100)]


class Role(Model):
    """Who signs a role of the trust, and how many of them must."""

    people: Members = Field(description="Names from `people`.")
    threshold: Threshold = Field(description="How many of them.")


class Approval(Model):
    """Who approves the rollouts below a path."""

    paths: str = Field(description="Of manifests, such as `rollouts/prod-*/**`.", min_length=1, max_length=500)
    group: PersonName = Field(description="A name from `groups`.")
    threshold: Threshold = Field(description="How many of the group.")
    stage: int = Field(1, description="From this stage on.", ge=1, le=9)


class ReleaseSigners(Model):
    """Who releases the firmware of a model."""

    group: PersonName = Field(description="A name from `groups`.")
    threshold: Threshold = Field(description="How many of the group.")


class ReconcilerKeys(Model):
    """Public halves of the reconciler's keys, where they were made on the machine that reconciles."""

    order: KeyPath = Field(description="File of the order key's public half.")
    freshness: KeyPath = Field(description="File of the freshness key's public half.")


class TrustSpec(Model):
    """Who may say what in this fleet."""

    people: dict[PersonName, KeyFiles] = Field(description="Each person's public key files.", min_length=1)
    groups: dict[PersonName, Members] = Field(description="Groups of people that rules ask for.", min_length=1)
    root: Role = Field(description="May change who signs anything.")
    targets: Role = Field(description="May change who signs the policy.")
    policy: Role = Field(description="May change people, groups and rules.")
    approvals: list[Approval] = Field(description="All rules that match a path must hold.", min_length=1)
    releases: dict[str, ReleaseSigners] = Field(description="By model; `*` is for all others.", min_length=1)
    reconciler: ReconcilerKeys | None = Field(None, description="Without it the two keys are made here.")
    max_approval_days: int = Field(90, description="For how long an approval may hold at most.", ge=1, le=3650)


class Trust(Model):
    """The plan of a fleet's first trust."""

    api_version: ApiVersion = Field(description="The format's version.")
    kind: Literal["Trust"] = Field(description="What this document is.")
    spec: TrustSpec = Field(description="Who may say what.")


STARTER: Final = """\
# Who may say what in this fleet. Fill it in, then run again: fwctl init --profile production
# Each person makes a key (`fwctl keys generate NAME --fleet {repo_id}`) and hands the public half on
# (`fwctl keys export NAME --fleet {repo_id} --out NAME.pub.json`). Compare fingerprints over another channel.
apiVersion: fwctl/v1
kind: Trust
spec:
  people:                        # name: files of public keys, beside this file
    alice: [alice.pub.json]
    bob: [bob.pub.json]
    carol: [carol.pub.json]
    dave: [dave.pub.json]
    erin: [erin.pub.json]
  groups:
    release-managers: [alice, bob, carol]
    security: [dave]
    firmware-engineers: [erin]
  root: {{people: [alice, bob, dave], threshold: 2}}       # may change who signs anything; keep these keys offline
  targets: {{people: [alice, bob, dave], threshold: 2}}    # may change who signs the policy
  policy: {{people: [alice, bob, dave], threshold: 2}}     # may change people, groups and rules
  approvals:                     # who approves a rollout, by its path; all rules that match must hold
    - {{paths: "rollouts/**", group: release-managers, threshold: 1}}
    - {{paths: "rollouts/prod-*/**", group: release-managers, threshold: 2}}
    - {{paths: "rollouts/prod-*/**", group: security, threshold: 1}}
  releases:                      # who signs firmware, by model; "*" is for all others
    "*": {{group: firmware-engineers, threshold: 1}}
  # reconciler: {{order: order.pub.json, freshness: freshness.pub.json}}   # made on the machine that reconciles
  maxApprovalDays: 90
"""


@dataclass(frozen=True)
class Planned:
    """What the plan file says, or all that is wrong with it."""

    trust: Trust | None
    source: Source
    findings: tuple[Diagnostic, ...]


def read_plan(data: bytes, path: str) -> Planned:
    """Read a trust plan strictly, as manifests are read. Never raises for what the bytes are."""
    source = Source(path, data)
    document = read(data, SMALL)
    found = [
        source.diagnostic(
            source.at(Span(one.line, one.column, one.end_column)),
            code=one.code,
            message=one.message,
            remedy=one.remedy,
            loc=one.loc,
        )
        for one in document.findings
    ]
    trust: Trust | None = None
    if document.complete and not found and isinstance(document.value, dict):
        try:
            trust = Trust.model_validate(document.value)
        except ValidationError as error:
            found += explain(error, document.value, Trust, source, frozenset(), 100)
    elif not found:
        found.append(_at(source, (), "a trust plan is a mapping with apiVersion, kind and spec", code="E_SCHEMA"))
    if trust is not None:
        found += _names(trust.spec, source)
    return Planned(None if found else trust, source, ordered(found))


def _at(
    source: Source, loc: Loc, message: str, *, code: str = "E_TRUST_PLAN", remedy: str = "Correct the plan."
) -> Diagnostic:
    return source.diagnostic(source.place(loc), code=code, message=message, remedy=remedy, loc=loc)


def _names(spec: TrustSpec, source: Source) -> Iterator[Diagnostic]:
    """Distinct names that are known, and thresholds within reach."""
    for name, members in spec.groups.items():
        yield from _members(spec, source, ("spec", "groups", name), members)
    for role in ("root", "targets", "policy"):
        one: Role = getattr(spec, role)
        yield from _members(spec, source, ("spec", role, "people"), one.people)
        yield from _reach(source, ("spec", role, "threshold"), one.threshold, one.people)
    rules: list[tuple[Loc, Approval | ReleaseSigners]] = [
        *((("spec", "approvals", at), rule) for at, rule in enumerate(spec.approvals)),
        *((("spec", "releases", model), rule) for model, rule in spec.releases.items()),
    ]
    for loc, rule in rules:
        if rule.group not in spec.groups:
            yield _at(source, (*loc, "group"), f"there is no group called {rule.group}")
        else:
            yield from _reach(source, (*loc, "threshold"), rule.threshold, spec.groups[rule.group])


def _members(spec: TrustSpec, source: Source, loc: Loc, members: list[str]) -> Iterator[Diagnostic]:
    for at, person in enumerate(members):
        if person not in spec.people:
            yield _at(source, (*loc, at), f"there is nobody called {person} among spec.people")
        elif person in members[:at]:
            yield _at(source, (*loc, at), f"{person} is named twice: signatures are of distinct people")


def _reach(source: Source, loc: Loc, threshold: int, people: list[str]) -> Iterator[Diagnostic]:
    if threshold > len(set(people)):
        yield _at(source, loc, f"a threshold of {threshold} is out of reach: these are {len(set(people))} people")


@dataclass(frozen=True)
class Keys:
    """All public keys of a plan; the reconciler's are None where they are made here."""

    people: Mapping[str, tuple[SSlibKey, ...]]
    order: SSlibKey | None
    freshness: SSlibKey | None


ReadKey = Callable[[Path], PublicKeyFile]


def read_keys(planned: Planned, folder: Path, read_key: ReadKey) -> tuple[Keys, tuple[Diagnostic, ...]]:
    """Read the key files that a plan names, relative to `folder`; two names for one key are findings."""
    found: list[Diagnostic] = []
    seen: dict[str, str] = {}

    def key(name: str, file: str, loc: Loc) -> SSlibKey | None:
        try:
            held = read_key(folder / file)
        except FwctlError as error:
            found.append(_at(planned.source, loc, f"{file}: {error.message}", code=error.code, remedy=error.remedy))
            return None
        other = seen.setdefault(held.key.keyid, name)
        if other != name or (file, name) in taken:
            message = f"{file} is the same key as one of {other}: distinct people have distinct keys"
            found.append(_at(planned.source, loc, message, code="E_KEY_DUPLICATE"))
        if loc[1] == "people" and held.person != name:
            message = f"{file} says that it is the key of {held.person}, not of {name}"
            found.append(_at(planned.source, loc, message, code="E_KEY_NAME"))
        taken.add((file, name))
        return held.key

    taken: set[tuple[str, str]] = set()
    if planned.trust is None:
        return Keys({}, None, None), planned.findings
    spec = planned.trust.spec
    people = {
        name: tuple(
            one for at, file in enumerate(files) if (one := key(name, file, ("spec", "people", name, at))) is not None
        )
        for name, files in spec.people.items()
    }
    machine = spec.reconciler
    order = key("the order key", machine.order, ("spec", "reconciler", "order")) if machine else None
    freshness = key("the freshness key", machine.freshness, ("spec", "reconciler", "freshness")) if machine else None
    return Keys(people, order, freshness), ordered(found)


def trust_plan(
    spec: TrustSpec, keys: Mapping[str, tuple[SSlibKey, ...]], *, order: SSlibKey, freshness: SSlibKey, repo_id: str
) -> TrustPlan:
    """Return the whole trust that a plan means, unsigned.

    A person signs roles with the first key of theirs: one person is one signature.

    Raises:
        Refusal: the policy that comes of it would be refused.
    """

    def role(one: Role) -> RolePlan:
        return RolePlan({name: keys[name][0] for name in one.people}, one.threshold)

    policy = policy_of(spec, keys, order, repo_id)
    Policy.parse(_encoded(policy))
    return TrustPlan(role(spec.root), role(spec.targets), role(spec.policy), freshness, policy)


def policy_of(
    spec: TrustSpec, keys: Mapping[str, tuple[SSlibKey, ...]], order: SSlibKey, repo_id: str
) -> dict[str, Any]:
    """Return the policy target."""
    return {
        "schema": 1,
        "repoId": repo_id,
        "people": {name: {"keys": [key_object(key) for key in held]} for name, held in keys.items()},
        "groups": {name: sorted(members) for name, members in spec.groups.items()},
        "approvalRules": [
            {"paths": rule.paths, "group": rule.group, "threshold": rule.threshold, "stage": rule.stage}
            for rule in spec.approvals
        ],
        "releaseSigners": {
            model: {"group": rule.group, "threshold": rule.threshold} for model, rule in spec.releases.items()
        },
        "orderKeys": [key_object(order)],
        "algorithms": sorted(SCHEMES, reverse=True),
        "floors": {},
        "withdrawn": [],
        "guardRails": [],
        "storage": [],
        "gitVerify": "off",
        "gitSigners": [],
        "gitKeys": [],
        "revoked": [],
        "maxApprovalDays": spec.max_approval_days,
    }


def _encoded(policy: Mapping[str, Any]) -> bytes:
    from fwctl_agent.protocol import canonical

    return canonical.encode(policy)


def refusal(planned: Planned, error: Refusal) -> Diagnostic:
    """Return why the verifier would not take the trust of a plan."""
    return _at(planned.source, ("spec",), f"devices would refuse this trust: {error.message}", code=error.code)
