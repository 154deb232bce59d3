"""A window over the real simulator, with a clock that is set: nothing begins outside it, what is under way ends."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fwctl.cli.context import Context
from tests.support.canary import GOOD, CanaryWorld, ended
from tests.support.world import World

pytestmark = pytest.mark.e2e

RESTARTS = ("--memory", "--boot-delay", "2")
AHEAD = timedelta(minutes=20)
"""until the window opens; it is open for as long"""


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[timedelta], None]:
    """Set the clock of the control plane back: it runs on from there. Devices take no order from their future."""

    def back(by: timedelta) -> None:
        monkeypatch.setattr(Context, "now", staticmethod(lambda: datetime.now(UTC) - by))
        for name in ("GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"):
            monkeypatch.setenv(name, f"{Context.now():%Y-%m-%dT%H:%M:%SZ}")

    return back


def test_a_rollout_keeps_to_its_window(tmp_path: Path, set_clock: Callable[[timedelta], None]) -> None:
    set_clock(2 * AHEAD)
    with World(tmp_path) as world:
        fleet = CanaryWorld(world, 4, timeout="30s")
        fleet.simulate(options=RESTARTS)
        opens = (Context.now() + AHEAD).replace(second=0, microsecond=0)
        span = f'cron: "{opens.minute} {opens.hour} * * *", duration: {AHEAD.total_seconds() / 60:.0f}m'
        more = f"window: {{allow: [{{{span}}}]}}\nlimits: {{maxConcurrent: 2}}"
        fleet.release(GOOD, strategy="{type: Direct, soak: 0s}", more=more)

        # closed: the sweep looks at everybody once, nothing is sent, and it says when it opens
        closed = world.once(duration=5)
        ended(closed, 0)
        words = f"outside its window; opens {opens:%a %Y-%m-%d %H:%M} UTC"
        assert words in world.status()["reason"]
        explained = world.fwctl("explain", "sensors")
        assert words in " ".join(explained.out.split())
        assert "nobody has to do anything" in " ".join(explained.out.split())
        assert "fwctl windows dev/sensors" in explained.text
        assert (fleet.touched(), fleet.waves()) == (set(), {})
        with world.ledger() as ledger:
            (row,) = [one for one in ledger.summaries() if one.rollout]
            assert row.valid_until == opens, "the next passes rest until then"
        assert world.reconciled()["visits"] == 0

        # open: it goes on by itself, two at a time
        set_clock(AHEAD)
        world.once(duration=1)
        begun = fleet.touched()
        assert len(begun) == 2
        assert fleet.versions().get(GOOD, 0) == 0, "they restart"

        # closed in the middle: what is under way is finished, and nothing new begins
        set_clock(timedelta())
        ended(world.once(duration=20), 0)
        assert fleet.touched() == begun
        assert {device for device in begun if fleet.running(device) == GOOD} == begun
        status = world.status()
        assert status["counts"] == {"reached": 2, "held": 2}
        assert f"opens {opens + timedelta(days=1):%a %Y-%m-%d %H:%M} UTC" in status["reason"]

        # who takes it back asks no window
        world.fwctl("rollback", "sensors", "--reason", "not this one", "--confirm", "sensors")
        ended(world.once(duration=20), 1)
        assert fleet.state() == "rolled-back"
        assert fleet.versions().get(GOOD, 0) == 0
