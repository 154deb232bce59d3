"""What a device signs into an outcome that failed: class and meaning are decided in its state machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from fwctl.codes.entry import Outcome

OUTCOMES: Final[Mapping[str, Outcome]] = {
    "E_BOOT": Outcome(
        "The new slot did not start often enough, so the boot loader fell back.",
        "Look at the device's console and at the image; then release a version that starts.",
        failure=("health",),
    ),
    "E_BOOT_STATUS": Outcome(
        "The `status` command of the installer printed neither `a` nor `b`.",
        "Correct the `status` command in agent.toml.",
        failure=("install",),
    ),
    "E_COMMAND": Outcome(
        "A command of the installer failed, was missing, or took too long.",
        "Look at the agent's log on the device; correct the command in agent.toml.",
        failure=("install",),
    ),
    "E_DISK_FULL": Outcome("The device's disk is full.", "Free space on the device.", failure=("install",)),
    "E_HASH": Outcome(
        "The bytes that arrived, or were read back, are not those that were signed.",
        "Look at the storage and at the device's disk; upload the image again if it was changed.",
        failure=(
            "download",
            "install",
        ),
    ),
    "E_IO": Outcome(
        "The device's disk failed.", "Look at the device's disk; replace it if it fails again.", failure=("install",)
    ),
    "E_LENGTH": Outcome(
        "The image is longer or shorter than signed.",
        "Upload the image again as it was released.",
        failure=(
            "download",
            "install",
        ),
    ),
    "E_PROBE_FAILED": Outcome(
        "A probe was bad in the trial or in the watch; the device went back.",
        "See which probe with `fwctl explain DEVICE`; mend the image or what the probe asks for.",
        failure=("health",),
    ),
    "E_PROBE_TIMEOUT": Outcome(
        "The probes did not end before `confirmWithin`; the device went back.",
        "Make the probes faster, or `confirmWithin` longer.",
        failure=("health",),
    ),
    "E_RANGE": Outcome(
        "The storage answered with another part of the image than the device asked for.",
        "Look at the storage, and at proxies before it.",
        failure=("download",),
    ),
    "E_REDIRECT": Outcome(
        "The storage sent the device elsewhere; no redirect is followed.",
        "Name the storage's final address.",
        failure=("download",),
    ),
    "E_RESTARTS": Outcome(
        "The agent was started again and again without progress.",
        "Look at the agent's log and at its supervisor on the device.",
        failure=("install",),
    ),
    "E_STORAGE_CUT": Outcome(
        "The storage broke off again and again, or is too slow.",
        "Look at the storage and the network.",
        failure=("download",),
    ),
    "E_STORAGE_MISSING": Outcome(
        "The storage does not have the image.", "Upload the image to the storage.", failure=("download",)
    ),
    "E_STORAGE_STATUS": Outcome(
        "The storage answered with something else than the image.",
        "Look at the storage and its access rights.",
        failure=("download",),
    ),
    "E_STORAGE_TLS": Outcome(
        "The storage did not prove who it is; `[download] ca` in agent.toml is a private CA.",
        "Look at the storage's certificate, and at that setting on the device.",
        failure=("download",),
    ),
    "E_STORAGE_UNREACHABLE": Outcome(
        "The device cannot reach the storage.",
        "Look at the device's network and at the storage.",
        failure=("download",),
    ),
    "E_UNCONFIRMED": Outcome(
        "No confirmation came within `confirmWithin`; the device went back.",
        "See that the reconciler runs and reaches the device within `confirmWithin`.",
        failure=("unconfirmed",),
    ),
    "E_URL": Outcome(
        "The storage's name leads to an address that the signed policy does not allow.",
        "Correct the storage's address, or have the policy's list of addresses changed.",
        failure=("download",),
    ),
}
