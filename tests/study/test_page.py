"""The page of the study says what its record says, and the study can be repeated."""

from __future__ import annotations

import json

from docs.generator import ROOT
from tests.study.page import RECORD, pages
from tests.study.simulate import comparisons, waves


def test_page_and_pictures_are_what_the_record_says() -> None:
    stale = [path for path, text in pages().items() if (ROOT / path).read_text("utf-8") != text]
    assert stale == [], "run: make health-study"


def test_a_cell_of_the_record_is_measured_again_with_the_same_result() -> None:
    record = json.loads(RECORD.read_text("utf-8"))
    (row,) = [one for one in record["waves"] if (one["confidence"], one["size"], one["rate"]) == (0.95, 50, 0.05)]
    assert {name: row[name] for name in ("failed", "held", "settled")} == vars(waves(50, 0.05, 0.95))
    (row,) = [one for one in record["comparisons"] if (one["baseline"], one["group"], one["shift"]) == (True, 20, 1.5)]
    assert {name: row[name] for name in ("alarms", "look")} == vars(comparisons(20, 1.5, baseline=True))


def test_what_the_study_must_show() -> None:
    record = json.loads(RECORD.read_text("utf-8"))
    quiet = [row["alarms"] for row in record["comparisons"] if row["shift"] == 0]
    assert sum(quiet) / len(quiet) <= 0.015, "false alarms of all looks of a soak together: at most 1 % were asked for"
    large = [row for row in record["waves"] if row["size"] >= 200 and row["rate"] == 0.1]
    assert all(row["failed"] >= 0.99 for row in large)
