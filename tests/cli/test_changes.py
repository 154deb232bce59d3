"""What commands change, and what a second or a killed run of them does."""

from __future__ import annotations

import json
import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fwctl.render.words import fold
from tests.cli.fleet import Fleet


def test_enrolment_of_all_goes_on_where_it_was_killed(fleet: Fleet, tmp_path: Path) -> None:
    out = tmp_path / "devices"
    fleet.ok("device", "enroll", "--all", "--out", out)
    key = (out / "sensor-1" / "identity" / "device.key.pem").read_bytes()
    shutil.rmtree(out / "sensor-2")
    (out / ".sensor-2.new" / "identity").mkdir(parents=True)
    again = fleet.ok("device", "enroll", "--all", "--out", out)
    assert "Enrolled sensor-2 in" in again.stdout
    assert "2 devices had a folder there already" in again.stderr
    assert (out / "sensor-1" / "identity" / "device.key.pem").read_bytes() == key
    assert sorted(path.name for path in out.iterdir()) == ["sensor-1", "sensor-2", "sensor-3"]


def test_enrolment_never_writes_over_what_is_not_that_device(fleet: Fleet, tmp_path: Path) -> None:
    (tmp_path / "devices" / "sensor-2").mkdir(parents=True)
    (tmp_path / "devices" / "sensor-2" / "thesis.txt").write_text("mine")
    answer = fleet.run("device", "enroll", "--all", "--out", tmp_path / "devices")
    assert (answer.exit_code, "E_EXISTS" in answer.stderr) == (3, True)
    assert [path.name for path in (tmp_path / "devices").iterdir()] == ["sensor-2"]


def test_a_new_device_is_declared_once_it_can_be_enrolled(fleet: Fleet, tmp_path: Path) -> None:
    words = ("device", "enroll", "new-1", "--model", "sensor-v1", "--address", "127.0.0.1:9", "--out", tmp_path / "d")
    assert "Declared it in devices/dev/new-1.yaml" in fleet.ok(*words).stdout
    assert "new-1" in fleet.ok("device", "list", "--state", "unseen").stdout
    assert fleet.run(*words).exit_code == 3, "its key is not made anew"


def test_an_approval_is_told_when_it_stands(planned: Fleet) -> None:
    first = planned.ok("approve", "sensors", "--yes")
    head = planned.git("rev-parse", "HEAD")
    second = planned.ok("approve", "sensors", "--yes")
    assert "Approved by alice" in first.stdout
    assert "alice has approved dev/sensors already" in second.stdout
    assert planned.git("rev-parse", "HEAD") == head


def test_an_approval_is_renewed_shortly_before_it_ends(planned: Fleet) -> None:
    planned.ok("approve", "sensors", "--yes", "--days", "3")
    assert "Approved by alice" in planned.ok("approve", "sensors", "--yes", "--days", "30").stdout
    approval = json.loads(planned.ok("trust", "status", "--format", "json").stdout)["approvals"][0]
    assert [one["name"] for one in approval["approvers"]] == ["alice"]
    assert approval["missing"] == []


def test_an_approval_of_other_content_is_named_with_its_author(fleet: Fleet) -> None:
    fleet.write("groups/bench.yaml", (fleet.tree / "groups/bench.yaml").read_text().replace("bench}}", "prod}}"))
    fleet.ok("plan", "sensors", "--lock")
    fleet.commit()
    approval = json.loads(fleet.ok("trust", "status", "--format", "json").stdout)["approvals"][0]
    assert approval["approvedStage"] == 0
    assert [(one["who"], one["why"].split(":")[0]) for one in approval["ignored"]] == [("alice", "E_APPROVAL_STALE")]
    assert approval["command"] == "fwctl approve dev/sensors --as alice"


def test_a_file_name_is_no_markup_in_a_comment(fleet: Fleet) -> None:
    folder = next((fleet.tree / "approvals" / "dev" / "sensors").iterdir())
    other = folder.with_name("0" * 64)
    shutil.copytree(folder, other)
    (other / "alice.1.dsse.json").rename(other / "<img src=x>`.1.dsse.json")
    fleet.commit()
    text = fleet.ok("trust", "status", "--format", "markdown").stdout
    assert "does not count: `<img src=x>'`: `E_APPROVAL_STALE" in text


