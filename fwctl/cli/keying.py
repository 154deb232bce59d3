"""The work behind `fwctl keys`."""

from __future__ import annotations

import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fwctl.cli.context import Context
from fwctl.cli.fleet_id import ID, fleet_id
from fwctl.errors import FwctlError, InputError, UsageError
from fwctl.files import read_input, write_atomic
from fwctl.trust import passphrase
from fwctl.trust.keystore import FRESHNESS, ORDER, KeyKind, KeyStore
from fwctl.trust.public_key import MAX_BYTES, PublicKeyFile, fingerprint, read_public_key

if TYPE_CHECKING:
    from securesystemslib.signer import SSlibKey

    from fwctl.trust.authority import Authority


@dataclass(frozen=True)
class KeyLine:
    """One private key on this machine. `store` says where it lies; None if that cannot be read."""

    name: str
    keyid: str
    fingerprint: str
    kind: str
    store: KeyKind | None
    mode: str
    safe: bool
    known_as: tuple[str, ...]
    problem: str


@dataclass(frozen=True)
class Keys:
    """The keys of one fleet. `judged` is False where no root is pinned, so nobody knows what they may do."""

    folder: Path
    lines: tuple[KeyLine, ...]
    judged: bool


@dataclass(frozen=True)
class Stored:
    """One key after a command that changed it, and the file of its public half that can be handed on."""

    done: str
    name: str
    key: SSlibKey
    store: KeyKind
    private: Path
    public: Path


@dataclass(frozen=True)
class Finding:
    """Why a public key must not be used."""

    code: str
    message: str


@dataclass(frozen=True)
class VettedFile:
    """One public key file; `held` is None where it could not be read as a key."""

    path: Path
    held: PublicKeyFile | None
    known_as: tuple[str, ...]
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class Vetted:
    """All files. `judged` is False where there is no trusted policy to compare them with."""

    files: tuple[VettedFile, ...]
    judged: bool

    @property
    def exit_code(self) -> int:
        codes = {finding.code for file in self.files for finding in file.findings}
        unreadable = {"E_NO_FILE", "E_KEY_FILE", "E_KEY_NAME"}
        return 0 if not codes else 3 if codes <= unreadable else 1


def keystore_of(settings: Context, fleet: str) -> KeyStore:
    """Return the keys of a fleet: the one that is named, else the repository's.

    Raises:
        UsageError: `E_FLEET` if neither says which.
    """
    remedy = "Say which fleet the key is for: --fleet ID (spec.repoId of its fleet.yaml)."
    if fleet and not ID.fullmatch(fleet):
        raise UsageError("this cannot be a fleet's id", code="E_FLEET", place=fleet, remedy=remedy)
    try:
        return settings.keystore(fleet or fleet_id(settings))
    except InputError as error:
        if error.code != "E_GIT_REPO":
            raise
        raise UsageError(
            "there is no fleet repository here", code="E_FLEET", place=error.place, remedy=remedy
        ) from None


def read_keys(settings: Context, fleet: str = "") -> Keys:
    """Return the keys of a fleet on this machine; nobody is asked for a passphrase.

    Raises:
        ManifestErrors: the fleet's id cannot be read.
    """
    keystore = keystore_of(settings, fleet)
    authority = None if fleet else _authority(settings)
    lines = tuple(_key(keystore, name, authority) for name in keystore.names())
    return Keys(keystore.folder / "keys", lines, authority is not None)


def generate(keystore: KeyStore, name: str, *, encrypted: bool, out: Path | None) -> Stored:
    """Make a key.

    Raises:
        InputError: `E_KEY_NAME`, `E_KEY_EXISTS`, `E_PASSPHRASE`, ...
    """
    keystore.check_free(name)
    secret = passphrase.new_passphrase(name, str(keystore.key_path(name))) if encrypted else None
    keystore.generate(name, secret)
    return _stored("made", keystore, name, out)


def import_file(keystore: KeyStore, name: str, file: Path, *, encrypted: bool) -> Stored:
    """Take in a private key in PEM. One that is encrypted keeps its passphrase.

    Raises:
        InputError: `E_KEY_ALG`, `E_KEY_PASSPHRASE`, `E_KEY_EXISTS`, ...
        TrustRefused: `E_KEY_WEAK`, `E_KEY_DUPLICATE`.
    """
    from securesystemslib.signer import CryptoSigner

    from fwctl.trust.keyfile import is_encrypted, open_private, refuse_guessable

    keystore.check_free(name)
    data, place = read_input(file, most=MAX_BYTES), str(file)
    secret = passphrase.secret(passphrase.PASSPHRASE, name, place) if is_encrypted(data) else None
    key = open_private(data, secret, name=name, place=place)
    refuse_guessable(key, place)
    keystore.check_new(name, CryptoSigner(key).public_key)
    if secret is None and encrypted:
        secret = passphrase.new_passphrase(name, place)
    keystore.add(name, key, secret)
    return _stored("imported", keystore, name, None)


