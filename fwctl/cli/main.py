"""The entry point: global options, the one guard that maps errors to exit codes, and the table of commands."""

from __future__ import annotations

import json
import os
import sys
import traceback
from pathlib import Path
from typing import Annotated

import typer

from fwctl import __version__
from fwctl.cli import approve, device, firmware, init, plan, reconcile, rollout, status
from fwctl.cli.context import Context
from fwctl.errors import FwctlError

app = typer.Typer(
    name="fwctl",
    help="Firmware rollouts for device fleets, the GitOps way.",
    no_args_is_help=False,
    invoke_without_command=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"fwctl {__version__}")
        raise typer.Exit


@app.callback()
def main(
    context: typer.Context,
    location: Annotated[
        str, typer.Option("--repo", "-C", metavar="PATH|URL", help="The fleet repository.", envvar="FWCTL_REPO")
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


for module in (init, firmware, device, rollout, plan, approve, reconcile, status):
    module.register(app)


def run() -> None:
    """Run the command line and exit with a code that means something (DESIGN section 10)."""
    sys.exit(guarded(sys.argv[1:]))


def guarded(arguments: list[str]) -> int:
    """Run one command and return its exit code; nothing but this maps errors to codes."""
    try:
        result = app(arguments, standalone_mode=False)
        sys.stdout.flush()
    except FwctlError as error:
        show(error, as_json=_wants_json(arguments))
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        sys.stderr.write("\nInterrupted. Nothing is lost; run the same command again to go on.\n")
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:  # noqa: BLE001
        return _other(error)
    return result if isinstance(result, int) else 0


def show(error: FwctlError, *, as_json: bool) -> None:
    """Write an error: what, where, and what to do next."""
    if as_json:
        sys.stdout.write(json.dumps({"schemaVersion": 1, "error": error.to_json()}, indent=2) + "\n")
        return
    findings = getattr(error, "diagnostics", ())
    if findings:
        from fwctl.render.diagnostics import full

        sys.stderr.write(full(findings) + "\n")
    where = f"\n  --> {error.place}" if error.place else ""
    sys.stderr.write(f"error[{error.code}]: {error.message}{where}\nhelp: {error.remedy}\n")


def _wants_json(arguments: list[str]) -> bool:
    return "--format=json" in arguments or any(
        pair == ["--format", "json"] for pair in (arguments[at : at + 2] for at in range(len(arguments)))
    )


def _other(error: Exception) -> int:
    """Usage errors explain themselves; everything else is a bug, and says so without a traceback."""
    code, shows = getattr(error, "exit_code", None), getattr(error, "show", None)
    if isinstance(code, int) and callable(shows):
        shows()
        return 2
    if os.environ.get("FWCTL_DEBUG"):
        traceback.print_exc()
    sys.stderr.write(
        f"error[E_BUG]: this is a bug in fwctl {__version__}: {type(error).__name__}: {error}\n"
        "help: Please report it, with the command and what FWCTL_DEBUG=1 prints. Nothing is half-written.\n"
    )
    return 70
