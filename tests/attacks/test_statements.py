"""Attacks on releases and approvals: too few, stolen, copied, stale, dressed up as something else.

Each forgery is a set of envelopes. At the agent's door they come with an order that the real order key signed; at the
doors of the command line and of the reconciler they stand in a commit, in the places where good ones would.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from fwctl_agent.protocol import canonical
from fwctl_agent.protocol.statements import APPROVAL, ORDER, OUTCOME, RELEASE, Mandate
from fwctl_agent.trust.envelope import seal
from tests.attacks.realm import KEY, SECOND, Envelope, Realm, whole_now

pytestmark = pytest.mark.e2e

Forgery = Callable[[Realm], list[Envelope]]
Cases = dict[str, tuple[Forgery, str]]
TYPES = {"release": RELEASE, "approval": APPROVAL, "order": ORDER, "outcome": OUTCOME}


def cases(found: Cases) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(("forgery", "code"), found.values(), ids=found)


def resigned(envelope: Envelope, *signatures: dict[str, str]) -> Envelope:
    return envelope | {"signatures": list(signatures)}


def of(envelope: Envelope) -> dict[str, str]:
    """Return the one signature of an envelope."""
    (found,) = envelope["signatures"]
    return dict(found)


def garbage(envelope: Envelope) -> Envelope:
    return resigned(envelope, of(envelope) | {"sig": base64.b64encode(b"\x01" * 64).decode()})


def claiming(envelope: Envelope, other: Envelope) -> Envelope:
    """The signature of one under the key id of the other."""
    return resigned(envelope, of(envelope) | {"keyid": of(other)["keyid"]})


# --- what is wrong: made once for approvals and once for releases ---

Sign = Callable[..., Envelope]


def too_few(sign: Callable[[Realm], Sign]) -> dict[str, Forgery]:
    """One of two people signs; what stands beside it must not make a second one of him."""

    def beside(*more: Callable[[Sign], list[Envelope]]) -> Forgery:
        return lambda realm: [sign(realm)("alice"), *(found for one in more for found in one(sign(realm)))]

    def doubled(by: Sign) -> list[Envelope]:
        mine = by("alice")
        return [resigned(mine, *[of(mine)] * 2)]

    def in_one(by: Sign) -> list[Envelope]:
        return [resigned(by("alice"), of(by("alice")), of(by("mallory")), of(garbage(by("bob"))))]

    return {
        "one": beside(),
        "unknown-key": beside(lambda by: [by("mallory")]),
        "unknown-key-says-bob": beside(lambda by: [claiming(by("mallory"), by("bob"))]),
        "garbage": beside(lambda by: [garbage(by("bob"))]),
        "unknown-and-garbage": beside(lambda by: [by("mallory")], lambda by: [garbage(by("bob"))]),
        "the-same-twice": beside(lambda by: [by("alice")]),
        "the-same-signature-twice-in-one": beside(doubled),
        "others-in-one-envelope": beside(in_one),
        "the-order-key": beside(lambda by: [by("order")]),
        "empty-signature": beside(lambda by: [resigned(by("bob"), of(by("bob")) | {"sig": ""})]),
        "junk": beside(lambda by: [{"nonsense": 1}]),
        "junk-of-every-kind": beside(
            lambda by: [{}, {"payload": 1}, by("bob") | {"payload": "!"}, by("bob") | {"signatures": {}}]
        ),
    }


APPROVED_BY = too_few(lambda realm: realm.approval)
RELEASED_BY = too_few(lambda realm: realm.release_by)
BY_ALICES_OTHER_KEY: Forgery = lambda realm: [realm.approval("alice"), realm.approval("alice-2")]  # noqa: E731
RELEASED_BY_ALICES_OTHER_KEY: Forgery = lambda realm: [realm.release_by("alice"), realm.release_by("alice-2")]  # noqa: E731


def in_bobs_name(realm: Realm) -> list[Envelope]:
    """Alice signs a second one with her other key and says that she is Bob."""
    from fwctl.trust.signing import sign_approval

    return [realm.approval("alice"), sign_approval(realm.statement("bob"), realm.second_key)]


def unsigned(envelopes: list[Envelope]) -> list[Envelope]:
    return [resigned(envelope) for envelope in envelopes]


# --- the doors ---


def approvals_at_the_agent(realm: Realm, forgery: Forgery, code: str) -> str:
    return realm.refused(realm.request(approvals=forgery(realm)), code)


def releases_at_the_agent(realm: Realm, forgery: Forgery, code: str) -> str:
    return realm.refused(realm.request(releases=forgery(realm)), code)


def approvals_in_a_commit(realm: Realm, forgery: Forgery, code: str) -> str:
    """`status` says why it waits, `trust status` who is missing; a pass sends nothing and exits 1."""
    try:
        realm.write_approvals(forgery(realm))
        realm.commit()
        reason = held(realm, code)
        (line,) = json.loads(realm.world.fwctl("trust", "status", "--format", "json").out)["approvals"]
        assert line["approvedStage"] == 0
        assert line["command"].startswith("fwctl approve")
    finally:
        realm.restore()
    return reason


def held(realm: Realm, code: str, *, state: str = "not-approved") -> str:
    realm.reconciler_refuses(code, exit_code=1)
    before = realm.standing_still()
    (rollout,) = json.loads(realm.world.fwctl("status", "--format", "json").out)["rollouts"]
    assert (rollout["state"], rollout["approvedStage"]) == (state, 0)
    assert rollout["reason"].startswith(f"{code}: ")
    assert realm.standing_still() == before
    reason: str = rollout["reason"]
    return reason


def releases_in_a_commit(realm: Realm, forgery: Forgery, code: str) -> None:
    """`approve` does not sign what nobody released, and a pass sends nothing, approved or not."""
    try:
        realm.write_releases(forgery(realm))
        realm.write_approvals(realm.approvals())
        realm.commit()
        error = realm.cli_refuses(code, "approve", "sensors", "--yes", "--as", "alice")
        assert error["place"] == "firmware/sensor-v1/2.5.0.yaml"
        realm.reconciler_refuses(code, exit_code=1)
    finally:
        realm.restore()


# --- A01: nobody signed ---


NOBODY: Cases = {
    "none": (lambda realm: [], "E_SIG_MISSING"),
    "without-signatures": (lambda realm: unsigned(realm.approvals()), "E_SIG_MISSING"),
}
NOBODY_RELEASED: Cases = {
    "none": (lambda realm: [], "E_SIG_MISSING"),
    "without-signatures": (lambda realm: unsigned(realm.releases()), "E_SIG_MISSING"),
}


@cases(NOBODY)
def test_a01_agent_approvals_without_a_signature(realm: Realm, forgery: Forgery, code: str) -> None:
    approvals_at_the_agent(realm, forgery, code)


@cases(NOBODY)
def test_a01_cli_reconciler_approvals_without_a_signature(realm: Realm, forgery: Forgery, code: str) -> None:
    approvals_in_a_commit(realm, forgery, code)


@cases(NOBODY_RELEASED)
def test_a01_agent_releases_without_a_signature(realm: Realm, forgery: Forgery, code: str) -> None:
    releases_at_the_agent(realm, forgery, code)


@cases(NOBODY_RELEASED)
def test_a01_cli_reconciler_releases_without_a_signature(realm: Realm, forgery: Forgery, code: str) -> None:
    releases_in_a_commit(realm, forgery, code)


def test_a01_agent_an_order_without_a_signature(realm: Realm) -> None:
    request = realm.request()
    realm.refused(replace(request, order=resigned(request.order)), "E_SIG_MISSING")


# --- A02, A04: too few, however they are counted ---


@pytest.mark.parametrize("forgery", APPROVED_BY.values(), ids=APPROVED_BY)
def test_a02_agent_one_approval_of_two(realm: Realm, forgery: Forgery) -> None:
    message = approvals_at_the_agent(realm, forgery, "E_SIG_THRESHOLD")
    assert message.startswith("1 of 2 approvals by owners: alice")


@pytest.mark.parametrize("forgery", APPROVED_BY.values(), ids=APPROVED_BY)
def test_a02_cli_reconciler_one_approval_of_two(realm: Realm, forgery: Forgery) -> None:
    assert "1 of 2 approvals by owners: alice" in approvals_in_a_commit(realm, forgery, "E_SIG_THRESHOLD")


def test_a02_agent_it_is_said_who_counts_and_who_does_not(realm: Realm) -> None:
    message = approvals_at_the_agent(realm, APPROVED_BY["unknown-and-garbage"], "E_SIG_THRESHOLD")
    assert "; ignored: unknown key" in message
    assert "bob: " in message


@pytest.mark.parametrize("forgery", RELEASED_BY.values(), ids=RELEASED_BY)
def test_a02_agent_one_signature_of_two_under_a_release(realm: Realm, forgery: Forgery) -> None:
    assert "1 of 2 signatures by owners: alice" in releases_at_the_agent(realm, forgery, "E_SIG_THRESHOLD")


@pytest.mark.parametrize("forgery", RELEASED_BY.values(), ids=RELEASED_BY)
def test_a02_cli_reconciler_one_signature_of_two_under_a_release(realm: Realm, forgery: Forgery) -> None:
    releases_in_a_commit(realm, forgery, "E_SIG_THRESHOLD")


PERSON: dict[str, Forgery] = {"other-key": BY_ALICES_OTHER_KEY, "in-anothers-name": in_bobs_name}


@pytest.mark.parametrize("forgery", PERSON.values(), ids=PERSON)
def test_a04_agent_one_person_with_two_keys_is_one(realm: Realm, forgery: Forgery) -> None:
    assert "1 of 2 approvals by owners: alice" in approvals_at_the_agent(realm, forgery, "E_SIG_THRESHOLD")


@pytest.mark.parametrize("forgery", PERSON.values(), ids=PERSON)
def test_a04_cli_reconciler_one_person_with_two_keys_is_one(realm: Realm, forgery: Forgery) -> None:
    approvals_in_a_commit(realm, forgery, "E_SIG_THRESHOLD")


def test_a04_agent_one_person_with_two_keys_releases_once(realm: Realm) -> None:
    releases_at_the_agent(realm, RELEASED_BY_ALICES_OTHER_KEY, "E_SIG_THRESHOLD")


def test_a04_cli_reconciler_one_person_with_two_keys_releases_once(realm: Realm) -> None:
    releases_in_a_commit(realm, RELEASED_BY_ALICES_OTHER_KEY, "E_SIG_THRESHOLD")


# --- A09: one statement for another ---


def made(realm: Realm, kind: str) -> dict[str, Any]:
    """Return a well-formed statement of each kind, signed by those who may sign it."""
    statements: dict[str, Callable[[], Envelope]] = {
        "release": lambda: realm.release_by("alice"),
        "approval": lambda: realm.approval("alice"),
        "order": lambda: realm.request().order,
        "outcome": lambda: seal(canonical.encode(realm.statement().to_wire()), OUTCOME, realm.signer("alice")),
    }
    return statements[kind]()


PAIRS = [(wanted, given) for wanted in ("release", "approval", "order") for given in TYPES if given != wanted]


def _in_place_of(realm: Realm, wanted: str, envelope: Envelope) -> Any:
    if wanted == "order":
        return replace(realm.request(), order=envelope)
    if wanted == "release":
        return realm.request(releases=[envelope])
    return realm.request(approvals=[envelope])


@pytest.mark.parametrize(("wanted", "given"), PAIRS, ids=map("-for-".join, PAIRS))
def test_a09_agent_one_statement_for_another(realm: Realm, wanted: str, given: str) -> None:
    realm.refused(_in_place_of(realm, wanted, made(realm, given)), "E_SIG_TYPE")


@pytest.mark.parametrize(("wanted", "given"), PAIRS, ids=map("-for-".join, PAIRS))
def test_a09_agent_the_type_edited_to_fit(realm: Realm, wanted: str, given: str) -> None:
    """The type is under the signature: with another one, nobody has signed it."""
    edited = made(realm, given) | {"payloadType": TYPES[wanted]}
    realm.refused(_in_place_of(realm, wanted, edited), "E_SIG_MISSING" if wanted == "release" else "E_SIG_THRESHOLD")


@pytest.mark.parametrize("payload_type", ["", "application/json", APPROVAL.upper(), APPROVAL + " ", APPROVAL[:-1]])
def test_a09_agent_a_type_that_is_none(realm: Realm, payload_type: str) -> None:
    forged = [one | {"payloadType": payload_type} for one in realm.approvals()]
    realm.refused(realm.request(approvals=forged), "E_SIG_TYPE")


@pytest.mark.parametrize("given", ["release", "order", "outcome"])
def test_a09_cli_reconciler_another_statement_for_an_approval(realm: Realm, given: str) -> None:
    approvals_in_a_commit(realm, lambda realm: [made(realm, given)], "E_SIG_TYPE")


@pytest.mark.parametrize("given", ["approval", "order", "outcome"])
def test_a09_cli_reconciler_another_statement_for_a_release(realm: Realm, given: str) -> None:
    releases_in_a_commit(realm, lambda realm: [made(realm, given)], "E_SIG_TYPE")


# --- A11: what is under a signature cannot be touched ---


def flips(envelope: Envelope) -> list[Envelope]:
    """Return the envelope with each byte of payload and signature changed, one at a time: every fiftieth of them."""
    payload, mine = base64.b64decode(envelope["payload"]), of(envelope)
    raw = base64.b64decode(mine["sig"])
    found = []
    for at in range(0, len(payload), 50):
        other = payload[:at] + bytes([payload[at] ^ 1]) + payload[at + 1 :]
        found.append(envelope | {"payload": base64.b64encode(other).decode()})
    for at in range(0, len(raw), 9):
        other = raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]
        found.append(resigned(envelope, mine | {"sig": base64.b64encode(other).decode()}))
    return found


def test_a11_agent_every_flipped_byte_of_a_statement_is_refused(realm: Realm) -> None:
    before = realm.disk()
    request = realm.request()
    first, second = request.approvals
    attacks = [replace(request, approvals=(first, one)) for one in flips(second)]
    attacks += [replace(request, releases=(request.releases[0], one)) for one in flips(request.releases[1])]
    attacks += [replace(request, order=one) for one in flips(request.order)]
    path = f"/v1/orders/{realm.install().id}"
    with realm.client() as client:
        answers = [client.ask("PUT", path, attack.to_bytes()) for attack in attacks]
    assert {status for status, _ in answers} == {422}
    assert {reply["code"] for _, reply in answers} <= {"E_SIG_THRESHOLD", "E_SIG_MISSING", "E_SCHEMA"}
    assert realm.disk() == before


# --- A14: approvals out of their time ---


def _dated(**dates: Any) -> Forgery:
    return lambda realm: [realm.approval("alice", **dates), realm.approval("bob", **dates)]


def _expired(seconds: int) -> Forgery:
    return lambda realm: _dated(expires=whole_now() - timedelta(seconds=seconds))(realm)


def _ahead(*, minutes: int) -> Forgery:
    def forgery(realm: Realm) -> list[Envelope]:
        at = whole_now() + timedelta(minutes=minutes)
        return _dated(approved_at=at, expires=at + timedelta(days=1))(realm)

    return forgery


OUT_OF_TIME: Cases = {
    "expired-now": (_expired(0), "E_EXPIRED"),
    "expired-1s-ago": (_expired(1), "E_EXPIRED"),
    "11-minutes-ahead": (_ahead(minutes=11), "E_EXPIRED"),
    "a-century-ahead": (_ahead(minutes=60 * 24 * 36500), "E_EXPIRED"),
    "valid-for-91-days": (lambda realm: _dated(expires=realm.now + timedelta(days=91))(realm), "E_EXPIRED"),
    "ends-before-it-begins": (
        lambda realm: _dated(approved_at=realm.now, expires=realm.now - timedelta(days=1))(realm),
        "E_EXPIRED",
    ),
}


@cases(OUT_OF_TIME)
def test_a14_agent_approvals_out_of_their_time(realm: Realm, forgery: Forgery, code: str) -> None:
    approvals_at_the_agent(realm, forgery, code)


@cases(OUT_OF_TIME)
def test_a14_cli_reconciler_approvals_out_of_their_time(realm: Realm, forgery: Forgery, code: str) -> None:
    approvals_in_a_commit(realm, forgery, code)


def test_a14_agent_one_that_has_expired_leaves_too_few(realm: Realm) -> None:
    late = realm.approval("bob", expires=whole_now() - SECOND)
    message = realm.refused(realm.request(approvals=[realm.approval("alice"), late]), "E_SIG_THRESHOLD")
    assert "bob: expired at" in message


# --- A25, A26: approvals of something else ---


def _of_mandate(change: Callable[[Mandate], Mandate]) -> Forgery:
    return lambda realm: [realm.approval(name, mandate=change(realm.mandate)) for name in ("alice", "bob")]


def _other(**changes: Any) -> Forgery:
    return _of_mandate(lambda mandate: replace(mandate, **changes))


BYTE = canonical.digest(b"one byte changed")
STALE: Cases = {
    **{field: (_other(**{field: BYTE}), "E_APPROVAL_STALE") for field in ("manifest", "lock", "plan")},
    "lock-root": (_other(lock_root=BYTE), "E_APPROVAL_STALE"),
    "lock-size": (_other(lock_size=7), "E_APPROVAL_STALE"),
    "round": (_other(round=2), "E_APPROVAL_STALE"),
    "releases": (_other(releases=(BYTE,)), "E_APPROVAL_STALE"),
    "terms": (_other(rollback="forbidden"), "E_APPROVAL_STALE"),
}
ELSEWHERE: Cases = {
    "env": (_other(env="prod"), "E_APPROVAL_STALE"),
    "name": (_other(name="pumps"), "E_APPROVAL_STALE"),
    "repository": (_other(repo_id="other"), "E_APPROVAL_STALE"),
}


@cases(STALE)
def test_a25_agent_approvals_of_other_content(realm: Realm, forgery: Forgery, code: str) -> None:
    approvals_at_the_agent(realm, forgery, code)


@cases(STALE)
def test_a25_cli_reconciler_approvals_of_other_content(realm: Realm, forgery: Forgery, code: str) -> None:
    approvals_in_a_commit(realm, forgery, code)


@cases(ELSEWHERE)
def test_a26_agent_approvals_of_another_place_do_not_count_here(realm: Realm, forgery: Forgery, code: str) -> None:
    approvals_at_the_agent(realm, forgery, code)


@cases(ELSEWHERE)
def test_a26_cli_reconciler_approvals_of_another_place(realm: Realm, forgery: Forgery, code: str) -> None:
    approvals_in_a_commit(realm, forgery, code)


@pytest.mark.parametrize("change", [{"env": "prod"}, {"repo_id": "other"}], ids=["env", "repository"])
def test_a26_agent_what_was_approved_elsewhere_is_not_installed_here(realm: Realm, change: dict[str, str]) -> None:
    """The whole set, order included, is good: for devices of another environment or repository."""
    mandate = replace(realm.mandate, **change)  # type: ignore[arg-type]
    order = realm.install(mandate=mandate.id)
    approvals = [realm.approval(name, mandate=mandate) for name in ("alice", "bob")]
    realm.refused(realm.request(order, approvals=approvals), "E_APPROVAL_SCOPE", order=order.id)


# --- A25, A26, A27 in the repository: what is edited after it was approved ---


def _append(path: str, text: str) -> Callable[[Realm], None]:
    def attack(realm: Realm) -> None:
        file = realm.world.repo / path
        file.write_text(file.read_text() + text)

    return attack


def _replace(path: str, old: str, new: str) -> Callable[[Realm], None]:
    def attack(realm: Realm) -> None:
        file = realm.world.repo / path
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new, 1))

    return attack


MANIFEST, LOCK = f"rollouts/{KEY}.yaml", f"rollouts/{KEY}.lock"
EDITS: dict[str, Callable[[Realm], None]] = {
    "manifest-a-comment": _append(MANIFEST, "# !\n"),
    "manifest-a-blank-line": _append(MANIFEST, "\n"),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_a25_cli_reconciler_one_byte_of_the_manifest(realm: Realm, edit: Callable[[Realm], None]) -> None:
    """Whose approvals are stale is said; nothing goes out."""
    try:
        realm.write_approvals(realm.approvals())
        realm.commit()
        edit(realm)
        realm.commit()
        reason = held(realm, "E_APPROVAL_STALE")
        assert "signer-0, signer-1" in reason, "whose: as the files are called"
        (line,) = json.loads(realm.world.fwctl("trust", "status", "--format", "json").out)["approvals"]
        assert {one["who"] for one in line["ignored"]} == {"signer-0", "signer-1"}
    finally:
        realm.restore()


def test_a25_cli_reconciler_one_byte_of_the_lock(realm: Realm) -> None:
    """A lock that contradicts its manifest is not even a plan: exit 3, and the place is the lock."""
    try:
        realm.write_approvals(realm.approvals())
        _replace(LOCK, " 1 ", " 2 ")(realm)
        realm.commit()
        before = realm.standing_still()
        for command in (("validate",), ("reconcile", "--once", "--max-duration", "5")):
            ran = realm.world.run(*command)
            assert ran.code in (1, 3), ran.text
            assert "E_LOCK" in ran.out + ran.err, ran.text
            assert LOCK in ran.out + ran.err
        assert realm.standing_still() == before
    finally:
        realm.restore()


def test_a26_cli_reconciler_the_same_bytes_in_another_environment(realm: Realm) -> None:
    """Manifest, lock and approvals are copied to `prod`; dev goes away. Nothing was approved for prod."""
    repo = realm.world.repo
    try:
        realm.write_approvals(realm.approvals())
        (repo / "rollouts" / "prod").mkdir()
        for suffix in ("yaml", "lock"):
            (repo / f"rollouts/{KEY}.{suffix}").rename(repo / f"rollouts/prod/sensors.{suffix}")
        (repo / "approvals" / "dev").rename(repo / "approvals" / "prod")
        for file in (repo / "devices").glob("*.yaml"):
            file.write_text(file.read_text().replace("env: dev", "env: prod"))
        realm.commit()
        before = realm.standing_still()
        ran = realm.world.once(duration=5)
        assert ran.code in (1, 3), ran.text
        assert realm.standing_still() == before
    finally:
        realm.restore()


def test_a26_cli_reconciler_the_same_bytes_under_another_name(realm: Realm) -> None:
    repo = realm.world.repo
    try:
        realm.write_approvals(realm.approvals())
        for suffix in ("yaml", "lock"):
            file = repo / f"rollouts/{KEY}.{suffix}"
            text = file.read_text().replace("name: sensors", "name: pumps")
            file.unlink()
            (repo / f"rollouts/dev/pumps.{suffix}").write_text(text)
        (repo / "approvals/dev/sensors").rename(repo / "approvals/dev/pumps")
        realm.commit()
        held(realm, "E_APPROVAL_STALE")
    finally:
        realm.restore()


def test_a27_cli_a_dirty_work_tree_is_not_approved(realm: Realm) -> None:
    realm.commit("As it was")
    for path in ("trust/policy/policy.json", MANIFEST, LOCK, "fleet.yaml"):
        _append(path, "\n")(realm)
        error = realm.cli_refuses("E_DIRTY", "approve", "sensors", "--yes", "--as", "alice", exit_code=6)
        assert path in error["place"]
        realm.world.git("checkout", "--", path)


def test_a27_cli_who_is_not_in_the_policy_does_not_approve(realm: Realm) -> None:
    realm.commit("As it was")
    realm.cli_refuses("E_NOT_APPROVER", "approve", "sensors", "--yes", "--as", "mallory")
