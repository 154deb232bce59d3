"""Run each strategy for real, on simulated devices over mutual TLS, and keep the timelines for the how-to pages.

`make pictures` writes `docs/how-to/pictures/<name>.svg`. A picture is of one real run: another run has other seconds.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.canary import BAD, CanaryWorld
from tests.support.world import World

FOLDER = Path(__file__).parent / "how-to" / "pictures"
DEVICES = 200
REGIONS = ("eu", "us", "ap")


@dataclass(frozen=True)
class Scene:
    """One run: a strategy, what goes wrong, and how it must end, so that no picture tells another story."""

    strategy: str
    ends: str
    more: str = ""
    faults: tuple[Mapping[str, Any], ...] = ()
    after: tuple[Sequence[str], ...] = field(default=())
    """commands after the first pass, each followed by another pass"""


ILL = ({"kind": "unhealthy", "share": 0.2, "versions": [BAD]},)
SCENES: Mapping[str, Scene] = {
    "direct": Scene("{type: Direct, soak: 8s}", "complete"),
    "rolling": Scene("{type: Rolling, batchSize: 25%, soak: 4s}", "complete"),
    "canary": Scene("{type: Canary, initialPercentage: 5, increments: [25, 50, 100], soak: 6s}", "complete"),
    "canary-rollback": Scene(
        "{type: Canary, initialPercentage: 20, increments: [50, 100], soak: 15s}",
        "rolled-back",
        faults=({"kind": "unhealthy", "share": 0.15, "late": 6, "versions": [BAD]},),
    ),
    "ramp": Scene(
        "{type: Direct, soak: 4s}",
        "complete",
        "limits: {ramp: {basePerMinute: 120, factor: 2, increaseEvery: {reached: 20}}, maxPerMinute: 2000}",
    ),
    "regional": Scene(
        "{type: Regional, regions: [{name: eu}, {name: us}, {name: ap}],"
        " inner: {type: Canary, initialPercentage: 10, increments: [100], soak: 3s}, soak: 5s}",
        "complete",
    ),
    "regional-parallel": Scene(
        "{type: Regional, order: Parallel, regions: [{name: eu}, {name: us}, {name: ap}],"
        " inner: {type: Canary, initialPercentage: 10, increments: [50, 100], soak: 4s}, soak: 6s}",
        "complete",
    ),
    "blue-green": Scene("{type: BlueGreen, soak: 8s, retain: 5s}", "complete"),
    "blue-green-back": Scene(
        "{type: BlueGreen, soak: 6s, retain: 1h}",
        "rolled-back",
        after=(("rollback", "sensors", "--reason", "the new firmware is too chatty", "--confirm", "sensors"),),
    ),
}


def main(names: Sequence[str]) -> int:
    """Draw the pictures of these scenes, or of all; return 1 if one did not end as it must."""
    FOLDER.mkdir(exist_ok=True)
    wrong = 0
    for name in names or SCENES:
        with tempfile.TemporaryDirectory() as folder, World(Path(folder)) as world:
            found = draw(world, name, SCENES[name])
        sys.stderr.write(f"{name}: {found}\n")
        wrong += found != SCENES[name].ends
    return int(bool(wrong))


def draw(world: World, name: str, scene: Scene) -> str:
    """Run one scene, write its picture, and return how the rollout ended."""
    fleet = CanaryWorld(world, DEVICES, timeout="1m")
    _spread(world)
    fleet.simulate(*scene.faults, options=("--memory", "--shared-verification", "--boot-delay", "1.5"), seed=7)
    fleet.settled()
    fleet.release(BAD, strategy=scene.strategy, more=scene.more)
    world.once(duration=90)
    for command in scene.after:
        world.run(*command)
        world.once(duration=60)
    state = fleet.state()
    drawn = world.fwctl("rollout", "report", "sensors", "--format", "svg")
    if state == scene.ends:
        (FOLDER / f"{name}.svg").write_text(drawn.out)
    return state


def _spread(world: World) -> None:
    """Give every third device another region, so that each has some of its own."""
    path = world.repo / "devices" / "simulated.yaml"
    number = iter(range(DEVICES))
    text = re.sub(r"env: dev", lambda _: f"env: dev, region: {REGIONS[next(number) % len(REGIONS)]}", path.read_text())
    path.write_text(text)
    world.commit("Regions")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
