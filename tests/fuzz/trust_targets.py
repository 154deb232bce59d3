"""What people hand each other to make a trust: a plan, keys, a proposal with its signatures; addresses of its list."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import httpx
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from securesystemslib.signer import CryptoSigner

from fwctl.errors import FwctlError
from fwctl.manifests import CODES
from fwctl.render.diagnostics import as_json, full
from fwctl.trust.keyfile import open_private
from fwctl.trust.production import read_plan
from fwctl.trust.proposal import PROPOSAL, SIGNATURES, Proposal, new_trust
from fwctl.trust.public_key import PublicKeyFile, parse_public_key
from fwctl.trust.repository import RolePlan, TrustPlan, development_policy
from fwctl_agent.errors import Refusal
from fwctl_agent.trust.addresses import check_address
from fwctl_agent.trust.keys import load_key
from fwctl_agent.trust.policy import StorageHost
from tests.cli.test_production import PLAN
from tests.contract.samples import signer
from tests.fuzz.device_targets import code_of
from tests.fuzz.fleet_targets import error_code
from tests.fuzz.record import PASSPHRASE, recorded
from tests.fuzz.run import ACCEPTED, Target, Wrong
from tests.support.signing import NOW, REPO

_PEOPLE: Final = ("alice", "bob")
_TOKEN: Final = "canary-of-the-query"


def _proposed() -> dict[str, bytes]:
    """Return a first trust that two people must sign."""
    publics = {name: signer(name).public_key for name in _PEOPLE}
    both, one = RolePlan(publics, 2), RolePlan({"bob": publics["bob"]}, 1)
    policy = development_policy(repo_id=REPO, people=publics, order_key=signer("order").public_key)
    plan = TrustPlan(both, both, one, freshness=signer("freshness").public_key, policy=policy)
    return new_trust(plan, now=NOW)


def _opened(files: dict[str, bytes]) -> Proposal:
    found = Proposal.read(files)
    if found is None:
        raise Wrong("no proposal")
    return found


def proposal() -> Target:
    """One bad file in a proposal that all have signed: the first line names it. No trust comes of it but theirs."""
    files = _proposed()
    made = {name: _opened(files).sign(signer(name)) for name in _PEOPLE}
    whole = files | made["alice"] | made["bob"]
    good = _opened(whole).assemble(now=NOW)
    signed = {path: json.loads(data)["signed"] for path, data in good.items() if data and b'"signed"' in data}

    def judge(data: bytes) -> str:
        name, _, content = data.partition(b"\n")
        path = name.decode(errors="replace")
        try:
            found = _opened(whole | {path if path.startswith(PROPOSAL) else f"{PROPOSAL}{path}": content})
            needs, missing = found.needs(), found.missing()
            after = found.assemble(now=NOW)
        except FwctlError as error:
            return error_code(error)
        if missing or {person for need in needs for person in need.signed} != set(_PEOPLE):
            raise Wrong("a threshold that does not hold becomes trust")
        if {path: json.loads(after[path] or b"{}").get("signed") for path in signed} != signed:
            raise Wrong("a trust that nobody signed")
        return ACCEPTED

    samples = tuple(path.encode() + b"\n" + data for path, data in whole.items())
    return Target("proposal", samples, judge, json=False)


def signature() -> Target:
    """The file of one signature, as JSON: it counts for nobody, or for who signed."""
    files = _proposed()
    made = _opened(files).sign(signer("alice"))
    path = next(path for path in made if path.startswith(f"{SIGNATURES}1.root."))

    def judge(data: bytes) -> str:
        found = _opened(files | {path: data})
        who = found.needs()[0].signed
        if who not in ((), ("alice",)) or (not who) != bool(found.wasted()):
            raise Wrong(f"it counts for {who}, wasted are {found.wasted()}")
        return ACCEPTED if who else "wasted"

    return Target("signature", (made[path],), judge)


def plan() -> Target:
    """`trust.yaml`: a plan without findings, or findings and no plan."""

    def judge(data: bytes) -> str:
        found = read_plan(data, "trust.yaml")
        if (found.trust is None) != bool(found.findings) or any(one.code not in CODES for one in found.findings):
            raise Wrong(f"a plan with findings, or none without: {found.findings}")
        if "\x1b" in full(found.findings) + as_json(found.findings):
            raise Wrong("a terminal would obey the finding")
        return found.findings[0].code if found.findings else ACCEPTED

    return Target("trust.yaml", (PLAN.encode(),), judge, json=False)


def public_key() -> Target:
    """Public keys, JSON or PEM: refused, or one that is written as it was read."""

    def judge(data: bytes) -> str:
        try:
            found = parse_public_key(data, Path("alice.pub.json"))
        except FwctlError as error:
            return error_code(error)
        if parse_public_key(found.to_bytes(), Path("x.json")) != found:
            raise Wrong("written otherwise than it was read")
        return ACCEPTED

    point = recorded()["ecdsa"]
    ecdsa = load_key({"keytype": "ecdsa", "scheme": "ecdsa-sha2-nistp256", "keyval": {"public": point}})
    pem = load_pem_private_key(signer("alice").private_bytes, None).public_key()
    pems = (pem.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), point.encode())
    samples = tuple(PublicKeyFile("alice", key).to_bytes() for key in (signer("alice").public_key, ecdsa))
    return Target("public key", samples + pems, judge, json=False)


def private_key() -> Target:
    """Private keys in PEM, with and without a passphrase: refused, or the key that was written."""
    plain = signer("alice").private_bytes
    locked = recorded()["key"].encode()

    def judge(data: bytes) -> str:
        try:
            found = open_private(data, PASSPHRASE, name="alice", place="alice.pem")
        except FwctlError as error:
            if PASSPHRASE in f"{error}{error.remedy}":
                raise Wrong("the error tells the passphrase") from error
            return error_code(error)
        CryptoSigner(found).public_key.keyid.encode()
        return ACCEPTED

    return Target("private key", (plain, locked), judge, json=False)


def address() -> Target:
    """Storage addresses: refused without telling the query, or read as any other client reads them."""
    allow = (
        StorageHost("https", "images.example", 443, None),
        StorageHost("https", "images.example", 8443, None),
        StorageHost("https", "2001:4860:4860::8888", 443, None),
    )

    def judge(data: bytes) -> str:
        text = data.decode(errors="surrogateescape")
        try:
            found = check_address(text, allow)
        except Refusal as refusal:
            if _TOKEN in f"{refusal!r} {refusal}" and _TOKEN not in text.partition("?")[0]:
                raise Wrong("the refusal tells the query") from refusal
            return code_of(refusal)
        url = httpx.URL(text)
        if (url.scheme, url.host, url.port or 443) != ("https", found.host, found.port) or "?" in found.place:
            raise Wrong(f"read as {found}, by others as {url!r}")
        if not any((one.host, one.port) == (found.host, found.port) for one in allow):
            raise Wrong("not of the list")
        return ACCEPTED

    urls = (
        f"https://images.example/a/b.img?sig={_TOKEN}",
        f"https://images.example:8443/%41?x={_TOKEN}&y=1",
        "https://[2001:4860:4860::8888]/a",
    )
    return Target("address", tuple(url.encode() for url in urls), judge, json=False)
