"""What devices, their identities, and the storage refuse or fail at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from fwctl.codes.entry import Stop

DEVICES: Final[Mapping[str, Stop]] = {
    "E_ACTIVATIONS": Stop(
        "The slot was activated again once already under this order, which is as often as it may be.",
        "See why it did not hold, and what may be done: `fwctl explain DEVICE`.",
        device=("refused",),
    ),
    "E_CA_EXPIRED": Stop(
        ("The certificate authority of devices or of the reconciler is past its end, and so is all that it signed."),
        "Check the clock; if it is right, make new authorities (docs/how-to/identities.md).",
        exits=(3, 5),
    ),
    "E_CERTIFICATE": Stop(
        "The certificate is not one that can be used for this device.",
        "Name the right file, or issue another: `fwctl device enroll NAME`.",
        exits=(3,),
        device=("refused",),
    ),
    "E_CERT_EXPIRED": Stop(
        "The device's certificate is past its end; it can only renew it, with the same key.",
        "Renew it where the device CA's key is: `fwctl device renew NAME`.",
        exits=(5,),
    ),
    "E_CERT_KEY": Stop(
        "The new certificate is for a key that the device does not have.",
        "Ask the device for a request again, and issue the certificate for that.",
        device=("refused",),
    ),
    "E_CERT_OLD": Stop(
        "The new certificate does not end later than the one that the device has.",
        "Nothing to do if the device has the newer one; else issue another: `fwctl device renew NAME`.",
        device=("refused",),
    ),
    "E_CUT": Stop(
        "The body of a request did not arrive at the device in time.",
        "It is tried again; look at the network if it stays so.",
        device=("deferred",),
    ),
    "E_DEFERRED": Stop(
        "The device is not ready to be updated now.",
        "It is tried again; `fwctl explain DEVICE` shows the device's reason.",
        device=("deferred",),
    ),
    "E_DEVICE_REPLY": Stop(
        "The device answers what the protocol does not allow.",
        "Check the agent's version and its log on the device.",
        exits=(5,),
    ),
    "E_ENDED": Stop(
        "The install order has ended on the device, which keeps its outcome.",
        "The reconciler asks for the outcome by itself: `fwctl reconcile --once`.",
        device=("resync",),
    ),
    "E_HASH": Stop(
        "Bytes do not have the digest that was signed.",
        "Upload or register the right image again; look for who changed it.",
        exits=(3,),
        device=("refused",),
    ),
    "E_HW_MISMATCH": Stop(
        "The image is built for another model or board than this device.",
        "Correct the device's model and hardware in the inventory, or exclude it from the rollout.",
        device=("refused",),
    ),
    "E_INTERNAL": Stop(
        "The agent has a bug; the order left no trace.",
        "Look at the agent's log on the device and report it; the order is tried again.",
        device=("deferred",),
    ),
    "E_IO": Stop(
        "The device's disk failed.", "Look at the disk of the device and at the agent's log.", device=("deferred",)
    ),
    "E_JOURNAL": Stop(
        "The journal on the device belongs to another device or fleet, as after copying a disk.",
        "Correct the id in agent.toml, or remove the copied state and enroll the device: `fwctl device enroll NAME`.",
        device=("refused",),
    ),
    "E_LENGTH": Stop(
        "The image is longer or shorter than signed, or it is empty.",
        "Build it, or upload it again: `fwctl firmware add FILE`.",
        exits=(3, 5),
        device=("refused",),
    ),
    "E_LIMIT": Stop(
        "A message or document is larger, or nested deeper, than the format allows.",
        "Make it smaller; if fwctl wrote it, report it.",
        device=("refused",),
    ),
    "E_NOT_FOUND": Stop(
        "The agent has no such address or method.",
        "Check that fwctl and the agent are of one release, and who else calls the agent.",
        device=("refused",),
    ),
    "E_NOT_READY": Stop(
        "The install order is not yet where the next one may follow.",
        "It is tried again: `fwctl status` shows where it is.",
        device=("deferred",),
    ),
    "E_NOT_STAGED": Stop(
        "The slot no longer holds the image that was staged.",
        "The reconciler stages it again by itself: `fwctl reconcile --once`.",
        device=("resync",),
    ),
    "E_NO_CA_KEY": Stop(
        "This machine does not hold the private key that signs certificates.",
        "Run it on the machine where devices are enrolled.",
        exits=(3,),
    ),
    "E_NO_CERTIFICATE": Stop(
        "No key or certificate of the device is known on this machine.",
        "Run it where the device was enrolled, or name its certificate with --certificate FILE.",
        exits=(3,),
    ),
    "E_NO_DEVICE_CA": Stop(
        "The device was enrolled without the device CA, so it can judge no new certificate.",
        "Put pki/device-ca.cert.pem on the device as identity/device-ca.pem, and restart its agent.",
        exits=(5,),
        device=("refused",),
    ),
    "E_NO_WAY_BACK": Stop(
        "The image that ran before is no longer on the device.",
        "Roll forward: release a version that mends it.",
        device=("refused",),
    ),
    "E_ORDER_REPLAY": Stop(
        "The order is an old one, for another device, or from a reconciler that was replaced.",
        "If it is yours, run `fwctl reconcile --once`; else find who sends old orders.",
        device=(
            "refused",
            "resync",
        ),
    ),
    "E_PKI": Stop(
        "A key, certificate or the register of certificates is missing or damaged on this machine.",
        "Restore the fleet's pki folder from a backup, or copy it from the machine that has it.",
        exits=(3,),
    ),
    "E_PRECURSOR": Stop(
        "The release may follow only certain versions, and the device runs another one.",
        "Roll out one of those versions to the device first.",
        device=("refused",),
    ),
    "E_PROBE_SET": Stop(
        "The approved rollout asks for a set of probes that the device does not have.",
        "Configure the set in the device's agent.toml, or ask for another in the manifest.",
        device=("refused",),
    ),
    "E_RANGE": Stop(
        "A part of the image is not the one that was asked for.",
        "Look at the storage, and at proxies before it; it is tried again.",
        device=("refused",),
    ),
    "E_REDIRECT": Stop(
        "A device or storage sends us elsewhere, and no redirect is followed.",
        "Check what listens at its address, and name the final address.",
        exits=(5,),
        device=("refused",),
    ),
    "E_REFERS_TO": Stop(
        "The device is at another order than the reconciler thinks.",
        "The reconciler asks for that one by itself: `fwctl reconcile --once`.",
        device=("resync",),
    ),
    "E_REPORT": Stop(
        (
            "What the device reports contradicts what it was ordered, or another key signed it; nothing of it was "
            "recorded."
        ),
        "Find out who answers at the address; enroll the device again if its key was replaced.",
        exits=(5,),
    ),
    "E_REQUEST": Stop(
        "The request for a certificate is not one that its own key signed for this device alone.",
        "Have the device make the request again.",
        device=("refused",),
    ),
    "E_ROLLBACK_FLOOR": Stop(
        "The image lies below the security floor that the device keeps.",
        "Release a version at or above the floor.",
        device=("refused",),
    ),
    "E_ROLLBACK_FORBIDDEN": Stop(
        "What was approved does not allow to go back.",
        "Roll forward, or have the way back approved in a new rollout.",
        device=("refused",),
    ),
    "E_STORAGE_CUT": Stop(
        "The storage broke off, is too slow, or does not speak HTTP.",
        "Look at the storage and the network; it is tried again.",
        exits=(5,),
    ),
    "E_STORAGE_MISSING": Stop(
        "The storage does not hold the image.",
        "Upload it: `fwctl firmware add FILE`, or by your own means where fwctl may not write.",
        exits=(3,),
        device=("refused",),
    ),
    "E_STORAGE_QUERY": Stop(
        "The file with the storage's token cannot be used.",
        "Write one line such as sig=...&se=..., percent-encoded, into it.",
        exits=(3,),
    ),
    "E_STORAGE_STATUS": Stop(
        "The storage answers with something else than the image.",
        "Look at the storage and its access rights; the next pass goes on with the rollout.",
        exits=(5,),
        device=("refused",),
    ),
    "E_STORAGE_TLS": Stop(
        "The storage does not prove who it is, or the file of its CA cannot be used.",
        ("Look at its certificate; FWCTL_STORAGE_CA, on a device `[download] ca` in agent.toml, names a private CA."),
        exits=(3, 5),
        device=("refused",),
    ),
    "E_STORAGE_TYPE": Stop(
        "The fleet's storage is of a type that cannot do this.",
        "Write storage: {type: file, path: FOLDER}, or {type: https, url: ADDRESS}, in fleet.yaml.",
        exits=(3,),
    ),
    "E_STORAGE_UNREACHABLE": Stop(
        "The storage cannot be reached.",
        "Look at the storage, its name and the network; it is tried again.",
        exits=(5,),
    ),
    "E_TLS": Stop(
        "Somebody else answers at the device's address, or the device refuses our certificate.",
        "Check the address and the device's certificate: `fwctl device show NAME`.",
        exits=(5,),
    ),
    "E_UNKNOWN_ORDER": Stop(
        "The device does not know the order that it was asked for.",
        "The reconciler looks at the device again by itself: `fwctl reconcile --once`.",
        device=("resync",),
    ),
    "E_UNREACHABLE": Stop(
        "Nobody answers at the device's address, or the connection broke.",
        "It is tried again with backoff; look at the device and the network if it stays so.",
        exits=(5,),
    ),
    "E_URL": Stop(
        "The storage's address is one that the signed policy does not allow.",
        "Correct the address, or have the policy's list of addresses changed.",
        device=("refused",),
    ),
}
