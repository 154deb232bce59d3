"""What third parties read: bills of materials, and folders of evidence."""

from __future__ import annotations

import base64
import json
import tempfile
from pathlib import Path
from typing import Any, Final

from cryptography.x509 import load_pem_x509_certificate

from fwctl.audit.folder import DEVICE_CA, EVENTS, INDEX, OUTCOMES
from fwctl.audit.verify import verify
from fwctl.errors import FwctlError
from fwctl.manifests.components import MAX_COMPONENTS, read_bill
from fwctl_agent.protocol import canonical
from tests.fuzz.fleet_targets import error_code
from tests.fuzz.record import recorded
from tests.fuzz.run import ACCEPTED, Target, Wrong

_BILL: Final[dict[str, Any]] = {
    "bomFormat": "CycloneDX",
    "specVersion": "1.5",
    "version": 1,
    "metadata": {"component": {"type": "firmware", "name": "sensor-v1", "version": "2.5.0"}},
    "components": [
        {"type": "library", "name": "openssl", "version": "3.0.1", "purl": "pkg:generic/openssl@3.0.1"},
        {
            "type": "library",
            "group": "@scope",
            "name": "part",
            "purl": "pkg:npm/%40scope/part@1.0?x=y",
            "components": [{"type": "application", "name": "inner", "bom-ref": "a", "hashes": []}],
        },
    ],
    "dependencies": [{"ref": "a", "dependsOn": []}],
}


def bill() -> Target:
    """Bills of materials: refused, or components that can be shown and looked for."""

    def judge(data: bytes) -> str:
        try:
            found = read_bill(data, place="sbom.json")
        except FwctlError as error:
            return error_code(error)
        if len(found) > MAX_COMPONENTS or any(not one.name for one in found):
            raise Wrong("too many components, or one of no name")
        if not all(text.isprintable() for one in found for text in one.to_json().values()):
            raise Wrong("a terminal would obey a component")
        return ACCEPTED

    return Target("bill", (json.dumps(_BILL).encode(), json.dumps(_BILL | {"specVersion": "1.6"}).encode()), judge)


def evidence() -> Target:
    """One bad file in a folder of evidence, listed as it is: it does not hold, or tells of the same rollout.

    The first line names the file, or the index itself.
    """
    made = recorded()["evidence"]
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    files = {name: base64.b64decode(data) for name, data in made["files"].items()}
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    good = verify(folder, root=made["root"])
    index, authority = json.loads(files[INDEX]), load_pem_x509_certificate(files[DEVICE_CA]).public_key()

    def judge(data: bytes) -> str:
        line, _, content = data.partition(b"\n")
        name = line.decode(errors="replace")
        if name not in files:
            return "no file of it"
        (folder / name).write_bytes(content)
        if name != INDEX:
            listed = index["files"] | {name: canonical.digest(content)}
            (folder / INDEX).write_text(json.dumps(index | {"files": listed}))
        try:
            found = verify(folder, root=made["root"])
        except FwctlError as error:
            return error_code(error)
        finally:
            (folder / name).write_bytes(files[name])
            (folder / INDEX).write_bytes(files[INDEX])
        if not found.holds:
            return ", ".join(check.name for check in found.checks if not check.holds)
        if (found.rollout, found.mandate, found.commit) != (good.rollout, good.mandate, good.commit):
            raise Wrong("it holds for another rollout")
        # the policy names the authority's key: what else its certificate says is nobody's word
        if name == DEVICE_CA and load_pem_x509_certificate(content).public_key() != authority:
            raise Wrong("another device CA")
        if content != files[name] and name not in (INDEX, EVENTS, OUTCOMES, DEVICE_CA):
            raise Wrong(f"{name} may be another one")
        return ACCEPTED

    samples = tuple(name.encode() + b"\n" + data for name, data in files.items())
    return Target("evidence", samples, judge, json=False)
