"""`fwctl device`: enrol, list, show, history; `device_identity` has renew, rotate and revoke."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from fwctl.cli import completing
from fwctl.cli.context import Context, next_is, pour, say, talk
from fwctl.cli.options import TextOrJson

Device = Annotated[str, typer.Argument(metavar="NAME", help="The device.", autocompletion=completing.devices)]

SCREEN = 100
"""devices that are listed at a terminal unless told otherwise"""

group = typer.Typer(no_args_is_help=True, help="Enrol devices and look at them.", rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    from fwctl.cli import device_identity

    device_identity.register(group)
    app.add_typer(group, name="device")


@group.command()
def enroll(
    context: typer.Context,
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Devices to enrol.", metavar="NAME", autocompletion=completing.devices),
    ] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the agent's folder goes.")] = Path("device"),
    everyone: Annotated[bool, typer.Option("--all", help="Every device of the inventory, a folder each.")] = False,
    model: Annotated[str, typer.Option(help="For a device that the inventory does not have yet.")] = "",
    hardware: Annotated[str, typer.Option(help="Its board or revision.")] = "rev-a",
    env: Annotated[str, typer.Option(help="Its environment.")] = "dev",
    address: Annotated[str, typer.Option(metavar="HOST:PORT", help="Where its agent listens.")] = "",
    factory: Annotated[Path | None, typer.Option(help="The image that it runs now.")] = None,
    factory_version: Annotated[str, typer.Option(help="The version of that image.")] = "0.0.0",
    request: Annotated[
        Path | None, typer.Option(metavar="FILE", help="From `fwctl-agent request`: the key stays on the device.")
    ] = None,
) -> None:
    """Make the folder that an agent runs from.

    It holds the device's key and certificate, the pinned root of trust, and its settings. With --request it holds no
    key: `fwctl-agent enroll` installs it on the device that made the request.
    """
    from fwctl.cli.enrolling import Declaration, Factory, enroll_all
    from fwctl.cli.watching import tracked
    from fwctl.render.words import counted, some

    settings: Context = context.obj
    declared = Declaration(model, hardware, env, address) if model else None
    done = enroll_all(
        settings,
        names or (),
        everyone=everyone,
        out=out,
        declaration=declared,
        factory=Factory.read(factory, factory_version),
        track=tracked,
        request=request,
    )
    say("\n".join(some([f"Enrolled {name} in {folder}" for name, folder in done.folders.items()]) or ["Nothing to do"]))
    for path in done.declared:
        say(f"Declared it in {path}")
    if done.before:
        talk(f"{counted(len(done.before), 'device')} had a folder there already and were left alone.")
    where = out if everyone else next(iter(done.folders.values()))
    if request is not None:
        say(f"It pins root {done.root}")
        next_is(f"fwctl-agent enroll --config DIR --bundle {where}")
        return
    run = "simulate --enrolled" if everyone else "run --config"
    next_is(f"fwctl-agent {run} {where}", "fwctl firmware add FILE --model MODEL --version VERSION")


@group.command("list")
def list_(
    context: typer.Context,
    in_group: Annotated[
        str, typer.Option("--group", metavar="NAME", help="Members of this group.", autocompletion=completing.groups)
    ] = "",
    rollout: Annotated[
        str,
        typer.Option(metavar="ROLLOUT", help="Devices that this one holds.", autocompletion=completing.rollouts),
    ] = "",
    model: Annotated[str, typer.Option(metavar="MODEL", help="Devices of this model.")] = "",
    env: Annotated[str, typer.Option(metavar="ENV", help="Devices of this environment.")] = "",
    region: Annotated[str, typer.Option(metavar="REGION", help="Devices of this region.")] = "",
    site: Annotated[str, typer.Option(metavar="SITE", help="Devices of this site.")] = "",
    label: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="Devices with this label.")] = None,
    state: Annotated[str, typer.Option(metavar="STATE", help="Devices in this state, such as failed.")] = "",
    running: Annotated[str, typer.Option("--version", metavar="VERSION", help="Devices that run this.")] = "",
    unreachable: Annotated[bool, typer.Option("--unreachable", help="Devices that did not answer last.")] = False,
    older_than: Annotated[str, typer.Option(metavar="AGE", help="Not seen for so long, such as 2d.")] = "",
    component: Annotated[
        str,
        typer.Option(
            "--with-component",
            metavar="NAME",
            help="Devices whose firmware has this, such as openssl@3.0.1, by its bill of materials.",
        ),
    ] = "",
    after: Annotated[str, typer.Option(metavar="NAME", help="Only behind this one.")] = "",
    limit: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="At most so many; 100 at a terminal, else all.", show_default=False),
    ] = None,
    format_: TextOrJson = "text",
) -> None:
    """List the devices: what they run, when seen, where they stand."""
    from dataclasses import replace

    from fwctl.cli.bills import find, wanted_of
    from fwctl.cli.looking import open_book
    from fwctl.cli.picking import Filter, Page, age, chosen, labels, select
    from fwctl.render.devices import LIST

    settings: Context = context.obj
    sought = wanted_of(component) if component else None
    wanted = Filter(
        *(in_group, model, env, state, region, site, labels(label or ()), rollout, running, unreachable),
        age(older_than) if older_than else None,
        after,
    )
    book = open_book(settings)
    if sought:
        wanted = replace(wanted, component=find(book, sought, chosen(book, wanted)))
    page = Page(select(book, wanted), limit or (SCREEN if format_ == "text" and sys.stdout.isatty() else None))
    for part in LIST[format_](page, book.now, wanted.component):
        pour(part)
    if page.more:
        talk(f"There are more: the same command with --after {page.last}")
    next_is("fwctl device show NAME")


@group.command()
def show(context: typer.Context, name: Device, format_: TextOrJson = "text") -> None:
    """Show one device: what it runs, its rollout, its last outcome."""
    from fwctl.cli.looking import open_book
    from fwctl.cli.nexts import cure
    from fwctl.cli.picking import device_detail
    from fwctl.reconcile.views import why_unreached
    from fwctl.render.devices import SHOW

    settings: Context = context.obj
    detail = device_detail(open_book(settings), name)
    say(SHOW[format_](detail))
    cured = cure(why_unreached(detail.line.row), [name]) if detail.line.row else None
    next_is(*([cured[1]] if cured else []), f"fwctl events --for {name}")


@group.command()
def history(context: typer.Context, name: Device, format_: TextOrJson = "text") -> None:
    """Show every firmware on a device, and by whose word."""
    from fwctl.cli.lineage import device_history
    from fwctl.render.lineage import RENDERERS

    settings: Context = context.obj
    say(RENDERERS[format_](device_history(settings, name)))
    next_is(f"fwctl device show {name}", f"fwctl events --for {name}")
