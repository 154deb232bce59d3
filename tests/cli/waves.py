"""A canary over twenty devices in each of its stages, recorded as a pass records it."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from fwctl.state import (
    Change,
    DeviceSeen,
    DeviceUnreachable,
    OrderIntended,
    OrderMoved,
    OrderStatus,
    OutcomeReceived,
    RolloutMoved,
    RolloutState,
    SetMeta,
    WaveMoved,
    WaveState,
)
from tests.cli.fleet import Fleet

KEY = "dev/sensors"
FACTORY = "sha256:" + "0" * 64
MANIFEST = """\
apiVersion: fwctl/v1
kind: Rollout
metadata: {name: sensors}
spec:
  firmware: {model: sensor-v1, version: "2.5.0"}
  targets: {all: true}
  strategy: {type: Canary, initialPercentage: 20, increments: [50, 100], soak: 90s}
"""


def canary(fleet: Fleet) -> Fleet:
    """Make the planned fleet's rollout a canary over twenty devices, and approve it."""
    lines = "".join(f'    - {{id: unit-{at:02}, address: "127.0.0.1:9"}}\n' for at in range(1, 18))
    head = "apiVersion: fwctl/v1\nkind: DeviceInventory\nspec:\n"
    head += "  defaults: {model: sensor-v1, hardware: rev-a, env: dev}\n  devices:\n"
    fleet.write("devices/units.yaml", head + lines)
    fleet.write("rollouts/dev/sensors.yaml", MANIFEST)
    fleet.ok("plan", "sensors", "--lock")
    fleet.commit("A canary")
    fleet.ok("approve", "sensors", "--yes")
    return fleet


@dataclass
class Story:
    """Writes what happens in the ledger; `at` counts seconds from the beginning, `ends` seconds ago."""

    fleet: Fleet
    length: int
    ago: int = 0
    changes: list[Change] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.prepared = self.fleet.prepared()
        assert self.prepared.mandate is not None
        self.mandate = self.prepared.mandate.id
        now = datetime.now(UTC).replace(microsecond=0)
        self.begin = now - timedelta(seconds=self.length + self.ago)
        self.release = self.prepared.plan.release
        self.commit = self.fleet.git("rev-parse", "HEAD").strip()
        self.changes.append(SetMeta(at=self.begin, key="last_applied_commit", value=self.commit))
        self.counters: dict[str, int] = {}

    @property
    def waves(self) -> list[tuple[str, ...]]:
        return [wave.devices for wave in self.prepared.plan.waves]

    def time(self, at: int) -> datetime:
        return self.begin + timedelta(seconds=at)

    def rollout(self, at: int, state: str, reason: str, rule: str = "") -> None:
        moved = RolloutMoved(
            at=self.time(at),
            rollout=KEY,
            mandate=self.mandate,
            commit=self.commit,
            state=RolloutState(state),
            reason=reason,
            rule=rule,
        )
        self.changes.append(moved)

    def wave(self, at: int, number: int, state: str, reason: str) -> None:
        name = f"wave-{number}"
        self.changes.append(
            WaveMoved(
                at=self.time(at),
                rollout=KEY,
                mandate=self.mandate,
                wave=name,
                state=WaveState(state),
                reason=reason,
            )
        )

    def factory(self, *devices: str) -> None:
        for device in devices:
            self.changes.append(self._seen(0, device, FACTORY, "1.0.0"))

    def order(self, at: int, device: str, verb: str = "install") -> str:
        wave = self.prepared.plan.wave_of[device]
        order = self.id(device, verb)
        self.changes.append(
            OrderIntended(
                at=self.time(at),
                order=order,
                device=device,
                rollout=KEY,
                mandate=self.mandate,
                verb=verb,
                release=self.release.digest,
                attempt=1,
                stage=wave.stage,
                wave=wave.name,
                refers_to=self.id(device, "install") if verb != "install" else "",
                body={},
                due_at=None,
                reason="may start" if verb == "install" else "is taken back",
            )
        )
        return order

    @staticmethod
    def id(device: str, verb: str) -> str:
        return f"sha256:{f'{verb}-{device}'.encode().hex():0>64}"[:71]

    def confirmed(self, at: int, device: str) -> None:
        order = self.order(at - 3, device)
        self.changes.append(OrderMoved(at=self.time(at), order=order, status=OrderStatus.SETTLED, reason="confirmed"))
        self._outcome(at, device, order, "confirmed", "", "", (("boot", True, "exit 0", None),))
        self.changes.append(self._seen(at, device, self.release.digest, self.release.version))

    def unhealthy(self, at: int, device: str, detail: str = "temperature 93, at most 80") -> None:
        order = self.order(at - 3, device)
        self.changes.append(
            OrderMoved(
                at=self.time(at),
                order=order,
                status=OrderStatus.SETTLED,
                failure_class="health",
                code="E_HEALTH",
                reason="reverted",
            )
        )
        probes = (("boot", True, "exit 0", None), ("temperature", False, detail, 93))
        self._outcome(at, device, order, "reverted", "health", "E_HEALTH", probes)
        self.changes.append(replace(self._seen(at, device, FACTORY, "1.0.0"), spent=(self.mandate,)))

    def away(self, at: int, device: str) -> None:
        change = DeviceUnreachable(at=self.time(at), device=device, reason="E_UNREACHABLE: no connection")
        self.changes.append(change)

    def back(self, at: int, device: str, since: int) -> None:
        order = self.order(since, device, "revert")
        change = OrderMoved(at=self.time(at), order=order, status=OrderStatus.SETTLED, reason="reverted")
        self.changes.append(change)
        self._outcome(at, device, order, "reverted", "", "", ())
        self.changes.append(replace(self._seen(at, device, FACTORY, "1.0.0"), spent=(self.mandate,)))

    def _seen(self, at: int, device: str, release: str, version: str) -> DeviceSeen:
        ours = release == self.release.digest
        return DeviceSeen(
            at=self.time(at),
            device=device,
            running_release=release if ours else "",
            running_image=self.release.image if ours else FACTORY,
            running_version=version,
            running_mandate=self.mandate if ours else "",
            state="confirmed",
            document={},
            counter=self.counters.get(device, 0),
        )

    def _outcome(
        self,
        at: int,
        device: str,
        order: str,
        result: str,
        klass: str,
        code: str,
        probes: tuple[tuple[str, bool, str, int | None], ...],
    ) -> None:
        self.counters[device] = self.counters.get(device, 0) + 1
        evidence = [{"probe": name, "ok": ok, "detail": told, "value": value} for name, ok, told, value in probes]
        payload = base64.b64encode(json.dumps({"evidence": evidence}).encode()).decode()
        self.changes.append(
            OutcomeReceived(
                at=self.time(at),
                order=order,
                device=device,
                mandate=self.mandate,
                result=result,
                failure_class=klass,
                code=code,
                running_image=FACTORY if result == "reverted" else self.release.image,
                counter=self.counters[device],
                envelope={"payload": payload},
                certificate="",
            )
        )

    def write(self) -> Fleet:
        self.fleet.record(*self.changes)
        return self.fleet


