"""`fwctl keys`: the private keys on this machine, and the public ones that others hand over."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fwctl.cli.context import Context, next_is, say
from fwctl.cli.options import TextOrJson

if TYPE_CHECKING:
    from fwctl.cli.keying import Stored
    from fwctl.trust.keystore import KeyStore

group = typer.Typer(no_args_is_help=True, help="Make, take in and look at keys.", rich_markup_mode=None)

Name = Annotated[str, typer.Argument(metavar="NAME", help="Who holds the key.")]
Fleet = Annotated[str, typer.Option("--fleet", metavar="ID", help="The fleet, where no repository says it.")]
Unencrypted = Annotated[bool, typer.Option("--unencrypted", help="Keep it without a passphrase.")]


def register(app: typer.Typer) -> None:
    app.add_typer(group, name="keys")


@group.command("list")
def list_(context: typer.Context, fleet: Fleet = "", format_: TextOrJson = "text") -> None:
    """List your keys and what the policy knows them as."""
    from fwctl.cli.keying import read_keys
    from fwctl.render.keys import KEYS

    settings: Context = context.obj
    keys = read_keys(settings, fleet)
    say(KEYS[format_](keys))
    next_is("fwctl trust status" if keys.lines else f"fwctl keys generate NAME{_for(fleet)}")


@group.command()
def generate(
    context: typer.Context,
    name: Name,
    out: Annotated[
        Path | None, typer.Option("--out-public", metavar="FILE", help="Write the public half here too.")
    ] = None,
    unencrypted: Unencrypted = False,
    fleet: Fleet = "",
    format_: TextOrJson = "text",
) -> None:
    """Make a key of your own.

    The passphrase is asked for, or is the first line of the file that
    FWCTL_PASSPHRASE_FILE names.
    """
    from fwctl.cli import keying

    keystore = keying.keystore_of(context.obj, fleet)
    _show(keying.generate(keystore, name, encrypted=not unencrypted, out=out), format_)
    next_is(_hand_on(keystore, name, out) if out else f"fwctl keys export {name} --out {name}.json{_for(fleet)}")


@group.command("import")
def import_(
    context: typer.Context,
    name: Name,
    file: Annotated[Path | None, typer.Argument(metavar="FILE", help="A private key in PEM.")] = None,
    hsm: Annotated[
        str, typer.Option("--hsm", metavar="ADDRESS", help="A key in a token: hsm:NUMBER?label=TOKEN.")
    ] = "",
    module: Annotated[str, typer.Option(metavar="FILE", help="The token's PKCS#11 module.")] = "",
    unencrypted: Unencrypted = False,
    fleet: Fleet = "",
    format_: TextOrJson = "text",
) -> None:
    """Take in a key that was made elsewhere.

    A token's PIN is asked for when it signs, or is the first line of the file
    that FWCTL_PIN_FILE names.
    """
    from fwctl.cli import keying

    keystore = keying.keystore_of(context.obj, fleet)
    match file, hsm, module:
        case Path(), "", "":
            done = keying.import_file(keystore, name, file, encrypted=not unencrypted)
        case None, str(), str() if hsm and module:
            done = keying.import_token(keystore, name, hsm, module)
        case _:
            raise _say_which()
    _show(done, format_)
    next_is(f"fwctl keys export {name} --out {name}.json{_for(fleet)}")


def _hand_on(keystore: KeyStore, name: str, file: Path) -> str:
    """Return what is done with a public half: before there is a trust, who plans one compares its fingerprint."""
    return f"fwctl trust add-key {name} {file}" if keystore.exists else f"fwctl keys vet {file}"


@group.command()
def export(
    context: typer.Context,
    name: Name,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Where; beside the private one by default.")] = None,
    fleet: Fleet = "",
    format_: TextOrJson = "text",
) -> None:
    """Write the public half, to hand it on."""
    from fwctl.cli import keying

    keystore = keying.keystore_of(context.obj, fleet)
    done = keying.export(keystore, name, out)
    _show(done, format_)
    next_is(_hand_on(keystore, name, done.public))


@group.command()
def protect(context: typer.Context, name: Name, fleet: Fleet = "", format_: TextOrJson = "text") -> None:
    """Put a passphrase on a key, or change it.

    Without a terminal, FWCTL_NEW_PASSPHRASE_FILE names the file of the new one
    where FWCTL_PASSPHRASE_FILE names that of the old one.
    """
    from fwctl.cli import keying

    _show(keying.protect(keying.keystore_of(context.obj, fleet), name), format_)
    next_is(f"fwctl keys list{_for(fleet)}")


@group.command()
def vet(
    context: typer.Context,
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="Public keys, as handed over.")],
    format_: TextOrJson = "text",
) -> None:
    """Judge public keys that were handed over."""
    from fwctl.cli import keying
    from fwctl.render.keys import VETTED

    vetted = keying.vet(context.obj, files)
    say(VETTED[format_](vetted))
    good = [
        f"fwctl trust add-key {one.held.person} {one.path}" for one in vetted.files if one.held and not one.findings
    ]
    next_is(*([] if vetted.exit_code else good) or ["fwctl keys list"])
    raise typer.Exit(vetted.exit_code)


def _show(stored: Stored, format_: str) -> None:
    from fwctl.render.keys import STORED

    say(STORED[format_](stored))


def _for(fleet: str) -> str:
    return f" --fleet {fleet}" if fleet else ""


def _say_which() -> Exception:
    from fwctl.errors import UsageError

    return UsageError(
        "say where the key is: a file, or a token and its module",
        code="E_KEY_SOURCE",
        place="fwctl keys import",
        remedy="fwctl keys import NAME FILE, or: fwctl keys import NAME --hsm 'hsm:2?label=TOKEN' --module FILE",
    )
