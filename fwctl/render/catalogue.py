"""Firmware, groups and rollouts as text and JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fwctl.render.words import ICONS, STANDINGS, columns, counted, document, labelled, some

if TYPE_CHECKING:
    from fwctl.cli.looking import FirmwareLine, GroupLine, RolloutLine


def firmware_list(lines: Sequence[FirmwareLine]) -> str:
    """Return one line per firmware."""
    if not lines:
        return "No firmware is registered."
    rows = [("FIRMWARE", "STATE", "SIGNED BY", "ROLLOUTS", "RUNNING")]
    for one in lines:
        spec = one.firmware.model.spec
        signed = ", ".join(one.signers) or "nobody"
        rows.append(
            (
                f"{spec.model}@{spec.version}",
                spec.state,
                signed,
                ", ".join(one.rollouts) or "none",
                counted(one.running, "device"),
            )
        )
    return "\n".join(columns(rows))


def firmware_show(one: FirmwareLine) -> str:
    """Return all that is known of one firmware."""
    spec = one.firmware.model.spec
    requires, ends = spec.requires_from, spec.deprecation
    bounds = (
        [f"at least {requires.at_least}"] * bool(requires.at_least) + [f"below {requires.below}"] * bool(requires.below)
        if requires
        else ["any version"]
    )
    pairs = [
        ("image", spec.image.digest),
        ("release", one.release),
        ("length", f"{spec.image.length:,} bytes"),
        ("boards", ", ".join(spec.hardware)),
        ("from", ", ".join(bounds)),
        ("data", f"writes format {spec.data.writes}, reads {', '.join(map(str, sorted(spec.data.readable)))}"),
        ("numbers", f"release counter {spec.release_counter}, security version {spec.security_version}"),
        ("signed", ", ".join(one.signers) or "by nobody"),
        ("trust", one.verdict or "the policy accepts it"),
        ("used by", ", ".join(one.rollouts) or "no rollout"),
        ("runs on", counted(one.running, "device")),
        ("sbom", spec.sbom or "no bill of materials"),
        ("sunset", f"{ends.sunset}{f', go to {ends.successor}' if ends.successor else ''}" if ends else ""),
        ("because", ends.reason if ends else ""),
        ("file", one.firmware.path),
    ]
    pairs = [pair for pair in pairs if pair[1]]
    notes = ["", *spec.notes.rstrip().splitlines()] if spec.notes else []
    return "\n".join([f"Firmware {spec.model} {spec.version}: {spec.state}", *labelled(pairs), *notes])


def firmware_json(one: FirmwareLine) -> dict[str, Any]:
    """Return one firmware as JSON values."""
    spec = one.firmware.model.spec
    return {
        "model": spec.model,
        "version": spec.version,
        "state": spec.state,
        "sunset": spec.deprecation.sunset if spec.deprecation else None,
        "successor": spec.deprecation.successor if spec.deprecation else None,
        "image": {"digest": spec.image.digest, "length": spec.image.length},
        "release": one.release,
        "hardware": list(spec.hardware),
        "releaseCounter": spec.release_counter,
        "securityVersion": spec.security_version,
        "notes": spec.notes,
        "sbom": spec.sbom,
        "signers": list(one.signers),
        "refused": one.verdict,
        "rollouts": list(one.rollouts),
        "running": one.running,
        "file": one.firmware.path,
    }


def group_list(lines: Sequence[GroupLine]) -> str:
    """Return one line per group."""
    if not lines:
        return "No group is declared."
    rows = [("GROUP", "MEMBERS", "ROLLOUTS", "WHAT IT IS")]
    for one in lines:
        about = one.group.model.metadata.description
        rows.append((one.group.name, str(len(one.members)), ", ".join(one.rollouts) or "none", about))
    return "\n".join(line.rstrip() for line in columns(rows))


def group_show(one: GroupLine) -> str:
    """Return one group with its members."""
    spec, about = one.group.spec, one.group.model.metadata.description
    pairs = [
        ("what", about),
        ("models", ", ".join(spec.models) or "any"),
        ("env", spec.env or "any"),
        ("used by", ", ".join(one.rollouts) or "no rollout"),
        ("file", one.group.path),
    ]
    head = f"Group {one.group.name}: {counted(len(one.members), 'device')}"
    members = [f"  {line}" for line in some(one.members)]
    return "\n".join([head, *labelled(pair for pair in pairs if pair[1]), *([""] if members else []), *members])


def group_json(one: GroupLine) -> dict[str, Any]:
    """Return one group as JSON values."""
    return {
        "name": one.group.name,
        "description": one.group.model.metadata.description,
        "members": list(one.members),
        "rollouts": list(one.rollouts),
        "file": one.group.path,
    }


def rollout_list(lines: Sequence[RolloutLine]) -> str:
    """Return one line per rollout."""
    if not lines:
        return "No rollout is declared."
    rows = [("ROLLOUT", "FIRMWARE", "STRATEGY", "STATE", "DEVICES")]
    for one in lines:
        plan = one.prepared.plan
        firmware = f"{plan.release.model}@{plan.release.version}"
        rows.append((plan.key, firmware, plan.spec.strategy.type, one.state, counts(one)))
    return "\n".join(columns(rows))


def rollout_show(one: RolloutLine) -> str:
    """Return one rollout: what it wants, how it goes there, what it is approved for, where its devices are."""
    prepared, plan = one.prepared, one.prepared.plan
    verdict = prepared.verdict
    approved = ", ".join(verdict.approvers) or "by nobody" if verdict else "not judged" if prepared.lock else "no lock"
    pairs = [
        ("wants", f"{plan.release.model} {plan.release.version}, round {plan.spec.round}"),
        ("because", one.reason),
        ("release", plan.release.digest),
        ("plan", plan.digest),
        ("mandate", prepared.mandate.id if prepared.mandate else "none yet: no lock"),
        ("signed", approved),
        ("devices", counts(one)),
        ("file", prepared.rollout.path),
    ]
    lines = [f"Rollout {plan.key}: {one.state}", *labelled(pair for pair in pairs if pair[1]), ""]
    rows = [(wave.name, f"stage {wave.stage}", counted(len(wave.devices), "device")) for wave in plan.waves]
    return "\n".join([*lines, f"{plan.spec.strategy.type}:", *columns(rows, indent="  ")])


def rollout_json(one: RolloutLine) -> dict[str, Any]:
    """Return one rollout as JSON values."""
    prepared, plan = one.prepared, one.prepared.plan
    return {
        "rollout": plan.key,
        "model": plan.release.model,
        "version": plan.release.version,
        "strategy": plan.spec.strategy.type,
        "state": one.state,
        "reason": one.reason,
        "release": plan.release.digest,
        "plan": plan.digest,
        "mandate": prepared.mandate.id if prepared.mandate else None,
        "approvalsJudged": one.judged,
        "approvedStage": prepared.approved_stage,
        "approvers": list(prepared.verdict.approvers) if prepared.verdict else [],
        "counts": dict(Counter(standing.state for standing in one.standings)),
        "waves": [{"name": w.name, "stage": w.stage, "devices": list(w.devices)} for w in plan.waves],
        "file": prepared.rollout.path,
    }


def counts(one: RolloutLine) -> str:
    """Return how many devices stand where, with icon and word."""
    found: Counter[str] = Counter(standing.state for standing in one.standings)
    return ", ".join(f"{ICONS[state]} {found[state]} {state}" for state in STANDINGS if found[state]) or "none"


def _many(key: str, one: Callable[[Any], dict[str, Any]]) -> Callable[[Sequence[Any]], str]:
    return lambda lines: document({key: [one(line) for line in lines]})


def _single(key: str, one: Callable[[Any], dict[str, Any]]) -> Callable[[Any], str]:
    return lambda line: document({key: one(line)})


FIRMWARE_LIST: Mapping[str, Callable[[Sequence[FirmwareLine]], str]] = {
    "text": firmware_list,
    "json": _many("firmware", firmware_json),
}
FIRMWARE_SHOW: Mapping[str, Callable[[FirmwareLine], str]] = {
    "text": firmware_show,
    "json": _single("firmware", firmware_json),
}
GROUP_LIST: Mapping[str, Callable[[Sequence[GroupLine]], str]] = {
    "text": group_list,
    "json": _many("groups", group_json),
}
GROUP_SHOW: Mapping[str, Callable[[GroupLine], str]] = {"text": group_show, "json": _single("group", group_json)}
ROLLOUT_LIST: Mapping[str, Callable[[Sequence[RolloutLine]], str]] = {
    "text": rollout_list,
    "json": _many("rollouts", rollout_json),
}
ROLLOUT_SHOW: Mapping[str, Callable[[RolloutLine], str]] = {
    "text": rollout_show,
    "json": _single("rollout", rollout_json),
}
