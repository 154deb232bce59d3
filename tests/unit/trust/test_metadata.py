"""What the TUF core adds to python-tuf: key material, one atomic set, and a refusal for every hostile byte."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from securesystemslib.formats import encode_canonical
from securesystemslib.signer import CryptoSigner

from fwctl_agent.errors import Refusal
from fwctl_agent.protocol.messages import TrustVersions
from fwctl_agent.trust.metadata import POLICY_TARGET, TrustedMetadata
from tests.contract.tuf_history import Repo, edit, key, one_key_under_two_ids
from tests.support.signing import NOW

SECOND = timedelta(seconds=1)
REPO = Repo()
BUNDLE = REPO.bundle()
TRUSTED = TrustedMetadata.bootstrap(REPO.pinned).advance(BUNDLE, now=NOW, fresh=True)


def advance(repo: Repo, bundle: dict[str, str] | None = None, state: TrustedMetadata | None = None) -> TrustedMetadata:
    start = state or TrustedMetadata.bootstrap(repo.pinned)
    return start.advance(repo.bundle() if bundle is None else bundle, now=NOW, fresh=True)


def refused(code: str, repo: Repo, bundle: dict[str, str] | None = None, state: TrustedMetadata | None = None) -> None:
    before = dict(state.files) if state else {}
    with pytest.raises(Refusal) as found:
        advance(repo, bundle, state)
    assert found.value.code == code, found.value
    assert dict(state.files if state else {}) == before, "a refusal leaves the trusted set byte-identical"


def test_versions_and_files_are_those_of_the_bundle() -> None:
    assert TRUSTED.versions == TrustVersions(1, 1, 1, 1, 1)
    assert dict(TRUSTED.files) == BUNDLE
    assert TrustedMetadata.bootstrap(REPO.pinned).versions == TrustVersions(1, 0, 0, 0, 0)


def test_a_reviewer_needs_no_freshness() -> None:
    bundle = {name: text for name, text in BUNDLE.items() if name not in ("timestamp.json", "snapshot.json")}
    trusted = TrustedMetadata.bootstrap(REPO.pinned).advance(bundle, now=NOW, fresh=False)
    assert trusted.versions == TrustVersions(1, 1, 1, 0, 0)
    refused("E_META_MISMATCH", REPO, bundle)


def test_i4_a_set_with_a_timestamp_does_not_forget_it() -> None:
    with pytest.raises(Refusal, match=r"^E_META_ROLLBACK: "):
        TRUSTED.advance(BUNDLE, now=NOW, fresh=False)


@pytest.mark.parametrize("role", ["targets", "policy"])
def test_a15_a_reviewer_sees_a_rollback_without_a_snapshot(role: str) -> None:
    repo = Repo()
    old = repo.text(role)
    repo.bump("targets", "policy")
    trusted = TrustedMetadata.bootstrap(repo.pinned).advance(repo.bundle(), now=NOW, fresh=False)
    with pytest.raises(Refusal, match=r"^E_META_ROLLBACK: "):
        trusted.advance(repo.bundle(**{role: old}), now=NOW, fresh=False)


@pytest.mark.parametrize("role", ["targets", "policy"])
def test_a_version_binds_only_while_the_keys_stay_the_same(role: str) -> None:
    repo = Repo()
    repo.bump(role, by=1_000_000)
    trusted = TrustedMetadata.bootstrap(repo.pinned).advance(repo.bundle(), now=NOW, fresh=False)
    repo.versions[role] = 2
    with pytest.raises(Refusal, match=r"^E_META_ROLLBACK: "):
        trusted.advance(repo.bundle(), now=NOW, fresh=False)
    if role == "targets":
        repo.rotate(targets=[key()])
    else:
        repo.keys["policy"] = [key()]
        repo.bump("targets")
    trusted.advance(repo.bundle(), now=NOW, fresh=False)


def test_a15_rotating_freshness_alone_does_not_forget_targets() -> None:
    repo = Repo()
    repo.bump("targets")
    trusted = advance(repo)
    repo.versions["targets"] = 1
    repo.rotate(timestamp=[key()], snapshot=[key()])
    refused("E_META_ROLLBACK", repo, state=trusted)


def test_a15_rotating_targets_keys_alone_does_not_forget_the_snapshot() -> None:
    repo = Repo()
    repo.bump("targets")
    trusted = advance(repo)
    repo.versions["targets"] = 1
    repo.rotate(targets=[key()])
    repo.bump("timestamp", "snapshot")
    refused("E_META_ROLLBACK", repo, state=trusted)


def test_a15_codes_of_a_rollback() -> None:
    repo = Repo()
    repo.bump("timestamp", "snapshot", "targets", "policy")
    trusted = advance(repo)
    for role in ("timestamp", "snapshot", "targets", "policy"):
        repo.bump(role, by=-1)
        if role != "timestamp":
            repo.bump("timestamp")
        if role in ("targets", "policy"):
            repo.bump("snapshot")
        refused("E_META_ROLLBACK", repo, state=trusted)
        repo.versions |= {"timestamp": 2, "snapshot": 2, role: 2}


def test_a15_role_removed_from_the_snapshot() -> None:
    repo = Repo()
    trusted = advance(repo)
    repo.bump("snapshot", "timestamp")
    bundle = repo.bundle(
        snapshot=edit(repo.snapshot(), lambda it: it["meta"].pop("policy.json"), repo.keys["snapshot"])
    )
    refused("E_META_ROLLBACK", repo, bundle, trusted)
    refused("E_META_MISMATCH", repo, bundle)


def test_two_timestamps_of_one_version() -> None:
    repo = Repo()
    trusted = advance(repo)
    repo.expires["timestamp"] = NOW + timedelta(days=2)
    refused("E_META_ROLLBACK", repo, state=trusted)


def test_a16_mix_and_match() -> None:
    repo = Repo()
    old = {role: repo.text(role) for role in ("snapshot", "targets", "policy")}
    repo.bump("timestamp", "snapshot", "targets", "policy")
    for role, text in old.items():
        refused("E_META_MISMATCH", repo, repo.bundle(**{role: text}))


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets", "policy"])
def test_a02_metadata_signed_by_a_stranger_or_by_nobody(role: str) -> None:
    for signers, code in (([key()], "E_SIG_THRESHOLD"), ([], "E_SIG_MISSING")):
        other = Repo(keys=REPO.keys | {role: signers}, roots=REPO.roots, person=REPO.person, order=REPO.order)
        text = other.text(role)
        refused(code, REPO, BUNDLE | {f"{role}.json": text})


@pytest.mark.parametrize("change", [{"length": 1}, {"hashes": {"sha256": "0" * 64}}, {"hashes": {"md5": "0" * 32}}])
def test_a16_a_promised_length_or_hash_must_hold(change: dict[str, Any]) -> None:
    for role, name in (("timestamp", "snapshot.json"), ("snapshot", "targets.json"), ("snapshot", "policy.json")):

        def promise(signed: dict[str, Any], name: str = name) -> None:
            signed["meta"][name].update(change)

        refused("E_META_MISMATCH", REPO, BUNDLE | {f"{role}.json": edit(REPO.text(role), promise, REPO.keys[role])})


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets", "policy"])
def test_a14_expired_metadata(role: str) -> None:
    repo = Repo(expires={role: NOW})
    refused("E_EXPIRED", repo)
    repo.expires[role] = NOW + SECOND
    advance(repo)


def test_a14_expired_root() -> None:
    repo = Repo(expires={"root": NOW})
    refused("E_EXPIRED", repo)


def test_stored_trust_is_restored_after_its_end() -> None:
    state = TRUSTED
    assert TrustedMetadata.restore(state.files).policy == state.policy
    with pytest.raises(Refusal, match=r"^E_EXPIRED: "):
        state.advance(BUNDLE, now=NOW + timedelta(days=31), fresh=True)
    with pytest.raises(Refusal, match="no single root"):
        TrustedMetadata.restore({})
    old = Repo(expires=dict.fromkeys(("root", "timestamp", "snapshot", "targets", "policy"), NOW - timedelta(days=900)))
    then = TrustedMetadata.bootstrap(old.pinned).advance(old.bundle(), now=NOW - timedelta(days=901), fresh=True)
    assert TrustedMetadata.restore(then.files).versions == then.versions
    root = {"1.root.json": REPO.pinned}
    assert TrustedMetadata.restore(root).policy is None


def test_a18_root_chain() -> None:
    repo = Repo()
    for _ in range(3):
        repo.rotate(root=[key()])
    assert advance(repo).versions.root == 4
    del repo.roots["3.root.json"]
    refused("E_ROOT_CHAIN", repo)
    new = [key()]
    for signers in (new, None):
        repo = Repo()
        repo.rotate(signers if signers else repo.keys["root"], root=new)
        refused("E_ROOT_CHAIN", repo)


def test_a18_root_of_the_wrong_number() -> None:
    repo = Repo()
    repo.rotate()
    repo.rotate()
    repo.roots["2.root.json"] = repo.roots.pop("3.root.json")
    refused("E_ROOT_CHAIN", repo)


def test_a18_256_rotations_are_walked_257_are_not() -> None:
    repo = Repo()
    for _ in range(256):
        repo.rotate()
    assert advance(repo).versions.root == 257
    repo.rotate()
    refused("E_ROOT_CHAIN", repo)
    repo.roots = {"1.root.json": repo.pinned, "999999999.root.json": repo.pinned}
    refused("E_ROOT_CHAIN", repo)


def test_a18_a_bootstrap_root_signs_itself() -> None:
    repo = Repo()
    with pytest.raises(Refusal, match=r"^E_SIG_THRESHOLD: "):
        TrustedMetadata.bootstrap(repo.root([key()]))
    with pytest.raises(Refusal, match=r"^E_SIG_MISSING: "):
        TrustedMetadata.bootstrap(repo.root([]))


@pytest.mark.parametrize("role", ["root", "targets", "snapshot", "timestamp", "policy"])
def test_a03_one_key_under_two_ids(role: str) -> None:
    repo = Repo()
    repo.thresholds = {role: 2}
    both = one_key_under_two_ids()
    if role == "policy":
        repo.keys["policy"] = both
    else:
        repo.rotate(**{role: both})
    refused("E_KEY_DUPLICATE", repo)
    if role == "root":
        with pytest.raises(Refusal, match=r"^E_KEY_DUPLICATE: "):
            TrustedMetadata.bootstrap(Repo(keys=repo.keys, thresholds=repo.thresholds).pinned)


def test_a10_rsa_and_degenerate_keys_in_a_root() -> None:
    for signer in (CryptoSigner.generate_rsa(), CryptoSigner.generate_ecdsa()):
        repo = Repo()
        repo.rotate(timestamp=[signer])
        if signer.public_key.keytype == "rsa":
            refused("E_KEY_ALG", repo)
        else:
            advance(repo)
    weak = json.loads(REPO.pinned)["signed"]["roles"]["timestamp"]["keyids"][0]

    def degenerate(root: dict[str, Any]) -> None:
        root["keys"][weak]["keyval"]["public"] = "01" + "00" * 31

    with pytest.raises(Refusal, match=r"^E_KEY_WEAK: "):
        TrustedMetadata.bootstrap(edit(REPO.pinned, degenerate, REPO.keys["root"]))


@pytest.mark.parametrize(
    ("keytype", "scheme"), [("sigstore-oidc", "Fulcio"), ("sphincs", "sphincs-shake-128s"), ("x", "none")]
)
def test_a10_key_of_another_kind_in_a_root(keytype: str, scheme: str) -> None:
    used = json.loads(REPO.pinned)["signed"]["roles"]["timestamp"]["keyids"][0]
    keyval = {"identity": "alice@example.com", "issuer": "https://login.example.com", "public": "00"}

    def foreign(root: dict[str, Any]) -> None:
        root["keys"][used] = {"keytype": keytype, "scheme": scheme, "keyval": keyval}

    with pytest.raises(Refusal):
        TrustedMetadata.bootstrap(edit(REPO.pinned, foreign, REPO.keys["root"]))


@pytest.mark.parametrize("keyid", [None, 5, True, [], {}, ""])
@pytest.mark.parametrize("sig", [None, 5, True, [], {}, "", "zz", "é", "00" * 64])
def test_a02_junk_signatures_count_for_nobody(keyid: Any, sig: Any) -> None:
    whole = json.loads(BUNDLE["timestamp.json"])
    mine = whole["signatures"][0]["keyid"]
    for junk in ([{"keyid": keyid, "sig": sig}], [{"keyid": mine, "sig": sig}], [{"keyid": mine}], [None], None):
        text = json.dumps(whole | {"signatures": junk})
        with pytest.raises(Refusal):
            advance(REPO, BUNDLE | {"timestamp.json": text})


def test_a_policy_of_another_repository() -> None:
    repo = Repo()
    trusted = advance(repo)
    repo.repo_id = "other"
    repo.bump("timestamp", "snapshot", "policy")
    refused("E_META_MISMATCH", repo, state=trusted)


def test_a27_policy_target_that_was_not_signed() -> None:
    text = REPO.policy_text()
    for other in (text + " ", text.replace('"threshold": 1', '"threshold": 2'), text[:-1], "\ud800"):
        refused("E_POLICY_UNTRUSTED", REPO, BUNDLE | {POLICY_TARGET: other})


@pytest.mark.parametrize("name", [*BUNDLE])
def test_every_file_is_needed(name: str) -> None:
    if name.endswith("root.json"):
        return
    refused("E_META_MISMATCH", REPO, {key: text for key, text in BUNDLE.items() if key != name})


# --- hostile metadata: a refusal, whatever it is -------------------------------------------------------------------

JUNK: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, "", "2", "x", [], {}, [[]], [None], {"a": None}, ["\u0000"], 9007199254740991, [1, 1],
)  # fmt: skip


def paths(value: object, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of every value inside `value`."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = [here] if here else []
    for name, item in inner:
        found += paths(item, (*here, name))
    return found


def changed(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    copy = json.loads(json.dumps(value))
    at = copy
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = new
    return copy


@pytest.mark.parametrize("name", [name for name in BUNDLE if name != POLICY_TARGET])
def test_a06_junk_in_every_place_of_signed_metadata(name: str) -> None:
    """Even a holder of the keys cannot make the parser raise anything but a refusal."""
    role = "root" if name.endswith("root.json") else name.removesuffix(".json")
    whole = json.loads(BUNDLE[name])
    for path in paths(whole):
        for junk in JUNK:
            hostile = changed(whole, path, junk)
            text = resigned(hostile, REPO.keys[role]) if path[0] == "signed" and len(path) > 1 else json.dumps(hostile)
            try:
                start = TrustedMetadata.bootstrap(text if role == "root" else REPO.pinned)
                start.advance(BUNDLE | {name: text}, now=NOW, fresh=True)
            except Refusal:
                continue
            assert harmless(path, whole, hostile), (path, junk)


def resigned(whole: dict[str, Any], signers: list[CryptoSigner]) -> str:
    payload = encode_canonical(whole["signed"])
    assert payload is not None
    signatures = [one.sign(payload.encode()) for one in signers]
    whole["signatures"] = [{"keyid": one.keyid, "sig": one.signature} for one in signatures]
    return json.dumps(whole)


def harmless(path: tuple[Any, ...], whole: Any, hostile: Any) -> bool:
    """Say whether a change may be accepted: when a key holder signed something that is another valid statement."""
    words = {str(step) for step in path}
    return bool(
        words & {"consistent_snapshot", "spec_version", "version", "delegations", "signatures", "terminating"}
    ) or (whole == hostile)


def test_a06_thresholds_in_metadata() -> None:
    for threshold in (0, -1, "2", "1", True, None, 2, 9007199254740991):

        def change(root: dict[str, Any], threshold: Any = threshold) -> None:
            root["roles"]["timestamp"]["threshold"] = threshold

        with pytest.raises(Refusal):
            TrustedMetadata.bootstrap(edit(REPO.pinned, change, REPO.keys["root"]))


@pytest.mark.parametrize("version", [True, 0, -1, "1", None, [1]])
@pytest.mark.parametrize(
    ("role", "path"),
    [("timestamp", ("meta", "snapshot.json")), ("snapshot", ("meta", "policy.json")), ("targets", ())],
)
def test_a06_versions_in_metadata(role: str, path: tuple[str, ...], version: Any) -> None:
    def change(signed: dict[str, Any]) -> None:
        at = signed
        for step in path:
            at = at[step]
        at["version"] = version

    refused("E_SCHEMA", REPO, BUNDLE | {f"{role}.json": edit(REPO.text(role), change, REPO.keys[role])})


def test_metadata_with_duplicate_keys_floats_or_of_another_role() -> None:
    text = BUNDLE["timestamp.json"]
    for hostile in (
        text.replace('"version":1', '"version":1,"version":2', 1),
        text.replace('"version":1', '"version":1.0', 1),
        text.replace('"version":1', '"version":1e400', 1),
        text + "x",
        "[" * 100_000,
        "\ud800",
        "\ufeff" + text,
        "",
    ):
        with pytest.raises(Refusal):
            advance(REPO, BUNDLE | {"timestamp.json": hostile})
    refused("E_SIG_TYPE", REPO, BUNDLE | {"timestamp.json": BUNDLE["snapshot.json"]})


def delegated(change: Callable[[dict[str, Any]], object]) -> dict[str, str]:
    return BUNDLE | {"targets.json": edit(REPO.targets(), change, REPO.keys["targets"])}


@pytest.mark.parametrize(
    "change",
    [
        lambda it: it.pop("delegations"),
        lambda it: it["delegations"]["roles"][0].update(paths=["**"]),
        lambda it: it["delegations"]["roles"][0].update(paths=["policy/*", "other/*"]),
        lambda it: it["delegations"]["roles"][0].update(terminating=False),
        lambda it: it["delegations"]["roles"][0].update(name="other"),
        lambda it: it["delegations"]["roles"].append(it["delegations"]["roles"][0] | {"name": "other"}),
        lambda it: it["targets"].update({"x": {"length": 1, "hashes": {"sha256": "0" * 64}}}),
        lambda it: it["delegations"]["roles"][0].update(keyids=["0" * 64]),
        lambda it: it["delegations"]["roles"][0].update(threshold=2),
    ],
)
def test_targets_delegate_policy_and_nothing_else(change: Callable[[dict[str, Any]], object]) -> None:
    refused("E_POLICY_INVALID", REPO, delegated(change))


@pytest.mark.parametrize("hashes", [{"sha512": "0" * 128}, {"sha256": "0" * 64, "sha512": "0" * 128}])
def test_the_policy_target_is_named_by_sha256(hashes: dict[str, str]) -> None:
    text = edit(REPO.policy(), lambda it: it["targets"][POLICY_TARGET].update(hashes=hashes), REPO.keys["policy"])
    refused("E_META_MISMATCH", REPO, BUNDLE | {"policy.json": text})


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a11_flipped_bytes_in_any_file(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(BUNDLE)))
    raw = bytearray(BUNDLE[name].encode())
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 127))
    hostile = BUNDLE | {name: raw.decode(errors="surrogateescape")}
    try:
        after = TRUSTED.advance(hostile, now=NOW, fresh=True)
    except Refusal:
        return
    assert after.versions == TRUSTED.versions
    assert after.policy == TRUSTED.policy


def test_a11_every_byte_of_the_timestamp() -> None:
    start = TrustedMetadata.bootstrap(REPO.pinned)
    good, accepted = BUNDLE["timestamp.json"].encode(), 0
    for index in range(len(good)):
        raw = bytearray(good)
        raw[index] ^= 1
        try:
            after = start.advance(BUNDLE | {"timestamp.json": raw.decode(errors="replace")}, now=NOW, fresh=True)
        except Refusal:
            continue
        accepted += 1
        assert after.versions == TRUSTED.versions
    assert accepted < len(good) // 10


def test_the_old_set_stays_as_it_is() -> None:
    before = replace(TRUSTED)
    repo = Repo(keys=REPO.keys, roots=dict(REPO.roots), person=REPO.person, order=REPO.order)
    repo.bump("timestamp")
    assert advance(repo, state=TRUSTED).versions.timestamp == 2
    assert before == TRUSTED


def test_a_claimed_timestamp_counts_only_as_our_key_signed_it() -> None:
    repo = Repo(keys=REPO.keys, roots=REPO.roots, expires={"timestamp": NOW - SECOND})
    repo.bump("timestamp", by=6)
    assert TRUSTED.timestamp_version(repo.timestamp()) == 7
    forged = Repo(keys=REPO.keys | {"timestamp": [key()]}, roots=REPO.roots).timestamp()
    for text in (forged, repo.timestamp().replace('"version":7', '"version":8'), BUNDLE["snapshot.json"], "", "{}"):
        with pytest.raises(Refusal):
            TRUSTED.timestamp_version(text)
