"""Codes that a finding can carry: in manifests, trust and what `doctor` looks at; those of plans stand apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from fwctl.codes.entry import Code
from fwctl.codes.plans import PLANS

FINDINGS: Final[Mapping[str, Code]] = {
    **PLANS,
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
    "E_SBOM": Code(
        "bill of materials does not fit",
        "The manifest names a bill of materials by its digest, and the file beside it is missing or another one.",
        "Put the file back as it was released, or register a new version with its own: fwctl firmware add --sbom FILE.",
    ),
    "E_SBOM_FORMAT": Code(
        "not a usable bill of materials",
        "A bill of materials is a CycloneDX document in JSON, version 1.4 to 1.6, with at most 16 MiB and 10,000 "
        "components.",
        "Have it written as CycloneDX JSON, for example by the tool that builds the image.",
    ),
    "E_ADDRESS": Code(
        "device without an address",
        "The fleet's address template names a site or region that the device does not have, or makes an address "
        "that is none.",
        "Give the device its `site`, `region` or `address`.",
    ),
    # the trust
    "E_TRUST_PLAN": Code(
        "trust that cannot be",
        "A trust plan names somebody without a key, the same key twice, or a threshold that its group cannot reach.",
        "Correct the plan.",
    ),
    "E_NO_RULE": Code(
        "nobody may",
        "No approval rule covers the rollout's path, or nobody may release firmware for its model. It never runs.",
        "Add the rule with `fwctl trust policy FILE`.",
    ),
    "E_ENDED": Code(
        "it has ended",
        "Metadata or a certificate is past its end. Nothing new is installed; confirming and reverting go on.",
        "Renew it with the command that the finding names.",
    ),
    "W_ENDS_SOON": Code(
        "it ends soon",
        "Within 30, 14 or 7 days. A certificate authority is replaced as a whole: make a new one, enroll the devices "
        "again while the old one is still valid.",
        "Renew it with the command that the finding names.",
    ),
    "E_KEY_OPEN": Code(
        "others can read a private key",
        "Whoever can read the file can sign with it.",
        "Take the rights away; replace the key if somebody else uses the machine.",
    ),
    "W_KEY_PLAIN": Code(
        "private key without a passphrase",
        "Whoever gets the file, or a backup of it, can sign with it.",
        "Give it a passphrase: `fwctl keys protect NAME`.",
    ),
    "W_KEYS_TOGETHER": Code(
        "reconciler and approver on one machine",
        "Who takes over the machine that reconciles gets the approver's key, too.",
        "Reconcile on a machine of its own.",
    ),
    "W_ONE_APPROVER": Code(
        "one person approves production",
        "The rules for a path that looks like production are met by one person's approval.",
        "Raise the threshold, or add a rule of a second group.",
    ),
    "W_ONE_SIGNER": Code(
        "one person signs the trust",
        "Root, targets or policy have a threshold of one: who steals that key can change who may approve.",
        "Raise the threshold: `fwctl trust rotate-root`.",
    ),
    "W_SAME_PERSON": Code(
        "one person releases and approves",
        "Somebody who signs releases of a model may also approve that they are rolled out.",
        "Have other people release than approve, or accept it knowingly.",
    ),
    "W_GROUP_UNUSED": Code(
        "group without a rule", "No rule asks for this group.", "Remove it, or add the rule that is missing."
    ),
    "W_RULE_UNUSED": Code(
        "rule that matches nothing",
        "Rollouts are at `rollouts/ENV/NAME.yaml`; no such path can match.",
        "Correct the path.",
    ),
    "I_DEVELOPMENT": Code(
        "development trust", "One person holds every role.", "For production: `fwctl init --profile production`."
    ),
}  # fmt: skip