def _begun(fleet: Fleet, length: int, ago: int = 0) -> Story:
    story = Story(fleet, length, ago)
    story.factory(*story.waves[0], *story.waves[1])
    story.rollout(0, "waiting", "it may start")
    story.wave(1, 1, "open", "4 devices may start")
    story.rollout(1, "progressing", "4 devices are due")
    for at, device in enumerate(story.waves[0]):
        story.confirmed(6 + 3 * at, device)
    story.wave(16, 1, "soaking", "4 of 4 reached, 0 failed; soak for 90 s")
    return story


def soaking(fleet: Fleet) -> Fleet:
    """The first wave is being watched."""
    return _begun(fleet, 20).write()


def _second(fleet: Fleet, length: int, ago: int = 0, *, detail: str = "temperature 93, at most 80") -> Story:
    story = _begun(fleet, length, ago)
    story.wave(107, 1, "passed", "4 of 4 reached, 0 failed, healthy through the soak")
    story.wave(107, 2, "open", "6 devices may start")
    first, second, third, fourth, fifth, _ = story.waves[1]
    story.confirmed(112, first)
    story.unhealthy(114, second, detail)
    story.confirmed(116, third)
    story.unhealthy(118, fourth, detail)
    story.away(119, fifth)
    return story


FAILED = "2 of 4 failed (50 %), allowed are 2 %"


def stopped(fleet: Fleet, *, detail: str = "temperature 93, at most 80") -> Fleet:
    """The second wave failed, and nothing goes back by itself."""
    story = _second(fleet, 120, detail=detail)
    story.wave(119, 2, "failed", FAILED)
    story.rollout(119, "stopped", f"wave-2: {FAILED}", "maxFailureRate")
    return story.write()


def going_back(fleet: Fleet, *, over: bool = False) -> Fleet:
    """The second wave failed, and all devices go back; one is out of reach, one still on its way unless `over`."""
    story = _second(fleet, 140, 5)
    story.wave(119, 2, "failed", FAILED)
    story.rollout(119, "rolling-back", f"wave-2: {FAILED}", "maxFailureRate")
    done = [*story.waves[0], story.waves[1][0], story.waves[1][2]]
    for at, device in enumerate(done if over else done[:-1]):
        story.back(121 + 2 * at, device, 120)
    if not over:
        story.order(120, done[-1], "revert")
    else:
        story.rollout(133, "rolled-back", f"{len(done) + 2} taken back")
    return story.write()


def complete(fleet: Fleet) -> Fleet:
    """Everybody has it."""
    story = _begun(fleet, 400)
    story.wave(107, 1, "passed", "4 of 4 reached, 0 failed, healthy through the soak")
    begin = 107
    for number, devices in enumerate(story.waves[1:], start=2):
        story.wave(begin, number, "open", f"{len(devices)} devices may start")
        for at, device in enumerate(devices):
            story.confirmed(begin + 5 + at, device)
        begin += 6 + len(devices)
        story.wave(begin, number, "soaking", f"{len(devices)} of {len(devices)} reached, 0 failed; soak for 90 s")
        begin += 90
        story.wave(begin, number, "passed", f"{len(devices)} of {len(devices)} reached, 0 failed")
    story.rollout(begin, "complete", "20 of 20 reached")
    return story.write()
