"""Which files are read, which are refused (THREATS A31), which are passed over."""

from __future__ import annotations

import pytest

from fwctl.manifests import load

REFUSED = [
    "../rollouts/x.yaml", "rollouts/../fleet.yaml", "/etc/passwd", "rollouts//x.yaml", "rollouts/./dev/x.yaml", "",
    "groups/a\nb.yaml", "groups/a\tb.yaml", "groups/a\x1b.yaml", "groups/\u202eb.yaml", "groups/a\\b.yaml",
    "groups/\udcff.yaml", "groups/ü.yaml", "groups/a b.yaml", "groups/-x.yaml", "groups/.x.yaml",
    "groups/UPPER.yaml", "Groups/x.yaml", "DEVICES/x.yaml", "Fleet.yaml", "fleet.yaml/x.yaml", "groups",
    "groups/a/b.yaml", "rollouts/x.yaml", "rollouts/dev/eu/x.yaml", "rollouts/Dev/x.yaml", "firmware/1.0.yaml",
    "firmware/sensor-v1/latest.yaml", "firmware/sensor-v1/v1/1.0.yaml", "groups\u3000/x.yaml", "ｇroups/x.yaml",
]  # fmt: skip
WARNED = [
    "groups/x.yml",
    "devices/x.tsv",
    "devices/x.CSV",
    "groups/x.csv",
    "devices/x.YAML",
    "groups/notes.txt",
    "rollouts/dev/x.json",
    "fleet.yml",
]
PASSED = [
    "README.md", "docs/x.yaml", "groups/README.md", "devices/.gitkeep", "firmware/sensor-v1/1.0.alice.dsse.json",
    "rollouts/dev/one.lock", "trust/root.json", "approvals/dev/one/x.yaml", "control/README.md", "policies/README.md",
    ".github/workflows/ci.yaml", "src/Fleet.yaml",
]  # fmt: skip


@pytest.mark.parametrize("path", REFUSED)
def test_refused(clean: dict[str, bytes], path: str) -> None:
    loaded = load({**clean, path: b"secret: content\n"})
    assert loaded.repo is None
    assert {d.code for d in loaded.diagnostics} == {"E_PATH"}
    assert "secret" not in str(loaded.diagnostics)


@pytest.mark.parametrize("path", WARNED)
def test_warned_about(clean: dict[str, bytes], path: str) -> None:
    loaded = load({**clean, path: b"{}\n"})
    assert loaded.repo is not None
    assert [(d.code, d.severity, d.path) for d in loaded.diagnostics] == [("W_UNMANAGED", "warning", path)]


@pytest.mark.parametrize("path", PASSED)
def test_passed_over(clean: dict[str, bytes], path: str) -> None:
    loaded = load({**clean, path: b"\xff"})
    assert loaded.repo is not None
    assert loaded.diagnostics == ()


def test_names_that_differ_only_in_case(clean: dict[str, bytes]) -> None:
    loaded = load({**clean, "devices/A.yaml": clean["devices/a.yaml"]})
    assert [(d.code, d.path) for d in loaded.diagnostics] == [("E_PATH", "devices/a.yaml")]
    assert "`devices/A.yaml`" in loaded.diagnostics[0].message
