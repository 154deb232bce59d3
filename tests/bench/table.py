"""Results as tables of at most 80 columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.bench.results import Result


def show(results: list[Result], machine: Mapping[str, Any], console: Console) -> None:
    """Print one table per result, and the machine."""
    console.print(", ".join(f"{name} {value}" for name, value in machine.items()), markup=False, highlight=False)
    for result in results:
        table = Table(title=title(result), show_header=False, title_justify="left")
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for name, value in lines(result):
            table.add_row(name, value)
        console.print(table)


def title(result: Result) -> str:
    """Return the mode, how, and the size."""
    how = f" ({result.details['how']})" if "how" in result.details else ""
    return f"{result.mode}{how}, {result.devices:,} devices"


def lines(result: Result) -> Iterator[tuple[str, str]]:
    """Yield what a result says, a line each."""
    yield "time", f"{result.seconds:,.2f} s"
    if result.per_minute:
        yield "rate", f"{result.per_minute:,.0f} devices/min ({result.per_minute / 60:,.0f}/s)"
    for name, bare in (result.bare or {}).items():
        reached = f"fwctl reaches {bare['ratio']:.0%} of it, by CPU time {bare['cpuRatio']:.0%}"
        yield f"bare TLS, {name}", f"{bare['perMinute']:,.0f} devices/min; {reached}"
    for name, cost in result.processes.items():
        if result.per_minute:
            written = f"{cost.written_bytes_per_device:,} bytes written/device"
            yield name, f"{cost.cpu_ms_per_device:.2f} ms CPU/device, peak {cost.peak_mib:,.0f} MiB, {written}"
        else:
            yield name, f"{cost.cpu_seconds:.2f} s CPU, peak {cost.peak_mib:,.0f} MiB"
    if result.conversation:
        talk = result.conversation
        yield "per device", f"{talk['connections']:g} connections, {talk['requests']:g} requests: {talk['what']}"
    if result.ledger:
        rows = ", ".join(f"{number:g} {table}" for table, number in result.ledger["rowsPerDevice"].items())
        yield "ledger/device", f"rows: {rows}; {result.ledger['bytesPerDevice']:,} bytes"
        yield "commits", f"{result.ledger['commits']:,} ({result.ledger['commitsPerDevice']:g} per device)"
    if result.accounts:
        yield "devices by result", ", ".join(f"{number:,} {name}" for name, number in result.accounts.items())
    if result.shortcuts:
        yield "shortcuts", result.shortcuts
    for name, value in result.details.items():
        if name == "how":
            continue
        yield name, str(value)
    for fault in result.faults:
        yield "fault", fault
    for note in result.notes:
        yield "note", note
    for problem in result.problems:
        yield "PROBLEM", problem
