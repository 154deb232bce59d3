"""Keys in a token: a real one (SoftHSM2), and backends that fail on purpose."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from securesystemslib.signer import CryptoSigner, Key, Signature, Signer

from fwctl.errors import FwctlError, InputError, TrustRefused, WorldError
from fwctl.trust.hardware import TRIES, HardwareKey, HardwareSigner, import_key, parse_address
from fwctl.trust.keystore import KeyStore
from tests.support.token import PIN, Token


@pytest.fixture
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Token:
    return Token.make(tmp_path / "token", monkeypatch)


@pytest.fixture
def store(tmp_path: Path) -> KeyStore:
    return KeyStore(tmp_path / "acme")


def test_a_key_in_a_token_signs_and_its_public_half_needs_no_pin(
    token: Token, store: KeyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.add_hardware("alice", import_key(token.key(2), token.module))
    signature = store.signer("alice").sign(b"payload")
    monkeypatch.delenv("FWCTL_PIN_FILE")
    store.public("alice").verify_signature(signature, b"payload")
    assert (store.kind("alice"), store.names(), store.people()) == ("hsm", ("alice",), ("alice",))
    assert PIN not in "".join(path.read_text() for path in (store.folder / "keys").iterdir())


def test_without_a_pin_nobody_signs(token: Token, store: KeyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.add_hardware("alice", import_key(token.key(2), token.module))
    monkeypatch.delenv("FWCTL_PIN_FILE")
    with pytest.raises(InputError, match=r"^E_PIN: ") as caught:
        store.signer("alice").sign(b"payload")
    assert "FWCTL_PIN_FILE" in caught.value.remedy


def test_r17_a_wrong_pin_is_tried_once_and_never_again(token: Token, store: KeyStore) -> None:
    """SoftHSM2 locks nothing, a smart card does after three: the same PIN is not even sent a second time."""
    store.add_hardware("alice", import_key(token.key(2), token.module))
    token.tries("canary-wrong")
    with pytest.raises(WorldError, match=r"E_SIGNER.*refuses the PIN") as first:
        store.signer("alice").sign(b"payload")
    with pytest.raises(WorldError, match=r"E_SIGNER.*before") as second:
        store.signer("alice").sign(b"payload")
    assert "canary" not in f"{first.value}{first.value.remedy}{second.value}{second.value.remedy}"
    token.tries(PIN)
    store.public("alice").verify_signature(store.signer("alice").sign(b"payload"), b"payload")


def test_r17_a_token_that_is_gone_is_an_error_and_one_that_is_back_signs(token: Token, store: KeyStore) -> None:
    store.add_hardware("alice", import_key(token.key(2), token.module))
    gone = token.store.with_name("gone")
    token.store.rename(gone)
    with pytest.raises(WorldError, match=r"^E_SIGNER: "):
        store.signer("alice").sign(b"payload")
    gone.rename(token.store)
    assert store.signer("alice").sign(b"payload")


def test_a_key_of_another_curve_or_number_is_refused(token: Token) -> None:
    with pytest.raises(TrustRefused, match=r"^E_KEY_ALG: "):
        import_key(token.key(3, "EC:secp384r1"), token.module)
    with pytest.raises(InputError, match=r"^E_KEY_MISSING: "):
        import_key(token.address(9), token.module)
    with pytest.raises(InputError, match=r"^E_KEY_MISSING: "):
        import_key("hsm:3?label=other", token.module)


def test_a_module_that_is_none_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "no.so").write_text("no library")
    with pytest.raises(FwctlError) as caught:
        import_key("hsm:2?label=fleet", str(tmp_path / "no.so"))
    assert caught.value.code == "E_SIGNER"


def test_a_token_that_signs_with_another_key_is_found_out(token: Token, store: KeyStore) -> None:
    right, wrong = import_key(token.key(2), token.module), import_key(token.key(3), token.module)
    store.add_hardware("alice", HardwareKey(wrong.address, right.module, right.public))
    with pytest.raises(InputError, match=r"^E_KEY_MISMATCH: "):
        store.signer("alice").sign(b"payload")


def test_one_key_under_two_names_is_refused(token: Token, store: KeyStore) -> None:
    key = import_key(token.key(2), token.module)
    store.add_hardware("alice", key)
    with pytest.raises(TrustRefused, match=r"^E_KEY_DUPLICATE: "):
        store.add_hardware("bob", key)
    assert store.names() == ("alice",)


@pytest.mark.parametrize(
    ("address", "found"),
    [("hsm:", (2, None)), ("hsm:5", (5, None)), ("hsm:2?label=a%20b", (2, "a b")), ("hsm:?label=x", (2, "x"))],
)
def test_addresses_are_those_of_the_library(address: str, found: tuple[int, str | None]) -> None:
    assert parse_address(address) == found


@pytest.mark.parametrize(
    "address",
    ["", "2", "file:x", "hsm:x", "hsm:-1", "hsm:2?pin=1", "hsm://h/2", "hsm:2#x", "hsm:99999999999", "hsm:²"],
)
def test_other_addresses_are_refused(address: str) -> None:
    with pytest.raises(InputError, match=r"^E_KEY_ADDRESS: "):
        parse_address(address)


# -- a backend that fails on purpose ----------------------------------------------------------------------------------


@dataclass
class Faulty(Signer):
    """A signer in memory whose next answers are these errors."""

    signer: CryptoSigner
    errors: list[Exception | Callable[[], None]] = field(default_factory=list)
    asked: int = 0

    @classmethod
    def from_priv_key_uri(cls, priv_key_uri: str, public_key: Key, secrets_handler: Any = None) -> Faulty:
        raise NotImplementedError

    @property
    def public_key(self) -> Key:
        return self.signer.public_key

    def sign(self, payload: bytes) -> Signature:
        self.asked += 1
        if self.errors:
            fault = self.errors.pop(0)
            if isinstance(fault, Exception):
                raise fault
            fault()
        return self.signer.sign(payload)


def faulty(
    *errors: Exception | Callable[[], None], module: str = "/none.so"
) -> tuple[HardwareSigner, Faulty, list[float]]:
    slept: list[float] = []
    backend = Faulty(CryptoSigner.generate_ecdsa(), list(errors))
    return HardwareSigner("alice", "hsm:2", module, backend, sleep=slept.append), backend, slept


@pytest.fixture(autouse=True)
def _no_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYKCS11LIB", "/before.so")


def test_r17_what_may_pass_is_tried_three_times_in_all() -> None:
    class SessionClosed(RuntimeError):
        pass

    signer, backend, slept = faulty(SessionClosed(), OSError("gone"))
    signer.public_key.verify_signature(signer.sign(b"x"), b"x")
    assert backend.asked == TRIES
    assert 0.25 <= slept[0] <= 0.75
    assert 0.5 <= slept[1] <= 1.5


def test_r17_after_that_it_fails_and_is_not_asked_again() -> None:
    signer, backend, _ = faulty(*(RuntimeError() for _ in range(TRIES)))
    for _ in range(2):
        with pytest.raises(WorldError, match=r"^E_SIGNER: "):
            signer.sign(b"x")
    assert backend.asked == TRIES


@pytest.mark.parametrize("name", ["PinIncorrect", "PinLocked", "UserPinNotInitialized"])
def test_r17_what_a_token_holds_against_us_is_not_repeated(name: str) -> None:
    signer, backend, slept = faulty(type(name, (RuntimeError,), {})())
    with pytest.raises(WorldError, match=r"^E_SIGNER: "):
        signer.sign(b"x")
    assert (backend.asked, slept) == (1, [])


def test_r17_a_backend_that_hangs_is_left_alone() -> None:
    never = threading.Event()

    def hang() -> None:
        never.wait(60)

    signer, backend, _ = faulty(hang, module="/hung.so")
    signer.patience = 0.05
    with pytest.raises(WorldError, match=r"E_SIGNER.*no answer within 0\.05 s"):
        signer.sign(b"x")
    other, unasked, _ = faulty(module="/hung.so")
    with pytest.raises(WorldError, match=r"E_SIGNER.*has not answered"):
        other.sign(b"x")
    assert (backend.asked, unasked.asked) == (1, 0)
    never.set()


def test_the_module_of_another_program_stays_named() -> None:
    import os

    signer, _, _ = faulty()
    signer.sign(b"x")
    assert os.environ["PYKCS11LIB"] == "/before.so"
