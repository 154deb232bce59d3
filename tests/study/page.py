"""Curves and tables of `docs/health-analysis.md`, from the recorded study alone. No figure is typed by hand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from docs.generator import ROOT
from docs.generator.text import replace_block
from tests.bench.plot import chart
from tests.study.simulate import GROUPS, LIMIT, SIZES

RECORD = ROOT / "docs" / "health-analysis" / "study.json"
PAGE = "docs/health-analysis.md"
Row = dict[str, Any]


def write() -> None:
    """Write the page and its pictures."""
    for path, text in pages().items():
        (ROOT / path).write_text(text, "utf-8", newline="\n")


def pages() -> dict[str, str]:
    """Return path -> text of everything that follows from the record."""
    record = json.loads(RECORD.read_text("utf-8"))
    page = (ROOT / PAGE).read_text("utf-8")
    page = replace_block(page, "rates", "\n".join(["", *_rates(record["waves"]), "", ""]))
    page = replace_block(page, "shifts", "\n".join(["", *_shifts(record["comparisons"]), "", ""]))
    return {PAGE: page, **_pictures(record)}


def _pictures(record: dict[str, list[Row]]) -> dict[str, str]:
    folder, found = "docs/health-analysis", {}
    for name, confidence, title in (("point", None, "without confidence"), ("wilson", 0.95, "confidence 0.95")):
        rows = [row for row in record["waves"] if row["confidence"] == confidence]
        lines = {
            f"{size:,} devices": [(100 * row["rate"], 100 * row["failed"]) for row in rows if row["size"] == size]
            for size in SIZES
        }
        across = f"true failure rate in %; {LIMIT:g} % are allowed"
        found[f"{folder}/{name}.svg"] = chart(f"Waves that fail, in %: {title}", across, lines)
    for name, baseline, title in (("values", False, "values"), ("changes", True, "changes since before")):
        rows = [row for row in record["comparisons"] if row["baseline"] == baseline]
        lines = {
            f"{group} and {group}": [(100 * row["shift"], 100 * row["alarms"]) for row in rows if row["group"] == group]
            for group in GROUPS
        }
        across = "shift of the metric by the update, in % of its standard deviation"
        found[f"{folder}/{name}.svg"] = chart(f"Soaks with an alarm, in %: {title}", across, lines)
    return found


def _rates(rows: list[Row]) -> Iterator[str]:
    known = {(row["confidence"], row["size"], row["rate"]): row for row in rows}
    yield "| devices in the wave | true rate | without confidence: fails | confidence 0.95: fails | holds | " + (
        "share of the wave settled when it fails (without, with) |"
    )
    yield "|---|---|---|---|---|---|"
    for size in SIZES:
        for rate in (0.01, 0.02, 0.05, 0.1):
            plain, sure = known[None, size, rate], known[0.95, size, rate]
            yield (
                f"| {size:,} | {rate:.0%} | {plain['failed']:.1%} | {sure['failed']:.1%} | {sure['held']:.1%} | "
                f"{_share(plain['settled'])}, {_share(sure['settled'])} |"
            )


def _shifts(rows: list[Row]) -> Iterator[str]:
    known = {(row["baseline"], row["group"], row["shift"]): row for row in rows}
    yield "| devices on each side | shift in σ | alarm, values | alarm, changes | look of 4 (values, changes) |"
    yield "|---|---|---|---|---|"
    for group in GROUPS:
        for shift in (0.0, 0.25, 0.5, 1.0, 1.5):
            values, changes = known[False, group, shift], known[True, group, shift]
            looks = f"{_look(values['look'])}, {_look(changes['look'])}"
            yield f"| {group} | {shift:g} | {values['alarms']:.1%} | {changes['alarms']:.1%} | {looks} |"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.0%}"


def _look(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"
