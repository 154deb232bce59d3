"""What status, report, history and explain tell of a real rollback over TLS, from what the devices signed."""

from __future__ import annotations

import json

from fwctl.rollouts.cohorts import by_lot
from tests.support.canary import BAD, GOOD, CanaryWorld
from tests.support.world import World

COUNT = 10
CANARY = "{type: Canary, initialPercentage: 20, increments: [100], soak: 20s}"


def test_a_rollback_is_measured_and_told(world: World) -> None:
    names = [f"sim-{number:03}" for number in range(1, COUNT + 1)]
    first, victim = by_lot(names, "sensors")[:2]
    fleet = CanaryWorld(world, COUNT)
    fleet.simulate({"kind": "unhealthy", "devices": [victim], "versions": [BAD]})
    fleet.settled()
    fleet.release(BAD, strategy=CANARY)
    assert world.run("rollout", "report", "sensors").code == 3, "nothing has happened yet"
    world.once()

    waited = world.run("status", "sensors", "--wait", "--timeout", "10s", "--format", "json")
    one = json.loads(waited.out)["rollouts"][0]
    assert (waited.code, one["state"]) == (1, "rolled-back"), waited.text
    assert [wave["state"] for wave in one["waves"]] == ["failed", "waiting"]
    back = one["rollback"]
    assert (back["met"], back["deadlineSeconds"], back["devices"], back["waiting"]) == (True, 120, 1, 0)
    assert 0 <= back["p50"] <= back["p95"] <= back["max"] <= 120

    report = json.loads(world.fwctl("rollout", "report", "sensors", "--format", "json").out)
    (group,) = report["failures"]
    assert (group["class"], [device["device"] for device in group["devices"]]) == ("health", [victim])
    assert [probe["ok"] for probe in group["devices"][0]["evidence"]].count(False) >= 1
    assert (report["rule"], report["rollback"]) == ("maxFailureRate", back)
    page = world.folder / "report.html"
    world.fwctl("rollout", "report", "sensors", "--format", "html", "--out", page)
    assert "maxFailureRate" in page.read_text("utf-8")

    told = json.loads(world.fwctl("device", "history", first, "--format", "json").out)
    assert told["running"] == GOOD
    steps = [(step["version"], step["outcome"]) for step in told["history"]]
    assert steps[-2:] == [(GOOD, "confirmed"), (BAD, "reverted")], steps
    good, bad = told["history"][-2:]
    assert good["mandate"] != bad["mandate"]
    assert bad["approvals"][0]["signer"] == "alice"
    assert bad["commit"] == world.git("rev-parse", "HEAD")
    assert bad["orderedAt"] <= bad["confirmedAt"] <= bad["revertedAt"]

    why = json.loads(world.fwctl("explain", "sensors", "--format", "json").out)["explained"][0]
    assert (why["state"], why["cause"]["rule"]) == ("rolled-back", "maxFailureRate")
