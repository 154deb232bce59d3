"""Chains of stops from git alone, and the path of each device along them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fwctl.errors import InputError
from fwctl.manifests.models import Firmware
from fwctl.rollouts.paths.along import Paths
from fwctl.rollouts.releases import release_of
from fwctl_agent.protocol.versions import version_key
from tests.unit.rollouts.stops_world import chain, firmware, fleet, paths, versions, way

STOP = {"stop": True}


def since(at_least: str, below: str | None = None) -> dict[str, Any]:
    return {"requiresFrom": {"atLeast": at_least} | ({"below": below} if below else {})}


def test_a_release_that_accepts_everything_is_the_whole_chain() -> None:
    known = fleet(v1_0={}, v2_0={}, v2_5={})
    assert versions(known, "2.5") == ["2.5"]
    assert way(known, "2.5", "1.0") == ["2.5"]


def test_a_barrier_is_passed_by_who_is_below_it_only() -> None:
    known = fleet(v1_0={}, v2_0=STOP, v2_2={}, v2_5={}, v3_0=STOP)
    assert versions(known, "2.5") == ["2.0", "2.5"]
    assert way(known, "2.5", "1.0") == ["2.0", "2.5"]
    assert way(known, "2.5", "2.0") == way(known, "2.5", "2.2") == ["2.5"]
    assert way(known, "2.5", "3.1") == ["2.5"], "downwards a device goes directly"


def test_several_barriers_are_passed_in_their_order() -> None:
    known = fleet(v1_1=STOP, v2_0=STOP, v3_0={})
    assert way(known, "3.0", "1.0") == ["1.1", "2.0", "3.0"]
    assert way(known, "3.0", "1.5") == ["2.0", "3.0"]


def test_between_a_release_and_what_it_accepts_the_one_is_chosen_that_opens_furthest() -> None:
    known = fleet(v2_0={}, v2_4=since("2.0"), v2_9=since("2.4"), v3_0=since("2.0"))
    assert versions(known, "3.0") == ["2.0", "3.0"], "2.9 and 2.4 are newer, but 2.0 takes anybody"
    assert way(known, "3.0", "1.0") == ["2.0", "3.0"]
    assert way(known, "3.0", "2.4") == ["3.0"]


def test_of_releases_that_open_as_far_the_newest_is_chosen() -> None:
    known = fleet(v2_0={}, v2_4={}, v2_9={}, v3_0=since("2.0"))
    assert versions(known, "3.0") == ["2.9", "3.0"]
    assert way(known, "3.0", "2.1") == ["3.0"]


def test_intermediate_releases_need_others_themselves() -> None:
    known = fleet(v1_0={}, v1_5=since("1.0"), v2_0=since("1.5", "2.0"), v3_0=since("2.0", "3.0"))
    assert versions(known, "3.0") == ["1.0", "1.5", "2.0", "3.0"]
    assert way(known, "3.0", "0.9") == ["1.0", "1.5", "2.0", "3.0"]
    assert way(known, "3.0", "1.2") == ["1.5", "2.0", "3.0"]


def test_nothing_registered_in_the_range_leaves_older_devices_without_a_path() -> None:
    known = fleet(v1_0={}, v3_0=since("2.0"))
    assert versions(known, "3.0") == ["3.0"]
    assert way(known, "3.0", "1.0") is None
    assert way(known, "3.0", "2.7") == ["3.0"]


def test_a_range_with_an_end_refuses_a_downgrade() -> None:
    known = fleet(v2_5=since("2.0", "2.5"))
    assert way(known, "2.5", "3.0") is None


@pytest.mark.parametrize("state", ["draft", "candidate", "sunset", "withdrawn"])
def test_what_is_not_released_is_chosen_by_nobody(state: str) -> None:
    known = fleet(v2_0={"state": state}, v3_0=since("2.0"))
    assert versions(known, "3.0") == ["3.0"]


@pytest.mark.parametrize("state", ["draft", "candidate"])
def test_a_barrier_that_is_not_released_yet_is_none(state: str) -> None:
    known = fleet(v2_0=STOP | {"state": state}, v3_0={})
    assert versions(known, "3.0") == ["3.0"]


@pytest.mark.parametrize("state", ["sunset", "withdrawn"])
def test_a_barrier_that_is_gone_is_an_error_with_its_remedy(state: str) -> None:
    known = fleet(v2_0=STOP | {"state": state}, v3_0={})
    with pytest.raises(InputError) as caught:
        chain(known, "3.0")
    assert (caught.value.code, caught.value.place) == ("E_STOP_STATE", "firmware/sensor-v1/2.0.yaml")
    assert "takes its place" in caught.value.remedy


def test_a_barrier_from_which_nothing_leads_on_is_an_error() -> None:
    known = fleet(v2_0=STOP, v3_0=since("2.5"))
    with pytest.raises(InputError) as caught:
        chain(known, "3.0")
    assert (caught.value.code, caught.value.place) == ("E_NO_PATH", "firmware/sensor-v1/3.0.yaml")
    bridged = known | {"2.6": firmware("2.6")}
    assert versions(bridged, "3.0") == ["2.0", "2.6", "3.0"]


def test_a_chain_that_a_lock_line_cannot_hold_is_an_error() -> None:
    known = {f"1.{n}": firmware(f"1.{n}", stop=True) for n in range(16)} | {"2.0": firmware("2.0")}
    with pytest.raises(InputError) as caught:
        chain(known, "2.0")
    assert caught.value.code == "E_CHAIN_LONG"
    del known["1.0"]
    assert len(chain(known, "2.0").stops) == 16


def test_only_what_fits_all_hardware_is_chosen_and_a_barrier_holds_who_it_does_not_fit() -> None:
    both = {"hardware": ["rev-a", "rev-b"]}
    known = fleet(v2_0={}, v2_1=both, v2_2={}, v3_0=both | since("2.0"))
    assert versions(known, "3.0") == ["2.1", "3.0"]
    known = fleet(v2_0=STOP, v3_0=both)
    assert way(known, "3.0", "1.0", "rev-a") == ["2.0", "3.0"]
    assert way(known, "3.0", "1.0", "rev-b") is None
    assert way(known, "3.0", "2.1", "rev-b") == ["3.0"]


def test_a_lock_keeps_what_was_chosen_until_a_new_barrier_comes() -> None:
    known = fleet(v2_4={}, v3_0=since("2.0"))
    locked = tuple(stop.digest for stop in chain(known, "3.0").stops)
    newer = known | {"2.9": firmware("2.9")}
    assert versions(newer, "3.0") == ["2.9", "3.0"]
    assert tuple(stop.digest for stop in chain(newer, "3.0", locked=locked).stops) == locked
    barred = known | {"2.9": firmware("2.9", stop=True)}
    assert [stop.version for stop in chain(barred, "3.0", locked=locked).stops] == ["2.9", "3.0"]


def test_a_lock_keeps_a_stop_that_is_sunset_and_loses_one_that_is_withdrawn() -> None:
    known = fleet(v2_4={}, v3_0=since("2.0"))
    locked = tuple(stop.digest for stop in chain(known, "3.0").stops)
    sunset = known | {"2.4": firmware("2.4", state="sunset")}
    assert [stop.version for stop in chain(sunset, "3.0", locked=locked).stops] == ["2.4", "3.0"]
    withdrawn = known | {"2.4": firmware("2.4", state="withdrawn")}
    assert [stop.version for stop in chain(withdrawn, "3.0", locked=locked).stops] == ["3.0"]


def test_a_lock_from_before_there_were_stops_stays_what_it_was() -> None:
    known = fleet(v2_4={}, v3_0=since("2.0"))
    alone = (release_of(known["3.0"]).digest,)
    assert chain(known, "3.0", locked=alone).stops == (release_of(known["3.0"]),)


numbers = st.integers(0, 12)


@st.composite
def models(draw: st.DrawFn) -> dict[str, Firmware]:
    """A model with up to eight releases, some with a range, some a barrier."""
    known = {}
    for number in draw(st.lists(numbers, min_size=1, max_size=8, unique=True)):
        more: dict[str, Any] = {"stop": draw(st.integers(0, 3)) == 0}
        if number and draw(st.booleans()):
            more |= since(f"1.{draw(st.integers(0, number - 1))}")
        known[f"1.{number}"] = firmware(f"1.{number}", **more)
    return known


def _along(known: dict[str, Firmware], target: str) -> Paths | str:
    """Return the paths, or the code of the error that there are none."""
    try:
        return paths(known, target)
    except InputError as error:
        return error.code


def _stops(known: dict[str, Firmware], target: str) -> list[str] | str:
    try:
        return versions(known, target)
    except InputError as error:
        return error.code


def _target(known: dict[str, Firmware]) -> str:
    return max(known, key=version_key)


@given(models(), numbers)
def test_every_step_of_a_path_is_legal_and_no_barrier_is_jumped_over(known: dict[str, Firmware], start: int) -> None:
    target, version = _target(known), f"1.{start}"
    along = _along(known, target)
    found = along.of(version) if isinstance(along, Paths) else None
    assert isinstance(along, Paths) or along == "E_NO_PATH"
    if found is None:
        return
    assert found[-1].version == target
    at = version
    for stop in found:
        assert stop.requires_from is None or at in stop.requires_from
        if version_key(at) < version_key(stop.version):
            between = [one for one in known.values() if version_key(at) < version_key(one.spec.version)]
            jumped = [one for one in between if version_key(one.spec.version) < version_key(stop.version)]
            assert not [one.spec.version for one in jumped if one.spec.stop]
        at = stop.version


def _reaches(known: dict[str, Firmware], version: str, target: str) -> bool:
    """Say by trying everything whether any order of releases leads from a version to the target."""
    if version == target:
        return True
    for other in known.values():
        to, wanted = other.spec.version, release_of(other).requires_from
        if not version_key(version) < version_key(to) <= version_key(target) or (wanted and version not in wanted):
            continue
        over = (one for one in known.values() if version_key(version) < version_key(one.spec.version) < version_key(to))
        if not any(one.spec.stop for one in over) and _reaches(known, to, target):
            return True
    return False


@given(models())
def test_whoever_can_come_directly_or_from_the_bottom_has_a_path(known: dict[str, Firmware]) -> None:
    target = _target(known)
    found = _along(known, target)
    if not isinstance(found, Paths):
        return
    if _reaches(known, "0.1", target):
        assert found.of("0.1") is not None, "the chain opens as far below as any way does"
    for version, one in known.items():
        wanted = release_of(known[target]).requires_from
        over = [b for b in known.values() if b.spec.stop and version_key(version) < version_key(b.spec.version)]
        if one.spec.version != target and [b.spec.version for b in over if b.spec.version != target] == []:
            assert (found.of(version) is not None) or (wanted is not None and version not in wanted)


@given(models(), st.randoms())
def test_the_chain_does_not_depend_on_the_order_of_files(known: dict[str, Firmware], random: Any) -> None:
    target, shuffled = _target(known), list(known.items())
    random.shuffle(shuffled)
    assert _stops(dict(shuffled), target) == _stops(known, target)
