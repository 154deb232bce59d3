"""The pages that people type from: what stands there works word for word, and what they point to is there."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from fwctl.manifests.models import Canary, Rollout, RolloutSpec
from fwctl.manifests.models.rollout_parts import Gates, Limits, Retry, Rollback
from tests.docs.blocks import ROOT, marked, run, typed

pytestmark = pytest.mark.e2e


def rollout_in(page: str, name: str) -> Rollout:
    """Return the rollout in the block of a page that stands under `<!-- yaml: NAME -->`."""
    block = re.search(rf"<!-- yaml: {name} -->\n```yaml\n(.*?)^```$", (ROOT / page).read_text(), re.DOTALL | re.M)
    assert block, f"{page} has no block {name}"
    # By way of JSON: strict models take a list for a tuple only there.
    return Rollout.model_validate_json(json.dumps(yaml.safe_load(block[1])))


def test_the_quick_start_works_word_for_word(tmp_path: Path) -> None:
    block = marked("README.md")["quick start"]
    assert len(typed(block)) <= 10
    fleet = tmp_path / "acme"
    fleet.mkdir()
    said = run(block + "cmp /bin/true device-001/slots/current\n", folder=tmp_path, cwd=fleet)
    assert "1 reached" in said


def test_the_tutorial_works_word_for_word(tmp_path: Path) -> None:
    said = run(marked("docs/tutorial.md")["tutorial"], folder=tmp_path)
    for word in ("E_TYPE", "E_APPROVAL_STALE", "E_PROBE_FAILED", "E_LEDGER_MISSING"):
        assert word in said, f"{word}\n{said}"
    assert said.count("2 reached") >= 3
    for word in ("paused", "rolled-back", "quarantine", "maxFailureRate"):
        assert word in said, f"{word}\n{said}"
    assert (tmp_path / "report.html").read_text("utf-8").startswith("<!")


def test_the_rollout_on_the_first_page_is_one() -> None:
    rollout = rollout_in("README.md", "rollout")
    assert rollout.spec.strategy.type == "Canary"


def test_what_the_first_page_calls_defaults_are_the_defaults() -> None:
    rollout = rollout_in("README.md", "rollout")
    assert rollout.spec == RolloutSpec(firmware=rollout.spec.firmware, targets=rollout.spec.targets)


def test_the_canary_of_the_how_to_is_the_default_but_for_its_approval_point() -> None:
    spec = rollout_in("docs/how-to/release-carefully.md", "canary").spec
    assert isinstance(spec.strategy, Canary)
    plain = Canary(type="Canary")
    assert spec.strategy == plain.model_copy(update={"approval_before": ("wave-4",)})
    assert (spec.gates, spec.rollback) == (Gates(), Rollback())
    assert (spec.retry, spec.limits) == (Retry(), Limits())
