"""Two copies, the boot selector, and real files."""

from __future__ import annotations

from pathlib import Path

import pytest

from fwctl_agent.runtime.boot import FileBoot
from fwctl_agent.runtime.copies import Corrupt, TwoCopies
from fwctl_agent.runtime.fs import MemoryFs, OsFs
from fwctl_agent.runtime.ports import Fs


@pytest.fixture(params=["os", "memory"])
def fs(request: pytest.FixtureRequest, tmp_path: Path) -> Fs:
    return OsFs(tmp_path) if request.param == "os" else MemoryFs()


def test_the_newest_value_is_loaded(fs: Fs) -> None:
    copies = TwoCopies(fs, "value")
    assert copies.load() is None
    for number in range(5):
        copies.store({"number": number})
    assert TwoCopies(fs, "value").load() == {"number": 4}


@pytest.mark.parametrize("keep", [0, 1, 30, 66, 70])
def test_a_torn_copy_is_told_and_the_other_one_used(fs: Fs, keep: int) -> None:
    copies = TwoCopies(fs, "value")
    copies.store({"number": 1})
    copies.store({"number": 2})
    newest = fs.read("value.0")
    assert newest is not None
    fs.replace("value.0", newest[:keep])
    assert TwoCopies(fs, "value").load() == {"number": 1}
    again = TwoCopies(fs, "value")
    again.load()
    again.store({"number": 3})
    assert TwoCopies(fs, "value").load() == {"number": 3}


def test_every_flipped_byte_is_told(fs: Fs) -> None:
    TwoCopies(fs, "value").store({"number": 1})
    whole = fs.read("value.1")
    assert whole is not None
    for at in range(len(whole)):
        fs.replace("value.1", whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(Corrupt):
            TwoCopies(fs, "value").load()


def test_a_stream_goes_on_at_its_offset_and_cuts_what_is_behind(fs: Fs) -> None:
    fs.replace("slot", b"0123456789")
    stream = fs.open("slot", 4)
    stream.write(b"ab")
    stream.sync()
    stream.close()
    assert fs.read("slot") == b"0123ab"
    assert b"".join(fs.chunks("slot", 4)) == b"0123ab"
    assert list(fs.chunks("nothing", 4)) == []


def test_a_trial_uses_up_its_starts_and_falls_back(fs: Fs) -> None:
    FileBoot(fs, "selector").try_slot("b", 2)
    assert [FileBoot(fs, "selector").start() for _ in range(4)] == ["b", "b", "a", "a"]
    assert FileBoot(fs, "selector").state().failed == "b"


def test_a_good_slot_stays(fs: Fs) -> None:
    boot = FileBoot(fs, "selector")
    boot.try_slot("b", 1)
    boot.mark_good("b")
    assert [FileBoot(fs, "selector").start() for _ in range(3)] == ["b", "b", "b"]
    FileBoot(fs, "selector").go_back("a")
    assert FileBoot(fs, "selector").start() == "a"


def test_a_link_in_the_place_of_a_slot_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (tmp_path / "slot").symlink_to(victim)
    with pytest.raises(OSError, match="symbolic"):
        OsFs(tmp_path).open("slot", 0)
    assert victim.read_bytes() == b"precious"
