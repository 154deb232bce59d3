"""Every code that fwctl and its agent can say, collected from the sources so that none is forgotten."""

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
_NOBODY = "there is no … called …"
# Codes whose words are put together where the scan cannot see them.
CHOSEN = {
    "E_CA_EXPIRED": (
        "DeviceError",
        "the device CA is past its end, and so is every certificate that it has signed",
        "Make a new device CA and enroll the devices again (docs/how-to/identities.md).",
    ),
    "E_CERT_EXPIRED": (
        "DeviceError",
        "the device's certificate is past its end",
        "Renew it where the device CA's key is: `fwctl device renew NAME`.",
    ),
    "E_DEVICE_REPLY": ("DeviceError", "the device answers what it must not", "Check the agent's version and log."),
    "E_MANIFESTS": ("InputError", "the manifests have … errors", "Run `fwctl validate` and mend what it shows."),
    "E_NO_FIRMWARE": ("InputError", _NOBODY, "See: fwctl firmware list"),
    "E_NO_GROUP": ("InputError", _NOBODY, "See: fwctl group list"),
    "E_NO_SUBJECT": ("InputError", _NOBODY, "Name a rollout or a device."),
    "E_REDIRECT": (
        "DeviceError",
        "the device, or the storage, sends us elsewhere; no redirect is followed",
        "Check what listens at its address.",
    ),
    "E_STORAGE_CUT": (
        "WorldError",
        "the storage broke off, is too slow, or does not speak HTTP",
        "Look at the storage.",
    ),
    "E_STORAGE_QUERY": (
        "InputError",
        "the file with the storage's token cannot be used",
        "One line such as sig=...&se=..., percent-encoded.",
    ),
    "E_STORAGE_STATUS": (
        "WorldError",
        "the storage answers with something else than the image",
        "Look at the storage.",
    ),
    "E_STORAGE_TLS": (
        "WorldError",
        "the storage does not prove who it is",
        "Look at its certificate; FWCTL_STORAGE_CA names the file of a private CA.",
    ),
    "E_STORAGE_UNREACHABLE": ("WorldError", "the storage cannot be reached", "Look at the storage."),
    "E_TLS": (
        "DeviceError",
        "somebody else answers there, or the device refuses our certificate",
        "Check the address.",
    ),
    "E_UNREACHABLE": ("DeviceError", "nobody answers, or the connection broke", "It is tried again with backoff."),
}
# What the device signs into an outcome: class and meaning are decided in the state machine, not at one call.
OUTCOMES = {
    "E_BOOT": ("health", "The new slot did not start often enough, so the boot loader fell back."),
    "E_BOOT_STATUS": ("install", "The `status` command of the installer printed neither `a` nor `b`."),
    "E_COMMAND": ("install", "A command of the installer failed, was missing, or took too long."),
    "E_DISK_FULL": ("install", "The device's disk is full."),
    "E_HASH": ("download, install", "The bytes that arrived, or were read back, are not those that were signed."),
    "E_IO": ("install", "The device's disk failed."),
    "E_LENGTH": ("download, install", "The image is longer or shorter than signed."),
    "E_PROBE_FAILED": ("health", "A probe was bad in the trial or in the watch; the device went back."),
    "E_PROBE_TIMEOUT": ("health", "The probes did not end before `confirmWithin`; the device went back."),
    "E_RANGE": ("download", "The storage answered with another part of the image than the device asked for."),
    "E_REDIRECT": ("download", "The storage sent the device elsewhere; no redirect is followed."),
    "E_RESTARTS": ("install", "The agent was started again and again without progress."),
    "E_STORAGE_CUT": ("download", "The storage broke off again and again, or is too slow."),
    "E_STORAGE_MISSING": ("download", "The storage does not have the image."),
    "E_STORAGE_STATUS": ("download", "The storage answered with something else than the image."),
    "E_STORAGE_TLS": (
        "download",
        "The storage did not prove who it is; `[download] ca` in agent.toml is a private CA.",
    ),
    "E_STORAGE_UNREACHABLE": ("download", "The device cannot reach the storage."),
    "E_UNCONFIRMED": ("unconfirmed", "No confirmation came within `confirmWithin`; the device went back."),
    "E_URL": ("download", "The storage's name leads to an address that the signed policy does not allow."),
}
BESIDE = {
    "E_NEVER_ARRIVED": "The rollout went back before an order reached its device: there is nothing to take back.",
    "E_BUSY": "A device runs another order; the reply names it.",
    "E_GIT_EMPTY": "The repository has no commit yet.",
    "E_UNKNOWN_ORDER": "A device forgot the order that it was asked for; it is looked at again.",
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
    from fwctl.manifests.codes import CODES

    errors, refusals, everything = scan()
    lines = ["# Codes", "", "Stable, and the same in text and in `--format json`. `fwctl explain CODE` says the same."]
    lines += ["", "## Findings in manifests", ""]
    lines += ["`fwctl validate` shows them all at once, with file, line, column and excerpt. `E_` fails, `W_` warns,"]
    lines += ["`I_` informs.", "", "| code | what | meaning | what to do |", "|---|---|---|---|"]
    lines += [f"| `{c}` | {cell(k.title)} | {cell(k.meaning)} | {cell(k.remedy)} |" for c, k in sorted(CODES.items())]
    lines += ["", "## Errors that end a command", "", "`…` stands for a name or a number.", ""]
    lines += ["| code | [exit](exit-codes.md) | says | what to do |", "|---|---|---|---|"]
    for code, said in sorted(errors.items()):
        lines.append(f"| `{code}` | {_exits(said)} | {_some(said.messages)} | {_some(said.remedies)} |")
    lines += ["", "## What the verifier and the agent refuse", ""]
    lines += ["One verifier judges in the pull request, in the loop (exit code 4) and on the device (HTTP 422)."]
    lines += ["`refused` stops the rollout until somebody looks; `deferred` is tried again; `resync` means that the"]
    lines += ["device knows more than the ledger."]
    lines += ["", "| code | class | says |", "|---|---|---|"]
    for code, said in sorted(refusals.items()):
        lines.append(f"| `{code}` | {', '.join(sorted(said.classes))} | {_some(said.messages)} |")
    lines += ["", "## Codes in a device's signed outcome", "", "| code | failure class | meaning |", "|---|---|---|"]
    lines += [f"| `{code}` | {klass} | {meaning} |" for code, (klass, meaning) in sorted(OUTCOMES.items())]
    listed = {*CODES, *errors, *refusals, *OUTCOMES}
    lines += ["", "## Others", "", "| code | meaning |", "|---|---|"]
    lines += [f"| `{code}` | {meaning} |" for code, meaning in sorted(BESIDE.items())]
    missing = everything - listed - set(BESIDE)
    if missing:
        raise ValueError(f"docs/generate.py does not know what these codes mean: {', '.join(sorted(missing))}")
    return "\n".join(lines) + "\n"


def scan() -> tuple[dict[str, Said], dict[str, Said], set[str]]:
    """Return what errors and refusals say, by code, and every code that stands anywhere in the sources."""
    errors: dict[str, Said] = {}
    refusals: dict[str, Said] = {}
    everything: set[str] = set()
    for path in (path for folder in SOURCES for path in sorted((ROOT / folder).rglob("*.py"))):
        tree = ast.parse(path.read_text("utf-8"))
        everything |= {
            node.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and CODE.fullmatch(node.value)
        }
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            _judge(call, errors, refusals)
    for code, (cls, message, remedy) in CHOSEN.items():
        errors.setdefault(code, Said()).add(cls, message, remedy)
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


def _exits(said: Said) -> str:
    return ", ".join(sorted({str(_error_classes()[name].exit_code) for name in said.classes}))


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
