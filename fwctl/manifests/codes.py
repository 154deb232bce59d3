"""Every code a manifest diagnostic can carry: what it means and what to do. The reference is made from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True, slots=True)
class Code:
    """One kind of finding: its title, what it means, and the remedy where the finding names no better one."""

    title: str
    meaning: str
    remedy: str


_TABLE: Final[dict[str, Code]] = {
    # the bytes
    "E_YAML_ENCODING": Code(
        "not plain UTF-8 text",
        "Manifests are UTF-8 with LF line ends, without a byte order mark, control or direction characters: "
        "what a reviewer sees must be what fwctl reads.",
        "Save the file as UTF-8 with LF line ends and remove the character.",
    ),
    "E_YAML_LIMIT": Code(
        "too big",
        "The file, its nesting, its number of values or one of its values is above the limit of its kind.",
        "Split the file, or shorten the value.",
    ),
    "E_YAML_SYNTAX": Code("not YAML", "The text is not one YAML document.", "Correct the text at this place."),
    "E_YAML_ALIAS": Code(
        "anchor or alias",
        "Anchors (`&a`) and aliases (`*a`) are refused: a short file could mean a huge one, and a reviewer "
        "would have to expand it in the head.",
        "Write the value out.",
    ),
    "E_YAML_DUPKEY": Code("key written twice", "A mapping has the same key twice.", "Remove one of the two."),
    "E_YAML_TAG": Code(
        "tag or directive",
        "YAML tags (`!x`, `!!str`) and directives (`%YAML`) are refused.",
        "Remove the tag; quote the value if it is meant as text.",
    ),
    "E_YAML_MERGE": Code("merge key", "The merge key `<<` is refused.", "Write the fields out."),
    "E_YAML_MULTIDOC": Code(
        "more than one document", "A file holds exactly one document.", "Put each document into a file of its own."
    ),
    "E_CSV": Code(
        "not CSV",
        "A line of an inventory in CSV has no value for a column of the header, one too many, or unbalanced quotes.",
        "Write one device per line, with a value or nothing for each column of the header.",
    ),
    "E_JSON": Code(
        "not JSON",
        "A line of an inventory in JSON Lines is not one JSON object.",
        "Write one JSON object per line, without trailing commas or comments.",
    ),
    # the values
    "E_TYPE": Code(
        "not the type it looks like",
        "The value is text by its field, or looks like text, but YAML reads it as a number, a truth value, a "
        "time or a date (`1.10`, `22:30`, `no`, `0123`, `2024-01-01`).",
        "Quote the value.",
    ),
    "E_SCHEMA": Code(
        "does not fit the schema",
        "A field is unknown or missing, or its value is not allowed.",
        "Correct the field; `fwctl explain` tells what it takes.",
    ),
    "E_KIND": Code(
        "wrong kind",
        "The document's `kind` is not the one that belongs into its folder.",
        "Correct `kind`, or move the file into the folder of its kind.",
    ),
    "E_API_VERSION": Code(
        "unknown apiVersion", "This fwctl reads `apiVersion: fwctl/v1`.", "Write `apiVersion: fwctl/v1`."
    ),
    # the files
    "E_PATH": Code(
        "file in the wrong place",
        "A file's path is unsafe or differs only in case from another one, or does not say what its content says.",
        "Rename the file.",
    ),
    "W_UNMANAGED": Code(
        "file is not read",
        "The file lies in a folder that fwctl manages, but fwctl does not read files of its name.",
        "Rename it to end in `.yaml`, or move it elsewhere.",
    ),
    "E_NOTHING_COLLECTED": Code(
        "no manifests",
        "No manifest was found at all; a wrong folder must not pass as a valid one.",
        "Run it in the top folder of a fleet repository, or start one with `fwctl init`.",
    ),
    "E_NO_FLEET": Code(
        "no fleet.yaml", "A fleet repository has a `fleet.yaml` in its top folder.", "Add `fleet.yaml`."
    ),
    "I_TRUNCATED": Code(
        "more findings", "The file has more findings than are shown.", "Correct these and validate again."
    ),
    # between manifests
    "E_DANGLING": Code(
        "refers to nothing",
        "A group, device, firmware or rollout that is named does not exist.",
        "Correct the name, or add what it names.",
    ),
    "E_DUPLICATE": Code(
        "declared twice", "Two manifests declare the same device.", "Remove one of the two declarations."
    ),
    "E_REPEATED": Code("named twice", "A list names the same thing twice.", "Remove one of the two."),
    "E_MODEL_MISMATCH": Code(
        "wrong model",
        "A target is of another model than the firmware, or a member of another one than its group allows.",
        "Narrow the targets to devices of the firmware's model.",
    ),
    "E_HW_MISMATCH": Code(
        "wrong hardware",
        "A target has hardware that the firmware does not list.",
        "Exclude these devices, or add their hardware to the firmware if it runs there.",
    ),
    "E_ENV_MISMATCH": Code(
        "wrong environment",
        "`rollouts/<env>/` may only target devices of that env, and groups with an `env` only hold such devices.",
        "Move the rollout to the folder of the devices' env, or narrow its targets.",
    ),
    "E_NO_TARGETS": Code(
        "no targets", "No device is targeted or selected.", "Correct the selector; `fwctl device list` shows labels."
    ),
    "E_OVERLAP": Code(
        "two rollouts on one device",
        "Two rollouts hold the same device and neither says that it replaces the other.",
        "Add `replaces: NAME` to the newer one, or make their targets disjoint.",
    ),
    "E_REPLACES": Code(
        "impossible replacement", "`replaces` leads in a circle.", "Remove `replaces` from the older rollout."
    ),
    "E_FIRMWARE_STATE": Code(
        "firmware cannot be rolled out",
        "The firmware is sunset or withdrawn.",
        "Choose another version, or change the firmware's `state`.",
    ),
    "W_FIRMWARE_DEPRECATED": Code(
        "firmware is deprecated", "The firmware is deprecated: it still works, but not for long.",
        "Choose a newer version.",
    ),
    "E_ADDRESS": Code(
        "device without an address",
        "The fleet's address template names a site or region that the device does not have, or makes an address "
        "that is none.",
        "Give the device its `site`, `region` or `address`.",
    ),
    # between a rollout and its plan (found by `fwctl.rollouts`)
    "E_NOT_ENFORCED": Code(
        "not enforced by this release",
        "The field belongs to the format, but this release of fwctl would not act on it. A limit that nobody enforces "
        "is refused, so that nobody relies on it.",
        "Remove the field until the release that enforces it.",
    ),
    "E_NO_WAVE": Code(
        "no such wave",
        "`approvalBefore`, or `promoted` in a control file, names a wave that the strategy does not have.",
        "Name one of the waves that `fwctl plan` shows.",
    ),
    "E_STRATEGY": Code(
        "strategy cannot be compiled", "This release compiles Canary, Direct and Rolling.", "Use one of them."
    ),
    "E_CONTROL": Code(
        "control that cannot be",
        "A rollout cannot be controlled so: its approval forbids going back, or what it is about is over.",
        "Correct the file in `control/`, or remove it.",
    ),
    "E_LOCK_INVALID": Code(
        "not a lock", "The lock beside the manifest is damaged.", "Write it again with `fwctl plan --lock`."
    ),
    "E_LOCK_STALE": Code(
        "lock contradicts its manifest",
        "The lock was made for another release or other stages than the manifest asks for now.",
        "Write it again with `fwctl plan --lock`, look at the plan, and approve it again.",
    ),
    "I_NOT_COVERED": Code(
        "devices not covered by the lock",
        "Devices match the targets now that did not when the plan was locked; they are left alone.",
        "Lock and approve again to add them.",
    ),
    "I_DROPPED": Code(
        "devices no longer targeted",
        "Devices of the lock are no longer targets; a lock may shrink without a new approval.",
        "Nothing to do: they stay on what they run.",
    ),
}  # fmt: skip

CODES: Final[Mapping[str, Code]] = MappingProxyType(_TABLE)
