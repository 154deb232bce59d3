"""A real firmware image, from a commit into the active slot of a real agent, by both installers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fwctl_agent.protocol import canonical
from tests.support.disk_image import DiskImage
from tests.support.world import World

pytestmark = pytest.mark.e2e

UBOOT = Path("/usr/lib/u-boot/qemu_arm64/u-boot.bin")
FACTORY = b"factory image of the test\n" * 50


@pytest.fixture
def image() -> bytes:
    """U-Boot for arm64, as Debian's package u-boot-qemu ships it."""
    if not UBOOT.exists():
        message = f"{UBOOT} is missing: apt-get install u-boot-qemu"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return UBOOT.read_bytes()


@pytest.fixture
def factory(world: World) -> tuple[object, ...]:
    """Options that enrol a device with a known factory image."""
    file = world.folder / "factory.img"
    file.write_bytes(FACTORY)
    return ("--factory", file, "--factory-version", "1.0.0")


def test_the_same_bytes_are_in_the_active_slot(world: World, image: bytes, factory: tuple[object, ...]) -> None:
    world.init()
    world.enroll("device-001", *factory)
    world.agent("device-001")
    world.release(image)
    report = world.reconciled()
    assert report["rollouts"][0]["counts"] == {"reached": 1}
    assert world.active_bytes("device-001") == image
    journal = world.journal("device-001")
    assert journal["running"]["image"] == canonical.digest(image)
    assert (journal["current"], journal["good"]) == ("b", "b")
    assert (world.folder / "devices" / "device-001" / "slots" / "a.img").read_bytes() == FACTORY


def test_the_command_installer_writes_the_same_bytes_into_a_disk_image(
    world: World, image: bytes, factory: tuple[object, ...]
) -> None:
    world.init()
    disk = DiskImage(world.folder / "disk", FACTORY)
    world.enroll("device-001", *factory, settings=disk.settings())
    world.agent("device-001")
    world.release(image)
    assert disk.active == "a"
    world.reconciled()
    assert disk.active == "b"
    assert disk.content(len(image)) == image
    assert disk.writes() == (1, 1)
    assert world.journal("device-001")["running"]["image"] == canonical.digest(image)
