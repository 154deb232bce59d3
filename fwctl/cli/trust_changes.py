"""The commands that change trust. Each is one change, one signature of one person, one commit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fwctl.cli.context import Context
from fwctl.cli.options import TextOrJson

if TYPE_CHECKING:
    from fwctl.trust.changes import Change

Signer = Annotated[str, typer.Option("--as", metavar="NAME", help="Who signs; you, if one person's keys are here.")]
Person = Annotated[str, typer.Argument(metavar="PERSON", help="A name, as the policy has it.")]
KeyFile = Annotated[Path, typer.Argument(metavar="KEYFILE", help="A public key, from `fwctl keys export`.")]


class Role(StrEnum):
    """A piece of the trust that people sign."""

    ROOT = "root"
    TARGETS = "targets"
    POLICY = "policy"


def register(group: typer.Typer) -> None:
    for name, command in _COMMANDS.items():
        group.command(name)(command)


def policy(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An edited copy of trust/policy/policy.json.")],
    signer: Signer = "",
    format_: TextOrJson = "text",
) -> None:
    """Change anything of the policy.

    People, groups, rules, floors, storage hosts: what differs in FILE.
    """
    from fwctl.cli.amending import policy_path
    from fwctl.cli.trust_files import read_policy
    from fwctl.trust.changes import replace_policy

    settings: Context = context.obj
    change = replace_policy(read_policy(file))
    _do(settings, change, "another policy", signer, format_, file=policy_path(settings, file))


def add_key(
    context: typer.Context,
    person: Person,
    file: KeyFile,
    groups: Annotated[list[str] | None, typer.Option("--group", metavar="GROUP", help="Join this group.")] = None,
    roles: Annotated[list[Role] | None, typer.Option("--role", help="Sign this role with it.")] = None,
    signer: Signer = "",
    format_: TextOrJson = "text",
) -> None:
    """Let a person sign with a key.

    Approvals and releases by default, in the groups given. With --role and no --group, only that piece of the trust,
    in the place of the key that they have there.
    """
    from fwctl.cli.trust_files import key_of
    from fwctl.trust import changes

    chosen = tuple(role.value for role in roles or ())
    change = changes.all_of(changes.add_key(person, key_of(file, person), groups=tuple(groups or ()), roles=chosen))
    _do(context.obj, change, f"a key of {person}", signer, format_)


def revoke(
    context: typer.Context,
    person: Person,
    key: Annotated[str, typer.Option("--key", metavar="KEYID", help="Only this key, by its id or its start.")] = "",
    signer: Signer = "",
    format_: TextOrJson = "text",
) -> None:
    """Take a person, or one key, out of people, groups and roles.

    What they approved and what has not begun counts no more as soon as this lands.
    """
    from fwctl.cli.trust_files import key_prefix
    from fwctl.trust import changes

    what = f"revoke {person}" if not key else f"revoke a key of {person}"
    _do(context.obj, changes.revoke(person, key_prefix(key)), what, signer, format_)


def rotate_root(
    context: typer.Context,
    add: Annotated[list[Path] | None, typer.Option("--add", metavar="KEYFILE", help="Let its holder sign.")] = None,
    remove: Annotated[list[str] | None, typer.Option("--remove", metavar="PERSON", help="Not any more.")] = None,
    threshold: Annotated[int | None, typer.Option(min=1, help="How many must sign a root.")] = None,
    freshness: Annotated[Path | None, typer.Option(metavar="KEYFILE", help="Another freshness key.")] = None,
    order: Annotated[Path | None, typer.Option(metavar="KEYFILE", help="Another order key (in the policy).")] = None,
    signer: Signer = "",
    format_: TextOrJson = "text",
) -> None:
    """Make the next root: other signers, other keys.

    A threshold of the old and of the new signers must sign it. Devices walk there from any older root.
    """
    from fwctl.cli.trust_files import rotation
    from fwctl.trust.changes import all_of

    changes = rotation(add or [], remove or [], threshold, freshness, order)
    _do(context.obj, all_of(*changes), "rotate the root", signer, format_)


def threshold(
    context: typer.Context,
    role: Annotated[Role, typer.Argument(help="A piece of the trust.")],
    number: Annotated[int, typer.Argument(metavar="K", min=1, help="How many people must sign it.")],
    signer: Signer = "",
    format_: TextOrJson = "text",
) -> None:
    """Say how many people must sign root, targets or policy. Of approvals and releases, the policy says it."""
    from fwctl.trust.changes import set_threshold

    _do(context.obj, set_threshold(role.value, number), f"{number} must sign {role.value}", signer, format_)


def floor(
    context: typer.Context,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A device model.")],
    number: Annotated[int, typer.Argument(metavar="N", min=0, help="The lowest securityVersion.")],
    signer: Signer = "",
    format_: TextOrJson = "text",
) -> None:
    """Raise the lowest securityVersion of a device model.

    It never goes down: devices keep the highest that they have seen.
    """
    from fwctl.trust.changes import raise_floor

    _do(context.obj, raise_floor(model, number), f"floor {number} of {model}", signer, format_)


def withdraw(
    context: typer.Context,
    firmware: Annotated[str, typer.Argument(metavar="MODEL@VERSION", help="A firmware.")],
    reason: Annotated[str, typer.Option("--reason", help="Why; it stands in git.")],
    signer: Signer = "",
    format_: TextOrJson = "text",
) -> None:
    """Withdraw a firmware: no device installs it any more."""
    from fwctl.cli.controlling import one_line
    from fwctl.cli.trust_files import release_digest
    from fwctl.trust.changes import withdraw as withdrawing

    settings: Context = context.obj
    reason = one_line(reason)
    change = withdrawing(release_digest(settings, firmware))
    _do(settings, change, f"withdraw {firmware}: {reason}", signer, format_)


def guard_rails(context: typer.Context, signer: Signer = "", format_: TextOrJson = "text") -> None:
    """Put the guard rails in policies/ in force.

    All that are committed, as they are, and no others.
    """
    from fwctl.cli.trust_files import rail_digests
    from fwctl.trust.changes import set_guard_rails

    settings: Context = context.obj
    digests = rail_digests(settings)
    what = f"guard rails {', '.join(digests)}" if digests else "no guard rails"
    _do(settings, set_guard_rails(digests.values()), what, signer, format_)


def renew(
    context: typer.Context,
    roles: Annotated[list[Role] | None, typer.Argument(help="All of them.")] = None,
    signer: Signer = "",
    format_: TextOrJson = "text",
) -> None:
    """Sign metadata again as it is, for a later end."""
    from fwctl.trust.changes import renew as renewing

    chosen = tuple(role.value for role in roles or Role)
    _do(context.obj, renewing(chosen), f"renew {', '.join(chosen)}", signer, format_)


def _do(settings: Context, change: Change, what: str, signer: str, format_: str, *, file: str = "") -> None:
    from fwctl.cli.amending import amend
    from fwctl.cli.trust import tell

    tell(settings, amend(settings, change, what=what, signer=signer, file=file), format_)


_COMMANDS: Mapping[str, Callable[..., None]] = {
    "policy": policy,
    "add-key": add_key,
    "revoke": revoke,
    "rotate-root": rotate_root,
    "threshold": threshold,
    "floor": floor,
    "withdraw": withdraw,
    "guard-rails": guard_rails,
    "renew": renew,
}
