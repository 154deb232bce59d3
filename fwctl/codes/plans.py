"""Codes of findings about what a rollout would do: its firmware, ways, waves, windows, limits, guard rails, lock."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from fwctl.codes.entry import Code

PLANS: Final[Mapping[str, Code]] = {
    "E_NO_PATH": Code(
        "no legal path",
        "Nothing leads from what a device runs to the rollout's firmware: `requiresFrom` and stops do not let it, and "
        "no released firmware bridges it.",
        "Register a firmware that does, or exclude the device.",
    ),
    "E_STOP_STATE": Code(
        "stop that nobody can pass",
        "A firmware with `stop: true` lies on the way, and it is sunset or withdrawn.",
        "Register one that takes its place with `stop: true`, and set `stop: false` on the old one.",
    ),
    "E_CHAIN_LONG": Code(
        "too many stops",
        "More releases are on the way to the firmware than a line of a lock holds.",
        "Set `stop: false` on those that no device of the fleet needs any more.",
    ),
    "E_NO_WAY_BACK": Code(
        "no way back over a stop",
        "A device that comes over a stop holds the stop in its other slot, and not what it ran before: a rollback "
        "would leave it there.",
        "Bring these devices to the stop by a rollout of its own first, or say that nobody goes back.",
    ),
    "E_DATA_FORMAT": Code(
        "data that the older firmware cannot read",
        "The firmware writes its data in a format that is not among those that the one before reads (`data`).",
        "Go over a release that reads both formats, or say that nobody goes back.",
    ),
    "E_ROLLBACK_FLOOR": Code(
        "way back below the floor",
        "The firmware before lies below the security floor of the policy: devices would not go back to it.",
        "Raise the floor after the rollout, or say that nobody goes back.",
    ),
    "W_NO_WAY_BACK": Code(
        "some could not go back",
        "A rollback is allowed, and some devices would stay on what they run: over a stop, for their data, or for the "
        "floor.",
        "Nothing, if that is accepted; else say that nobody goes back.",
    ),
    "I_NOT_OBSERVED": Code(
        "devices that were not seen",
        "The file of `--observed` says nothing of some targets, so their path is not proved.",
        "Nothing to do: who turns out to have no path is held.",
    ),
    "E_FIRMWARE_STATE": Code(
        "firmware cannot be rolled out",
        "The firmware is a draft, past its sunset, or withdrawn. A sunset does not stop what is locked already; a "
        "draft or withdrawn firmware is held wherever it is.",
        "Choose another version, or promote the draft: `fwctl firmware promote MODEL@VERSION`.",
    ),
    "I_FIRMWARE_CANDIDATE": Code(
        "firmware is a candidate", "It may be rolled out, and nobody has called it released yet.",
        "When it has proved itself: `fwctl firmware promote MODEL@VERSION`.",
    ),
    "W_FIRMWARE_SUNSET": Code(
        "firmware is past its sunset", "A rollout of it that is locked goes on; there can be no new one.",
        "See who still runs it: `fwctl firmware sunset-report`.",
    ),
    "W_FIRMWARE_WITHDRAWN": Code(
        "firmware is withdrawn",
        "The rollout is held: nothing of it starts; what is under way ends by the usual rules.",
        "To take devices back that have it: `fwctl rollback`.",
    ),
    "E_GUARD_RAIL": Code(
        "guard rail is broken", "The rollout breaks a rule of a RolloutPolicy that is in force; it would be held.",
        "Do what satisfies the rule, or set it aside in `exceptions` with a reason that the approvers read.",
    ),
    "E_GUARD_RAIL_MISSING": Code(
        "guard rail that nobody can read",
        "The signed policy names the digest of a file that is not in `policies/`: it was edited or removed. Nobody can "
        "tell what it demands, so every rollout is held.",
        "Put the file back as it was signed, or have the files of today signed: `fwctl trust guard-rails`.",
    ),
    "W_GUARD_RAIL_UNSIGNED": Code(
        "guard rail is not in force",
        "The file is new or edited, and the signed policy does not name its digest: not in force until signed.",
        "Have it signed: `fwctl trust guard-rails`.",
    ),
    "I_GUARD_RAIL_EXCEPTION": Code(
        "rule is set aside", "The rollout breaks a rule of a guard rail and says why it may.",
        "Nothing to do, if the reason is good: it is part of what is approved.",
    ),
    "W_GUARD_RAIL_EXCEPTION": Code(
        "exception without effect",
        "The rollout keeps to that rule anyway, or no guard rail of that name is in force for it.",
        "Remove the exception.",
    ),
    "W_FIRMWARE_DEPRECATED": Code(
        "firmware is deprecated", "The firmware is deprecated: it still works, but not for long.",
        "Choose a newer version.",
    ),
    "E_WINDOW_NEVER": Code(
        "window that never opens",
        "A cron expression names a day that does not exist, or what is denied covers all that is allowed: in four "
        "years of the calendar no device could start.",
        "Correct the expression, or deny less. `fwctl windows` shows when it opens.",
    ),
    "E_WINDOW_SPAN": Code(
        "span without a usable length",
        "A span of a window lasts longer than nothing and at most 366 days.",
        "Correct its `duration`.",
    ),
    "E_TIME_ZONE": Code(
        "unknown time zone",
        "Windows are in zones of the IANA database, such as `Europe/Berlin`, in `UTC`, or in that of each `device`.",
        "Correct its `timeZone`.",
    ),
    "E_LIMIT_EMPTY": Code(
        "limit that nothing meets",
        "No whole number lies within a limit of `gates.health.limits`, and devices report whole numbers.",
        "Widen it.",
    ),
    "E_COMPARE_SOAK": Code(
        "comparison without a soak",
        "`compareWithControl` compares in the soak of a wave, and a wave before the last has none.",
        "Give the strategy a soak.",
    ),
    "W_COMPARE_SMALL": Code(
        "comparison that cannot decide",
        "A wave, or what waits for later waves, is smaller than `compareWithControl.minSample`: the wave will hold "
        "until somebody promotes it.",
        "Make the wave larger or `minSample` smaller.",
    ),
    "W_WINDOW_SHORT": Code(
        "short window",
        "A span is shorter than the time between two passes, so that a pass may miss it, or than the time that a "
        "device is given, so that who starts last ends outside it. What is under way is never interrupted.",
        "Make the span longer.",
    ),
    "W_WINDOW_ZONE": Code(
        "devices without a time zone",
        "The window is in the zone of each device, and some devices have none, or one that does not exist. For them "
        "it is in UTC.",
        "Give the devices a `timeZone` in the inventory.",
    ),
    "E_NO_WAVE": Code(
        "no such wave",
        "`approvalBefore`, or `promoted` in a control file, names a wave that the strategy does not have.",
        "Name one of the waves that `fwctl plan` shows.",
    ),
    "E_REGION": Code(
        "device in no region of the strategy",
        "A Regional rollout targets devices without `region`, or in one that `regions` does not list: they would "
        "silently get nothing.",
        "Give them their region in the inventory, list the region, or leave them out with `targets.exclude`.",
    ),
    "W_REGION_EMPTY": Code(
        "region without devices",
        "The strategy lists a region in which no target is. Where regions go one after another, an approval that is "
        "wanted before it is wanted before the next one.",
        "Remove it from `regions`, unless devices are still to come.",
    ),
    "E_LIMIT_IMPOSSIBLE": Code(
        "limit that lets nobody start",
        "A limit can never be kept: a share of a place that is no whole device, an allowance of nothing, or a ramp "
        "that begins above `maxPerMinute`.",
        "Use a number instead of a share, or a larger one; see docs/how-to/limit-a-rollout.md.",
    ),
    "W_LIMIT_PLACE": Code(
        "devices without the label of a limit",
        "`disruption.groupBy` names a label that devices do not have: they count as one place, and wait for each "
        "other.",
        "Give them the label in the inventory, or group by another one.",
    ),
    "W_LIMIT_SLOW": Code(
        "rollout that lasts for more than a month",
        "By its own limits the rollout takes longer than 30 days; approvals and certificates may end before it does.",
        "Raise the limit, or expect to approve it again.",
    ),
    "W_LIMIT_JITTER": Code(
        "jitter as long as the window",
        "A device may draw a lot that lies after the end of the window, and starts only when it opens again.",
        "Make `limits.jitter` shorter than the window is open.",
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
        "Nothing to do: they stay on what they run until the rollout goes back; what is under way there ends.",
    ),
}  # fmt: skip
