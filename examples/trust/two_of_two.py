"""Add an approver to a development trust, and from then on ask for both.

    python two_of_two.py NAME PUBLIC_KEY.pem       (in the fleet repository, by the owner of its policy key)

There is no command for changing the policy yet; this is the library call that one would make. Commit what it writes.
"""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import yaml
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from securesystemslib.signer import SSlibKey

from fwctl.trust.keystore import KeyStore
from fwctl.trust.repository import Signers, build_targets, key_object


def main(name: str, public_key: Path) -> None:
    repo_id = yaml.safe_load(Path("fleet.yaml").read_text())["spec"]["repoId"]
    policy = json.loads(Path("trust/policy/policy.json").read_text())
    version = json.loads(Path("trust/targets.json").read_text())["signed"]["version"] + 1
    key = SSlibKey.from_crypto(load_pem_public_key(public_key.read_bytes()))
    policy["people"][name] = {"keys": [key_object(key)]}
    policy["groups"]["owners"] = sorted(policy["people"])
    for rule in policy["approvalRules"]:
        rule["threshold"] = 2

    keystore = KeyStore.of(repo_id)
    (owner,) = keystore.people()
    mine = keystore.signer(owner)
    # `root` and `freshness` are not used here: the root stays as it is.
    signers = Signers([], [mine], [mine], keystore.public("reconciler-freshness"), {})
    for path, text in build_targets(signers, policy, now=datetime.now(UTC), version=version).items():
        Path("trust", path).write_text(text)
    sys.stdout.write(f"policy version {version}: {', '.join(policy['groups']['owners'])}, both must approve\n")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
