"""Storage behind HTTPS against a real server that misbehaves; nothing of a token is ever shown."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fwctl.errors import FwctlError, InputError, TrustRefused, WorldError
from fwctl.reconcile import images as kept
from fwctl.reconcile.images import Images
from fwctl.storage import HttpsStorage, Stat, from_spec
from fwctl.storage.https import Limits
from fwctl_agent.protocol import canonical
from fwctl_agent.protocol.statements import Outcome, ProbeResult, Pull, Push
from fwctl_agent.trust.policy import StorageHost
from tests.contract.samples import OUTCOMES
from tests.support.signing import image_of
from tests.support.storage_server import Fault, StorageServer, always, in_turn

IMAGE = image_of("firmware 2.5.0", 300_000)
DIGEST = canonical.digest(IMAGE)
SECRET = "?sig=canary0123456789"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[StorageServer]:
    with StorageServer(tmp_path) as server:
        server.add(IMAGE)
        yield server


def storage(server: StorageServer, **changes: Any) -> HttpsStorage:
    values: dict[str, Any] = {
        "url": server.url,
        "allow": (StorageHost(**server.entry()),),
        "query": SECRET,
        "ca": server.ca,
        "limits": Limits(head=3, idle=2),
    }
    return HttpsStorage(**values | changes)


def read(storage: HttpsStorage) -> bytes:
    parts = []
    with storage.open(DIGEST) as reader:
        while part := reader.read(7_000):
            parts.append(part)
    return b"".join(parts)


def refused(storage: HttpsStorage) -> FwctlError:
    with pytest.raises(FwctlError) as caught:
        read(storage)
    error = caught.value
    assert "canary" not in f"{error} {error.to_json()} {error!r} {storage!r}"
    return error


def test_an_image_comes_back_byte_for_byte(server: StorageServer) -> None:
    assert read(storage(server)) == IMAGE
    assert storage(server).stat(DIGEST) == Stat(DIGEST, len(IMAGE))
    assert storage(server).exists(DIGEST)
    assert not storage(server).exists(canonical.digest(b"another"))
    assert server.requests[0].target.endswith(SECRET)
    assert server.requests[0].host == f"127.0.0.1:{server.port}"


def test_a_reader_goes_forward_and_still_proves_the_whole(server: StorageServer) -> None:
    with storage(server).open(DIGEST) as reader:
        reader.seek(100_000)
        parts = []
        while part := reader.read(1 << 20):
            parts.append(part)
        assert b"".join(parts) == IMAGE[100_000:]
        with pytest.raises(ValueError):
            reader.seek(0)


def test_putting_proves_that_the_image_is_there(server: StorageServer, tmp_path: Path) -> None:
    assert storage(server).put(DIGEST, io.BytesIO(IMAGE)) == Stat(DIGEST, len(IMAGE))
    file = tmp_path / "2.6.0.bin"
    with pytest.raises(InputError) as caught:
        storage(server).put(canonical.digest(b"another"), file)
    assert caught.value.code == "E_STORAGE_MISSING"
    assert str(file) in caught.value.remedy
    assert caught.value.place.startswith(f"{server.url}/sha256/")
    assert "canary" not in str(caught.value.to_json())
    server.fault = always(Fault(wrong=True))
    with pytest.raises(WorldError, match="E_HASH"):
        storage(server).put(DIGEST, io.BytesIO(IMAGE))


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Fault(status=503), "E_STORAGE_STATUS"),
        (Fault(status=403), "E_STORAGE_STATUS"),
        (Fault(status=404), "E_STORAGE_MISSING"),
        (Fault(status=206), "E_STORAGE_STATUS"),
        (Fault(reset_at=1000), "E_STORAGE_CUT"),
        (Fault(close_at=1000), "E_STORAGE_CUT"),
        (Fault(silent=True), "E_STORAGE_CUT"),
        (Fault(wrong=True), "E_HASH"),
        (Fault(more=1), "E_HASH"),
        (Fault(chunked=True), "E_LENGTH"),
        (Fault(headers=(("Content-Encoding", "gzip"),)), "E_STORAGE_STATUS"),
    ],
)
def test_r18_what_goes_wrong_has_a_code_and_the_storage_a_name(server: StorageServer, fault: Fault, code: str) -> None:
    server.fault = always(fault)
    error = refused(storage(server))
    assert error.code == code
    assert error.place.startswith(server.url)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a40_no_redirect_is_followed(server: StorageServer, status: int) -> None:
    server.fault = always(Fault(status=status, headers=(("Location", f"{server.url}/sha256/"),)))
    assert refused(storage(server)).code == "E_REDIRECT"
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"url": "https://127.0.0.2/fw"},
        {"url": "http://127.0.0.1/fw"},
        {"allow": ()},
        {"allow": (StorageHost("https", "127.0.0.1", 443, "127.0.0.0/8"),)},
        {"allow": (StorageHost("https", "127.0.0.1", 443, None),), "url": "https://127.0.0.1/fw"},
        {"allow": (StorageHost("https", "169.254.169.254", 443, None),), "url": "https://169.254.169.254/fw"},
    ],
)
def test_a39_a_storage_that_the_policy_does_not_list_is_refused(server: StorageServer, changes: dict[str, Any]) -> None:
    with pytest.raises(TrustRefused) as caught:
        storage(server, **changes)
    assert (caught.value.code, caught.value.place) == ("E_URL", "fleet.yaml: spec.storage")
    assert server.requests == []


@pytest.mark.parametrize("found", [["10.0.0.1"], ["169.254.169.254"], ["93.184.215.14"], []])
def test_a39_where_the_name_leads_is_checked_too(server: StorageServer, found: list[str]) -> None:
    assert refused(storage(server, resolve=lambda host, port: found)).code == "E_URL"
    assert server.requests == []


def test_a39_the_checked_address_is_connected_to(server: StorageServer) -> None:
    answers = iter([["127.0.0.1"], ["169.254.169.254"]])
    allow = (StorageHost(**server.entry(host="localhost")),)
    where = storage(
        server, url=f"https://localhost:{server.port}/fw", allow=allow, resolve=lambda host, port: next(answers)
    )
    assert read(where) == IMAGE
    assert next(answers) == ["169.254.169.254"]


def test_a_storage_that_does_not_prove_who_it_is_gets_no_request(server: StorageServer) -> None:
    assert refused(storage(server, ca=None)).code == "E_STORAGE_TLS"
    server.__exit__()
    assert refused(storage(server)).code == "E_STORAGE_UNREACHABLE"
    assert server.requests == []


def test_a_storage_that_drips_is_given_up(server: StorageServer) -> None:
    server.fault = always(Fault(rate=2_000))
    slow = storage(server, limits=Limits(head=3, idle=2, grace=0.1, rate=100_000))
    assert refused(slow).code == "E_STORAGE_CUT"


def test_a_token_comes_from_a_file_and_a_ca_from_another(
    server: StorageServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = tmp_path / "token"
    token.write_text("sig=canary%2F1\n")
    monkeypatch.setenv("FWCTL_STORAGE_QUERY_FILE", str(token))
    monkeypatch.setenv("FWCTL_STORAGE_CA", str(server.ca))
    spec, allow = {"type": "https", "url": server.url}, (StorageHost(**server.entry()),)
    where = from_spec(spec, base=tmp_path, allow=allow)
    assert where.stat(DIGEST).length == len(IMAGE)
    assert server.requests[-1].target.endswith("?sig=canary%2F1")
    for wrong in ("a b", "two\nlines", "", "sig=#x", "%zz"):
        token.write_text(wrong)
        with pytest.raises(InputError) as caught:
            from_spec(spec, base=tmp_path, allow=allow)
        assert caught.value.code == "E_STORAGE_QUERY"
        assert str(caught.value).count(str(token)) == 1
    monkeypatch.setenv("FWCTL_STORAGE_QUERY_FILE", str(tmp_path / "none"))
    with pytest.raises(InputError, match="E_STORAGE_QUERY"):
        from_spec(spec, base=tmp_path, allow=allow)


async def once(images: Images) -> bytes:
    async with images.source(DIGEST, len(IMAGE)) as source:
        if isinstance(source, bytes):
            return source
        parts = []
        while part := source.read(1 << 20):
            parts.append(part)
        return b"".join(parts)


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("fault", [Fault(status=503), Fault(reset_at=100_000), Fault(wrong=True), Fault(silent=True)])
async def test_r18_what_is_pushed_is_fetched_once_and_again_where_that_failed(
    server: StorageServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Fault, large: bool
) -> None:
    monkeypatch.setattr(kept, "PAUSE", 0.01)
    if large:
        monkeypatch.setattr(kept, "KEPT", 1000)
    server.fault = in_turn(fault)
    images = Images(storage(server), spool=tmp_path)
    assert set(await asyncio.gather(once(images), once(images), once(images))) == {IMAGE}
    assert len(server.ranges) == 2


async def test_r18_a_storage_that_stays_broken_is_told_with_its_code(
    server: StorageServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "PAUSE", 0.01)
    server.fault = always(Fault(status=503))
    with pytest.raises(WorldError, match="E_STORAGE_STATUS"):
        await once(Images(storage(server), spool=tmp_path))
    assert len(server.ranges) == kept.TRIES


def test_only_a_storage_that_devices_reach_is_named_to_them(server: StorageServer, tmp_path: Path) -> None:
    assert Images(storage(server)).delivery(DIGEST) == Push()
    pull = Images(storage(server), pull=True).delivery(DIGEST)
    assert isinstance(pull, Pull)
    assert pull.url == f"{server.url}/sha256/{DIGEST[7:9]}/{DIGEST[7:]}{SECRET}"
    assert "canary" not in repr(pull)
    folder = from_spec({"type": "file", "path": "images"}, base=tmp_path)
    assert Images(folder, pull=True).delivery(DIGEST) == Push()


async def test_r18_only_several_devices_hold_a_rollout_and_none_of_them_chooses_the_code() -> None:
    """One device that lies about its download holds nobody; three end the rollout's pass with a code of ours."""
    images = Images(HttpsStorage("https://images.example.com", (LISTED,)), name="https://images.example.com")
    images.blame("dev/one", OUTCOMES["failed"])
    for device in ("a", "a", "b", "b"):
        images.blame("dev/one", download(device))
    images.blame("dev/two", download("c"))
    with pytest.raises(WorldError) as caught:
        images.blame("dev/one", download("c"))
    assert (caught.value.code, caught.value.place) == ("E_STORAGE_STATUS", "https://images.example.com")
    assert "\x9b" not in caught.value.message


LISTED = StorageHost("https", "images.example.com", 443, None)


def download(device: str) -> Outcome:
    evidence = (ProbeResult("download", False, "it \x9b31m broke"),)
    return replace(OUTCOMES["failed"], device=device, klass="download", code="E_MADE_UP", evidence=evidence)
