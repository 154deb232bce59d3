"""What `init --profile production` did, as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fwctl.render.words import labelled

if TYPE_CHECKING:
    from fwctl.cli.founding import Founded


def text(done: Founded) -> str:
    """Return how far the first trust has come, with the fingerprints to compare."""
    wish = done.wish
    if done.starter:
        return "\n".join(
            [
                f"Wrote {wish.plan}: a plan of who may say what in fleet {wish.repo_id}.",
                "Fill it in, put everybody's public key beside it, and run again.",
            ]
        )
    if done.open is None:
        return f"Fleet {wish.repo_id} stands already in {wish.folder}"
    pairs = [("keys", str(done.keys)), ("commit", done.commit[:12])]
    pairs += [("made", f"{name}, on this machine") for name in done.made]
    lines = [
        f"The first trust of fleet {wish.repo_id} is proposed; nobody trusts it before it is signed.",
        *labelled(pairs),
    ]
    if done.people:
        lines += ["", "Compare each key with its holder, over another channel:"]
        lines += [f"  {name:<16} {mark}" for name, mark in done.people]
    lines += ["", "Missing signatures:"]
    lines += [
        f"  {need.role:<8} {len(need.signed)} of {need.threshold}; may sign: {', '.join(need.missing)}"
        for need in done.open.missing
    ]
    return "\n".join(lines)