def import_token(keystore: KeyStore, name: str, address: str, module: str) -> Stored:
    """Take in the way to a key in a token, and its public half.

    Raises:
        InputError: `E_KEY_ADDRESS`, `E_HSM_LIBRARY`, `E_KEY_MISSING`, ...
        TrustRefused: `E_KEY_ALG`, `E_KEY_DUPLICATE`.
        WorldError: `E_SIGNER`.
    """
    from fwctl.trust.hardware import import_key

    keystore.check_free(name)
    # A bare name is looked up by the system's loader; a path must mean the same from everywhere.
    keystore.add_hardware(name, import_key(address, str(Path(module).absolute()) if "/" in module else module))
    return _stored("imported", keystore, name, None)


def export(keystore: KeyStore, name: str, out: Path | None) -> Stored:
    """Write the public half of a key where it can be handed on."""
    keystore.exported(name)
    return _stored("exported", keystore, name, out)


def protect(keystore: KeyStore, name: str) -> Stored:
    """Put a passphrase on a key, or change it.

    Raises:
        InputError: `E_KEY_KIND`, `E_KEY_PASSPHRASE`, ...
    """
    place = str(keystore.key_path(name))
    kind = keystore.kind(name)
    if kind != "hsm":
        keystore.signer(name)  # the old passphrase first: whoever cannot open a key is not asked for a new one
    new = passphrase.NEW_PASSPHRASE if kind == "encrypted" else passphrase.PASSPHRASE
    keystore.protect(name, passphrase.new_passphrase(name, place, kind=new) if kind != "hsm" else "")
    passphrase.forget(passphrase.PASSPHRASE, place)
    return _stored("protected", keystore, name, None)


def vet(settings: Context, paths: Sequence[Path]) -> Vetted:
    """Judge public key files, each by itself, against each other and against the trusted policy."""
    try:
        authority = _authority(settings)
    except FwctlError:  # no repository here
        authority = None
    files: list[VettedFile] = []
    first: dict[str, Path] = {}
    for path in paths:
        try:
            held = read_public_key(path)
        except FwctlError as error:
            files.append(VettedFile(path, None, (), (Finding(error.code, error.message),)))
            continue
        twin = first.setdefault(held.key.keyid, path)
        findings = [] if twin is path else [Finding("E_KEY_DUPLICATE", f"the same key as {twin}")]
        known = _known_as(held.key.keyid, authority) if authority else ()
        findings += _taken(held, authority) if authority else []
        files.append(VettedFile(path, held, known, tuple(findings)))
    return Vetted(tuple(files), authority is not None)


def _stored(done: str, keystore: KeyStore, name: str, out: Path | None) -> Stored:
    public, private = keystore.public_path(name), keystore.key_path(name)
    key = keystore.public(name)
    if out is not None:
        write_atomic(out, PublicKeyFile(name, key).to_bytes())
    return Stored(done, name, key, keystore.kind(name), private, out or public)


def _authority(settings: Context) -> Authority | None:
    files = settings.files()
    try:
        return settings.authority(fleet_id(settings), files)
    except FwctlError:
        return None


def _key(keystore: KeyStore, name: str, authority: Authority | None) -> KeyLine:
    mode = stat.S_IMODE(keystore.key_path(name).stat().st_mode)
    store: KeyKind | None = None
    key, problem = None, ""
    try:
        store = keystore.kind(name)
        key = keystore.public(name)
    except FwctlError as error:
        problem = error.message
    known = _known_as(key.keyid, authority) if key and authority else ()
    keyid, spoken, keytype = (key.keyid, fingerprint(key), key.keytype) if key else ("", "", "")
    return KeyLine(name, keyid, spoken, keytype, store, f"{mode:04o}", not mode & 0o077, known, problem)


def _known_as(keyid: str, authority: Authority) -> tuple[str, ...]:
    policy, root = authority.policy, authority.trusted.root.signed
    person = policy.person(keyid)
    groups = ", ".join(name for name, people in policy.groups.items() if person in people)
    found = [f"{person}" + (f" of {groups}" if groups else "")] if person else []
    found += ["order key"] if keyid in policy.order_keys else []
    found += [f"{role} role" for role, entry in sorted(root.roles.items()) if keyid in entry.keyids]
    return tuple(found)


def _taken(held: PublicKeyFile, authority: Authority) -> list[Finding]:
    """Return why the key cannot be this person's: it is somebody else's, or one that a machine signs with."""
    keyid, policy = held.key.keyid, authority.policy
    person = policy.person(keyid)
    online = {keyid for role in ("snapshot", "timestamp") for keyid in authority.trusted.root.signed.roles[role].keyids}
    found = [f"the policy knows it as the key of {person}"] if person not in (None, held.person) else []
    found += ["it is an order key, with which the reconciler signs"] * (keyid in policy.order_keys)
    found += ["it is a freshness key, with which the reconciler signs"] * (keyid in online)
    if held.person in (ORDER, FRESHNESS) and person is None:
        return []
    return [Finding("E_KEY_DUPLICATE", why) for why in found]
