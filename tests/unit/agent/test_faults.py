"""Who a scripted fault hits, and when: reproducible, exact, and told with its place when it is written wrongly."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fwctl_agent.config import ConfigError
from fwctl_agent.fault_file import read_script
from fwctl_agent.faults import Fault, Script, Sight, Unready, assign, chosen, hits

DEVICES = tuple(f"d{number:04}" for number in range(500))
names = st.lists(st.from_regex(r"[a-z][a-z0-9]{0,8}", fullmatch=True), min_size=1, max_size=40, unique=True)
shares = st.floats(0.001, 1)


def share_of(share: float | None, name: str = "bad") -> Fault:
    return Fault(name=name, kind="unready", what=Unready(reason="x"), share=share)


def read(folder: Path, text: str) -> Script:
    file = folder / "faults.toml"
    file.write_text(text)
    return read_script(file, DEVICES)


@pytest.mark.parametrize(
    ("share", "count"), [(0.05, 25), (0.5, 250), (1.0, 500), (0.0001, 1), (0.999, 500), (None, 500)]
)
def test_a_share_is_cut_exactly_and_never_to_nobody(share: float | None, count: int) -> None:
    assert len(chosen(share_of(share), DEVICES, 7)) == count


@given(names, shares, shares, st.integers(0, 99), st.randoms())
def test_the_same_seed_hits_the_same_devices_in_any_order_and_a_larger_share_hits_them_too(
    devices: list[str], one: float, other: float, seed: int, random: object
) -> None:
    small, large = sorted((one, other))
    first = chosen(share_of(small), devices, seed)
    assert first == chosen(share_of(small), reversed(devices), seed)
    assert set(first) <= set(chosen(share_of(large), devices, seed))


def test_another_seed_and_another_fault_hit_others() -> None:
    first = chosen(share_of(0.05), DEVICES, 7)
    assert first != chosen(share_of(0.05), DEVICES, 8)
    assert first != chosen(share_of(0.05, name="other"), DEVICES, 7)


def test_a_device_has_its_faults_in_the_order_of_the_file(tmp_path: Path) -> None:
    script = read(
        tmp_path,
        '[[faults]]\nkind = "slow"\ndelay = 1\n[[faults]]\nkind = "refuse"\ndevices = ["d0003", "d0001"]\n',
    )
    found = assign(script, DEVICES)
    assert len(found) == 500
    assert [fault.name for fault in found["d0001"]] == ["slow-1", "refuse-2"]
    assert [fault.name for fault in found["d0002"]] == ["slow-1"]


@pytest.mark.parametrize(
    ("text", "sight", "hit"),
    [
        ("", Sight(up=0), True),
        ("after = 10", Sight(up=9.9), False),
        ("after = 10", Sight(up=10), True),
        ("after = 10\nuntil = 20", Sight(up=19.9), True),
        ("after = 10\nuntil = 20", Sight(up=20), False),
        ('since = "confirm"', Sight(up=99), False),
        ('since = "confirm"\nafter = 5', Sight(up=99, confirmed=4.9), False),
        ('since = "confirm"\nafter = 5', Sight(up=99, confirmed=5), True),
        ('since = "confirm"\nafter = 5\nuntil = 9', Sight(up=99, confirmed=9), False),
        ('versions = ["2.5.1", "2.5.2"]', Sight(up=0, version="2.5.0"), False),
        ('versions = ["2.5.1", "2.5.2"]', Sight(up=0, version="2.5.2"), True),
        ('versions = ["2.5.1"]', Sight(up=0), False),
    ],
)
def test_a_fault_acts_at_its_time_and_with_its_firmware(tmp_path: Path, text: str, sight: Sight, hit: bool) -> None:
    assert hits(read(tmp_path, f'[[faults]]\nkind = "unready"\n{text}').faults[0], sight) is hit


def test_late_counts_from_the_confirm(tmp_path: Path) -> None:
    script = read(tmp_path, '[[faults]]\nkind = "unhealthy"\nlate = 20\n[[faults]]\nkind = "silentRevert"\n')
    assert [(fault.since, fault.after) for fault in script.faults] == [("confirm", 20), ("confirm", 0)]


def test_a_phase_is_waited_for(tmp_path: Path) -> None:
    fault = read(tmp_path, '[[faults]]\nkind = "vanish"\nphase = "trial"').faults[0]
    assert [hits(fault, Sight(up=1, phase=phase)) for phase in ("idle", "trial", "confirmed")] == [False, True, False]


@pytest.mark.parametrize(
    ("text", "place", "why"),
    [
        ("", "faults", "must be a list of 1 to 64 faults"),
        ("seed = -1", "seed", "must be from 0 to 9007199254740991"),
        ("sede = 1\n[[faults]]\nkind = 'slow'\ndelay = 1", "sede", "is unknown"),
        ("[[faults]]\nshare = 0.5", "[faults[1]] kind", "is missing"),
        ("[[faults]]\nkind = 'slow'", "[faults[1]] delay", "or bytesPerSecond must be given"),
        ("[[faults]]\nkind = 'slow'\ndelay = 'x'", "[faults[1]] delay", "must be of type float, not str"),
        ("[[faults]]\nkind = 'slow'\ndelay = inf", "[faults[1]] delay", "must be seconds, from 0 to a year"),
        ("[[faults]]\nkind = 'refuse'\nlate = 3", "[faults[1]] late", "is unknown"),
        ("[[faults]]\nkind = 'refuse'\nshare = 0", "[faults[1]] share", "must be above 0 and at most 1"),
        ("[[faults]]\nkind = 'refuse'\nshare = nan", "[faults[1]] share", "must be above 0 and at most 1"),
        ("[[faults]]\nkind = 'refuse'\nshare = 5", "[faults[1]] share", "must be above 0 and at most 1"),
        (
            "[[faults]]\nkind = 'refuse'\nshare = 0.5\ndevices = ['d0001']",
            "[faults[1]] share",
            "and devices exclude each other",
        ),
        ("[[faults]]\nkind = 'refuse'\ndevices = []", "[faults[1]] devices", "names nothing"),
        ("[[faults]]\nkind = 'refuse'\ndevices = ['D 1']", "[faults[1]] devices", "has an entry of the wrong form"),
        ("[[faults]]\nkind = 'refuse'\ndevices = ['nobody']", "[faults[1]] devices", "nobody is not simulated"),
        ("[[faults]]\nkind = 'refuse'\ndevices = ['d0001', 'd0001']", "[faults[1]] devices", "names something twice"),
        ("[[faults]]\nkind = 'refuse'\nafter = -1", "[faults[1]] after", "must be seconds, from 0 to a year"),
        ("[[faults]]\nkind = 'refuse'\nafter = 5\nuntil = 5", "[faults[1]] until", "must be later than it begins"),
        ("[[faults]]\nkind = 'refuse'\nsince = 'boot'", "[faults[1]] since", "must be one of start, confirm"),
        ("[[faults]]\nkind = 'refuse'\nversions = ['new']", "[faults[1]] versions", "has an entry of the wrong form"),
        (
            "[[faults]]\nkind = 'unhealthy'\nlate = 5\nafter = 5",
            "[faults[1]] late",
            'means after = ... since = "confirm"; write one of the two',
        ),
        ("[[faults]]\nkind = 'vanish'\nphase = 'lunch'", "[faults[1]] phase", "must be one of accepted, downloading"),
        ("[[faults]]\nkind = 'lie'", "[faults[1]] running", "or outcome must be given"),
        ("[[faults]]\nkind = 'lie'\nrunning = 'new'", "[faults[1]] running", "has the wrong form"),
        ("[[faults]]\nkind = 'lie'\noutcome = 'fine'", "[faults[1]] outcome", "must be one of staged, confirmed"),
        ("[[faults]]\nkind = 'lie'\nrunning = '1.0'\nsigned = true", "[faults[1]] signed", "is about an outcome"),
        ("[[faults]]\nkind = 'clock'", "[faults[1]] offset", "is missing"),
        ("[[faults]]\nkind = 'clock'\noffset = 1e99", "[faults[1]] offset", "must be seconds"),
        ("[[faults]]\nkind = 'facts'\nfacts = {}", "[faults[1]] facts", "names nothing"),
        ("[[faults]]\nkind = 'facts'\nfacts = {a = 1.5}", "[faults[1].facts] a", "must be text, a whole number"),
        ("[[faults]]\nkind = 'unready'\nreason = ''", "[faults[1]] reason", "must be one line"),
        (
            "[[faults]]\nkind = 'unready'\nname = 'x'\n[[faults]]\nkind = 'unready'\nname = 'x'",
            "[faults[2]] name",
            "two faults have the same name",
        ),
    ],
)
def test_each_mistake_is_told_with_its_place(tmp_path: Path, text: str, place: str, why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    assert caught.value.place == f"{tmp_path / 'faults.toml'}: {place}"
    assert caught.value.why.startswith(why)
    assert "agent.toml" not in caught.value.remedy


@pytest.mark.parametrize(
    "text",
    ["[]", "{", '{"faults": 1}', '{"seed": 1, "seed": 2}', '{"seed": NaN, "faults": []}', "[" * 100_000, "\udcff"],
)
def test_what_is_no_json_object_is_told(tmp_path: Path, text: str) -> None:
    file = tmp_path / "faults.json"
    file.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ConfigError, match=r"faults\.json"):
        read_script(file, DEVICES)


def test_toml_and_json_say_the_same_and_a_missing_file_is_told(tmp_path: Path) -> None:
    script = read(tmp_path, 'seed = 3\n[[faults]]\nkind = "unhealthy"\nshare = 0.05\nversions = ["2.5.1"]\nlate = 20\n')
    file = tmp_path / "faults.json"
    fault = {"kind": "unhealthy", "share": 0.05, "versions": ["2.5.1"], "late": 20}
    file.write_text(json.dumps({"seed": 3, "faults": [fault]}))
    assert read_script(file, DEVICES) == script
    for name in ("nothing.json", "nothing.toml"):
        with pytest.raises(ConfigError, match=r"docs/reference/faults\.md"):
            read_script(tmp_path / name, DEVICES)
