"""`fwctl firmware`: register, sign, list and show images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fwctl.cli import completing
from fwctl.cli.context import Context, next_is, say, talk
from fwctl.cli.options import TextOrJson

Named = Annotated[
    str, typer.Argument(metavar="MODEL@VERSION", help="Which firmware.", autocompletion=completing.firmware)
]
Reason = Annotated[str, typer.Option("--reason", help="Why, in one line; it stands in git.")]
Signer = Annotated[str, typer.Option("--as", metavar="NAME", help="Whose key signs it.")]

if TYPE_CHECKING:
    from fwctl.cli.promoting import Moved

group = typer.Typer(no_args_is_help=True, help="Register firmware and look at it.", rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    app.add_typer(group, name="firmware")


@group.command()
def add(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The image.")],
    model: Annotated[str, typer.Option(help="The product that it is built for.")],
    version: Annotated[str, typer.Option(help="Its version.")],
    hardware: Annotated[list[str] | None, typer.Option(help="A board that it runs on; repeat it.")] = None,
    security_version: Annotated[int, typer.Option(min=0, help="What security floors are compared with.")] = 0,
    notes: Annotated[str, typer.Option(help="Release notes.")] = "",
    sbom: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Its bill of materials: CycloneDX, in JSON.")
    ] = None,
    signer: Signer = "",
) -> None:
    """Store an image, write its manifest, sign its release."""
    from fwctl.cli.releasing import Image, add_firmware

    settings: Context = context.obj
    image = Image(model, version, tuple(hardware or ()), security_version, notes, sbom)
    added = add_firmware(settings, file, image, signer)
    from fwctl.render.words import labelled

    pairs = [("image", added.digest), ("release", added.release), ("stored", str(added.storage))]
    say(f"Firmware {model} {version}: {added.length:,} bytes")
    say("\n".join(labelled([*pairs, *(("wrote", str(path)) for path in added.paths)])))
    if added.onwards.told:
        talk(added.onwards.told)
    next_is(*added.onwards.commands)


@group.command("list")
def list_(context: typer.Context, format_: TextOrJson = "text") -> None:
    """List the firmware, who signed it and where it runs."""
    from fwctl.cli.looking import open_book
    from fwctl.render.catalogue import FIRMWARE_LIST

    settings: Context = context.obj
    say(FIRMWARE_LIST[format_](open_book(settings).firmware()))
    next_is("fwctl firmware show MODEL@VERSION")


@group.command()
def show(context: typer.Context, firmware: Named, format_: TextOrJson = "text") -> None:
    """Show one firmware: digests, boards, signatures, use."""
    from fwctl.cli.looking import open_book
    from fwctl.cli.releasing import find_firmware, onwards
    from fwctl.render.catalogue import FIRMWARE_SHOW

    settings: Context = context.obj
    book = open_book(settings)
    wanted = find_firmware(book.repo, firmware)
    say(FIRMWARE_SHOW[format_](next(line for line in book.firmware() if line.firmware is wanted)))
    further = onwards(book.repo, wanted.model.spec.model, wanted.model.spec.version)
    if further.told:
        talk(further.told)
    next_is(*further.commands)


@group.command()
def sign(context: typer.Context, firmware: Named, signer: Signer = "") -> None:
    """Sign the release statement of a firmware manifest."""
    from fwctl.cli.releasing import find_firmware, sign_firmware
    from fwctl.reconcile.commit import load_repo
    from fwctl.render.words import labelled
    from fwctl.rollouts.compile import release_of

    settings: Context = context.obj
    repo = load_repo(settings.edited())
    wanted = find_firmware(repo, firmware)
    path = sign_firmware(settings, repo, wanted, signer)
    say(f"Signed {firmware}")
    say("\n".join(labelled([("release", release_of(wanted.model).digest), ("wrote", str(path))])))
    next_is(f"git add {path} && git commit -m 'Sign {firmware}'")


@group.command()
def promote(
    context: typer.Context,
    firmware: Named,
    to: Annotated[
        Literal["candidate", "released"] | None,
        typer.Option("--to", help="Skip states, or take a deprecation back; the next state by default."),
    ] = None,
) -> None:
    """Move a firmware on: draft, candidate, released."""
    from fwctl.cli.promoting import promote as work

    _told(work(context.obj, firmware, to))


@group.command()
def deprecate(
    context: typer.Context,
    firmware: Named,
    sunset: Annotated[str, typer.Option("--sunset", metavar="DATE", help="From this day (UTC) on, no new rollouts.")],
    reason: Reason,
    successor: Annotated[str, typer.Option("--successor", metavar="VERSION", help="Where devices are to go.")] = "",
) -> None:
    """Say when and why a firmware ends."""
    from fwctl.cli.promoting import deprecate as work

    _told(work(context.obj, firmware, sunset=sunset, reason=reason, successor=successor))


@group.command()
def withdraw(context: typer.Context, firmware: Named, reason: Reason) -> None:
    """Hold every rollout of a firmware.

    To have devices refuse it, too: fwctl trust withdraw.
    """
    from fwctl.cli.promoting import withdraw as work

    moved = work(context.obj, firmware, reason)
    _told(moved, f"fwctl trust withdraw {moved.name} --reason TEXT")


def _told(moved: Moved, *after: str) -> None:
    from fwctl.render.lifecycle import moved_text

    say(moved_text(moved))
    if moved.unjudged:
        talk("Not judged: no root of trust is pinned here, so nobody knows whether its release is signed well enough.")
    next_is(moved.commit, *after, "fwctl validate")


@group.command("sunset-report")
def sunset_report(context: typer.Context, format_: TextOrJson = "text") -> None:
    """List the devices that still run firmware that ends."""
    from fwctl.cli.sunset import report
    from fwctl.render.lifecycle import SUNSET

    settings: Context = context.obj
    found = report(settings)
    say(SUNSET[format_](found))
    next_is(*(found.commands or ("fwctl firmware list",)))


@group.command()
def sbom(context: typer.Context, firmware: Named, format_: TextOrJson = "text") -> None:
    """List the components of a firmware."""
    from fwctl.cli.bills import bill_of
    from fwctl.render.bills import RENDERERS

    settings: Context = context.obj
    bill = bill_of(settings, firmware)
    say(RENDERERS[format_](bill))
    next_is("fwctl device list --with-component NAME@VERSION", f"fwctl firmware show {firmware}")
