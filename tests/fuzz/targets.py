"""All targets, each made when it is its turn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tests.fuzz import (
    device_targets,
    evidence_targets,
    fleet_targets,
    identity_targets,
    observed_targets,
    request_targets,
    stolen_targets,
    trust_targets,
)
from tests.fuzz.run import Target

TARGETS: Final[dict[str, Callable[[], Target]]] = {
    "manifests": fleet_targets.manifests,
    "repository": fleet_targets.repositories,
    "lock": fleet_targets.lock,
    "envelope": device_targets.envelope,
    "order": device_targets.order,
    "requests": request_targets.requests,
    "signed orders": stolen_targets.signed_orders,
    "metadata": device_targets.metadata,
    "signed freshness": stolen_targets.signed_freshness,
    "root": device_targets.roots,
    "policy": device_targets.policy,
    "statements": stolen_targets.statements,
    "outcome": fleet_targets.outcome,
    "replies": fleet_targets.replies,
    "http": fleet_targets.http,
    "certificate": fleet_targets.certificate,
    "agent.toml": device_targets.settings_file,
    "proposal": trust_targets.proposal,
    "signature": trust_targets.signature,
    "trust.yaml": trust_targets.plan,
    "public key": trust_targets.public_key,
    "private key": trust_targets.private_key,
    "address": trust_targets.address,
    "request": identity_targets.request,
    "new certificate": identity_targets.new_certificate,
    "identity": identity_targets.identity_requests,
    "bill": evidence_targets.bill,
    "evidence": evidence_targets.evidence,
    "observed": observed_targets.observed,
}
