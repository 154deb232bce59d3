"""Bills of materials at the command line: taken in, signed with the release, listed, and asked for by component."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fwctl.rollouts.compile import release_of
from fwctl.state import DeviceSeen
from tests.cli.fleet import Answer, Fleet
from tests.unit.manifests.test_components import OPENSSL, bill

ZLIB = {"type": "library", "name": "zlib", "version": "1.3"}


def add(fleet: Fleet, version: str, data: bytes | None, *, image: bytes = b"", may_fail: bool = False) -> Answer:
    """Register an image, with a bill of materials if there is one."""
    (fleet.folder / "new.bin").write_bytes(image or version.encode() * 100)
    words: list[str | Path] = [
        "firmware",
        "add",
        fleet.folder / "new.bin",
        "--model",
        "sensor-v1",
        "--version",
        version,
    ]
    if data is not None:
        (fleet.folder / "bill.json").write_bytes(data)
        words += ["--sbom", fleet.folder / "bill.json"]
    answer = fleet.run(*words)
    assert may_fail or answer.exit_code == 0, str(answer)
    return answer


def seen(fleet: Fleet, device: str, version: str) -> None:
    """Record that a device runs a version of the repository."""
    from fwctl.reconcile.commit import load_repo

    release = release_of(load_repo(fleet.context.edited()).firmware["sensor-v1", version].model)
    now = datetime.now(UTC).replace(microsecond=0)
    fleet.record(
        DeviceSeen(
            at=now,
            device=device,
            running_release=release.digest,
            running_image=release.image,
            running_version=version,
            running_mandate="",
            state="confirmed",
            document={},
            counter=2,
        )
    )


def listed(fleet: Fleet, component: str, *more: str) -> tuple[list[str], dict[str, str]]:
    """Return who runs a component, and of whom it is not known."""
    document = json.loads(fleet.ok("device", "list", "--with-component", component, "--format", "json", *more).stdout)
    assert document["component"] == component
    unknown = {one["device"]: one["reason"] for one in document["unknown"]}
    return [one["id"] for one in document["devices"]], unknown


def test_a_bill_is_part_of_what_is_signed(fleet: Fleet) -> None:
    data = bill(components=[OPENSSL, ZLIB])
    answer = add(fleet, "2.6.0", data)
    assert "firmware/sensor-v1/2.6.0.cdx.json" in answer.stdout
    assert (fleet.tree / "firmware/sensor-v1/2.6.0.cdx.json").read_bytes() == data
    fleet.ok("validate")
    shown = json.loads(fleet.ok("firmware", "sbom", "sensor-v1@2.6.0", "--format", "json").stdout)
    assert [one["name"] for one in shown["components"]] == ["openssl", "sensor", "zlib"]
    assert shown["schemaVersion"] == 1
    text = fleet.ok("firmware", "sbom", "sensor-v1@2.6.0").stdout
    assert "openssl" in text
    assert "pkg:generic/openssl@3.0.1?arch=arm" in text
    add(fleet, "2.6.0", data)  # the same again changes nothing
    manifest = fleet.tree / "firmware/sensor-v1/2.6.0.yaml"
    manifest.write_text("".join(line for line in manifest.read_text().splitlines(True) if "sbom" not in line))
    answer = fleet.run("validate", "--format", "json")
    assert "E_SIG_MISSING" in [one["code"] for one in json.loads(answer.stdout)["diagnostics"]], answer


def test_a_bill_that_is_missing_or_another_is_an_error(fleet: Fleet) -> None:
    add(fleet, "2.6.0", bill())
    path = fleet.tree / "firmware/sensor-v1/2.6.0.cdx.json"
    fleet.commit()
    for change in (lambda: path.write_bytes(bill(components=[])), path.unlink):
        change()
        answer = fleet.run("validate", "--format", "json")
        assert answer.exit_code == 1
        assert [one["code"] for one in json.loads(answer.stdout)["diagnostics"]] == ["E_SBOM"]
        refused = fleet.run("plan")
        assert (refused.exit_code, "E_MANIFESTS" in refused.stderr) == (3, True), refused


@pytest.mark.parametrize("data", [b"{}", bill(specVersion="1.1"), bill(components=[{"type": "x", "name": "y"}])])
def test_an_odd_bill_registers_nothing(fleet: Fleet, data: bytes) -> None:
    before = fleet.git("status", "--porcelain")
    answer = add(fleet, "2.6.0", data, may_fail=True)
    assert (answer.exit_code, "E_SBOM_FORMAT" in answer.stderr) == (3, True), answer
    assert fleet.git("status", "--porcelain") == before


def test_a_registered_version_keeps_its_bill(fleet: Fleet) -> None:
    image = b"firmware " * 100
    answer = add(fleet, "2.5.0", bill(), image=image, may_fail=True)
    assert (answer.exit_code, "E_VERSION_TAKEN" in answer.stderr) == (3, True), answer
    add(fleet, "2.6.0", bill())
    answer = add(fleet, "2.6.0", bill(components=[]), may_fail=True)
    assert (answer.exit_code, "another bill" in answer.stderr) == (3, True), answer
    assert (fleet.tree / "firmware/sensor-v1/2.6.0.cdx.json").read_bytes() == bill()
    answer = fleet.run("firmware", "sbom", "sensor-v1@2.5.0")
    assert (answer.exit_code, "E_NO_SBOM" in answer.stderr) == (3, True), answer


def test_which_devices_run_a_component(fleet: Fleet) -> None:
    add(fleet, "2.6.0", bill(components=[OPENSSL]))
    add(fleet, "2.7.0", bill(components=[OPENSSL | {"version": "3.0.2", "purl": "pkg:generic/openssl@3.0.2"}, ZLIB]))
    fleet.commit()
    no_bill = "sensor-v1@2.5.0 has no bill of materials"
    assert listed(fleet, "openssl") == (
        [],
        {"sensor-1": no_bill, "sensor-2": "it never answered", "sensor-3": "never seen"},
    )
    seen(fleet, "sensor-2", "2.6.0")
    seen(fleet, "sensor-3", "2.7.0")
    unknown = {"sensor-1": no_bill}
    assert listed(fleet, "openssl") == (["sensor-2", "sensor-3"], unknown)
    assert listed(fleet, "openssl@3.0.1") == (["sensor-2"], unknown)
    assert listed(fleet, "pkg:generic/openssl@3.0.2") == (["sensor-3"], unknown)
    assert listed(fleet, "zlib") == (["sensor-3"], unknown)
    assert listed(fleet, "openssl@1.1.1") == ([], unknown)
    assert listed(fleet, "openssl", "--label", "ring=prod") == (["sensor-3"], {})
    text = fleet.ok("device", "list", "--with-component", "openssl@3.0.1").stdout
    assert "sensor-2" in text
    assert f"Not known whether 1 device runs openssl@3.0.1:\n  sensor-1: {no_bill}" in text
    answer = fleet.run("device", "list", "--with-component", "openssl@")
    assert (answer.exit_code, "E_USAGE" in answer.stderr) == (2, True), answer


def test_what_runs_and_no_manifest_describes_is_not_known(fleet: Fleet) -> None:
    add(fleet, "2.6.0", bill())
    seen(fleet, "sensor-2", "2.6.0")
    for file in (fleet.tree / "firmware/sensor-v1").glob("2.6.0.*"):
        file.unlink()
    assert listed(fleet, "openssl")[1]["sensor-2"] == "no manifest describes what it runs"
    assert "unknown" not in json.loads(fleet.ok("device", "list", "--format", "json").stdout)
