"""Histories of one rollout to which anything happens, also what no fleet would do: what the kept board is tried by."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import cast

from fwctl.manifests.models.policy import Freeze
from fwctl.manifests.table import Profile
from fwctl.rollouts import switching
from fwctl.rollouts.actions import Finish
from fwctl.rollouts.late import late_waves
from fwctl.rollouts.plan import Plan, Wave
from fwctl.rollouts.rails.rules import FreezeOf
from fwctl.rollouts.releases import release_of
from fwctl.rollouts.view import (
    Control,
    ControlWord,
    DeviceView,
    Failure,
    OpenOrder,
    OrderState,
    RolloutView,
    WaveView,
    WaveWord,
)
from fwctl_agent.protocol.statements import FAILURE_CLASSES, FailureClass
from tests.unit.rollouts import stops_world
from tests.unit.rollouts.fleets import NOW, plan_of

STRATEGIES = (
    "strategy: {type: Direct}",
    "strategy: {type: Direct, soak: 2m}",
    "strategy: {type: Canary, initialPercentage: 10, increments: [30, 50, 100], soak: 5m}",
    "strategy: {type: Canary, initialPercentage: 20, increments: [60, 100], soak: 1m, approvalBefore: [wave-2]}",
    "strategy: {type: Rolling, batchSize: 3, maxUnavailable: 2, soak: 20s}",
    "strategy: {type: Rolling, batchSize: 2, maxUnavailable: 1}",
    "strategy: {type: Regional, regions: [{name: eu}, {name: us}], inner: {type: Rolling, batchSize: 2, soak: 5s}}",
    "strategy: {type: Regional, regions: [{name: eu}, {name: us}], order: Parallel, soak: 1m, "
    "inner: {type: Canary, initialPercentage: 30, increments: [60, 100], soak: 20s}, approvalBefore: [us/wave-2]}",
    "strategy: {type: Regional, regions: [{name: us}, {name: eu, window: {deny: [{cron: '0 */3 * * *', duration: 1h}]}"
    ", strategy: {type: Rolling, batchSize: 2, maxUnavailable: 1, soak: 0s}}], order: Parallel, soak: 0s, "
    "inner: {type: Direct}}",
    "strategy: {type: BlueGreen, switch: Automatic, soak: 0s, retain: 5m}",
    "strategy: {type: BlueGreen, switch: Automatic, soak: 1m, retain: 0s}",
    "strategy: {type: BlueGreen, switch: Manual, soak: 20s, retain: 1h}",
)
REGIONS = ("eu", "us", "eu")
GATES = (
    "gates: {maxFailureRate: {percent: 2}}",
    "gates: {maxFailureRate: {percent: 60}, minReached: {percent: 10}, timeoutPerDevice: 5m}",
    "gates: {maxFailureRate: {percent: 100}, minReached: {percent: 0}, timeoutPerDevice: 30m}",
)
LIMITS = (
    "maxPerMinute: 12",
    "ramp: {basePerMinute: 2, increaseEvery: {reached: 2}}",
    "jitter: 90s",
    "disruption: {groupBy: [site], maxUnavailable: 1}",
    "bytesPerMinutePerSite: 24B",
)
SITES = ("a", "a", "b", "")
SPANS = (0, 1, 5, 20, 60, 300, 3600, 7200)


def at(site: str) -> Profile:
    return AT[site]


ZONES = {"a": "Europe/Berlin", "b": None, "": "America/New_York"}
AT = {site: Profile("sensor-v1", "rev-a", "dev", site=site or None, time_zone=ZONES[site]) for site in SITES}
JOIN = "lateJoiners: {max: 5}"
VERSIONS = stops_world.fleet(
    v1_0={"data": {"writes": 1, "reads": [1]}},
    v2_0={"stop": True, "requiresFrom": {"atLeast": "1.0"}, "image": {"digest": "sha256:" + "2" * 64, "length": 25}},
    v2_5={"requiresFrom": {"atLeast": "2.0"}, "data": {"writes": 2, "reads": [1, 2]}},
)
OLD, STOP, TARGET = (release_of(VERSIONS[version]) for version in ("1.0", "2.0", "2.5"))
FREEZES = tuple(
    FreezeOf(policy, Freeze.model_validate({"from": f"2026-11-2{begin}Z", "until": f"2026-11-2{end}Z"}))
    for policy, begin, end in (
        ("short", "3T12:01:00", "3T12:10:00"),
        ("noon", "3T12:00:00", "3T12:00:20"),
        ("later", "3T13:00:00", "3T16:00:00"),
        ("days", "3T18:00:00", "5T00:00:00"),
        ("over", "0T00:00:00", "1T00:00:00"),
    )
)
WINDOW = 'window: {allow: [{cron: "30 */2 * * *", duration: 45m, timeZone: device}]}'


@dataclass
class History:
    """A rollout to which anything happens, also what no fleet would do."""

    chance: random.Random
    plan: Plan = field(init=False)
    everybody: tuple[str, ...] = ()
    now: datetime = NOW
    view: RolloutView = field(init=False)
    devices: dict[str, DeviceView] = field(default_factory=dict)

    def __post_init__(self) -> None:
        one = self.chance
        some = [limit for limit in LIMITS if one.random() < 0.3]
        limits = f"limits: {{{', '.join([f'maxConcurrent: {one.choice([1, 2, 4, 50])}', *some])}}}"
        back = f"maxConcurrent: {one.choice([1, 3])}, automatic: {one.choice(['true', 'false'])}"
        back = f"rollback: {{{back}, scope: {one.choice(['rollout', 'wave'])}}}"
        spec = [one.choice(STRATEGIES), one.choice(GATES), limits, back, "preconditions: {readiness: {maxDefer: 10m}}"]
        spec += [line for line in (WINDOW, JOIN) if one.random() < 0.25]
        plan = plan_of([f"d{number:02}" for number in range(one.randint(1, 14))], spec, REGIONS)
        if plan.spec.late_joiners is not None:
            plan = replace(plan, late=late_waves(plan.spec, ["late-1", "late-2", "late-3"], plan.waves, plan.key))
        if one.random() < 0.4:
            barriers = frozenset({STOP.digest})
            plan = replace(plan, release=TARGET, stops=(STOP,), barriers=barriers, family=(OLD, STOP, TARGET))
        self.everybody = tuple(plan.wave_of)
        dropped = tuple(device for device in self.everybody if one.random() < 0.1)
        sites = dict(zip(self.everybody, one.choices(SITES, k=len(self.everybody)), strict=True))
        self.plan = replace(
            plan, dropped=dropped, confirm_within=600, profile=lambda device: at(sites.get(device, "a"))
        )
        freezes = tuple(freeze for freeze in FREEZES if one.random() < 0.15)
        self.view = RolloutView(approved_stage=1, devices=self.devices, freezes=freezes)
        if one.random() < 0.8:
            self.view = replace(self.view, waves={wave.name: WaveView("open") for wave in self.plan.waves[:1]})

    def step(self) -> set[str]:
        """Let something happen; return the devices to which it did."""
        moves = [self.change] * 6 + [self.visit] * 3 + [self.move, self.govern]
        changed: set[str] = set()
        for _ in range(self.chance.randint(0, 4)):
            changed |= self.chance.choice(moves)()
        back = self.chance.random() < 0.03
        self.now += timedelta(seconds=-7200 if back else self.chance.choice(SPANS))
        return changed

    def change(self) -> set[str]:
        device = self.chance.choice(self.everybody)
        if self.chance.random() < 0.05:
            self.devices.pop(device, None)
        else:
            self.devices[device] = self.device(device)
        return {device}

    def visit(self) -> set[str]:
        device = self.chance.choice(self.everybody)
        self.view = replace(self.view, visiting=self.view.visiting ^ {device})
        return set()

    def move(self) -> set[str]:
        waves = dict(self.view.waves)
        word = cast(WaveWord, self.chance.choice(["open", "soaking", "passed", "passed", "passed", "failed"]))
        wave = self.chance.choice([self.current(track) for track in self.plan.tracks.values()])
        before = waves[wave.name].state if wave.name in waves else "open"
        # Nobody switches again after the soak has begun: the ledger's waves only go forward.
        if wave.activation == "hold" and before not in ("soaking", "passed") and self.chance.random() < 0.4:
            word = "switching"
        since = self.around() if word in ("soaking", "passed") else None
        judged = self.around() if word in ("passed", "failed") else None
        opened = waves[wave.name].opened_at if wave.name in waves else self.around()
        waves[wave.name] = WaveView(word, "why", since, opened, judged)
        self.view = replace(self.view, waves=waves)
        return set()

    def current(self, track: Sequence[Wave]) -> Wave:
        """Return the first wave of a track that has not passed, or else its first wave."""
        waves = self.view.waves
        return next((one for one in track if getattr(waves.get(one.name), "state", "") != "passed"), track[0])

    def govern(self) -> set[str]:
        one = self.chance
        words = ["stop", "approve", "back", "control", "finish", "elsewhere", "freeze", "forth", "forth"]
        match one.choice(words):
            case "stop":
                self.view = replace(self.view, stopped=one.choice(["", "held: look"]))
            case "approve":
                self.view = replace(
                    self.view, approved_stage=one.choice([0, 1, 2]), not_approved=one.choice(["", "no"])
                )
            case "back":
                self.view = replace(self.view, back_since=one.choice([None, self.now]), back_keeps=one.random() < 0.5)
            case "control":
                state = cast(ControlWord, one.choice(["running", "running", "paused", "aborted", "rolled-back"]))
                first = self.plan.waves[0].name
                promoted = frozenset(word for word in (first, *switching.words(self.plan)) if one.random() < 0.4)
                control = Control(state, "why", "alice", one.random() < 0.3, promoted)
                self.view = replace(self.view, control=one.choice([None, control]))
            case "elsewhere":
                others = [*self.everybody, "x1", "x2"]
                down = frozenset(one.sample(others, one.randint(0, 2)))
                self.view = replace(self.view, down_elsewhere=down)
            case "freeze":
                self.view = replace(self.view, freezes=tuple(freeze for freeze in FREEZES if one.random() < 0.15))
            case "finish":
                self.view = replace(self.view, finished=one.choice([None, Finish("complete", "1 of 1 reached")]))
            case _:
                self.view = replace(self.view, stopped="", control=None, back_since=None, approved_stage=2)
        return set()

    def around(self) -> datetime:
        return self.now + timedelta(seconds=self.chance.choice([-1, 1, -1]) * self.chance.choice(SPANS))

    def maybe(self, share: float = 0.3) -> datetime | None:
        return self.around() if self.chance.random() < share else None

    def device(self, device: str) -> DeviceView:
        one = self.chance
        attempts = one.randint(0, 4)
        holds = self.plan.wave_of[device].activation == "hold"
        states = ["sent", "accepted", "running", *(["staged", "staged", "staged", "switching"] if holds else [])]
        state = cast(OrderState, one.choice(states))
        order = OpenOrder(f"{device}-{attempts}", attempts, state, self.around(), state != "sent")
        under_way = one.choice([None, order] if holds else [None, None, order])
        chain = self.plan.chain
        # Refusals stop everything, so they are rare here.
        klass: FailureClass = one.choice([name for name in FAILURE_CLASSES if name != "refused" or one.random() < 0.1])
        silent = self.maybe(0.3)
        return DeviceView(
            id=device,
            observed_at=self.maybe(0.8),
            running=one.choice([None, "old", *chain, chain[-1]]),
            version=one.choice(["", "0.5", "1.0", "2.0", self.plan.release.version]),
            by_mandate=one.random() < 0.5,
            spent=one.random() < 0.1,
            quarantined=one.choice([None] * 6 + ["it smokes"]),
            forgiven=one.choice([None, None, None, attempts]),
            attempts=attempts,
            order=under_way,
            staged=under_way is not None and state == "staged" and one.random() < 0.9,
            install=one.choice([None, order.id]),
            ordered=one.choice([None, *chain]),
            passed=tuple(digest for digest in chain if one.random() < 0.2),
            passed_attempt=one.choice([0, 0, attempts]),
            taken=one.choice([None, order.id]),
            standby=one.choice([None, OLD.image, STOP.image]),
            started_at=self.maybe(0.5),
            failure=Failure(attempts, klass, "E_X", self.around()) if one.random() < 0.3 else None,
            confirmed=one.random() < 0.3,
            back=one.choice([None, None, None, order]),
            taken_back=one.random() < 0.2,
            back_refused=one.choice([None] * 5 + ["E_FLOOR"]),
            deferred_since=self.maybe(0.2),
            unreachable_since=silent,
            misses=2 if silent else 0,
            due_at=self.maybe(0.4),
            back_due_at=self.maybe(0.4),
        )
