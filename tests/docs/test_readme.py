"""The pages that people type from: what stands there works word for word, and what they point to is there."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from fwctl.manifests.models import Rollout
from fwctl.rollouts.unsupported import not_enforced
from tests.docs.blocks import ROOT, marked, run, typed

pytestmark = pytest.mark.e2e


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


def test_the_rollout_on_the_first_page_is_one() -> None:
    block = re.search(
        r"<!-- yaml: rollout -->\n```yaml\n(.*?)^```$", (ROOT / "README.md").read_text(), re.DOTALL | re.M
    )
    assert block
    # By way of JSON: strict models take a list for a tuple only there.
    rollout = Rollout.model_validate_json(json.dumps(yaml.safe_load(block[1])))
    assert rollout.spec.strategy.type == "Direct"
    assert list(not_enforced(rollout.spec)) == []
