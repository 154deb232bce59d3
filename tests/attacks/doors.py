"""Through which doors each attack may come, and why not through the others.

`cli` is the command line in a real repository, `reconciler` a pass with real agents, `agent` a real agent over TLS. A
row that is missing here, or a door without a test and without a reason, fails `test_doors.py`. Tests name their row and
doors (`test_a03_cli_reconciler_...`); what stands elsewhere in `tests/` is named here by file.
"""

from __future__ import annotations

from typing import Final, Literal

Door = Literal["cli", "reconciler", "agent"]
DOORS: Final[tuple[Door, ...]] = ("cli", "reconciler", "agent")

_JUDGED_BY_DEVICE = "orders are given, not taken, on this side: the device alone can tell"

NOT_HERE: Final[dict[str, dict[Door, str]]] = {
    "A11": {
        "cli": "statements are read by the same verifier; the loader: tests/unit/manifests/test_fuzz.py",
        "reconciler": "as for the command line",
    },
    "A12": {"reconciler": "the reconciler sends the image and takes none; what storage hands it is A41"},
    "A15": {"cli": "what was applied before is known to the ledger, which a reader may not have; a pass judges it"},
    "A21": {"cli": _JUDGED_BY_DEVICE},
    "A23": {"cli": _JUDGED_BY_DEVICE, "reconciler": _JUDGED_BY_DEVICE},
    **{row: {"agent": "a device never sees YAML"} for row in ("A33", "A35", "A36", "A37")},
    "A41": {"cli": "the command line stores images by their digest and reads none back"},
    "A42": {"cli": "the slot is the device's", "reconciler": "the slot is the device's"},
    "A44": {"cli": "nothing is unpacked anywhere", "reconciler": "nothing is unpacked anywhere"},
    "A46": {
        "cli": "a laptop's clock before the last commit: tests/cli/test_mistakes.py",
        "reconciler": "it asks no device for the time",
    },
    "A47": {"cli": "the command line reads the ledger, which a pass wrote", "agent": "a device reports, it takes none"},
}

ELSEWHERE: Final[dict[str, str]] = {
    "A28": "tests/integration/reconcile/test_signed_commits.py",
    "A30": "tests/e2e/test_story.py",
    "A31": "tests/unit/gitrepo/test_hostile.py",
    "A32": "tests/unit/gitrepo/test_hostile.py",
    "A39": "tests/unit",
    "A40": "tests/integration/fleet/test_hostile_devices.py",
    "A45": "tests/integration/agent/test_tls.py",
    "A49": "tests",
}
"""rows whose doors are held by a suite of their own; whatever stands here beside them is more"""
