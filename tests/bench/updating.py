"""The modes that update a fleet: one rollout, from its first order to the last recorded confirmation."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from math import ceil
from pathlib import Path
from typing import Any

from tests.bench import ledger
from tests.bench.process import BenchError, Process, Used
from tests.bench.results import Cost, Result
from tests.bench.tap import Conversation, tapped
from tests.bench.yard import AFTER, BEFORE, Fleet, free_port, name_of

_OPEN = ("in-flight", "retry", "pending", "held")
"""standings that a later pass changes"""
_LONGEST = 7200.0


@dataclass(frozen=True)
class Running:
    """A simulator that serves the fleet, and the shortcuts that it says it takes."""

    process: Process
    shortcuts: str
    faults: tuple[str, ...]


@dataclass(frozen=True)
class Passes:
    """All passes until nothing moves any more."""

    seconds: float
    used: tuple[Used, ...]
    counts: Mapping[str, int]
    state: str
    commits: int
    visits: int


@contextmanager
def simulator(
    fleet: Fleet, *, boot_delay: float = 0.0, faults: Path | None = None, port: int | None = None
) -> Iterator[Running]:
    """Serve the fleet's devices from one process, at the fleet's port or another."""
    words = ["simulate", "--devices", str(fleet.size.devices), "--enrolled", str(fleet.enrolled)]
    words += ["--listen-port", str(port or fleet.port), *shortcut_options(fleet)]
    words += ["--boot-delay", str(boot_delay)] if boot_delay else []
    words += ["--faults", str(faults)] if faults else []
    with fleet.process("simulate", "fwctl_agent", *words, every=0.5) as process:
        patience = 30 + fleet.size.devices / 200
        ready = process.says(r"listening on \S+ \(shortcuts: (.*)\)\n", seconds=patience)
        if faults:  # dealt out after the start is told, and told at once
            process.says(r"\nfwctl-agent: seed ", seconds=patience)
        time.sleep(0.3)
        said = process.says(r"listening on [^\0]*", seconds=patience)[0]
        more = tuple(re.findall(r"^fwctl-agent: (.*)$", said.partition("\n")[2], re.M))
        yield Running(process, ready[1], more)


def shortcut_options(fleet: Fleet) -> list[str]:
    """Return the options for density that this simulator has."""
    with fleet.process("help", "fwctl_agent", "simulate", "--help") as process:
        said = process.wait().out
    return [option for option in ("--memory", "--shared-verification") if option in said]


def reconcile(fleet: Fleet, *, codes: tuple[int, ...] = (0,), faulty: bool = False) -> Passes:
    """Run `fwctl reconcile --once` until every device has come to rest, or cannot be reached.

    Raises:
        BenchError: a pass failed, or it takes for ever.
    """
    begun, commits, visits = time.monotonic(), 0, 0
    used: list[Used] = []
    # A device that is gone is asked again and again: with faults a pass ends when the others have had their time.
    longest = max(30.0, fleet.size.devices / 100) if faulty else _LONGEST
    words = ["reconcile", "--once", "--format", "json", "--max-duration", str(int(longest))]
    while True:
        with fleet.process("reconcile", "fwctl", *words, probe=ledger.commits(fleet.ledger)) as process:
            one = process.wait()
        if one.code not in codes:
            raise BenchError(f"a pass exits {one.code}: {one.out[-500:]} {process.errors()}")
        used.append(one)
        commits += max((sample.probe for sample in one.samples), default=0)
        report = json.loads(one.out)
        visits += report["visits"]
        rollout = report["rollouts"][0]
        still = sum(rollout["counts"].get(state, 0) for state in _OPEN)
        gone = faulty and still <= ledger.unreachable(fleet.ledger)
        if not still or gone or rollout["state"] in ("complete", "rolled-back"):
            seconds = time.monotonic() - begun
            return Passes(seconds, tuple(used), rollout["counts"], rollout["state"], commits, visits)
        if time.monotonic() - begun > _LONGEST:
            raise BenchError(f"after {_LONGEST:.0f} s there is still something to do: {rollout}")
        time.sleep(min(30.0, _until(rollout["nextDue"] or report["finished"])))


def _until(due: str) -> float:
    return max(0.2, (datetime.fromisoformat(due) - datetime.now(UTC)).total_seconds())


def overheard(fleet: Fleet, *, boot_delay: float = 0.0) -> Conversation:
    """Return what is said with one device, heard at a small fleet."""
    port = free_port()
    with simulator(fleet, boot_delay=boot_delay, port=port), tapped(fleet, port) as tap:
        reconcile(fleet)
    return Conversation.of(tap.lines)


def updated(fleet: Fleet, mode: str, running: Running, *, faulty: bool) -> Result:
    """Measure an update of the whole fleet, and account for every device."""
    before = running.process.now()
    passes = reconcile(fleet, codes=(0, 1) if faulty else (0,), faulty=faulty)
    account = ledger.account(fleet.ledger, everyone(fleet), AFTER)
    return _result(fleet, mode, running, before, passes, account, wanted=None if faulty else "confirmed")


def held(fleet: Fleet) -> None:
    """Make the rollout of the whole fleet a BlueGreen one that waits for a person's word, and approve it."""
    (path,) = fleet.repo.glob("rollouts/*/all.yaml")
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith(("strategy:", "limits:"))]
    lines += ["  strategy: {type: BlueGreen, switch: Manual, soak: 0s, retain: 24h}"]  # longer than a pass may take
    lines += [f"  limits: {{maxConcurrent: {max(1000, fleet.size.devices)}, maxPerMinute: 10000000}}"]
    path.write_text("\n".join(lines) + "\n")
    fleet.fwctl("plan", "all", "--lock")
    fleet.git("add", "-A")
    fleet.git("commit", "-qm", "Blue and green")
    fleet.fwctl("approve", "all", "--yes")


