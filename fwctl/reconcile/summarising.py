"""Make the summary of a rollout from what was just decided on it. Nothing is judged here anew."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import islice

from fwctl.reconcile.commit import CommitState, Prepared
from fwctl.reconcile.ending import of_commit
from fwctl.reconcile.summary import (
    FLEET,
    BackSummary,
    FleetSummary,
    LimitSummary,
    Named,
    RolloutResult,
    Summary,
    WaveSummary,
    pin,
    to_json,
)
from fwctl.reconcile.waving import NAMED, WaveLine, WayBack, wave_lines, way_back
from fwctl.rollouts.board import Board
from fwctl.rollouts.decide import Decision
from fwctl.rollouts.rails.rules import set_aside
from fwctl.rollouts.standing import Standing
from fwctl.rollouts.view import RolloutView
from fwctl.state import Ledger, RolloutRow, RolloutState, SummaryStored
from fwctl.trust.expiry import Thing

LISTED = 500
"""a rollout of at most so many devices is told with all of them"""


def fleet_summary(state: CommitState, *, pinned: str, certificates: Iterable[Thing]) -> FleetSummary:
    """Return what there is to say of a commit as a whole; `pinned` is the root of trust in use here."""
    repo, ends = state.repo, (*of_commit(state), *certificates)
    return FleetSummary(repo.fleet.spec.repo_id, len(repo.devices), tuple(repo.rollouts), pin(pinned), ends)


def summarise(
    prepared: Prepared,
    view: RolloutView,
    decision: Decision,
    ledger: Ledger | None,
    now: datetime,
    *,
    trust_until: datetime | None,
) -> Summary:
    """Return where a rollout stands, from what was just decided on it.

    `trust_until` is `Authority.next_change`, as of when its approvals were judged.

    The work does not grow with the fleet: it is read off the sums that the board keeps.
    """
    plan, mandate, board = prepared.plan, prepared.mandate.id if prepared.mandate else "", board_of(decision)
    row = ledger.rollout(plan.key) if ledger else None
    word, reason = standing_of(prepared, view, decision, row)
    lines = wave_lines(board, decision.holdings, ledger.waves(plan.key, mandate) if ledger and mandate else ())
    back = None
    if ledger is not None and view.back_since is not None:
        back = way_back(ledger, plan, view.back_since, mandate, decision.counts.get("in-flight", 0), now)
    recorded = row if row is not None and mandate and row.mandate == mandate else None
    return Summary(
        key=plan.key,
        model=plan.release.model,
        version=plan.release.version,
        plan=plan.digest,
        mandate=mandate,
        state=word,
        reason=reason,
        rule=recorded.rule if recorded else "",
        since=recorded.updated_at if recorded else None,
        approved_stage=prepared.approved_stage,
        stages=max((wave.stage for wave in plan.waves), default=1),
        approvers=prepared.verdict.approvers if prepared.verdict else None,
        stale=prepared.verdict.stale if prepared.verdict else (),
        size=len(board),
        counts=dict(decision.counts),
        waves=tuple(map(wave_summary, lines)),
        back=back_summary(back) if back else None,
        next_due=decision.next_due,
        devices=_named(board.values()) if len(board) <= LISTED else None,
        at=now,
        valid_until=_valid_until(trust_until, [board.until], decision, back, now),
        set_aside=set_aside(plan),
        limits=tuple(LimitSummary(one.limit, one.value, one.waiting, one.note, one.until) for one in board.limits()),
    )


def board_of(decision: Decision) -> Board:
    """Return the board that was decided on."""
    if not isinstance(decision.standings, Board):
        raise TypeError("only what was decided on a board can be summed up")
    return decision.standings


def wave_summary(line: WaveLine) -> WaveSummary:
    """Return a wave as it is kept and shown."""
    return WaveSummary(
        name=line.wave.name,
        stage=line.wave.stage,
        size=len(line.wave.devices),
        soak=line.wave.soak,
        state=line.state,
        reason=line.reason,
        counts=dict(line.counts),
        attention=_named(line.needy),
        under_way=_named(line.flying),
        opened=line.opened,
        soak_since=line.soak_since,
        judged=line.judged,
        region=line.wave.region,
        track=line.wave.track,
        window=line.window,
    )


def _named(standings: Iterable[Standing]) -> tuple[Named, ...]:
    return tuple(Named(one.device, one.state, one.reason, one.due, one.rule, one.klass) for one in standings)


def back_summary(back: WayBack) -> BackSummary:
    """Return a way back without the time of every device."""
    return BackSummary(
        since=back.since,
        deadline=back.deadline,
        met=back.met,
        devices=back.devices,
        waiting=back.waiting,
        p50=back.quantile(0.5),
        p95=back.quantile(0.95),
        longest=back.longest,
        late=dict(islice(sorted(back.late.items()), NAMED)),
        late_devices=len(back.late),
        late_longest=max(back.late.values(), default=None),
    )


def _valid_until(
    trust: datetime | None, moments: Iterable[datetime | None], decision: Decision, back: WayBack | None, now: datetime
) -> datetime | None:
    """Return the first moment after which time alone may change what is trusted, decided, or said of a deadline."""
    if trust is not None and trust <= now:
        return now  # it was judged by what has ended since
    deadline = back.since + timedelta(seconds=back.deadline) if back and back.waiting else None
    ahead = [trust, *moments, decision.next_due, decision.wave_due, deadline]
    return min((moment for moment in ahead if moment is not None and moment > now), default=None)


_WORDS: dict[RolloutState, RolloutResult] = {
    RolloutState.WAITING: "waiting",
    RolloutState.PROGRESSING: "progressing",
    RolloutState.COMPLETE: "complete",
    RolloutState.PAUSED: "paused",
    RolloutState.HELD: "held",
    RolloutState.STOPPED: "stopped",
    RolloutState.ABORTED: "aborted",
    RolloutState.ROLLING_BACK: "rolling-back",
    RolloutState.ROLLED_BACK: "rolled-back",
}


_OVER = (RolloutState.COMPLETE, RolloutState.HELD, RolloutState.STOPPED, RolloutState.ABORTED, RolloutState.ROLLED_BACK)
"""what these say stays true when approvals end"""


def paused(prepared: Prepared, *, begun: bool) -> str:
    """Return why nothing may start; in a rollout that had begun, its approvals count no more."""
    return f"paused: {prepared.not_approved}" if begun else prepared.not_approved


def standing_of(
    prepared: Prepared, view: RolloutView, decision: Decision, row: RolloutRow | None
) -> tuple[RolloutResult, str]:
    """Return the one word for where a rollout stands, and why."""
    if view.back_since is None and prepared.refused is not None:
        return "held", prepared.not_approved
    if prepared.mandate is None:
        return "not-approved", prepared.not_approved
    known = row is not None and row.mandate == prepared.mandate.id
    if view.back_since is None and prepared.approved_stage == 0 and not (known and row and row.state in _OVER):
        return "not-approved", paused(prepared, begun=bool(view.waves))
    if row is None or not known:
        return "waiting", decision.holding
    word = _WORDS[row.state]
    if word == "paused" and not view.stopped:
        return "progressing", decision.holding
    return word, (decision.holding or row.reason) if word in ("waiting", "progressing") else row.reason


def stored(summary: Summary, *, commit: str, revision: int) -> SummaryStored:
    """Return what to write into the ledger; `revision` is the ledger's, read before the view that was decided on."""
    return SummaryStored(
        at=summary.at,
        rollout=summary.key,
        mandate=summary.mandate,
        commit=commit,
        valid_until=summary.valid_until,
        body=to_json(summary),
        revision=revision,
    )


def stored_fleet(
    state: CommitState,
    *,
    pinned: str,
    certificates: Iterable[Thing] = (),
    now: datetime,
    revision: int,
    looks: datetime | None,
) -> SummaryStored:
    """Return what to write of the whole commit, so that it need not be read again.

    `looks` is when the next device is due for a look, or something that was left behind; None if nothing ever is.
    """
    body = to_json(fleet_summary(state, pinned=pinned, certificates=certificates))
    return SummaryStored(
        at=now, rollout=FLEET, mandate="", commit=state.commit, valid_until=looks, body=body, revision=revision
    )
