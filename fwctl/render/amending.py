"""Changes of trust, done and open, as text, JSON and markdown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from fwctl.render.words import document, labelled, visible

if TYPE_CHECKING:
    from fwctl.cli.amending import Amended
    from fwctl.cli.open_proposal import Open
    from fwctl.trust.proposal import Need

_STATES = {
    "changed": "The trust is changed",
    "proposed": "Proposed, and not trusted before more people have signed it",
    "signed": "Signed; more people have to",
    "unchanged": "Nothing changed: it is so already",
    "dropped": "The open proposal is taken away",
}


def amended_text(done: Amended) -> str:
    """Return what a change means, who signed it, and who has to still."""
    lines = [f"{_STATES[done.state]}: {done.what}", *(f"  {line}" for line in done.differences)]
    pairs = [("signed", f"{file} by {person}") for file, person in done.signed]
    pairs += [("now", ", ".join(f"{role} {number}" for role, number in done.versions))] if done.versions else []
    pairs += [("pinned", done.pinned)] if done.pinned else []
    pairs += [("commit", done.commit[:12])]
    lines += ["", *labelled(pairs)]
    if done.open:
        lines += ["", *_needs(done.open)]
    return "\n".join(lines)


def amended_json(done: Amended) -> str:
    """Return the change for programs."""
    return document(
        {
            "state": done.state,
            "what": done.what,
            "changes": list(done.differences),
            "signed": [{"file": file, "person": person} for file, person in done.signed],
            "versions": dict(done.versions),
            "commit": done.commit,
            "proposal": open_json(done.open),
        }
    )


AMENDED: Mapping[str, Callable[[Amended], str]] = {"text": amended_text, "json": amended_json}


def open_text(found: Open) -> list[str]:
    """Return the open proposal as lines: what it changes, who signed, who is missing."""
    if found.problem:
        return [f"Open proposal: {found.problem.code}: {visible(found.problem.message)}"]
    lines = ["Open proposal, not trusted yet", *(f"  {line}" for line in found.differences), *_needs(found)]
    return lines + [f"ignored {one.path}: {one.why}" for one in found.wasted]


def open_markdown(found: Open) -> list[str]:
    """Return the open proposal as lines of a comment on a pull request."""
    if found.problem:
        return ["### fwctl: open change of trust", "", f"* {_code(f'{found.problem.code}: {found.problem.message}')}"]
    lines = ["### fwctl: open change of trust", "", *(f"* {_code(line)}" for line in found.differences), ""]
    for need in found.needs:
        signed = ", ".join(f"`{name}`" for name in need.signed) or "nobody"
        lines.append(f"* **`{need.file}`** ({need.role}): {_progress(need)}; signed by {signed}")
        if not need.holds:
            lines.append(f"  * missing: {', '.join(f'`{name}`' for name in need.missing) or 'nobody is left'}")
    lines += [f"* does not count: {_code(one.path)}: {one.why}" for one in found.wasted]
    return lines + [f"* run: `{command}`" for command in found.commands]


def open_json(found: Open | None) -> dict[str, Any] | None:
    """Return the open proposal for programs; null where none is open."""
    if found is None:
        return None
    return {
        "changes": list(found.differences),
        "problem": found.problem.to_json() if found.problem else None,
        "needs": [
            {
                "file": need.file,
                "role": need.role,
                "threshold": need.threshold,
                "signed": list(need.signed),
                "missing": [] if need.holds else list(need.missing),
            }
            for need in found.needs
        ],
        "ignored": [{"path": one.path, "why": one.why} for one in found.wasted],
        "commands": list(found.commands),
    }


def missing_of(found: Open) -> str:
    """Return in one line who is missing."""
    return "; ".join(
        f"{need.file} ({need.role}): {need.threshold - len(need.signed)} of {', '.join(need.missing) or 'nobody'}"
        for need in found.missing
    )


def _needs(found: Open) -> list[str]:
    lines = []
    for need in found.needs:
        signed = ", ".join(need.signed) or "nobody"
        left = "" if need.holds else f"; may sign: {', '.join(need.missing) or 'nobody is left'}"
        lines.append(f"{need.file} ({need.role}): {_progress(need)}, signed by {signed}{left}")
    return lines


def _progress(need: Need) -> str:
    return f"{len(need.signed)} of {need.threshold}"


def _code(text: str) -> str:
    return "`" + text.replace("`", "'") + "`"
