"""What ends a command, apart from git, trust and devices: names, files, ledger."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from fwctl.codes.entry import Stop

WORK: Final[Mapping[str, Stop]] = {
    "E_ASSUMPTION": Stop(
        "What is given with `--assume` is no assumption of a simulation, or its value does not fit.",
        "Write it as NAME=VALUE; the names stand in docs/how-to/ask-what-if.md.",
        exits=(2,),
    ),
    "E_AUDIT": Stop(
        ("The evidence of a rollout cannot be exported, or the folder is not one that `fwctl audit export` wrote."),
        "Get the whole history (`git fetch --unshallow`) and export again; to verify, name the whole folder.",
        exits=(3,),
    ),
    "E_BUG": Stop(
        "fwctl met something that its code rules out; nothing is half-written.",
        "Report it with the command and with what FWCTL_DEBUG=1 prints.",
        exits=(3, 70),
    ),
    "E_BUSY": Stop(
        "A device runs another order, so it cannot do this now.",
        "Wait until the order has ended (`fwctl status`), then run the same command again.",
        exits=(5,),
    ),
    "E_FIRMWARE_FORM": Stop(
        "A firmware manifest is written in a way in which its state cannot be changed line by line.",
        "Write the state with an editor, and validate.",
        exits=(3,),
    ),
    "E_FIRMWARE_MOVE": Stop(
        "The life cycle of firmware has no such step: draft, candidate, released, deprecated, sunset; withdrawn from "
        "any of them, and back from none.",
        "Take the steps one by one; a version that has been withdrawn or sunset stays so: register a new one.",
        exits=(2,),
    ),
    "E_FIRMWARE_STATE": Stop(
        "The state of a firmware in its life cycle does not allow to lock, approve or start a rollout of it.",
        "Choose another version; see why: `fwctl firmware show MODEL@VERSION`.",
        exits=(3,),
    ),
    "E_CLOCK": Stop(
        (
            "This machine's clock contradicts the times of commits and approvals, so a signature's time would be "
            "wrong. Or a device has an order that is dated ahead of its clock."
        ),
        "Set the clock, here or on the device; if it is right and the fleet was silent for long, add --clock-is-right "
        "where you approve.",
        exits=(3,),
        device=("refused",),
    ),
    "E_CONFIRM": Stop(
        "The name after --confirm is not that of the rollout that the command is about.",
        "Look which rollout you mean, and write its name after --confirm.",
        exits=(2,),
    ),
    "E_CONTROL": Stop(
        "The rollout's state or its approval does not allow this control.",
        "See what it allows: `fwctl explain ROLLOUT`.",
        exits=(2,),
    ),
    "E_DEMO": Stop(
        "The demonstration could not start or end: a part is not installed, or the machine is too slow.",
        "Look at the agent logs in the folder that it names, and run it again.",
        exits=(5,),
    ),
    "E_DIGEST": Stop(
        "A text that must be a digest is none.",
        "Write sha256: followed by 64 lower-case hexadecimal digits.",
        exits=(3,),
    ),
    "E_DISK": Stop(
        "A file could not be written or removed; what stood there before still stands.",
        "Check free space and the permissions of the folder, then run the command again.",
        exits=(5,),
    ),
    "E_EPOCH_MOVED": Stop(
        "A device has obeyed a reconciler with a higher epoch: there are two reconcilers of this fleet.",
        "Find the other one and stop one of them, then run the command again.",
        exits=(6,),
    ),
    "E_EXISTS": Stop(
        "There is something already at the place where the command would write.",
        "Name another place, or move away what is there.",
        exits=(3,),
    ),
    "E_FENCED": Stop(
        "Another reconciler has taken over the fleet, so this one stops before it does anything more.",
        "Let the other one work; `fwctl status` shows who it is.",
        exits=(6,),
    ),
    "E_FILE": Stop(
        "The file that is named as an image cannot be read.",
        "Name a file that exists and that you may read.",
        exits=(3,),
    ),
    "E_FLEET": Stop(
        "There is no fleet repository here, or the fleet's id cannot be used.",
        "Run it in a clone of the fleet repository, or name the fleet.",
        exits=(2,),
    ),
    "E_LEDGER": Stop(
        "The ledger refused what fwctl wanted to record; nothing was recorded.",
        "Report it as a bug, with what `fwctl events` shows.",
        exits=(5,),
    ),
    "E_LEDGER_ACCESS": Stop(
        "The ledger's file cannot be opened or written.",
        "Check owner and permissions of the state folder and of the files in it.",
        exits=(5,),
    ),
    "E_LEDGER_CORRUPT": Stop(
        "The ledger's file is damaged, or is no ledger.",
        ("Move it away and restore a backup; without one, start a new ledger: `fwctl reconcile --once --new-ledger`."),
        exits=(3,),
    ),
    "E_LEDGER_DURABILITY": Stop(
        "The file system cannot keep a ledger safe against a power cut.",
        "Put the state folder on a local disk; network file systems cannot hold a ledger.",
        exits=(5,),
    ),
    "E_LEDGER_EXISTS": Stop(
        "A new ledger was asked for, and there is one already.",
        "Leave out --new-ledger, or move the old ledger away first.",
        exits=(3,),
    ),
    "E_LEDGER_MISSING": Stop(
        "There is no ledger where the fleet's ledger belongs.",
        (
            "Name its folder with --state-dir; if the fleet was never reconciled from here: `fwctl reconcile "
            "--once --new-ledger`."
        ),
        exits=(3,),
    ),
    "E_LEDGER_NEWER": Stop(
        "A newer fwctl wrote the ledger, in a format that this one does not know.",
        "Use the fwctl that wrote it, or a newer one.",
        exits=(3,),
    ),
    "E_LEDGER_OLDER": Stop(
        "The ledger has an older format, and a command that only reads does not change it.",
        "Bring it up to date: `fwctl reconcile --once`.",
        exits=(3,),
    ),
    "E_LEDGER_TRANSITION": Stop(
        "The ledger does not allow this change of state, so nothing was recorded.",
        "Look at what is recorded (`fwctl events`), then run `fwctl reconcile --once` again.",
        exits=(5,),
    ),
    "E_LOCKED": Stop(
        "Another process is writing to the ledger, or another reconciler is at work.",
        "Wait for it to finish, then run the command again.",
        exits=(6,),
    ),
    "E_MANIFESTS": Stop(
        "The manifests have errors, so the command does not build on them.",
        "Run `fwctl validate` and correct what it shows.",
        exits=(3,),
    ),
    "E_NO_DEVICE": Stop(
        "The inventory has no device of that name.",
        "See the names with `fwctl device list`, or declare the device in the inventory.",
        exits=(3,),
    ),
    "E_CHAIN_LONG": Stop(
        "More releases are on the way to the firmware than a line of a lock holds.",
        "Set `stop: false` on those that no device of the fleet needs any more.",
        exits=(3,),
    ),
    "E_NO_PATH": Stop(
        "From a firmware that every device must pass, nothing leads on to the rollout's.",
        "Register a released firmware between them that accepts the one and is accepted by the other.",
        exits=(3,),
    ),
    "E_OBSERVED": Stop(
        "The file of what devices run is neither JSON, JSON Lines nor CSV with `id` and `version`.",
        "Write it with `fwctl device list --format json`.",
        exits=(3,),
    ),
    "E_STOP_STATE": Stop(
        "A firmware that every device must pass is sunset or withdrawn.",
        "Register one that takes its place with `stop: true`, and set `stop: false` on the old one.",
        exits=(3,),
    ),
    "E_NO_FILE": Stop(
        "The file or folder does not exist or cannot be read.", "Check the path and its permissions.", exits=(3,)
    ),
    "E_NO_FIRMWARE": Stop(
        "No firmware of that model and version is declared.",
        "See what there is with `fwctl firmware list`.",
        exits=(3,),
    ),
    "E_NO_GROUP": Stop(
        "No group of that name exists, among the devices or in the policy.",
        "See the groups of devices with `fwctl group list`, those of people with `fwctl trust status`.",
        exits=(2, 3),
    ),
    "E_NO_HARDWARE": Stop(
        "The inventory has no device of the model, so the boards that the firmware runs on cannot be told.",
        "Name them with --hardware BOARD.",
        exits=(3,),
    ),
    "E_NO_INPUT": Stop(
        "The command asks before it acts, and nobody can be asked here.",
        "Look at the plan with --dry-run or `fwctl plan`, then add the option that the message names.",
        exits=(2,),
    ),
    "E_NO_LEDGER": Stop(
        "This machine does not hold the fleet's ledger.",
        "Run it on the machine where `fwctl reconcile` runs.",
        exits=(3,),
    ),
    "E_NO_LOCK": Stop(
        "The rollout has no lock, so there is nothing to approve or to run.",
        "Write it with `fwctl plan ROLLOUT --lock` and commit it.",
        exits=(3,),
    ),
    "E_NO_PLACE": Stop("No rollout holds the device.", "See what it runs: `fwctl device show DEVICE`.", exits=(3,)),
    "E_NO_REPORT": Stop(
        "Nothing has happened yet under what is approved now.",
        "See how far the rollout is: `fwctl status ROLLOUT`.",
        exits=(3,),
    ),
    "E_NO_ROLLOUT": Stop(
        "No rollout, or more than one, has that name.", "Name it as env/name; `fwctl status` shows all.", exits=(3,)
    ),
    "E_NO_SBOM": Stop(
        "The firmware was released without a bill of materials.",
        "Give the next version one: `fwctl firmware add FILE --sbom BILL`.",
        exits=(3,),
    ),
    "E_NO_SUBJECT": Stop(
        "There is no rollout and no device of that name.",
        "See the names with `fwctl status` and `fwctl device list`.",
        exits=(3,),
    ),
    "E_NO_TOPIC": Stop(
        "There is no kind, field or code of that name to explain.",
        "Run `fwctl explain` alone to see what there is; docs/reference/codes.md lists every code.",
        exits=(3,),
    ),
    "E_NO_WAVE": Stop(
        "The rollout's strategy has no wave of that name or number.",
        "See the waves with `fwctl plan ROLLOUT`.",
        exits=(2, 3),
    ),
    "E_OVERLAP": Stop(
        "Another rollout holds devices of the one that was to be written; two may only if one replaces the other.",
        "Take them over with `--replaces ROLLOUT`, or name other devices.",
        exits=(3,),
    ),
    "E_REGION": Stop(
        "A Regional rollout targets devices that are in no region which it lists.",
        "Give them their `region`, list it in `regions`, or leave the devices out with `targets.exclude`.",
        exits=(3,),
    ),
    "E_PLAN_STALE": Stop(
        "Something was committed after it was shown or read, so what was seen is not what would be signed.",
        "Run the same command again and look at what it shows.",
        exits=(6,),
    ),
    "E_REASON": Stop(
        "The reason is empty, too long, or more than one line.",
        "Say in one line of at most 500 characters why: it stands in git, in events and in reports.",
        exits=(2,),
    ),
    "E_REPO_ID": Stop(
        "The fleet's id cannot name a folder.",
        "Use letters, digits, dots and dashes, at most 64: --repo-id NAME.",
        exits=(2, 3),
    ),
    "E_SBOM_FORMAT": Stop(
        "The file is no bill of materials that fwctl can use.",
        "Have it written as CycloneDX JSON, version 1.4 to 1.6.",
        exits=(3,),
    ),
    "E_SCHEMA": Stop(
        "A name, document or message does not have the form that its kind demands, so nothing in it was used.",
        "Correct it at the place that is named; if fwctl or an agent wrote it, bring both to one release.",
        exits=(3, 4),
        device=("refused",),
    ),
    "E_SIMULATE": Stop(
        "The rollout cannot be simulated as it was asked for: no targets, or a number that makes no sense.",
        "Simulate one rollout that has targets, with shares from 0 to 1 and at least one run.",
        exits=(2, 3),
    ),
    "E_SYSTEM": Stop(
        "The operating system refused something that the command needs.",
        "Check the place that is named, its permissions and free space, then run the command again.",
        exits=(5,),
    ),
    "E_TIMEOUT": Stop(
        "What was waited for did not happen in the time that was given; it goes on without the wait.",
        "Ask why it does not move: `fwctl explain ROLLOUT`.",
        exits=(5,),
    ),
    "E_USAGE": Stop(
        "The command line asks for something that makes no sense.", "See the command's --help.", exits=(2,)
    ),
    "E_VERSION_TAKEN": Stop(
        "The version is registered with other bytes or another bill of materials.",
        "Give the new image a version of its own: devices and people must be able to tell them apart.",
        exits=(3,),
    ),
    "E_ADDRESS": Stop(
        "A device's address cannot be used.",
        "Write it as host:port in the device's inventory, or in the fleet's address template.",
        exits=(3,),
    ),
    "E_LOCK_INVALID": Stop(
        "The lock is not in its one canonical form, or changed while it was read.",
        "Write it again with `fwctl plan ROLLOUT --lock`, and approve it again.",
        exits=(3,),
        device=("refused",),
    ),
    "E_NEVER_ARRIVED": Stop(
        "The rollout went back before an order reached the device, so there is nothing to take back.",
        "Nothing to do: the device stays on what it runs.",
    ),
}
