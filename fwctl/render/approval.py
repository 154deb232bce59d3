"""What `approve` puts a signature under, field by field."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fwctl.render.words import counted, labelled
from fwctl_agent.protocol.fields import format_time

if TYPE_CHECKING:
    from fwctl.cli.approving import Ready


def statement(ready: Ready) -> str:
    """Return the statement as it will be signed: nothing else is authorised by it."""
    approval, mandate = ready.approval, ready.approval.mandate
    late = mandate.late_joiners
    joiners = f"at most {late.max} {late.model} of {late.env}" if late else "none"
    pairs = [
        ("file", mandate.manifest),
        ("lock", mandate.lock),
        ("root", mandate.lock_root),
        ("leaves", counted(mandate.lock_size, "device")),
        *(("release", release) for release in mandate.releases),
        ("stage", f"up to {approval.stage} of {ready.stages}"),
        ("round", str(mandate.round)),
        ("terms", f"rollback {mandate.rollback}; late joiners: {joiners}"),
        ("from", format_time(approval.approved_at)),
        ("until", format_time(approval.expires)),
        ("as", approval.signer),
        ("saying", approval.meaning),
        *(
            (("renews", f"what {ready.renews.signer} signed, until {format_time(ready.renews.expires)}"),)
            if ready.renews
            else ()
        ),
    ]
    return "\n".join([f"The approval of {mandate.env}/{mandate.name} in fleet {mandate.repo_id}", *labelled(pairs)])


def standing(ready: Ready) -> str:
    """Return that there is nothing left to sign for this person."""
    vote, mandate = ready.standing, ready.approval.mandate
    if vote is None:
        raise TypeError("only an approval that stands can be told")
    pairs = [("mandate", mandate.id), ("until", format_time(vote.approval.expires))]
    return "\n".join([f"{vote.person} has approved {mandate.env}/{mandate.name} already", *labelled(pairs)])
