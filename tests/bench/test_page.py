"""The page of measurements says what the records say."""

from __future__ import annotations

import sqlite3
import xml.etree.ElementTree as ET
from contextlib import closing
from pathlib import Path

from docs.generator import ROOT
from tests.bench import ledger
from tests.bench.page import pages
from tests.bench.plot import chart, nice


def test_page_and_plots_are_what_the_records_say() -> None:
    stale = [path for path, text in pages().items() if (ROOT / path).read_text("utf-8") != text]
    assert stale == [], "run: make bench-docs"


def test_a_chart_is_well_formed_and_inside_its_frame() -> None:
    root = ET.fromstring(chart("Rate", "devices", {"hot": [(100, 5), (100_000, 20)]}, logarithmic=True))
    line = root.find("{http://www.w3.org/2000/svg}polyline")
    assert line is not None
    points = [tuple(map(float, pair.split(","))) for pair in line.attrib["points"].split()]
    assert points[0][0] < points[1][0] <= 720 - 170
    assert 0 < points[1][1] < points[0][1] <= 300
    assert [nice(value) for value in (0.3, 1, 7, 12_000)] == [0.5, 1, 10, 20_000]


def test_every_device_is_accounted_for_by_its_last_signed_outcome(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as conn, conn:
        conn.execute("CREATE TABLE devices (id, running_version, reachable, reason)")
        conn.execute("CREATE TABLE outcomes (device, result, counter)")
        rows = [("a", "2", 1, ""), ("b", "1", 1, ""), ("c", "1", 0, "gone"), ("d", "1", 1, ""), ("e", "1", 1, "busy")]
        conn.executemany("INSERT INTO devices VALUES (?, ?, ?, ?)", rows)
        outcomes = [("a", "failed", 1), ("a", "confirmed", 2), ("b", "confirmed", 1), ("d", "failed", 1)]
        conn.executemany("INSERT INTO outcomes VALUES (?, ?, ?)", outcomes)
    found = ledger.account(tmp_path / "ledger.db", frozenset("abcdef"), "2")
    expected = {"confirmed": 1, "confirmed, but runs 1": 1, "unreachable": 1, "failed": 1, "waiting": 1}
    assert (found.by_result, found.unknown) == (expected, ("f",))
