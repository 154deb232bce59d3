"""The work behind `init --profile production`: a plan of several people to a trust that they have to sign."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from securesystemslib.signer import SSlibKey

from fwctl.cli.context import Context
from fwctl.cli.open_proposal import Open, read_open
from fwctl.errors import FwctlError, InputError
from fwctl.files import read_input, write_atomic
from fwctl.fleet.certificates import create_authorities, device_ca_digest
from fwctl.gitrepo import Repo
from fwctl.manifests.diagnostic import Diagnostic
from fwctl.reconcile.setting import open_ledger
from fwctl.trust.development import ROOT
from fwctl.trust.keystore import FRESHNESS, ORDER, KeyStore
from fwctl.trust.production import STARTER, Keys, Planned, TrustSpec, read_keys, read_plan, refusal, trust_plan
from fwctl.trust.proposal import PROPOSAL, Proposal, new_trust
from fwctl.trust.public_key import fingerprint, read_public_key
from fwctl_agent.errors import Refusal


@dataclass(frozen=True)
class Wish:
    """What was asked for. `files` is the work tree; `fleet` is a fleet.yaml to add, or nothing."""

    folder: Path
    repo_id: str
    files: Mapping[str, bytes]
    fleet: Mapping[str, bytes]
    plan: Path


@dataclass(frozen=True)
class Founded:
    """What was done. Exactly one of `starter`, `findings` and `open` says how far it came; none: it stands already."""

    wish: Wish
    keys: Path
    starter: bool = False
    findings: tuple[Diagnostic, ...] = ()
    open: Open | None = None
    commit: str = ""
    people: tuple[tuple[str, str], ...] = ()
    """name and key fingerprint, to be compared over another channel"""
    made: tuple[str, ...] = ()
    """the reconciler's keys that were made here"""


def found(settings: Context, repo: Repo, wish: Wish) -> Founded:
    """Write the plan's starter, or propose the trust that the plan means. What was done before stays.

    Raises:
        InputError: `E_TRUST_EXISTS`, and what reading the plan may raise.
    """
    keystore = settings.keystore(wish.repo_id)
    if ROOT in wish.files:
        return _stands(wish, keystore)
    if any(path.startswith(PROPOSAL) for path in wish.files):
        return Founded(wish, keystore.folder, open=read_open(wish.files, ""), commit=repo.head())
    if keystore.exists:
        raise InputError(
            f"you have pinned a root for a fleet called {wish.repo_id} already, and this repository has none",
            code="E_TRUST_EXISTS",
            place=str(keystore.root_path),
            remedy="Choose another --repo-id, or clone the repository that it belongs to.",
        )
    if not wish.plan.exists():
        write_atomic(wish.plan, STARTER.format(repo_id=wish.repo_id).encode())
        return Founded(wish, keystore.folder, starter=True)
    planned = read_plan(read_input(wish.plan, remedy="Name the trust plan: --trust FILE"), wish.plan.name)
    keys, findings = read_keys(planned, wish.plan.parent, read_public_key)
    if findings or planned.trust is None:
        return Founded(wish, keystore.folder, findings=findings)
    return _propose(settings, repo, wish, planned, planned.trust.spec, keys)


def _stands(wish: Wish, keystore: KeyStore) -> Founded:
    if keystore.exists and keystore.pinned_root().encode() == wish.files[ROOT]:
        return Founded(wish, keystore.folder)
    raise InputError(
        "this repository has a root of trust that you have not pinned",
        code="E_TRUST_EXISTS",
        place=ROOT,
        remedy="Ask its owners for the fingerprint over another channel, then: fwctl trust pin --fingerprint HEX",
    )


def _propose(settings: Context, repo: Repo, wish: Wish, planned: Planned, spec: TrustSpec, keys: Keys) -> Founded:
    keystore, now = settings.keystore(wish.repo_id), settings.now()
    made = tuple(name for name, key in ((ORDER, keys.order), (FRESHNESS, keys.freshness)) if key is None)
    order = keys.order or _machine(keystore, ORDER)
    freshness = keys.freshness or _machine(keystore, FRESHNESS)
    try:
        plan = trust_plan(spec, keys.people, order=order, freshness=freshness, repo_id=wish.repo_id)
        files = new_trust(plan, now=now)
        Proposal.of(None, files, pinned="")
    except Refusal as error:
        return Founded(wish, keystore.folder, findings=(refusal(planned, error),))
    except FwctlError as error:
        return Founded(wish, keystore.folder, findings=(refusal(planned, Refusal(error.code, error.message)),))
    device_ca = device_ca_digest(create_authorities(keystore, wish.repo_id, now))
    plan = replace(plan, policy={**plan.policy, "deviceCas": [device_ca]})
    files = new_trust(plan, now=now)
    if made:
        open_ledger(settings.state_dir(wish.repo_id), new=True).close()
    commit = repo.commit_files({**wish.fleet, **files}, "Propose the fleet's first trust")
    people = tuple((name, fingerprint(key)) for name, held in keys.people.items() for key in held)
    return Founded(wish, keystore.folder, open=read_open(files, ""), commit=commit, people=people, made=made)


def _machine(keystore: KeyStore, name: str) -> SSlibKey:
    return keystore.public(name) if keystore.has(name) else keystore.generate(name).public_key
