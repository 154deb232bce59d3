"""What stops the work for the sake of trust: keys, approvals, metadata, changes of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from fwctl.codes.entry import Stop

TRUST: Final[Mapping[str, Stop]] = {
    "E_APPROVAL_SCOPE": Stop(
        "An approval was given for another repository, environment, path or stage than it is used for.",
        "Approve this rollout itself: `fwctl approve ROLLOUT`.",
        device=("refused",),
    ),
    "E_APPROVAL_STALE": Stop(
        "The manifest, lock, plan or round changed after it was approved.",
        "Look at what changed and approve again: `fwctl approve ROLLOUT`.",
        device=("refused",),
    ),
    "E_DEVICE_CA": Stop(
        "The device CA on this machine is not one that the policy names, so its devices are not the fleet's.",
        "Put the fleet's device CA certificate in place, or have `deviceCas` of the policy changed.",
        exits=(4,),
    ),
    "E_EXPIRED": Stop(
        (
            "A signature, approval or metadata is past its end, dated in the future, or valid for longer than the "
            "policy allows."
        ),
        "Check the clock; then renew it: `fwctl approve ROLLOUT --renew` or `fwctl trust renew`.",
        device=("refused",),
    ),
    "E_FLOOR_DOWN": Stop(
        "The security floor would go down, and devices keep the highest that they have seen.",
        "Leave the floor where it is; release a version that lies above it.",
        exits=(2,),
    ),
    "E_HSM_LIBRARY": Stop(
        "The library that speaks to tokens (PKCS#11) is not installed.",
        "Install it: pip install 'fwctl[hsm]'.",
        exits=(3,),
    ),
    "E_IN_USE": Stop(
        "The key is the one that the reconciler uses now; without it no device would let it in.",
        "Give the reconciler another certificate first: `fwctl controller renew`.",
        exits=(2,),
    ),
    "E_KEY_ADDRESS": Stop(
        "The text is not the address of a key in a token.",
        "Write hsm:NUMBER?label=TOKEN; pkcs11-tool --list-objects shows both.",
        exits=(3,),
    ),
    "E_KEY_ALG": Stop(
        "The key is of a type, curve or encoding that fwctl does not allow.",
        "Use Ed25519 or ECDSA P-256: `fwctl keys generate NAME`, or a new key on the device.",
        exits=(3,),
        device=("refused",),
    ),
    "E_KEY_AMBIGUOUS": Stop(
        "This machine has keys of several people who may sign.", "Say who you are with --as NAME.", exits=(2,)
    ),
    "E_KEY_DUPLICATE": Stop(
        "One key stands under two names or in two roles that must be apart.",
        "Give each person, role and device a key of its own.",
        exits=(3, 4),
        device=("refused",),
    ),
    "E_KEY_EXISTS": Stop(
        "There is a key of that name already, and it is not overwritten.",
        "Choose another name; `fwctl keys list` shows those there are.",
        exits=(3,),
    ),
    "E_KEY_FILE": Stop(
        "The file is no key that can be read.", "Import the key again: `fwctl keys import NAME FILE`.", exits=(3,)
    ),
    "E_KEY_HOLDER": Stop(
        "The key file names another holder than the command line.",
        "If they are one person, use the name that stands in the file.",
        exits=(2,),
    ),
    "E_KEY_KIND": Stop(
        "The key lies in a token, which has a PIN and no passphrase.",
        "Change the PIN with the token's own tool.",
        exits=(3,),
    ),
    "E_KEY_MISMATCH": Stop(
        "The private key and its public half do not belong together, so nothing is signed with it.",
        "Restore both from one backup; if you cannot, make a new key.",
        exits=(3,),
    ),
    "E_KEY_MISSING": Stop(
        "The key that is needed is not on this machine, or it is not clear which is meant.",
        "See what is here with `fwctl keys list`, and say whose with --as NAME.",
        exits=(3,),
        device=("refused",),
    ),
    "E_KEY_NAME": Stop(
        "The name cannot be that of a key's holder.",
        "Use letters, digits, dots, dashes and underscores, at most 64.",
        exits=(3,),
    ),
    "E_KEY_NOT_TRUSTED": Stop(
        "The fleet's trust does not know this machine's key, so no device would obey it.",
        "Put the key in place that the owners have signed for, or have them sign for this one.",
        exits=(4,),
    ),
    "E_KEY_PASSPHRASE": Stop(
        "The passphrase does not open the private key, or its file is damaged.",
        "Try again; if the file is damaged, restore its backup.",
        exits=(3,),
    ),
    "E_KEY_PUBLIC": Stop(
        "The public half of an encrypted key is not beside it.",
        "Open the key once, which writes it: `fwctl keys export NAME`.",
        exits=(3,),
    ),
    "E_KEY_SOURCE": Stop(
        "The command does not say where the key to import is.",
        "Name a file, or a token with --hsm and --module.",
        exits=(2,),
    ),
    "E_KEY_WEAK": Stop(
        "The key is one that anybody could guess or sign under.",
        "Make a new one with `fwctl keys generate NAME` and have it replace this one.",
        exits=(4,),
        device=("refused",),
    ),
    "E_META_MISMATCH": Stop(
        "Trust metadata is missing, or is not the file and version that other metadata promises.",
        (
            "Restore trust/ from git as it was signed, or get the newest commits; `fwctl trust status` shows what "
            "stands."
        ),
        device=("refused",),
    ),
    "E_META_ROLLBACK": Stop(
        "Trust metadata is older than what was applied before; what was revoked since would count again.",
        "Find out who took it back, and put the newest trust/ in place again.",
        exits=(4,),
        device=("refused",),
    ),
    "E_NOT_APPROVED": Stop(
        "No approval that counts covers this rollout, release or device.",
        "See who is missing with `fwctl status ROLLOUT`; approve with `fwctl approve ROLLOUT`.",
        exits=(4,),
        device=("refused",),
    ),
    "E_NOT_APPROVER": Stop(
        "The policy does not let this person, with this key, approve here.",
        "Sign where the right key is, or have the policy changed; `fwctl keys list` shows the keys here.",
        exits=(4,),
    ),
    "E_NOT_SIGNER": Stop(
        "No key on this machine may sign this change of trust.",
        "Sign where such a key is; `fwctl trust status` names who may.",
        exits=(4,),
    ),
    "E_NO_PERSON": Stop(
        "The trust knows nobody of that name.", "See who is known: `fwctl trust status --format json`.", exits=(2,)
    ),
    "E_NO_PROPOSAL": Stop(
        "No change of trust is open.", "Get the newest commits; `fwctl trust status` shows what is open.", exits=(3,)
    ),
    "E_NO_RENEWAL": Stop(
        "There is no approval of exactly this content that could be renewed.",
        "Look at the plan and approve it: `fwctl approve ROLLOUT`.",
        exits=(4,),
    ),
    "E_NO_TRUST": Stop(
        "This machine has not pinned the fleet's root of trust, so nothing can be verified.",
        ("Get the root's fingerprint from an owner over another channel, then: `fwctl trust pin --fingerprint HEX`."),
        exits=(3,),
    ),
    "E_PASSPHRASE": Stop(
        "The passphrase cannot be taken from where it is said to be.",
        (
            "Write it into the first line of a file that only you can read, and name the file in the variable "
            "that the message names."
        ),
        exits=(3,),
    ),
    "E_PASSPHRASE_MISMATCH": Stop(
        "The two passphrases that were typed differ; nothing was written.", "Run the command again.", exits=(3,)
    ),
    "E_PASSPHRASE_SHORT": Stop(
        "The passphrase is too short to protect a key whose file is stolen.", "Take several words.", exits=(3,)
    ),
    "E_PIN": Stop(
        "A fingerprint does not fit the root, or a token's PIN cannot be taken from its file.",
        ("Compare all 64 digits with the owner over another channel; write a PIN into a file that only you can read."),
        exits=(3, 4),
    ),
    "E_POLICY_INVALID": Stop(
        ("The policy or the metadata that carries it breaks a rule: it could not be met, or would allow too much."),
        "Have it corrected and signed by those who sign it: `fwctl trust policy FILE`.",
        exits=(2,),
        device=("refused",),
    ),
    "E_GUARD_RAIL": Stop(
        "The rollout breaks a rule of a guard rail that the signed policy has put in force.",
        "Do what satisfies the rule, or set it aside in `exceptions` with a reason, and approve that.",
        exits=(4,),
    ),
    "E_GUARD_RAIL_MISSING": Stop(
        "The signed policy names a guard rail whose file is not there, so nobody can tell what it demands.",
        "Put the file back as it was signed (git log -- policies/), or have today's signed: `fwctl trust guard-rails`.",
        exits=(4,),
    ),
    "E_POLICY_UNTRUSTED": Stop(
        "The device has no policy that it trusts, or a trust file is not the one that was signed.",
        "Restore trust/ from git as it was signed; the next order carries it to the device.",
        device=("refused",),
    ),
    "E_PROPOSAL_INVALID": Stop(
        "The open change of trust cannot become trust.",
        "Take it away with `fwctl trust drop --reason WHY` and make the change again.",
        exits=(3,),
    ),
    "E_PROPOSAL_OPEN": Stop(
        "Another change of trust is open and waits for signatures.",
        "Look at it with `fwctl trust status`; then `fwctl trust sign`, or `fwctl trust drop --reason WHY`.",
        exits=(6,),
    ),
    "E_PROPOSAL_STALE": Stop(
        "The trust has moved on since the open change was made.",
        "Take it away with `fwctl trust drop --reason stale` and make the change again.",
        exits=(6,),
    ),
    "E_REVOKED": Stop(
        "The policy has revoked the key; nothing that it signs counts.",
        "Use another key; on a device, remove identity/ so that it makes a new one, and enroll it again.",
        exits=(4,),
        device=("refused",),
    ),
    "E_ROOT_CHAIN": Stop(
        ("The versions of the root do not follow one another with the signatures of both the old and the new keys."),
        "Restore every trust/N.root.json from git; devices and machines walk them one by one.",
        device=("refused",),
    ),
    "E_SIGNER": Stop(
        "The token did not sign; nothing unsigned was used.",
        "Look at the token, its module and the PIN, then run the command again.",
        exits=(5,),
    ),
    "E_SIG_MISSING": Stop(
        "Fewer people have signed than the policy asks for.",
        ("See who is missing with `fwctl status ROLLOUT`; they run `fwctl approve ROLLOUT` or `fwctl firmware sign`."),
        device=("refused",),
    ),
    "E_SIG_THRESHOLD": Stop(
        ("The signatures that count are too few: unknown keys, other people's keys and wrong signatures do not count."),
        "Have those sign whom the policy names; the message says which signatures were ignored and why.",
        device=("refused",),
    ),
    "E_SIG_TYPE": Stop(
        "A signed document of another type stands where one of this type is needed.",
        "Put the right document in place; never rename a signed file.",
        device=("refused",),
    ),
    "E_THRESHOLD": Stop(
        "After the change a role or group could not reach its threshold, so it could never be signed again.",
        "Add another signer first: `fwctl trust add-key NAME KEYFILE`.",
        exits=(2,),
    ),
    "E_TRUST_EXISTS": Stop(
        "There is a root of trust, or keys of it, already, and it is not the one of this repository.",
        "Compare fingerprints with an owner over another channel before you pin; or choose another --repo-id.",
        exits=(3,),
    ),
    "E_WITHDRAWN": Stop(
        "The release was withdrawn by those who sign releases.", "Choose another version.", device=("refused",)
    ),
}
