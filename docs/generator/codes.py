"""Every code that fwctl and its agent can say: what `fwctl.codes` tells of it, and where the sources say it.

The sources are read so that no code is forgotten there, and no code stays there that nothing says any more.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field
from typing import Any

from docs.generator.text import ROOT, cell

CODE = re.compile(r"[EWI]_[A-Z0-9]+(?:_[A-Z0-9]+)*")
NO_CODES = {"E_KEY"}  # a prefix that the policy reader asks for
SOURCES = ("fwctl", "agent/fwctl_agent")

# Calls that make an error without naming its class at the place where the code stands.
MAKERS = {
    "unknown": "InputError",
    "found": "InputError",
    "self._error": "DeviceError",
    "self._channel.nonsense": "DeviceError",
    "RefusedReply": "DeviceError",
}


@dataclass
class Said:
    """One code as the code base says it: by which classes, with which messages and remedies."""

    classes: set[str] = field(default_factory=set)
    messages: list[str] = field(default_factory=list)
    remedies: list[str] = field(default_factory=list)

    def add(self, cls: str, message: str, remedy: str) -> None:
        self.classes.add(cls)
        for text, known in ((message, self.messages), (remedy, self.remedies)):
            if text and text not in known:
                known.append(text)


def codes() -> str:
    """Return every code that fwctl and its agent can say: findings, errors, refusals, outcomes."""
    from fwctl.codes import FINDINGS, OUTCOMES, STOPS

    errors, refusals, everything = scan()
    missing = everything - {*FINDINGS, *STOPS, *OUTCOMES}
    if missing:
        raise ValueError(f"fwctl/codes does not know what these codes mean: {', '.join(sorted(missing))}")
    lines = ["# Codes", "", "Stable, and the same in text and in `--format json`. `fwctl explain CODE` says the same."]
    lines += ["", "## Findings", ""]
    lines += [
        "`fwctl validate` shows those of manifests all at once, with file, line, column and excerpt; `fwctl doctor`"
    ]
    lines += ["and `fwctl trust lint` show the others. `E_` fails, `W_` warns, `I_` informs."]
    lines += ["", *_head("code", "what", "meaning", "what to do")]
    lines += [_row(code, one.title, one.meaning, one.remedy) for code, one in sorted(FINDINGS.items())]
    lines += ["", "## Errors that end a command", "", "`…` stands for a name or a number.", ""]
    lines += _head("code", "[exit](exit-codes.md)", "meaning", "what to do", "says")
    for code, stop in sorted(STOPS.items()):
        if stop.exits:
            exits = ", ".join(map(str, stop.exits))
            lines.append(_row(code, exits, stop.meaning, stop.remedy, says=errors.get(code, Said()).messages))
    lines += ["", "## What the verifier and the agent refuse", ""]
    lines += ["One verifier judges in the pull request, in the loop (exit code 4) and on the device (HTTP 422)."]
    lines += ["`refused` stops the rollout until somebody looks; `deferred` is tried again; `resync` means that the"]
    lines += ["device knows more than the ledger.", "", *_head("code", "class", "meaning", "what to do", "says")]
    for code, stop in sorted(STOPS.items()):
        if stop.device:
            said = refusals.get(code, Said()).messages
            lines.append(_row(code, ", ".join(stop.device), stop.meaning, stop.remedy, says=said))
    lines += ["", "## Codes in a device's signed outcome", ""]
    lines += _head("code", "failure class", "meaning", "what to do")
    lines += [_row(code, ", ".join(one.failure), one.meaning, one.remedy) for code, one in sorted(OUTCOMES.items())]
    lines += ["", "## Others", "", *_head("code", "meaning", "what to do")]
    others = {code: stop for code, stop in STOPS.items() if not stop.exits and not stop.device}
    lines += [_row(code, stop.meaning, stop.remedy) for code, stop in sorted(others.items())]
    return "\n".join(lines) + "\n"


def _head(*names: str) -> list[str]:
    return [f"| {' | '.join(names)} |", "|" + "---|" * len(names)]


def _row(code: str, *texts: str, says: list[str] | None = None) -> str:
    cells = [f"`{code}`", *map(cell, texts), *([] if says is None else [_some(says)])]
    return f"| {' | '.join(cells)} |"


def scan() -> tuple[dict[str, Said], dict[str, Said], set[str]]:
    """Return what errors and refusals say, by code, and every code that stands anywhere in the sources."""
    errors: dict[str, Said] = {}
    refusals: dict[str, Said] = {}
    everything: set[str] = set()
    files = (path for folder in SOURCES for path in sorted((ROOT / folder).rglob("*.py")))
    for path in (path for path in files if path.parent != ROOT / "fwctl" / "codes"):
        tree = ast.parse(path.read_text("utf-8"))
        everything |= {
            node.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and CODE.fullmatch(node.value)
        }
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            _judge(call, errors, refusals)
    return errors, refusals, everything - NO_CODES


def _judge(call: ast.Call, errors: dict[str, Said], refusals: dict[str, Said]) -> None:
    name, keywords = ast.unparse(call.func), {one.arg: one.value for one in call.keywords}
    if name == "Refusal" and len(call.args) > 1:
        klass = keywords.get("klass")
        for code in _texts(call.args[0]):
            for message in _texts(call.args[1]) or [""]:
                shown = klass.value if isinstance(klass, ast.Constant) else "refused"
                refusals.setdefault(code, Said()).add(str(shown), message, "")
        return
    cls = MAKERS.get(name, name)
    if "code" not in keywords or cls not in _error_classes():
        return
    for code in (text for text in _texts(keywords["code"]) if CODE.fullmatch(text)):
        messages = _texts(call.args[0]) if call.args and name == cls else []
        remedies = _texts(keywords["remedy"]) if "remedy" in keywords else []
        for at in range(max(len(messages), len(remedies), 1)):
            message, remedy = (found[at] if at < len(found) else "" for found in (messages, remedies))
            errors.setdefault(code, Said()).add(cls, message, remedy)


def _texts(node: ast.expr) -> list[str]:
    """Return the texts that an expression can be; a part that is only known when it runs is `…`."""
    match node:
        case ast.Constant(value=str() as text):
            return [text]
        case ast.JoinedStr(values=parts):
            return ["".join(part.value if isinstance(part, ast.Constant) else "…" for part in parts)]  # type: ignore[misc]
        case ast.IfExp(body=one, orelse=other):
            return [*_texts(one), *_texts(other)]
        case ast.BinOp(left=left, right=right):
            return [one + other for one in _texts(left) or ["…"] for other in _texts(right) or ["…"]]
        case _:
            return []


def _error_classes() -> dict[str, Any]:
    from fwctl import errors

    return {name: found for name, found in vars(errors).items() if isinstance(found, type)}


def exits(said: Said) -> set[int]:
    """Return the exit codes of the classes that a code is raised as."""
    return {_error_classes()[name].exit_code for name in said.classes}


def _some(texts: list[str]) -> str:
    shown = [cell(" ".join(text.split())) for text in texts[:4]]
    return "<br>".join([*shown, *(["..."] if len(texts) > 4 else [])])


def exit_codes() -> str:
    """Return what the exit codes mean, with the error classes that lead to them."""
    from fwctl.errors import FwctlError

    found: dict[int, list[str]] = {}
    for cls in _error_classes().values():
        if cls is not FwctlError and cls.exit_code not in found and isinstance(cls.__doc__, str):
            found[cls.exit_code] = [" ".join(cls.__doc__.split())]
    fixed = {
        0: "Yes: done, or progressing. Findings that only warn are a yes too.",
        1: "A well-formed no: differences (`diff`), errors found (`validate`, `doctor`), a rollout that is stopped, "
        "held or not approved (`reconcile`).",
        70: "A bug in fwctl. Nothing is half-written; please report it.",
        130: "Interrupted (Ctrl-C). The same command goes on where it was.",
    }
    rows = fixed | {code: " ".join(text) for code, text in found.items()}
    lines = ["# Exit codes", "", "The same for every command; one guard maps errors to them.", "", "| code | meaning |"]
    lines += ["|---|---|", *(f"| {code} | {text} |" for code, text in sorted(rows.items()))]
    lines += [
        "",
        "`fwctl-agent` uses 0, 2, 3, 5, 6, 70 and 130 in the same way, and 75 to ask its supervisor for a start: the",
    ]
    lines += ["reboot into the selected slot."]
    return "\n".join(lines) + "\n"
