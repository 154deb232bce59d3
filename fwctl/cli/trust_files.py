"""What commands that change trust are given: policies, public keys, names of firmware."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from securesystemslib.signer import SSlibKey

from fwctl.cli.context import Context
from fwctl.errors import Busy, InputError, UsageError
from fwctl.files import read_input
from fwctl.reconcile.commit import load_repo
from fwctl.rollouts.compile import release_of
from fwctl.trust import changes
from fwctl.trust.changes import Change
from fwctl.trust.public_key import read_public_key
from fwctl_agent.errors import Refusal
from fwctl_agent.protocol import canonical
from fwctl_agent.trust.policy import Policy

_PREFIX = re.compile(r"[0-9a-f]{8,64}")


def read_policy(path: Path) -> dict[str, Any]:
    """Return an edited policy.

    Raises:
        InputError: `E_NO_FILE`; `E_POLICY_INVALID` or `E_KEY_*`: no verifier would take it.
    """
    data = read_input(path, remedy="Begin with a copy of trust/policy/policy.json.", most=canonical.MAX_BYTES)
    try:
        Policy.parse(data)
        found: dict[str, Any] = canonical.decode(data, what="policy")
    except Refusal as error:
        raise InputError(
            f"this policy would be refused: {error.message}",
            code=error.code,
            place=str(path),
            remedy="Begin with a copy of trust/policy/policy.json; its form: docs/adr/0001-contracts.md",
        ) from error
    return found


def key_of(path: Path, person: str) -> SSlibKey:
    """Return a public key that is to be `person`'s.

    Raises:
        UsageError: `E_KEY_HOLDER`: the file names somebody else.
    """
    found = read_public_key(path)
    if path.suffix == ".json" and found.person != person:
        raise UsageError(
            f"the file says that this is the key of {found.person}, not of {person[:60]}",
            code="E_KEY_HOLDER",
            place=str(path),
            remedy=f"If they are one person, name them as the file does: {found.person}",
        )
    return found.key


def key_prefix(text: str) -> str:
    """Return the beginning of a key's id. Raises UsageError `E_USAGE` for one that is too short to name a key."""
    if text and not _PREFIX.fullmatch(text):
        raise UsageError(
            f"{text[:64]!r} is no key id",
            code="E_USAGE",
            place="--key",
            remedy="At least 8 hex digits, as `fwctl trust status --format json` shows them.",
        )
    return text


def rotation(
    add: list[Path], remove: list[str], threshold: int | None, freshness: Path | None, order: Path | None
) -> list[Change]:
    """Return the changes of one rotation of the root. Raises UsageError `E_USAGE` if there is none."""
    found = [changes.remove_from_role("root", person) for person in remove]
    for one in (read_public_key(path) for path in add):
        found.append(changes.add_key(one.person, one.key, groups=(), roles=("root",)))
    if threshold is not None:
        found.append(changes.set_threshold("root", threshold))
    if freshness is not None:
        found.append(changes.set_freshness(read_public_key(freshness).key))
    if order is not None:
        found.append(changes.set_order_key(read_public_key(order).key))
    if not found:
        raise UsageError(
            "nothing is said that the next root shall change",
            code="E_USAGE",
            place="rotate-root",
            remedy="Say --add, --remove, --threshold, --freshness or --order; a later end: fwctl trust renew root",
        )
    return found


def rail_digests(settings: Context) -> dict[str, str]:
    """Return the digests of the guard rails that are committed, by name.

    Raises:
        Busy: `E_DIRTY`: the work tree has others, and those would not be what is put in force.
    """
    dirty = [path for path in settings.repo.dirty() if path.startswith("policies/")]
    if dirty:
        raise Busy(
            "guard rails are edited and not committed: what you see is not what would be put in force",
            code="E_DIRTY",
            place=", ".join(dirty[:3]),
            remedy="git add policies && git commit, then run the same command again.",
        )
    repo = load_repo(settings.committed()[1])
    return {name: canonical.digest(one.raw) for name, one in repo.policies.items()}


def release_digest(settings: Context, firmware: str) -> str:
    """Return the digest of a firmware's release statement, which is what policies withdraw.

    Raises:
        InputError: `E_NO_FIRMWARE`.
    """
    repo = load_repo(settings.committed()[1])
    model, _, version = firmware.partition("@")
    found = repo.firmware.get((model, version))
    if found is None:
        known = ", ".join(sorted(f"{model}@{version}" for model, version in repo.firmware)[:5])
        raise InputError(
            f"no firmware {firmware[:60]} is committed",
            code="E_NO_FIRMWARE",
            place=f"firmware/{model[:60]}/",
            remedy=f"There is: {known or 'none'}",
        )
    return release_of(found.model).digest
