"""What `explain` answers, and its answers about codes, which need no manifest, repository or model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from fwctl.codes import FINDINGS, OUTCOMES, STOPS, every_code

_EXITS = {
    2: "the command line must be corrected",
    3: "the author of what was read must act",
    4: "approvers must act",
    5: "the operator must act, or wait",
    6: "try again",
    70: "a bug in fwctl",
}
_DEVICE = {
    "refused": "refused: the rollout stops until somebody looks",
    "deferred": "deferred: it is tried again",
    "resync": "resync: the device knows more than the ledger, so it is asked",
}


@dataclass(frozen=True)
class FieldHelp:
    """One field of a model. `within` names the variant where a union has several."""

    name: str
    takes: str
    required: bool
    default: str
    about: str
    within: str = ""


@dataclass(frozen=True)
class Explained:
    """What is known about a topic."""

    topic: str
    about: str
    facts: tuple[tuple[str, str], ...] = ()
    fields: tuple[FieldHelp, ...] = ()
    choices: Mapping[str, str] = field(default_factory=dict)
    """other topics, with what they are"""


def explain_code(topic: str) -> Explained | None:
    """Return what is known about a code, in any case of its letters; None if there is no such code."""
    code = topic.upper()
    senses = list(_senses(code))
    if not senses:
        return None
    if len(senses) == 1:
        (_, about, remedy) = senses[0]
        return Explained(code, about, (*_title(code), ("remedy", remedy), *_classes(code)))
    about = "\n".join(f"{what}: {meaning} {remedy}" for what, meaning, remedy in senses)
    return Explained(code, about, (*_title(code), *_classes(code)))


def findings_by_subject() -> dict[str, str]:
    """Return all findings' codes with their titles, by subject (the code without its first letter), then by code."""
    return {code: FINDINGS[code].title for code in sorted(FINDINGS, key=lambda code: (code.partition("_")[2], code))}


def codes(incomplete: str) -> list[str]:
    """Return the codes that begin so, for the shell's completion: only where a code is begun."""
    return [code for code in every_code() if code.startswith(incomplete)] if incomplete[1:2] == "_" else []


def _senses(code: str) -> Iterator[tuple[str, str, str]]:
    tables = (("As a finding", FINDINGS), ("As an error or refusal", STOPS), ("In a device's outcome", OUTCOMES))
    for what, table in tables:
        entry = table.get(code)
        if entry is not None:
            yield what, entry.meaning, entry.remedy


def _title(code: str) -> tuple[tuple[str, str], ...]:
    return (("title", FINDINGS[code].title),) if code in FINDINGS else ()


def _classes(code: str) -> Iterator[tuple[str, str]]:
    stop, outcome = STOPS.get(code), OUTCOMES.get(code)
    if stop and stop.exits:
        yield "exit", "; ".join(f"{number}: {_EXITS[number]}" for number in stop.exits)
    if stop and stop.device:
        yield "device", "; ".join(_DEVICE[klass] for klass in stop.device)
    if outcome:
        yield "failure", ", ".join(outcome.failure)
