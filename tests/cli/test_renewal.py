"""`approve --renew`, and the clock that approvals are dated by."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fwctl.cli.context import Context
from tests.cli.fleet import Fleet

KEY = "dev/sensors"


def at(monkeypatch: pytest.MonkeyPatch, ahead: timedelta) -> None:
    """Let the clock of this machine be ahead of git's."""
    monkeypatch.setattr(Context, "now", staticmethod(lambda: datetime.now(UTC) + ahead))


def approvals(fleet: Fleet) -> list[str]:
    return sorted(path.name for path in (fleet.tree / "approvals").rglob("*.json"))


def counts(fleet: Fleet) -> dict[str, datetime]:
    """Return whose approval counts, and until when."""
    verdict = fleet.prepared().verdict
    assert verdict is not None
    return {vote.person: vote.approval.expires for vote in verdict.tally.votes}


def test_a_renewal_stands_beside_what_it_renews_and_the_newest_counts(
    planned: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned.ok("approve", "sensors", "--yes", "--days", "10")
    first = (planned.tree / "approvals").rglob("alice.1.dsse.json").__next__().read_bytes()
    at(monkeypatch, timedelta(days=2))
    answer = planned.ok("approve", "sensors", "--renew", "--yes", "--days", "20")
    assert "renews" in answer.stdout
    assert "Renewed by alice" in answer.stdout
    assert len(approvals(planned)) == 2
    assert (planned.tree / "approvals").rglob("alice.1.dsse.json").__next__().read_bytes() == first
    (until,) = counts(planned).values()
    assert until > datetime.now(UTC) + timedelta(days=21)
    again = planned.ok("approve", "sensors", "--renew", "--yes", "--days", "5")
    assert "has approved dev/sensors already" in again.stdout, "a renewal never shortens"
    assert len(approvals(planned)) == 2


def test_what_has_just_ended_may_be_renewed_and_what_ended_long_ago_may_not(
    planned: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned.ok("approve", "sensors", "--yes", "--days", "1")
    at(monkeypatch, timedelta(days=20))
    assert counts(planned) == {}
    planned.ok("approve", "sensors", "--renew", "--yes", "--days", "1")
    assert list(counts(planned)) == ["alice"]
    at(monkeypatch, timedelta(days=60))
    refused = planned.run("approve", "sensors", "--renew", "--yes", "--clock-is-right")
    assert (refused.exit_code, "E_NO_RENEWAL" in refused.stderr) == (4, True), str(refused)
    assert len(approvals(planned)) == 2


@pytest.mark.parametrize("changed", [False, True])
def test_only_ones_own_approval_of_the_same_content_is_renewed(planned: Fleet, changed: bool) -> None:
    """Nobody has approved it yet; or it was, and has changed since."""
    if changed:
        planned.ok("approve", "sensors", "--yes")
        manifest = planned.tree / "rollouts/dev/sensors.yaml"
        manifest.write_text(manifest.read_text() + "# another byte\n")
        planned.ok("plan", "sensors", "--lock")
        planned.commit("Another plan")
    before = approvals(planned)
    refused = planned.run("approve", "sensors", "--renew", "--yes")
    assert (refused.exit_code, "E_NO_RENEWAL" in refused.stderr) == (4, True), str(refused)
    assert f"fwctl approve {KEY}" in refused.stderr
    assert approvals(planned) == before


def test_another_stage_is_no_renewal(fleet: Fleet) -> None:
    answer = fleet.run("approve", "sensors", "--renew", "--yes", "--stage", "2")
    assert (answer.exit_code, "renewing changes nothing but its time" in answer.stderr) == (2, True), str(answer)


def test_r20_a_clock_a_month_ahead_of_everything_is_asked_about(
    planned: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    at(monkeypatch, timedelta(days=29))
    planned.ok("approve", "sensors", "--yes", "--days", "1")
    at(monkeypatch, timedelta(days=61))
    refused = planned.run("approve", "sensors", "--yes")
    assert (refused.exit_code, "E_CLOCK" in refused.stderr) == (3, True), str(refused)
    assert "--clock-is-right" in refused.stderr
    assert len(approvals(planned)) == 1
    planned.ok("approve", "sensors", "--yes", "--clock-is-right")
    assert len(approvals(planned)) == 2


def test_r20_a_clock_before_the_last_commit_signs_nothing(planned: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    at(monkeypatch, -timedelta(hours=2))  # the fleet was committed some time ago
    refused = planned.run("approve", "sensors", "--yes", "--clock-is-right")
    assert (refused.exit_code, "E_CLOCK" in refused.stderr, approvals(planned)) == (3, True, []), str(refused)


@pytest.mark.parametrize(
    ("days", "level"), [(351, "warning"), (359, "critical"), (336, "notice"), (300, None), (366, "expired")]
)
def test_status_and_doctor_warn_of_what_ends(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, days: int, level: str | None, tmp_path: Path
) -> None:
    at(monkeypatch, timedelta(days=days))
    doctor = json.loads(fleet.run("doctor", "--format", "json").stdout)
    ends = {one["what"]: one["level"] for one in doctor["expiry"]}
    metadata = next(one for one in doctor["checks"] if one["name"] == "metadata")
    if level == "expired":  # then nothing of it is trusted, and status says so with the verifier's code
        assert (metadata["status"], "E_EXPIRED" in metadata["text"]) == ("fail", True)
        return
    assert ends["policy"] == (level or "ok")
    assert metadata["status"] == ("warn" if level else "ok")
    assert ("fwctl trust renew" in metadata["remedy"]) == bool(level)
    status = fleet.ok("status")
    assert (f"{level}: policy ends in" in status.stdout) == bool(level)
    assert {one["what"]: one["level"] for one in json.loads(fleet.ok("status", "--format", "json").stdout)["expiry"]}[
        "policy"
    ] == (level or "ok")
