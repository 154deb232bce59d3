"""A small, clean repository that each test breaks in one place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fwctl.manifests import Diagnostic, load

DIGEST = "sha256:" + "0" * 64
Files = dict[str, bytes]


def clean_files() -> Files:
    """Return the files of a repository without findings."""
    head = "apiVersion: fwctl/v1\n"
    firmware = (
        "kind: Firmware\nspec:\n  model: {m}\n  version: '{v}'\n  hardware: [rev-a]\n"
        f"  image: {{{{digest: '{DIGEST}', length: 5}}}}\n  releaseCounter: 1\n"
    )
    texts = {
        "fleet.yaml": "kind: Fleet\nmetadata: {name: f}\nspec: {repoId: acme, deviceAddress: '{id}.example:8443'}\n",
        "devices/a.yaml": (
            "kind: DeviceInventory\nspec:\n  defaults: {model: sensor-v1, hardware: rev-a, env: dev}\n  devices:\n"
            "    - {id: dev-1, region: eu, labels: {ring: a}}\n    - {id: dev-2, region: us, labels: {ring: b}}\n"
            "    - {id: dev-3, labels: {ring: b}}\n"
        ),
        "groups/all.yaml": "kind: DeviceGroup\nmetadata: {name: all}\nspec: {selector: {matchLabels: {env: dev}}}\n",
        "firmware/sensor-v1/1.0.yaml": firmware.format(m="sensor-v1", v="1.0"),
        "rollouts/dev/one.yaml": (
            "kind: Rollout\nmetadata: {name: one}\nspec:\n  firmware: {model: sensor-v1, version: '1.0'}\n"
            "  targets: {groups: [all]}\n"
        ),
    }
    return {path: (head + text).encode() for path, text in texts.items()}


@pytest.fixture
def clean() -> Files:
    """Files of a repository without findings."""
    return clean_files()


@pytest.fixture
def edit() -> Callable[..., tuple[Diagnostic, ...]]:
    """Return a function that replaces text in one file of the clean repository and returns the findings."""

    def change(path: str, *pairs: tuple[str, str], more: dict[str, str] | None = None) -> tuple[Diagnostic, ...]:
        files = clean_files()
        text = files[path].decode()
        for old, new in pairs:
            assert old in text, f"{old!r} is not in {path}"
            text = text.replace(old, new)
        files[path] = text.encode()
        files.update({name: content.encode() for name, content in (more or {}).items()})
        return load(files).diagnostics

    return change


@pytest.fixture
def reference() -> Files:
    """Files of the reference fleet."""
    top = Path(__file__).parents[3] / "manifests"
    return {path.relative_to(top).as_posix(): path.read_bytes() for path in sorted(top.rglob("*")) if path.is_file()}
