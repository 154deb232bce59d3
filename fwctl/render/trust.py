"""Trust and approvals as text, JSON and markdown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from fwctl.render.amending import open_json, open_markdown, open_text
from fwctl.render.words import ago, columns, document, labelled, stamp

if TYPE_CHECKING:
    from fwctl.cli.open_proposal import Open
    from fwctl.cli.trusting import ApprovalLine, TrustStatus


def trust_text(status: TrustStatus) -> str:
    """Return metadata, people and rules, then each rollout with who approved, who is missing, what to run."""
    roles = [("ROLE", "VERSION", "EXPIRES", "SIGNED BY")]
    for one in status.roles:
        keys = f"{one.threshold} of {len(one.signers)}: {', '.join(one.signers)}"
        roles.append((one.name, str(one.version), _until(one.expires, status.now), keys))
    lines = [f"Trust of fleet {status.repo_id} at commit {status.commit[:12]}", f"pinned  {status.pinned}", ""]
    lines += [*columns(roles), "", *_people(status), "", *_rules(status)]
    lines += ["", *open_text(status.open)] if status.open else []
    for approval in status.approvals:
        lines += ["", *_approval(approval, status.now)]
    if not status.approvals:
        lines += ["", "No rollout is declared."]
    return "\n".join(lines)


def trust_markdown(status: TrustStatus) -> str:
    """Return the approvals as a comment on a pull request."""
    lines = ["<!-- fwctl trust -->", f"### fwctl: approvals at `{status.commit[:12]}`", ""]
    for one in status.approvals:
        signed = ", ".join(f"`{name}`" for name, _ in one.approvers) or "nobody"
        lines.append(f"* **`{one.rollout}`**: {_progress(one)}; signed by {signed}")
        lines += [f"  * missing for stage {m.stage}: {_candidates(m.candidates)} ({m.group})" for m in one.missing]
        lines += [f"  * does not count: {_code(waste.who)}: {_code(waste.why)}" for waste in one.waste]
        lines += [f"  * refused: {_code(one.refused)}"] if one.refused else []
        lines += [f"  * run: `{one.command}`"] if one.command else []
    lines += [] if status.approvals else ["No rollout is declared."]
    return "\n".join([*lines, "", *open_markdown(status.open)] if status.open else lines)


def trust_json(status: TrustStatus) -> str:
    """Return the trust for programs."""
    policy = status.policy
    return document(
        {
            "repoId": status.repo_id,
            "commit": status.commit,
            "pinnedRoot": str(status.pinned),
            "roles": [
                {
                    "role": one.name,
                    "version": one.version,
                    "expires": stamp(one.expires),
                    "threshold": one.threshold,
                    "signers": list(one.signers),
                }
                for one in status.roles
            ],
            "people": {name: [key.keyid for key in keys] for name, keys in policy.people.items()},
            "groups": {name: list(people) for name, people in policy.groups.items()},
            "rules": [
                {
                    "paths": rule.paths,
                    "stage": rule.stage,
                    "group": rule.quorum.group,
                    "threshold": rule.quorum.threshold,
                }
                for rule in policy.approval_rules
            ],
            "approvals": [_approval_json(one) for one in status.approvals],
            "proposal": open_json(status.open),
        }
    )


FIRST: Mapping[str, Callable[[Open], str]] = {
    "text": lambda found: "\n".join(["This fleet has no trust yet.", "", *open_text(found)]),
    "json": lambda found: document({"proposal": open_json(found)}),
    "markdown": lambda found: "\n".join(["<!-- fwctl trust -->", *open_markdown(found)]),
}
"""a fleet's first trust, which nobody can be asked about but those who sign it"""

TRUST: Mapping[str, Callable[[TrustStatus], str]] = {
    "text": trust_text,
    "json": trust_json,
    "markdown": trust_markdown,
}


def _code(text: str) -> str:
    """Return text as inline code: names of files and what they say must not become markup in a comment."""
    return "`" + text.replace("`", "'") + "`"


def _until(expires: datetime, now: datetime) -> str:
    return f"{expires:%Y-%m-%d} ({'expired ' if expires <= now else ''}{ago(expires, now)})"


def _people(status: TrustStatus) -> list[str]:
    rows = [("PERSON", "GROUPS", "KEYS")]
    for name, keys in status.policy.people.items():
        groups = ", ".join(group for group, people in status.policy.groups.items() if name in people)
        mine = f"{len(keys)}, on this machine" if name in status.mine else str(len(keys))
        rows.append((name, groups or "none", mine))
    return columns(rows)


def _rules(status: TrustStatus) -> list[str]:
    rows = [("MANIFESTS", "FROM STAGE", "NEEDS")]
    for rule in status.policy.approval_rules:
        rows.append((rule.paths, str(rule.stage), f"{rule.quorum.threshold} of {rule.quorum.group}"))
    releases = [
        (f"releases of {model}", "", f"{quorum.threshold} of {quorum.group}")
        for model, quorum in status.policy.release_signers.items()
    ]
    return columns([*rows, *releases])


def _approval(one: ApprovalLine, now: datetime) -> list[str]:
    pairs = [("mandate", one.mandate or "none yet: no lock")]
    pairs += [("signed", f"{name}, until {_until(until, now)}") for name, until in one.approvers]
    pairs += [
        ("missing", f"stage {m.stage}: {m.have} of {m.threshold} by {m.group}; may sign: {_candidates(m.candidates)}")
        for m in one.missing
    ]
    pairs += [("ignored", f"{waste.who}: {waste.why}") for waste in one.waste]
    pairs += [("refused", one.refused)] if one.refused else []
    pairs += [("run", one.command)] if one.command else []
    return [f"Rollout {one.rollout}: {_progress(one)}", *labelled(pairs)]


def _candidates(names: tuple[str, ...]) -> str:
    return ", ".join(names) or "nobody is left"


def _progress(one: ApprovalLine) -> str:
    if not one.mandate:
        return "nothing to approve yet"
    if not one.missing:
        return "approved"
    first = one.missing[0]
    if one.stages > 1 and one.approved_stage:
        return f"approved up to stage {one.approved_stage} of {one.stages}"
    return f"not approved, {first.have} of {first.threshold} signatures by {first.group}"


def _approval_json(one: ApprovalLine) -> dict[str, object]:
    return {
        "rollout": one.rollout,
        "mandate": one.mandate or None,
        "stages": one.stages,
        "approvedStage": one.approved_stage,
        "approvers": [{"name": name, "expires": stamp(until)} for name, until in one.approvers],
        "missing": [
            {
                "stage": m.stage,
                "group": m.group,
                "have": m.have,
                "threshold": m.threshold,
                "candidates": list(m.candidates),
            }
            for m in one.missing
        ],
        "ignored": [{"who": waste.who, "why": waste.why} for waste in one.waste],
        "refused": one.refused or None,
        "command": one.command or None,
    }
