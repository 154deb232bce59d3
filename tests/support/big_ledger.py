"""A fleet of any size with a ledger as a pass leaves it, written through the public API alone.

By itself: `python -m tests.support.big_ledger FOLDER [DEVICES]` makes one and prints the options to look at it with.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

from fwctl.reconcile.commit import CommitState, Prepared
from fwctl.reconcile.ending import of_machine
from fwctl.reconcile.summarising import stored, stored_fleet, summarise
from fwctl.reconcile.views import rollout_view
from fwctl.rollouts.decide import decide
from fwctl.state import (
    Change,
    DeviceSeen,
    DeviceUnreachable,
    Ledger,
    OrderIntended,
    OrderMoved,
    OrderStatus,
    RolloutMoved,
    RolloutState,
    SetMeta,
    WaveMoved,
    WaveState,
    acquire_lease,
    ledger_path,
)
from tests.cli.fleet import Fleet, build

KEY = "dev/sensors"
FAILED, AWAY = 100, 101
"""every so manieth device failed for good, is out of reach"""
_MANIFEST = """\
apiVersion: fwctl/v1
kind: Rollout
metadata: {name: sensors}
spec:
  firmware: {model: sensor-v1, version: "2.5.0"}
  targets: {all: true}
  strategy: {type: Direct, soak: 0s}
"""


def big_fleet(folder: Path, devices: int) -> Fleet:
    """Make a fleet of so many devices, its rollout locked, committed and approved; its ledger is new."""
    fleet = build(folder)
    rows = (f"unit-{at:06},sensor-v1,rev-a,dev,site-{at % 50:02},r{at % 7}\n" for at in range(devices))
    fleet.write("devices/units.csv", "id,model,hardware,env,site,labels.ring\n" + "".join(rows))
    fleet.write("rollouts/dev/sensors.yaml", _MANIFEST)
    fleet.ok("plan", "sensors", "--lock")
    fleet.commit("A large fleet")
    fleet.ok("approve", "sensors", "--yes")
    return fleet


def fill(fleet: Fleet) -> None:
    """Record that every device was visited: nearly all confirmed, some failed, some out of reach."""
    commit, files = fleet.context.committed()
    state = fleet.context.read(files, commit)
    prepared, now = state.rollouts[KEY], datetime.now(UTC).replace(microsecond=0)
    changes = _changes(prepared, commit, now)
    with (
        Ledger.open(ledger_path(fleet.state)) as ledger,
        acquire_lease(ledger, holder="test", now=now, ttl=timedelta(minutes=10)) as lease,
    ):
        while part := tuple(islice(changes, 5000)):
            ledger.apply(part, epoch=lease.epoch)
        sum_up(fleet, ledger, state, lease.epoch)


def sum_up(fleet: Fleet, ledger: Ledger, state: CommitState, epoch: int, at: datetime | None = None) -> None:
    """Write the summaries of a commit, as a pass does when it ends."""
    now, revision = at or datetime.now(UTC), ledger.revision()
    keystore = fleet.context.keystore(state.repo.fleet.spec.repo_id)
    pinned, here = keystore.pinned_root(), of_machine(keystore)
    changes = [stored_fleet(state, pinned=pinned, now=now, revision=revision, looks=None, certificates=here)]
    for prepared in state.rollouts.values():
        view = rollout_view(ledger, prepared)
        decision, until = decide(prepared.plan, view, now), state.authority.next_change(now)
        summary = summarise(prepared, view, decision, ledger, now, trust_until=until)
        changes.append(stored(summary, commit=state.commit, revision=revision))
    ledger.apply(changes, epoch=epoch)


def _changes(prepared: Prepared, commit: str, now: datetime) -> Iterator[Change]:
    assert prepared.mandate is not None
    mandate = prepared.mandate.id
    yield SetMeta(at=now, key="last_applied_commit", value=commit)
    for word in (RolloutState.WAITING, RolloutState.PROGRESSING):
        yield RolloutMoved(at=now, rollout=KEY, mandate=mandate, commit=commit, state=word, reason="devices are due")
    for wave in prepared.plan.waves:
        yield WaveMoved(
            at=now, rollout=KEY, mandate=mandate, wave=wave.name, state=WaveState.OPEN, reason="devices may start"
        )
        for at, device in enumerate(wave.devices):
            yield from _visited(prepared, mandate, device, wave.name, at, now)


def _visited(prepared: Prepared, mandate: str, device: str, wave: str, at: int, now: datetime) -> Iterator[Change]:
    if at % AWAY == AWAY - 1:
        yield DeviceUnreachable(
            at=now - timedelta(hours=2), device=device, reason="E_UNREACHABLE", next_due=now + timedelta(hours=1)
        )
        return
    release, order = prepared.plan.release, f"order-{device}"
    yield OrderIntended(
        at=now - timedelta(minutes=5),
        order=order,
        device=device,
        rollout=KEY,
        mandate=mandate,
        verb="install",
        release=release.digest,
        attempt=1,
        stage=1,
        wave=wave,
        refers_to="",
        body={},
        due_at=None,
        reason="may start",
    )
    failed = at % FAILED == FAILED - 1
    yield OrderMoved(
        at=now - timedelta(minutes=4),
        order=order,
        status=OrderStatus.SETTLED,
        failure_class="health" if failed else "",
        code="E_HEALTH" if failed else "",
        reason="reverted" if failed else "confirmed",
    )
    yield DeviceSeen(
        at=now - timedelta(minutes=4),
        device=device,
        running_release="" if failed else release.digest,
        running_image=release.image,
        running_version="1.0.0" if failed else release.version,
        running_mandate="" if failed else mandate,
        state="confirmed",
        document={},
        counter=1,
        spent=(mandate,) if failed else (),
    )


if __name__ == "__main__":
    import os

    from tests.cli.fleet import ENVIRONMENT

    os.environ.update(ENVIRONMENT)
    made = big_fleet(Path(sys.argv[1]).absolute(), int(sys.argv[2]) if len(sys.argv) > 2 else 100_000)
    fill(made)
    sys.stdout.write(" ".join(made.options) + "\n")
