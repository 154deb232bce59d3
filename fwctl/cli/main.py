"""The entry point: global options, and the table of commands."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from typer.core import TyperGroup

from fwctl import __version__
from fwctl.cli import (
    approve,
    audit,
    control,
    controller,
    demo,
    device,
    diff,
    doctor,
    drift,
    events,
    explain,
    firmware,
    group,
    init,
    keys,
    plan,
    quarantine,
    reconcile,
    rollout,
    schema,
    state,
    status,
    trust,
    validate,
    windows,
)
from fwctl.cli.context import Context
from fwctl.cli.guard import guard

_EPILOG = """\
From an empty folder to a device: init, device enroll, firmware add, rollout create, plan --lock, git commit, approve,
reconcile --once, status. Each command says the next one.
"""


class _Sorted(TyperGroup):
    """Lists commands and groups of commands as one sequence, by name."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        return sorted(super().list_commands(ctx))


app = typer.Typer(
    name="fwctl",
    cls=_Sorted,
    help="Firmware rollouts for device fleets, the GitOps way.",
    epilog=_EPILOG,
    no_args_is_help=False,
    invoke_without_command=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"fwctl {__version__}")
        raise typer.Exit


@app.callback()
def main(
    context: typer.Context,
    location: Annotated[
        str,
        typer.Option(
            "--repo",
            "-C",
            metavar="PATH|URL",
            help="The fleet repository, if not here.",
            envvar="FWCTL_REPO",
            show_default=False,
        ),
    ] = ".",
    state_dir: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where ledgers are kept.", envvar="FWCTL_STATE_DIR")
    ] = None,
    config_dir: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where keys are kept.", envvar="FWCTL_CONFIG_DIR")
    ] = None,
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    context.obj = Context(location, state_dir, config_dir)
    if context.invoked_subcommand is None:
        status.where_am_i(context)


COMMANDS = (
    approve,
    audit,
    control,
    controller,
    demo,
    device,
    diff,
    doctor,
    drift,
    events,
    explain,
    firmware,
    group,
    init,
    keys,
    plan,
    quarantine,
    reconcile,
    rollout,
    schema,
    state,
    status,
    trust,
    validate,
    windows,
)
"""in the order of their names, which is also the order of `fwctl --help`"""
for module in COMMANDS:
    module.register(app)


def run() -> None:
    """Run the command line and exit with a code that means something (DESIGN section 10)."""
    sys.exit(guarded(sys.argv[1:]))


def guarded(arguments: list[str]) -> int:
    """Run one command and return its exit code."""
    return guard(app, arguments)
