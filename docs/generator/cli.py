"""The reference of every command, from the parser itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

from docs.generator.text import cell


def cli() -> str:
    """Return the reference of every command, from the parser itself."""
    import typer

    from fwctl.cli.main import app

    top: Any = typer.main.get_command(app)
    lines = ["# Command line", "", f"`fwctl [OPTIONS] COMMAND`: {top.help}", "", "Options before the command:", ""]
    lines += [*_options(top), "", "| command | |", "|---|---|"]
    commands = list(_commands(top, "fwctl"))
    lines += [f"| [`{path}`](#{_anchor(path)}) | {_first(command)} |" for path, command in commands]
    for path, command in commands:
        arguments = [p for p in command.params if p.param_type_name == "argument"]
        words = " ".join([path, *(_argument(p) for p in arguments), "[OPTIONS]"])
        lines += ["", f"## `{path}`", "", " ".join((command.help or "").split()), "", f"    {words}", ""]
        lines += _options(command)
    return "\n".join(lines) + "\n"


def _commands(group: Any, path: str) -> Iterator[tuple[str, Any]]:
    for name, command in sorted(group.commands.items()):
        if getattr(command, "hidden", False):
            continue
        if hasattr(command, "commands"):
            yield from _commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


def _anchor(path: str) -> str:
    return path.replace(" ", "-")


def _first(command: Any) -> str:
    return " ".join((command.help or "").split("\n\n")[0].split())


def _argument(parameter: Any) -> str:
    name = parameter.metavar or parameter.name.upper()
    return name if parameter.required or name.startswith("[") else f"[{name}]"


def _options(command: Any) -> list[str]:
    rows = []
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            shown = _argument(parameter)
        elif getattr(parameter, "hidden", False) or parameter.name in ("help", "install_completion", "show_completion"):
            continue
        else:
            shown = ", ".join([*parameter.opts, *parameter.secondary_opts]) + _value(parameter)
        rows.append(f"| `{cell(shown)}` | {cell(parameter.help or '')}{_more(parameter)} |")
    return ["| argument or option | |", "|---|---|", *rows] if rows else ["No arguments."]


def _value(parameter: Any) -> str:
    if getattr(parameter, "is_flag", False):
        return ""
    choices = _choices(parameter)
    return f" {parameter.metavar or '|'.join(choices) or _type(parameter)}"


def _annotation(parameter: Any) -> Any:
    """Return what the function's parameter takes; in an optional or a list, what stands in it."""
    found = getattr(getattr(parameter, "type_descriptor", None), "annotation", str)
    while get_origin(found) not in (None, Literal):
        found = next(part for part in get_args(found) if part is not type(None))
    return found


def _choices(parameter: Any) -> tuple[str, ...]:
    found = _annotation(parameter)
    return tuple(str(choice) for choice in get_args(found)) if get_origin(found) is Literal else ()


def _type(parameter: Any) -> str:
    return {int: "N", str: "TEXT"}.get(_annotation(parameter), "VALUE")


def _more(parameter: Any) -> str:
    notes = []
    if getattr(parameter, "required", False) and parameter.param_type_name == "option":
        notes.append("required")
    default = getattr(parameter, "default", None)
    if isinstance(default, str | int) and not isinstance(default, bool) and default not in ("", 0):
        notes.append(f"default `{default}`")
    if getattr(parameter, "envvar", None):
        notes.append(f"environment `{parameter.envvar}`")
    return f" ({', '.join(notes)})" if notes else ""
