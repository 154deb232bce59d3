"""Every mode by its name, in sessions: modes that can share an updated fleet do."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from pathlib import Path

from tests.bench.bare import compare
from tests.bench.faults import write_faults
from tests.bench.process import Used
from tests.bench.results import Cost, Result
from tests.bench.updating import held, overheard, reconcile, rolled_back, simulator, switched, updated
from tests.bench.yard import Fleet, Size, prepare

MODES = ("plan", "validate", "hot", "idle", "status", "rollback", "reboot", "blue-green")
_FEW = 8
"""devices of the fleet whose conversations are overheard"""
Tell = Callable[[str], None]


def measure(fleet: Fleet, options: Namespace, wanted: Collection[str], tell: Tell) -> Iterator[Result]:
    """Yield the result of each mode that is wanted."""
    if {"plan", "validate"} & set(wanted):
        with fleet.copied("planning") as own:
            yield from _wanted(_planning(own, tell), wanted)
    if {"hot", "idle", "status", "rollback"} & set(wanted):
        with fleet.copied("hot") as own:
            yield from _wanted(_hot(own, options, wanted, tell), wanted)
    if "blue-green" in wanted:
        with fleet.copied("blue-green") as own:
            yield from _blue_green(own, options, tell)
    if "reboot" in wanted:
        with fleet.copied("reboot") as own:
            yield _reboot(own, options, tell)


def _wanted(results: Iterator[Result], wanted: Collection[str]) -> Iterator[Result]:
    return (result for result in results if result.mode in wanted)


def _planning(fleet: Fleet, tell: Tell) -> Iterator[Result]:
    tell("plan, validate")
    for part in fleet.state.glob("cache.db*"):
        part.unlink()
    for how in ("cold", "warm"):
        yield _command(fleet, "plan", how, "plan", "all", "--lock")
    fleet.git("add", "-A")
    moved = fleet.repo / "devices" / "all.csv"
    moved.write_text(moved.read_text().replace("127.1.0.1:", "127.250.0.1:"))
    (fleet.repo / "groups").mkdir(exist_ok=True)
    (fleet.repo / "groups" / "few.yaml").write_text(_GROUP)
    yield _command(fleet, "validate", "a device moved", "validate")
    yield _command(fleet, "validate", "again, nothing changed since", "validate")


_GROUP = """\
apiVersion: fwctl/v1
kind: DeviceGroup
metadata: {name: few}
spec:
  devices: [d000000]
"""


def _hot(fleet: Fleet, options: Namespace, wanted: Collection[str], tell: Tell) -> Iterator[Result]:
    """Update the fleet; look at it; let a pass find nothing to do; take it all back."""
    faults = _faults(fleet, options)
    tell("hot: Direct, no reboot")
    with simulator(fleet, faults=faults) as running:
        result = updated(fleet, "hot", running, faulty=faults is not None)
        if "idle" in wanted:
            yield _idle(fleet)
        if "status" in wanted:
            for words in (("status",), ("device", "list", "--limit", "100"), ("events", "--for", "d000000")):
                yield _command(fleet, "status", " ".join(words), *words)
        if "rollback" in wanted:
            tell("rollback")
            yield rolled_back(fleet, running)
    if "hot" in wanted:
        yield _beside_bare(fleet, options, result, tell)


def _blue_green(fleet: Fleet, options: Namespace, tell: Tell) -> Iterator[Result]:
    """Stage everywhere; switch everybody in one burst; switch everybody back. Nothing is downloaded after staging."""
    faults = _faults(fleet, options)
    tell("blue-green: stage, switch, switch back")
    held(fleet)
    with simulator(fleet, faults=faults) as running:
        reconcile(fleet, codes=(0, 1), faulty=faults is not None)
        yield switched(fleet, running, faulty=faults is not None)
        back = rolled_back(fleet, running)
        yield replace(back, mode="blue-green", notes=("switched back",), details={**back.details, "how": "back"})


def _reboot(fleet: Fleet, options: Namespace, tell: Tell) -> Result:
    """Direct, and each device goes away and comes back."""
    delay, faults = options.boot_delay, _faults(fleet, options)
    tell(f"reboot: Direct, each device is away for {delay:g} s")
    with simulator(fleet, boot_delay=delay, faults=faults) as running:
        found = updated(fleet, "reboot", running, faulty=faults is not None)
    found = replace(found, notes=(f"a reboot takes {delay:g} s",))
    return _beside_bare(fleet, options, found, tell, boot_delay=delay)


def _beside_bare(fleet: Fleet, options: Namespace, result: Result, tell: Tell, *, boot_delay: float = 0.0) -> Result:
    """Hear what is said with a device, and measure the bare exchange of the same shape."""
    tell("the bare exchange")
    few = prepare(fleet.folder.parent / f"tap-{fleet.size.image}", Size(_FEW, fleet.size.image), lambda _: None)
    with few.copied(result.mode) as own:
        talk = overheard(own, boot_delay=boot_delay)
    rates = compare(fleet, talk, min(fleet.size.devices, options.bare_devices))
    assert result.per_minute is not None
    spent = sum(cost.cpu_ms_per_device for cost in result.processes.values())
    for rate in rates.values():
        bare = rate["clientCpuMsPerDevice"] + rate["serverCpuMsPerDevice"]
        rate |= {"ratio": round(result.per_minute / rate["perMinute"], 3), "cpuRatio": round(bare / spent, 3)}
    said = {
        "connections": round(talk.mean_connections, 2),
        "requests": round(talk.mean_requests, 2),
        "what": ", ".join(talk.asked),
        "bytes": [list(turns) for turns in talk.connections],
        "resumed": talk.resumed,
    }
    return replace(result, bare=rates, conversation=said)


def _idle(fleet: Fleet) -> Result:
    used = fleet.fwctl("reconcile", "--once", "--format", "json", codes=(0, 1))
    visits = json.loads(used.out)["visits"]
    problems = (f"an idle pass contacts {visits} devices",) if visits else ()
    return replace(_result("idle", fleet, used), problems=problems)


def _command(fleet: Fleet, mode: str, how: str, *words: str) -> Result:
    return replace(_result(mode, fleet, fleet.fwctl(*words)), details={"how": how})


def _result(mode: str, fleet: Fleet, used: Used) -> Result:
    count = fleet.size.devices
    return Result(mode, count, round(used.seconds, 3), {"fwctl": Cost.of(used, count)})


def _faults(fleet: Fleet, options: Namespace) -> Path | None:
    return write_faults(fleet.folder / fleet.run / "faults.toml", options.faults) if options.faults else None
