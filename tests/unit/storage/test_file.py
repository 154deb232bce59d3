"""Images in a folder: stored once, proved on every read."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fwctl.errors import InputError, WorldError
from fwctl.storage import FileStorage, Stat, from_spec

IMAGE = bytes(range(256)) * 9000  # 2.3 MB: several chunks
DIGEST = "sha256:" + hashlib.sha256(IMAGE).hexdigest()


@pytest.fixture
def storage(tmp_path: Path) -> FileStorage:
    return FileStorage(tmp_path / "images")


def stored(storage: FileStorage) -> Path:
    hexadecimal = DIGEST.removeprefix("sha256:")
    return storage.root / "sha256" / hexadecimal[:2] / hexadecimal


def files(root: Path) -> list[str]:
    return sorted(path.name for path in root.rglob("*") if path.is_file())


def test_a_stored_image_comes_back_byte_for_byte(storage: FileStorage) -> None:
    assert storage.put(DIGEST, io.BytesIO(IMAGE)) == Stat(DIGEST, len(IMAGE))
    with storage.open(DIGEST) as reader:
        assert reader.length == len(IMAGE)
        assert b"".join(iter(lambda: reader.read(60_000), b"")) == IMAGE
    assert storage.exists(DIGEST)
    assert storage.stat(DIGEST).length == len(IMAGE)


def test_an_empty_image_is_an_image(storage: FileStorage) -> None:
    digest = "sha256:" + hashlib.sha256(b"").hexdigest()
    storage.put(digest, io.BytesIO(b""))
    with storage.open(digest) as reader:
        assert reader.read() == b""


def test_storing_twice_changes_nothing(storage: FileStorage, tmp_path: Path) -> None:
    source = tmp_path / "image.bin"
    source.write_bytes(IMAGE)
    storage.put(DIGEST, source)
    storage.put(DIGEST, source)
    assert files(storage.root) == [DIGEST.removeprefix("sha256:")]


def test_wrong_bytes_are_refused_and_leave_nothing(storage: FileStorage) -> None:
    with pytest.raises(InputError) as caught:
        storage.put(DIGEST, io.BytesIO(IMAGE[:-1]))
    assert caught.value.code == "E_HASH"
    assert not storage.exists(DIGEST)
    assert files(storage.root) == []


@pytest.mark.parametrize("change", ["flip", "cut", "grow"])
def test_rotten_bytes_are_named_with_the_storage(storage: FileStorage, change: str) -> None:
    storage.put(DIGEST, io.BytesIO(IMAGE))
    rotten = {"flip": IMAGE[:-1] + b"x", "cut": IMAGE[:-1], "grow": IMAGE + b"x"}[change]
    stored(storage).write_bytes(rotten)
    with storage.open(DIGEST) as reader, pytest.raises(WorldError) as caught:
        while reader.read(100_000):
            pass
    assert (caught.value.code, caught.value.place) == ("E_HASH", str(storage.root))


def test_an_image_cut_while_it_is_read_is_refused(storage: FileStorage) -> None:
    storage.put(DIGEST, io.BytesIO(IMAGE))
    with storage.open(DIGEST) as reader:
        assert reader.read(10_000) == IMAGE[:10_000]
        os.truncate(stored(storage), 1_200_000)
        with pytest.raises(WorldError, match="E_HASH"):
            while reader.read(100_000):
                pass


def test_storing_again_heals_a_rotten_image(storage: FileStorage) -> None:
    storage.put(DIGEST, io.BytesIO(IMAGE))
    stored(storage).write_bytes(b"rot")
    storage.put(DIGEST, io.BytesIO(IMAGE))
    with storage.open(DIGEST) as reader:
        assert reader.read() == IMAGE


def test_a_resumed_read_still_proves_the_whole(storage: FileStorage) -> None:
    storage.put(DIGEST, io.BytesIO(IMAGE))
    with storage.open(DIGEST) as reader:
        reader.seek(1_500_000)
        assert reader.read() == IMAGE[1_500_000:]
        reader.seek(10)
        assert reader.read(5) == IMAGE[10:15]
    stored(storage).write_bytes(b"x" + IMAGE[1:])
    with storage.open(DIGEST) as reader, pytest.raises(WorldError, match="E_HASH"):
        reader.seek(1_500_000)
        reader.read()


@pytest.mark.parametrize(
    "digest",
    ["", "sha256:", "sha256:" + "A" * 64, DIGEST + "\n", "md5:" + "a" * 32, "sha256:../../../etc/passwd", "a" * 64],
)
def test_what_is_no_digest_is_refused(storage: FileStorage, digest: str) -> None:
    with pytest.raises(InputError, match="E_DIGEST"):
        storage.exists(digest)


def test_a_missing_image_says_how_to_upload_it(storage: FileStorage) -> None:
    with pytest.raises(InputError) as caught, storage.open(DIGEST):
        pass
    assert caught.value.code == "E_STORAGE_MISSING"
    assert "firmware add" in caught.value.remedy
    with pytest.raises(InputError, match="E_STORAGE_MISSING"):
        storage.stat(DIGEST)


def test_a_source_that_is_not_there_is_the_authors_error(storage: FileStorage, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="E_FILE"):
        storage.put(DIGEST, tmp_path / "missing.bin")


def test_a_folder_that_cannot_be_one_is_an_error_of_the_world(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(WorldError, match="E_DISK"):
        FileStorage(tmp_path / "file").put(DIGEST, io.BytesIO(IMAGE))


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    """RLIMIT_FSIZE makes the kernel refuse the write as a full disk would."""
    code = (
        "import io,resource,signal,sys\n"
        "from pathlib import Path\n"
        "from fwctl.storage import FileStorage\n"
        "from fwctl.errors import WorldError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000000, 1000000))\n"
        "try: FileStorage(Path(sys.argv[1])).put(sys.argv[2], io.BytesIO(bytes(range(256)) * 9000))\n"
        "except WorldError as error: sys.exit(error.exit_code if error.code == 'E_DISK' else 1)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "s"), DIGEST], check=False)
    assert done.returncode == 5
    assert files(tmp_path / "s") == []


def test_the_fleet_names_its_storage(tmp_path: Path) -> None:
    storage = from_spec({"type": "file", "path": "images"}, base=tmp_path)
    storage.put(DIGEST, io.BytesIO(IMAGE))
    assert FileStorage(tmp_path / "images").exists(DIGEST)
    for wrong in ({"type": "s3", "bucket": "b"}, {}, {"type": "file"}, {"type": "file", "path": 3}):
        with pytest.raises(InputError, match="E_STORAGE_TYPE"):
            from_spec(wrong, base=tmp_path)
