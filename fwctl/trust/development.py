"""The one-person development trust that `fwctl init` makes: keys, pinned root, and the files below `trust/`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from securesystemslib.signer import Signer

from fwctl.errors import InputError
from fwctl.trust.authority import TRUST
from fwctl.trust.keystore import FRESHNESS, ORDER, KeyStore
from fwctl.trust.repository import Signers, build, development_policy
from fwctl_agent.errors import Refusal
from fwctl_agent.trust.metadata import TrustedMetadata

ROOT = f"{TRUST}1.root.json"


def development_trust(
    keystore: KeyStore,
    files: Mapping[str, bytes],
    *,
    repo_id: str,
    person: str,
    device_ca: Callable[[], str],
    now: datetime,
) -> dict[str, bytes]:
    """Return the trust files to commit; empty if they stand already. The caller writes them, then pins the root.

    Keys are stored first and reused, so a run that was killed anywhere is completed by the next one. `device_ca` makes
    the fleet's authorities, if need be, and returns the digest of the device CA's public key.

    Raises:
        InputError: `E_TRUST_EXISTS` if repository and pinned root do not belong together.
    """
    stands = files.get(ROOT)
    if stands is not None:
        if (keystore.pinned_root().encode() if keystore.exists else _own(keystore, stands)) == stands:
            return {}
        raise InputError(
            "this repository has a root of trust that you have not pinned",
            code="E_TRUST_EXISTS",
            place=ROOT,
            remedy=f"Compare it with its owners over another channel, then copy it to {keystore.root_path}.",
        )
    if keystore.exists:
        raise InputError(
            f"you have keys for a fleet called {repo_id} already, and this repository has none of its trust",
            code="E_TRUST_EXISTS",
            place=str(keystore.folder),
            remedy="Choose another --repo-id, or clone the repository that those keys belong to.",
        )
    owner, _, _ = (_key(keystore, name) for name in (person, ORDER, FRESHNESS))
    public = {name: keystore.public(name) for name in (person, ORDER, FRESHNESS)}
    policy = development_policy(repo_id=repo_id, people={person: public[person]}, order_key=public[ORDER])
    policy["deviceCas"] = [device_ca()]
    trust = build(Signers([owner], [owner], [owner], public[FRESHNESS], {}), policy, now=now)
    return {f"{TRUST}{name}": text.encode() for name, text in trust.items()}


def _key(keystore: KeyStore, name: str) -> Signer:
    return keystore.signer(name) if keystore.has(name) else keystore.generate(name)


def _own(keystore: KeyStore, root: bytes) -> bytes:
    """Return `root` if it is signed by a key that lies here: then it is this user's own, written by a killed run."""
    try:
        state = TrustedMetadata.bootstrap(root.decode())
    except (Refusal, UnicodeDecodeError):
        return b""
    mine = {keystore.public(name).keyid for name in keystore.people()}
    return root if mine & set(state.root.signed.roles["root"].keyids) else b""
