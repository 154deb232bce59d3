"""Whether a request for a certificate may be granted: strict about its form, and about whose key it is."""

from __future__ import annotations

from pathlib import Path

from fwctl.cli.context import Context
from fwctl.errors import InputError, TrustRefused
from fwctl.files import read_input
from fwctl.fleet.certificates import Authorities, key_digest, load_certificate
from fwctl.fleet.pki import PublicKey
from fwctl.fleet.register import Register
from fwctl_agent.errors import Refusal
from fwctl_agent.trust.identity import MAX_PEM, read_request


def requested_key(settings: Context, authorities: Authorities, repo_id: str, device: str, path: Path) -> PublicKey:
    """Return the key of a request, which this device may have.

    Raises:
        InputError: as `checked_key`, or `E_NO_FILE`; `E_EXISTS` while another key of the device is in force, because
            whoever can have a request granted for a name that exists is that device from then on.
        TrustRefused: `E_REVOKED`.
    """
    pem = read_input(path, most=MAX_PEM).decode("ascii", "replace")
    revoked = revoked_keys(settings, repo_id)
    key = checked_key(pem, authorities, repo_id, device, revoked=revoked, place=str(path))
    book, digest = Register(authorities.folder).read(), key_digest(key)
    if digest in book.superseded(device):
        raise InputError(
            "the key is one that this device had before",
            code="E_KEY_DUPLICATE",
            place=str(path),
            remedy="Remove identity/ on the device, so that it makes another key, and ask again.",
        )
    if others := [one for one in book.current(device) if one not in revoked and one != digest]:
        raise InputError(
            f"{device} has another key in force: {others[0][:19]}",
            code="E_EXISTS",
            place=str(path),
            remedy=f"Find out whose request this is. If {device} lost its key, take that out of trust first: "
            f"fwctl device revoke {device} --reason WHY",
        )
    return key


def checked_key(
    pem: str, authorities: Authorities, repo_id: str, device: str, *, revoked: frozenset[str], place: str
) -> PublicKey:
    """Return the key of a request (PKCS#10, PEM).

    Raises:
        InputError: `E_REQUEST`, `E_KEY_ALG`, or `E_KEY_DUPLICATE` where somebody else has the key.
        TrustRefused: `E_REVOKED`.
    """
    again = f"Make it again on the device: fwctl-agent request --config DIR --id {device} --fleet {repo_id}"
    try:
        key = read_request(pem, device, repo_id)
    except Refusal as error:
        raise InputError(error.message, code=error.code, place=place, remedy=again) from error
    digest = key_digest(key)
    paths = (authorities.device_ca, authorities.controller_ca, authorities.controller)
    others = [path.name for path in paths if path.exists() and load_certificate(path).public_key() == key]
    others += [name for name in Register(authorities.folder).read().holders(digest) if name != device]
    if others:
        raise InputError(
            f"the key is also that of {', '.join(others[:3])}",
            code="E_KEY_DUPLICATE",
            place=place,
            remedy="Every device makes its own key: remove identity/ on this one (an image may hold it).",
        )
    if digest in revoked:
        raise TrustRefused(
            f"the key {digest[:19]} is revoked by the policy",
            code="E_REVOKED",
            place=place,
            remedy="Remove identity/ on the device, so that it makes another key, and ask again.",
        )
    return key


def revoked_keys(settings: Context, repo_id: str) -> frozenset[str]:
    """Return the revoked keys of the newest trust that this machine sees.

    Raises:
        InputError: `E_NO_TRUST`: no root is pinned here.
        TrustRefused: the trust does not verify.
    """
    files = settings.files()
    settings.keystore(repo_id).pinned_root()
    authority = settings.authority(repo_id, files)
    return authority.policy.revoked if authority else frozenset()
