"""A simulated fleet with a canary rollout, and with devices that a file of faults makes bad."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tests.support.world import MODEL, Process, Ran, World, firmware

GOOD, BAD = "2.5.0", "2.6.0"
ROLLOUT = """\
apiVersion: fwctl/v1
kind: Rollout
metadata: {{name: {name}}}
spec:
  firmware: {{model: {model}, version: "{version}"}}
  targets: {targets}
  strategy: {strategy}
"""
CANARY = "{type: Canary, initialPercentage: 10, increments: [50, 100], soak: 2s}"


class CanaryWorld:
    """Simulated devices, all on 2.5.0 if told so, and a rollout whose strategy the test says."""

    def __init__(self, world: World, count: int, *, timeout: str = "2s", attempts: int = 2) -> None:
        self.world = world
        world.init(timeout=timeout, attempts=attempts)
        world.enroll_simulated(count)

    def simulate(self, *faults: Mapping[str, Any], seed: int = 1, options: tuple[str, ...] = ("--memory",)) -> Process:
        """Run the simulator with these faults."""
        if not faults:
            return self.world.simulator(*options)
        file = self.world.folder / "faults.json"
        file.write_text(json.dumps({"seed": seed, "faults": list(faults)}))
        return self.world.simulator(*options, "--faults", str(file))

    def write(
        self,
        version: str,
        *,
        name: str = "sensors",
        strategy: str = CANARY,
        targets: str = "{all: true}",
        more: str = "",
    ) -> None:
        """Write a rollout's manifest and lock; `more` are further lines of its spec."""
        world = self.world
        path = world.repo / "rollouts" / "dev" / f"{name}.yaml"
        world.add_firmware(firmware(version), version)
        path.parent.mkdir(parents=True, exist_ok=True)
        text = ROLLOUT.format(name=name, model=MODEL, version=version, strategy=strategy, targets=targets)
        path.write_text(text + "".join(f"  {line}\n" for line in more.splitlines()))
        world.fwctl("plan", name, "--lock")

    def release(self, version: str, *, strategy: str = CANARY, more: str = "", approve: bool = True) -> None:
        """Make `version` what the rollout wants, and approve it."""
        self.write(version, strategy=strategy, more=more)
        self.world.commit(f"Release {version}")
        if approve:
            self.world.fwctl("approve", "sensors", "--yes")

    def settled(self, version: str = GOOD) -> None:
        """Bring everybody to a good version first."""
        self.release(version, strategy="{type: Direct}")
        ran = self.world.once(duration=60)
        ended(ran, 0)
        assert self.state() == "complete", ran.text

    # -- questions ----------------------------------------------------------------------------------------------------

    def versions(self) -> dict[str, int]:
        """Return how many devices run which version, as they said last."""
        found: dict[str, int] = {}
        with self.world.ledger() as ledger:
            for row in ledger.devices():
                found[row.running_version] = found.get(row.running_version, 0) + 1
        return found

    def running(self, device: str) -> str:
        with self.world.ledger() as ledger:
            return ledger.devices([device])[0].running_version

    def state(self) -> str:
        with self.world.ledger() as ledger:
            (row,) = ledger.rollouts()
            return str(row.state)

    def reason(self) -> str:
        with self.world.ledger() as ledger:
            (row,) = ledger.rollouts()
            return f"{row.rule}: {row.reason}"

    def waves(self) -> dict[str, str]:
        with self.world.ledger() as ledger:
            (row,) = ledger.rollouts()
            return {wave.wave: str(wave.state) for wave in ledger.waves(row.key, row.mandate)}

    def touched(self) -> set[str]:
        """Return who was ever ordered to install what the rollout wants now."""
        with self.world.ledger() as ledger:
            (row,) = ledger.rollouts()
            return {order.device for order in ledger.orders(mandate=row.mandate) if order.verb == "install"}

    def attempts(self, device: str) -> list[tuple[int, str]]:
        """Return the attempts of a device under the mandate of now, with the class of their failure."""
        with self.world.ledger() as ledger:
            (row,) = ledger.rollouts()
            orders = ledger.orders(mandate=row.mandate, device=device)
            return [(order.attempt, order.failure_class) for order in orders if order.verb == "install"]

    def quarantined(self) -> set[str]:
        with self.world.ledger() as ledger:
            assert ledger.verify_chain() is None
            return {row.device for row in ledger.quarantine()}


def ended(ran: Ran, code: int) -> None:
    assert ran.code == code, ran.text
