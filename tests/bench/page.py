"""`python -m tests.bench.page`: write the records in `docs/performance/` into `docs/performance.md` and its plots.

No figure of the page is typed by hand; a test compares.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from docs.generator import ROOT
from docs.generator.text import cell, replace_block
from tests.bench.plot import chart

_FOLDER = ROOT / "docs" / "performance"
_PAGE = "docs/performance.md"
Run = dict[str, Any]


@dataclass(frozen=True)
class Target:
    """What was set out to reach: the run that shows it, its figure, and whether that is enough."""

    what: str
    aim: str
    mode: str
    devices: int
    """the size that the target is about"""
    figure: Callable[[Run], str]
    met: Callable[[Run], bool]
    how: str = ""
    faulty: bool = False
    """a run with faults shows it too; it waits for devices that are gone, so it shows no rate"""


def _rate(run: Run) -> str:
    bare = (run["bare"] or {}).get("a context per device")
    return f"{run['per_minute']:,}/min" + (f", {bare['ratio']:.0%} of the bare exchange" if bare else "")


def _fast(floor: int) -> Callable[[Run], bool]:
    return lambda run: bool(run["per_minute"] >= floor)


def _within(seconds: float, mib: float = 1e9) -> Callable[[Run], bool]:
    return lambda run: bool(run["seconds"] <= seconds and _peak(run) <= mib)


def _peak(run: Run) -> float:
    return float(max(cost["peak_mib"] for name, cost in run["processes"].items() if name != "simulator"))


def _time(run: Run) -> str:
    return f"{run['seconds']:,.2f} s, {_peak(run):,.0f} MiB"


def _back(run: Run) -> str:
    return f"{run['details'].get('back last', '?')} (half after {run['details'].get('back p50', '?')})"


def _accounted(run: Run) -> str:
    lost = "nothing lost" if not run["problems"] else "; ".join(run["problems"])
    return f"{lost}: " + ", ".join(f"{number:,} {result}" for result, number in run["accounts"].items())


TARGETS = (
    Target("Direct, no reboot", "10,000/min, aim 20,000 and 50 %", "hot", 10_000, _rate, _fast(10_000)),
    Target("Direct, with a reboot", "6,000/min, aim 12,000 and 50 %", "reboot", 10_000, _rate, _fast(6_000)),
    Target(
        "rollback of 10,000", "60 s from decision to last revert", "rollback", 10_000, _back,
        lambda run: float(run["details"].get("back last", "9999 s").split()[0]) <= 60,
    ),
    Target(
        "BlueGreen: 1,000 staged devices switch", "10 s from first order to last confirmed", "blue-green", 1_000,
        lambda run: str(run["details"].get("switched within", "?")),
        lambda run: float(run["details"].get("switched within", "9999 s").split()[0]) <= 10, "switch",
    ),
    Target(
        "BlueGreen: 1,000 devices switch back", "10 s from decision to last revert", "blue-green", 1_000, _back,
        lambda run: float(run["details"].get("back last", "9999 s").split()[0]) <= 10, "back",
    ),
    Target("`plan --lock`, warm", "3 s, 600 MB", "plan", 100_000, _time, _within(3, 600e6 / 2**20), "warm"),
    Target("`validate`, a usual change", "1 s", "validate", 100_000, _time, _within(1), "a device moved"),
    Target("a pass with nothing to do", "2 s", "idle", 100_000, _time, _within(2)),
    Target("`status`", "0.3 s", "status", 100_000, _time, _within(0.3), "status"),
    Target("`device list --limit 100`", "0.3 s", "status", 100_000, _time, _within(0.3), "device list --limit 100"),
    Target("`events --for NAME`", "0.3 s", "status", 100_000, _time, _within(0.3), "events --for d000000"),
    Target(
        "100,000 devices in one run", "every device accounted for", "hot", 100_000, _accounted,
        lambda run: not run["problems"], faulty=True,
    ),
)  # fmt: skip


def pages() -> dict[str, str]:
    """Return the page and its plots as the records have them: path below the project -> text."""
    records = [json.loads(path.read_text("utf-8")) for path in sorted(_FOLDER.glob("*.json"))]
    runs = [run | {"machine": record["machine"]} for record in records for run in record["runs"]]
    page = (ROOT / _PAGE).read_text("utf-8")
    blocks = {"targets": _targets, "runs": _runs, "accounts": _accounts, "shortcuts": _shortcuts, "machine": _machine}
    for name, block in blocks.items():
        page = replace_block(page, name, "\n".join(["", *block(runs), "", ""]))
    return {_PAGE: page} | {f"docs/performance/{name}.svg": text for name, text in _plots(runs)}


def _largest(runs: list[Run], mode: str, how: str = "", *, faulty: bool = False) -> Run | None:
    """Return the run of the greatest fleet; of several the last recorded. Those with faults only if `faulty`."""
    found = [run for run in runs if run["mode"] == mode and (not how or run["details"].get("how") == how)]
    found = [run for run in found if faulty or not run["faults"]]
    return max(reversed(found), key=lambda run: int(run["devices"]), default=None)


def _targets(runs: list[Run]) -> Iterator[str]:
    yield "| work | target | measured | devices | |"
    yield "|---|---|---|---|---|"
    for target in TARGETS:
        run = _largest(runs, target.mode, target.how, faulty=target.faulty)
        if run is None:
            yield f"| {target.what} | {target.aim} | not recorded yet | | |"
            continue
        small = run["devices"] < target.devices
        verdict = f"fewer than {target.devices:,}" if small else "met" if target.met(run) else "**missed**"
        yield f"| {target.what} | {target.aim} | {cell(target.figure(run))} | {run['devices']:,} | {verdict} |"


def _runs(runs: list[Run]) -> Iterator[str]:
    yield "| mode | devices | seconds | devices/min | of bare | of bare, CPU | reconciler | simulator | per device |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for run in runs:
        if run["per_minute"] is None:
            continue
        bare = (run["bare"] or {}).get("a context per device")
        ratios = (f"{bare['ratio']:.0%}", f"{bare['cpuRatio']:.0%}") if bare else ("", "")
        costs = [
            f"{cost['cpu_ms_per_device']:.2f} ms, {cost['peak_mib']:,.0f} MiB" for cost in run["processes"].values()
        ]
        talk, ledger = run["conversation"], run["ledger"]
        said = f"{talk['connections']:g} connections, {talk['requests']:g} requests; " if talk else ""
        per = f"{said}{sum(ledger['rowsPerDevice'].values()):.1f} rows, {ledger['commitsPerDevice']:g} commits"
        mode = f"{run['mode']}, with faults" if run["faults"] else run["mode"]
        cells = (mode, f"{run['devices']:,}", f"{run['seconds']:,}", f"{run['per_minute']:,}", *ratios, *costs)
        yield f"| {' | '.join(cells)} | {per}, {ledger['bytesPerDevice']:,} bytes |"


def _accounts(runs: list[Run]) -> Iterator[str]:
    found = [run for run in runs if run["faults"]]
    if not found:
        yield "No run with faults is recorded yet."
    for run in found:
        yield f"{run['mode']}, {run['devices']:,} devices: {_accounted(run)}. What befell them:"
        yield ""
        yield from (f"* {cell(fault)}" for fault in run["faults"])
        yield ""


def _shortcuts(runs: list[Run]) -> Iterator[str]:
    said = sorted({(run["mode"], run["shortcuts"]) for run in runs if run["shortcuts"]})
    yield from (f"* {mode}: {cell(shortcuts)}" for mode, shortcuts in said)


def _machine(runs: list[Run]) -> Iterator[str]:
    for text in dict.fromkeys(", ".join(f"{name} {value}" for name, value in run["machine"].items()) for run in runs):
        yield f"* {cell(text)}"


def _plots(runs: list[Run]) -> Iterator[tuple[str, str]]:
    modes = {"hot": "no reboot", "reboot": "with a reboot", "rollback": "rollback"}
    by_mode = {title: _by_size(runs, mode) for mode, title in modes.items()}
    pure = {title: [(n, run["per_minute"]) for n, run in some if not run["faults"]] for title, some in by_mode.items()}
    rates = {title: points for title, points in pure.items() if points}
    yield "rate", chart("Devices per minute", "devices in the fleet", rates, logarithmic=True)
    hot = _by_size(runs, "hot")
    peaks = {name: [(n, run["processes"][name]["peak_mib"]) for n, run in hot] for name in ("reconciler", "simulator")}
    yield "memory", chart("Peak memory, MiB", "devices in the fleet", peaks, logarithmic=True)
    last = _largest(runs, "hot", faulty=True)
    over = {name: cost["memory"] for name, cost in last["processes"].items()} if last else {}
    yield "over-time", chart(f"Memory while {last['devices'] if last else 0:,} are updated, MiB", "seconds", over)


def _by_size(runs: list[Run], mode: str) -> list[tuple[int, Run]]:
    return sorted({run["devices"]: run for run in runs if run["mode"] == mode}.items())


def main() -> None:
    """Write what differs."""
    for path, text in pages().items():
        if not (ROOT / path).is_file() or (ROOT / path).read_text("utf-8") != text:
            (ROOT / path).write_text(text, "utf-8")
            sys.stdout.write(f"wrote {path}\n")


if __name__ == "__main__":
    main()
