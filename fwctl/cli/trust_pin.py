"""`fwctl trust pin`: begin to trust a fleet, by a fingerprint that came over another channel."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Annotated

import typer

from fwctl.cli.context import Context, next_is, say


def register(group: typer.Typer) -> None:
    group.command(name="pin")(pin)


def pin(
    context: typer.Context,
    fingerprint: Annotated[
        str, typer.Option("--fingerprint", metavar="HEX", help="SHA-256 of the fleet's first root, from an owner.")
    ],
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="The root; trust/1.root.json of the repository by default.")
    ] = None,
) -> None:
    """Begin to trust a fleet.

    Its first root is pinned, if it is the one with this fingerprint.
    """
    from fwctl.cli.fleet_id import fleet_id

    settings: Context = context.obj
    repo_id = fleet_id(settings)
    root = _read(settings, file)
    path = _pin(settings, repo_id, root, fingerprint, str(file or "trust/1.root.json"))
    say(f"Pinned the root of fleet {repo_id}\n  sha256  {hashlib.sha256(root).hexdigest()}\n  pinned  {path}")
    next_is("fwctl trust status")


def _read(settings: Context, file: Path | None) -> bytes:
    from fwctl.errors import InputError
    from fwctl.files import read_input

    if file is not None:
        return read_input(file, remedy="Name the file of the fleet's first root.", most=1 << 20)
    found = settings.committed()[1].get("trust/1.root.json")
    if found is None:
        raise InputError(
            "this repository has no root of trust yet",
            code="E_NO_TRUST",
            place="trust/1.root.json",
            remedy="Its owners complete it first: fwctl trust status",
        )
    return found


def _pin(settings: Context, repo_id: str, root: bytes, fingerprint: str, place: str) -> Path:
    from fwctl.errors import InputError, TrustRefused
    from fwctl_agent.errors import Refusal
    from fwctl_agent.trust.metadata import TrustedMetadata

    wanted = re.sub(r"[\s:]", "", fingerprint).lower().removeprefix("sha256")
    keystore = settings.keystore(repo_id)
    if hashlib.sha256(root).hexdigest() != wanted:
        raise TrustRefused(
            "this root does not have that fingerprint: it is another one, or the fingerprint was not typed whole",
            code="E_PIN",
            place=place,
            remedy="Compare all 64 digits with the fleet's owner over another channel. Nothing was pinned.",
        )
    if keystore.exists and keystore.pinned_root().encode() != root:
        raise InputError(
            "you have pinned another root for this fleet",
            code="E_TRUST_EXISTS",
            place=str(keystore.root_path),
            remedy="A pinned root stays; rotations follow from it. If it was never this fleet's, move the file away.",
        )
    try:
        TrustedMetadata.bootstrap(root.decode())
    except (Refusal, UnicodeDecodeError) as error:
        message = error.message if isinstance(error, Refusal) else "it is not UTF-8"
        raise TrustRefused(
            f"this is no usable root: {message}",
            code=error.code if isinstance(error, Refusal) else "E_SCHEMA",
            place=place,
            remedy="Ask the fleet's owner for the right file.",
        ) from error
    keystore.pin_root(root.decode())
    return keystore.root_path
