"""The one guard between commands and the shell: every way to end is mapped to an exit code here, and only here."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import traceback
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import typer

from fwctl import __version__
from fwctl.errors import FwctlError, UsageError

_INTERRUPTED = 130


def guard(app: typer.Typer, arguments: Sequence[str]) -> int:
    """Run one command; return its exit code. No exception leaves, and none is shown as a traceback."""
    as_json = _wants_json(arguments)
    try:
        result = app(list(arguments), prog_name="fwctl", standalone_mode=False)
        sys.stdout.flush()
    except FwctlError as error:
        return _show(error, as_json=as_json)
    except (KeyboardInterrupt, typer.Abort):
        sys.stderr.write("\nInterrupted. Nothing is lost; run the same command again to go on.\n")
        return _INTERRUPTED
    except BrokenPipeError:
        _leave_quietly()
        return 0
    except Exception as error:  # noqa: BLE001
        return _show(_other(error), as_json=as_json)
    return result if isinstance(result, int) else 0


def _show(error: FwctlError, *, as_json: bool) -> int:
    """Write an error: what, where, and what to do next; on stdout only as the JSON that was asked for."""
    findings = getattr(error, "diagnostics", ())
    with contextlib.suppress(BrokenPipeError):
        if as_json:
            document: dict[str, Any] = {"schemaVersion": 1, "error": error.to_json()}
            if findings:
                document["diagnostics"] = [found.to_json() for found in findings]
            sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
            sys.stdout.flush()
            return error.exit_code
        sys.stdout.flush()
        if findings:
            from fwctl.render.diagnostics import full

            sys.stderr.write(full(findings) + "\n")
        sys.stderr.write(error_text(error))
        return error.exit_code
    _leave_quietly()
    return error.exit_code


def error_text(error: FwctlError) -> str:
    """Return an error for people. What came from outside cannot steer the terminal."""
    where = f"\n  --> {_safe(error.place)}" if error.place else ""
    return f"error[{error.code}]: {_safe(error.message)}{where}\nhelp: {_safe(error.remedy)}\n"


def _safe(text: str) -> str:
    return "".join(c if c.isprintable() else "\n  " if c == "\n" else f"\\x{ord(c):02x}" for c in text)


def _wants_json(arguments: Sequence[str]) -> bool:
    pairs = pairwise(arguments)
    return "--format=json" in arguments or ("--format", "json") in pairs


def _other(error: Exception) -> FwctlError:
    """Turn a wrong command line, which Typer words, into an error of ours; everything else is a bug."""
    context, words = getattr(error, "ctx", None), getattr(error, "format_message", None)
    if getattr(error, "exit_code", None) == 2 and callable(words):
        return _usage(str(words()), context)
    if isinstance(error, OSError):
        from fwctl.errors import WorldError

        return WorldError(
            f"the system refused: {error.strerror or error}",
            code="E_SYSTEM",
            place=str(error.filename or ""),
            remedy="Check the place, its permissions and free space, then run the command again.",
        )
    if os.environ.get("FWCTL_DEBUG"):
        traceback.print_exc()
    return FwctlError(
        f"this is a bug in fwctl {__version__}: {type(error).__name__}: {error}",
        code="E_BUG",
        remedy="Please report it, with the command and what FWCTL_DEBUG=1 prints. Nothing is half-written.",
    )


def _usage(message: str, context: typer.Context | None) -> FwctlError:
    path = context.command_path if context else "fwctl"
    if "\n" in message.strip() and context is not None:  # a group without a command: Typer's message is its help
        commands = ", ".join(context.command.list_commands(context))  # type: ignore[attr-defined]
        return UsageError("say which command", code="E_USAGE", place=path, remedy=f"One of: {commands}. See: {path} -h")
    usage = " ".join(context.get_usage().removeprefix("Usage: ").split()) if context else path
    text = message[:1].lower() + message[1:]
    return UsageError(text.removesuffix("."), code="E_USAGE", place=usage, remedy=f"See: {path} -h")


def _leave_quietly() -> None:
    """After `| head`: Python must find something to flush into when it exits."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