def test_a_commit_that_lands_meanwhile_is_not_approved_unseen(planned: Fleet) -> None:
    from fwctl.cli.approving import Request, check, sign_and_commit
    from fwctl.errors import Busy

    ready = check(planned.context, Request("sensors", "", 30, 0, "approved for release"))
    planned.write("README", "more")
    planned.commit()
    with pytest.raises(Busy, match="E_PLAN_STALE"):
        sign_and_commit(planned.context, ready)


def test_a_key_that_is_not_the_policys_signs_nothing(planned: Fleet) -> None:
    keys = planned.folder / "config" / "acme" / "keys"
    for half in ("pem", "pub.json"):
        shutil.copyfile(keys / f"reconciler-order.{half}", keys / f"alice.{half}")
    answer = planned.run("approve", "sensors", "--yes")
    assert (answer.exit_code, "E_NOT_APPROVER" in answer.stderr) == (4, True)


def test_the_diff_follows_a_label_to_the_devices(fleet: Fleet) -> None:
    """A label moves a device out of the group, and so out of the rollout, although nobody touched the rollout."""
    fleet.write("devices/bench.yaml", (fleet.tree / "devices/bench.yaml").read_text().replace("bench}", "prod}", 1))
    answer = fleet.run("diff", "HEAD", "--format", "json")
    document = json.loads(answer.stdout)
    assert answer.exit_code == 1
    assert [change["name"] for change in document["changes"]] == ["sensor-1"]
    assert document["changes"][0]["fields"][0]["field"] == "labels.ring"
    assert document["devices"][0]["leaves"] == ["sensor-1"]


def test_the_diff_shows_what_is_removed(fleet: Fleet) -> None:
    for path in ("rollouts/dev/sensors.yaml", "rollouts/dev/sensors.lock", "groups/bench.yaml"):
        (fleet.tree / path).unlink()
    text = fleet.run("diff", "HEAD").stdout
    assert "- rollouts/dev/sensors.yaml (rollout dev/sensors)" in text
    assert "- groups/bench.yaml (group bench)" in text
    assert "Rollout dev/sensors (sensor-v1 2.5.0) is removed; its devices stay on what they run" in text


def test_the_diff_of_a_new_version_reaches_every_device(fleet: Fleet) -> None:
    (fleet.folder / "new.bin").write_bytes(b"new")
    fleet.ok("firmware", "add", fleet.folder / "new.bin", "--model", "sensor-v1", "--version", "2.6.0")
    path = "rollouts/dev/sensors.yaml"
    fleet.write(path, (fleet.tree / path).read_text().replace("2.5.0", "2.6.0"))
    fleet.ok("plan", "sensors", "--lock")
    text = fleet.run("diff", "HEAD").stdout
    assert '~ firmware.version "2.5.0" -> "2.6.0"' in text
    assert "Rollout dev/sensors means sensor-v1 2.6.0, before sensor-v1 2.5.0" in text
    assert "2 devices to run sensor-v1 2.6.0" in text


def test_a_lock_that_stands_is_not_written_again(fleet: Fleet) -> None:
    lock = fleet.tree / "rollouts" / "dev" / "sensors.lock"
    before = lock.stat().st_mtime_ns
    assert "Nothing to write" in fleet.ok("plan", "sensors", "--lock").stderr
    assert lock.stat().st_mtime_ns == before


def test_a_stranger_in_the_ledger_still_has_a_past(fleet: Fleet) -> None:
    (fleet.tree / "rollouts/dev/sensors.yaml").unlink()
    (fleet.tree / "rollouts/dev/sensors.lock").unlink()
    assert "rollout.progressing" in fleet.ok("events", "--for", "dev/sensors").stdout


def test_the_doctor_warns_before_metadata_ends(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    from fwctl.cli.context import Context
    from fwctl.cli.examining import examine

    real = Context.now()
    words = {}
    for days in (300, 340, 370):
        monkeypatch.setattr(Context, "now", staticmethod(lambda days=days: real + timedelta(days=days)))
        words[days] = {check.name: (check.word, check.text) for check in examine(fleet.context)}["metadata"]
    assert words[300][0] == "ok"
    assert words[340][0] == "warn"
    assert "within 30 days" in words[340][1]
    assert words[370][0] == "fail"


@given(st.lists(st.text("abc ", min_size=1, max_size=30), max_size=8), st.integers(20, 100))
def test_folding_for_a_terminal_loses_no_word(parts: list[str], width: int) -> None:
    line = "label   " + " ".join(parts)
    folded = fold(line, width)
    assert folded.split() == line.split()
    longest = max(len(word) for word in line.split())
    assert all(len(part) <= max(width, longest + width // 2) for part in folded.split("\n"))
