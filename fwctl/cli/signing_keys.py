"""The keys on this machine that may sign an open proposal, and whose they are."""

from __future__ import annotations

from fwctl.errors import Busy, FwctlError, TrustRefused, UsageError
from fwctl.trust.keystore import KeyStore
from fwctl.trust.proposal import PROPOSAL, Proposal


def my_keys(keystore: KeyStore, proposal: Proposal, wanted: str) -> tuple[str, ...]:
    """Return the keys here that may sign, all of one person: the one named, or the only one there is."""
    holders, mine = proposal.holders(), dict[str, str]()
    for name in keystore.people():
        keyid = keyid_of(keystore, name)
        if keyid in holders:
            mine[name] = holders[keyid]
    if wanted:
        found = tuple(name for name, person in mine.items() if wanted in (name, person))
        if found:
            return found
        raise not_signer(keystore, proposal, f" of {wanted[:60]}")
    people = sorted(set(mine.values()))
    if len(people) > 1:
        raise UsageError(
            f"keys of {len(people)} people who may sign are on this machine",
            code="E_KEY_AMBIGUOUS",
            place=str(keystore.folder / "keys"),
            remedy=f"Say who you are: --as {' or --as '.join(people)}",
        )
    return tuple(mine)


def not_signer(keystore: KeyStore, proposal: Proposal, whose: str = "") -> TrustRefused:
    """Return the error where no key here may sign a proposal."""
    return TrustRefused(
        f"no key{whose} on this machine may sign it",
        code="E_NOT_SIGNER",
        place=str(keystore.folder / "keys"),
        remedy=f"Who may: {', '.join(sorted(set(proposal.holders().values())))}. See: fwctl keys list",
    )


def keyid_of(keystore: KeyStore, name: str) -> str:
    try:
        return keystore.public(name).keyid
    except FwctlError:
        return ""  # `fwctl keys list` says what is wrong with it


def check_mine(proposal: Proposal, keystore: KeyStore) -> None:
    """Refuse to amend what others have signed: their signatures would be lost without their knowing.

    And what nobody here has signed: whoever may push can propose, and would get a signature on it with any change.
    """
    mine = {keyid_of(keystore, name) for name in keystore.people()}
    holders = proposal.holders()
    others = sorted(holders[keyid] for keyid in proposal.signed_by() if keyid not in mine)
    if not others and proposal.unsigned_by(mine):
        raise Busy(
            "a proposal is open that you have not signed, and your change would sign all of it",
            code="E_PROPOSAL_OPEN",
            place=PROPOSAL,
            remedy="Look at it: fwctl trust status. Then sign it (fwctl trust sign), or take it away: "
            'fwctl trust drop --reason "..."',
        )
    if others:
        raise Busy(
            f"a proposal is open that {', '.join(others)} signed already",
            code="E_PROPOSAL_OPEN",
            place=PROPOSAL,
            remedy='Complete it first (fwctl trust sign), or take it away: fwctl trust drop --reason "..."',
        )
