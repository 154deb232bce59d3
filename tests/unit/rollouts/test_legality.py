"""What `validate` says of ways there and back, with and without what devices were seen to run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from fwctl.cli.observed import read_observed
from fwctl.errors import InputError
from fwctl.manifests.diagnostic import Diagnostic
from fwctl.rollouts.compile import compile_rollout
from fwctl.rollouts.paths import legality
from tests.unit.rollouts.fleets import KEY, files, repo_of

FIRMWARE = """\
apiVersion: fwctl/v1
kind: Firmware
spec:
  model: sensor-v1
  version: "{version}"
  hardware: [rev-a]
  image: {{digest: "sha256:{digest}", length: 10}}
  releaseCounter: 1
"""
NOBODY_BACK = "rollback: {allowed: false, automatic: false}"


def found(
    firmware: Mapping[str, str], *spec: str, observed: Mapping[str, str] | None = None, floor: int = 0
) -> list[Diagnostic]:
    """Return the findings of a rollout of 2.5.0 beside these firmware: version -> further lines of its spec."""
    sources = files(["a", "b", "c"], ["strategy: {type: Direct}", *spec])
    for number, (version, more) in enumerate(firmware.items(), start=1):
        text = FIRMWARE.format(version=version, digest=f"{number:064x}")
        lines = "".join(f"  {line}\n" for line in more.splitlines())
        sources[f"firmware/sensor-v1/{version}.yaml"] = (text + lines).encode()
    repo = repo_of(sources)
    rollout = repo.rollouts[KEY]
    return list(legality.findings(repo, rollout, compile_rollout(repo, rollout), observed=observed, floor=floor))


def told(findings: list[Diagnostic]) -> list[tuple[str, str]]:
    return [(one.code, one.message) for one in findings]


def test_nothing_is_said_where_everybody_can_come_and_go() -> None:
    assert found({"2.4.0": "", "2.3.0": ""}) == []


def test_a_way_back_over_a_stop_is_an_error_where_it_would_be_gone_by_itself() -> None:
    (one,) = found({"1.0.0": "", "2.0.0": "stop: true", "2.4.0": ""})
    message = "devices that come from 1.0.0 cannot go back: it came over 2.0.0: its slots hold no older image"
    assert (one.code, one.message) == ("E_NO_WAY_BACK", message)
    assert "`rollback: {allowed: false, automatic: false}`" in one.remedy
    assert (one.place.path, one.place.line) == ("rollouts/dev/sensors.yaml", 5)


def test_it_is_a_warning_where_a_person_decides_and_nothing_where_nobody_goes_back() -> None:
    firmware = {"1.0.0": "", "2.0.0": "stop: true"}
    assert [one.code for one in found(firmware, "rollback: {automatic: false}")] == ["W_NO_WAY_BACK"]
    assert found(firmware, NOBODY_BACK) == []


def test_data_that_an_older_release_cannot_read_is_an_error_at_the_rollout() -> None:
    firmware = {"2.5.0": "data: {writes: 2, reads: [1]}", "2.4.0": "", "2.3.0": "data: {writes: 1, reads: [2]}"}
    (one,) = found(firmware)
    why = "their data cannot be read by 2.4.0: 2.5.0 writes format 2"
    assert (one.code, one.message) == ("E_DATA_FORMAT", f"devices that come from 2.4.0 cannot go back: {why}")


def test_an_older_release_below_the_floor_of_the_policy_is_an_error() -> None:
    (one,) = found({"2.5.0": "securityVersion: 2", "2.4.0": "securityVersion: 1"}, floor=2)
    assert one.code == "E_ROLLBACK_FLOOR"
    assert found({"2.5.0": "securityVersion: 2", "2.4.0": "securityVersion: 1"}, floor=1) == []


@pytest.mark.parametrize("state", ["draft", "withdrawn"])
def test_a_release_that_devices_cannot_run_is_not_asked_about(state: str) -> None:
    assert found({"2.5.0": "data: {writes: 2, reads: [1]}", "2.4.0": f"state: {state}"}) == []


def test_with_what_was_seen_exactly_that_is_asked_about() -> None:
    firmware = {"1.0.0": "", "2.0.0": "stop: true", "2.4.0": ""}
    assert found(firmware, observed={"a": "2.4.0", "b": "2.5.0", "c": "2.0.0"}) == []
    codes = [one.code for one in found(firmware, observed={"a": "1.0.0", "b": "2.4.0", "c": "2.4.0"})]
    assert codes == ["E_NO_WAY_BACK"]


def test_every_target_without_a_path_is_counted_and_the_first_are_named() -> None:
    firmware = {"2.5.0": 'requiresFrom: {atLeast: "2.0.0"}'}
    assert told(found(firmware, NOBODY_BACK, observed={"a": "1.0.0", "b": "1.1.0", "c": "2.0.0"})) == [
        ("E_NO_PATH", "2 of 3 seen targets have no legal path to 2.5.0: 1 (a) on 1.0.0; 1 (b) on 1.1.0")
    ]


def test_a_target_that_was_not_seen_is_told() -> None:
    assert told(found({}, observed={"a": "2.4.0", "x": "1.0.0"})) == [
        ("I_NOT_OBSERVED", "what they run is not known: 2 (b, c)")
    ]


def test_a_plan_counts_how_many_go_how() -> None:
    sources = files(["a", "b", "c"])
    sources["firmware/sensor-v1/2.0.0.yaml"] = (
        FIRMWARE.format(version="2.0.0", digest="1" * 64) + "  stop: true\n"
    ).encode()
    repo = repo_of(sources)
    plan = compile_rollout(repo, repo.rollouts[KEY])
    assert legality.lengths(plan, {"a": "1.0.0", "b": "2.1.0", "c": "1.9.0"}) == "2 over 2.0.0, 1 directly"


FORMS = {
    "csv": "id,site,version\na,here,1.0.0\nb,,2.0.0\nc,,\n",
    "jsonl": '{"id": "a", "version": "1.0.0"}\n\n{"id": "b", "version": "2.0.0"}\n{"id": "c", "version": null}\n',
    "json": '[{"id": "a", "version": "1.0.0"}, {"id": "b", "version": "2.0.0"}]',
    "list": '{"schemaVersion": 1, "devices": [{"id": "a", "running": {"version": "1.0.0"}}, '
    '{"id": "b", "running": {"version": "2.0.0"}}, {"id": "c", "running": null}]}',
}


@pytest.mark.parametrize("form", FORMS)
def test_each_form_of_the_file_says_the_same(form: str, tmp_path: Path) -> None:
    file = tmp_path / "seen"
    file.write_text(FORMS[form])
    assert read_observed(file) == {"a": "1.0.0", "b": "2.0.0"}


BAD = {
    "": "it is empty",
    "device,version\na,1\n": "it has no columns `id` and `version` in its first line",
    "{": "line 1: it is not JSON with each key once",
    '{"devices": 3}': "`devices` is no list",
    '[{"id": 3, "version": "1"}]': "device 1: it has no `id` and `version` that are text",
    "[3]": "device 1: it has no `id` and `version` that are text",
    "id,version\na,new\n": "line 2: new is no version",
    "id,version\na,١.0.0\n": "line 2: ١.0.0 is no version",
    "id,version,version\na,1.0.0,2.0.0\n": "a column stands in its first line twice",
    '[{"id": "a", "version": "1.0.0", "version": "2.0.0"}]': "line 1: it is not JSON with each key once",
    '{"id": "a", "version": "1.0.0", "id": "b"}': "line 1: it is not JSON with each key once",
    "id,version\n\x1b[2J,1.0\n\x1b[2J,2.0\n": "line 3: it says two versions of \\x1b[2J",
    "id,version\na,1.0\na,2.0\n": "line 3: it says two versions of a",
    'id,version\n"a,1.0\n': "line 1: unexpected end of data",
}


@pytest.mark.parametrize("text", BAD)
def test_another_file_is_refused_with_its_line(text: str, tmp_path: Path) -> None:
    file = tmp_path / "seen"
    file.write_text(text)
    with pytest.raises(InputError) as caught:
        read_observed(file)
    assert (caught.value.code, caught.value.message, caught.value.place) == ("E_OBSERVED", BAD[text], str(file))


def test_bytes_that_are_no_text_and_a_file_that_is_missing_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "seen"
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="not UTF-8"):
        read_observed(file)
    with pytest.raises(InputError) as caught:
        read_observed(tmp_path / "none")
    assert caught.value.code == "E_NO_FILE"