def switched(fleet: Fleet, running: Running, *, faulty: bool) -> Result:
    """Measure the switch of a fleet that has staged everything: from the first intent to the last confirmation."""
    fleet.fwctl("promote", "all", "--reason", "the benchmark wants it")
    result = updated(fleet, "blue-green", running, faulty=faulty)
    begun = ledger.times(fleet.ledger, "order.switching")[0][1]
    last = max(ledger.outcomes(fleet.ledger, "confirmed"))
    told = {"how": "switch", "switched within": f"{(last - begun).total_seconds():.0f} s"}
    return replace(result, details={**result.details, **told}, notes=("switched",))


def rolled_back(fleet: Fleet, running: Running) -> Result:
    """Measure how all devices of an updated fleet go back on a person's word, which a failed gate's equals."""
    fleet.fwctl("rollback", "all", "--reason", "the benchmark wants it", "--confirm", "all")
    before = running.process.now()
    passes = reconcile(fleet, codes=(0, 1))
    account = ledger.account(fleet.ledger, everyone(fleet), BEFORE)
    result = _result(fleet, "rollback", running, before, passes, account, wanted="reverted")
    return replace(result, details={**result.details, **_way_back(fleet)})


def _way_back(fleet: Fleet) -> dict[str, str]:
    """Return seconds from the recorded decision to the recorded reverts; the ledger counts whole seconds."""
    begun = ledger.times(fleet.ledger, "rollout.rolling-back")[-1][1]
    taken = sorted((at - begun).total_seconds() for at in ledger.outcomes(fleet.ledger, "reverted"))
    if not taken:
        return {"back": "nobody"}
    at = {"p50": 0.5, "p95": 0.95, "last": 1.0}
    return {f"back {name}": f"{taken[ceil(share * len(taken)) - 1]:.0f} s" for name, share in at.items()}


def everyone(fleet: Fleet) -> frozenset[str]:
    return frozenset(name_of(number) for number in range(fleet.size.devices))


def _result(
    fleet: Fleet,
    mode: str,
    running: Running,
    before: Used,
    passes: Passes,
    account: ledger.Account,
    *,
    wanted: str | None,
) -> Result:
    count = fleet.size.devices
    return Result(
        mode,
        count,
        round(passes.seconds, 2),
        {
            "reconciler": Cost.of(summed(passes.used), count),
            "simulator": Cost.of(running.process.now(), count, since=before),
        },
        per_minute=round(count / passes.seconds * 60),
        shortcuts=running.shortcuts,
        ledger=_written(fleet, ledger.rows(fleet.ledger), passes),
        accounts=account.by_result,
        faults=running.faults,
        problems=_problems(account, count, passes, wanted),
        details={"passes": len(passes.used), "visits": passes.visits, "state": passes.state, "counts": passes.counts},
    )


def summed(used: tuple[Used, ...]) -> Used:
    """Return what several processes used one after the other; the peak is that of the greatest."""
    at = 0.0
    samples = []
    for one in used:
        samples += [type(sample)(sample.at + at, *list(vars(sample).values())[1:]) for sample in one.samples]
        at += one.seconds
    peak, written = max(one.peak for one in used), sum(one.written for one in used)
    return Used(at, sum(one.cpu for one in used), peak, written, tuple(samples))


def _written(fleet: Fleet, rows: Mapping[str, int], passes: Passes) -> dict[str, Any]:
    count = fleet.size.devices
    return {
        "bytesPerDevice": round(ledger.size(fleet.ledger) / count),
        "rowsPerDevice": {table: round(number / count, 3) for table, number in rows.items()},
        "commits": passes.commits,
        "commitsPerDevice": round(passes.commits / count, 4),
    }


def _problems(account: ledger.Account, count: int, passes: Passes, wanted: str | None) -> tuple[str, ...]:
    """Say what must not be: a device of which nothing is known, counts that differ, a failure without a cause."""
    found, results, counts = [], account.by_result, dict(passes.counts)
    if account.unknown:
        found.append(f"nothing is known of {len(account.unknown)} devices, the first is {account.unknown[0]}")
    if sum(results.values()) + len(account.unknown) != count:
        found.append(f"the ledger's results do not add up to {count}: {results}")
    if sum(counts.values()) != count:
        found.append(f"the pass's counts do not add up to {count}: {counts}")
    if wanted != "reverted" and results.get("confirmed", 0) != counts.get("reached", 0):
        found.append(f"the ledger and the pass differ: {results}, {counts}")
    if wanted is not None and results.get(wanted, 0) != count:
        found.append(f"not all are {wanted} although nothing was broken: {results}")
    return tuple(found)
