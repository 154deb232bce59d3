"""Readiness and facts: the device's own programs, believed only as far as they are well-formed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from fwctl_agent.errors import Refusal
from fwctl_agent.protocol.messages import DeviceDocument
from fwctl_agent.protocol.statements import ProbeResult
from fwctl_agent.runtime.document import document
from fwctl_agent.runtime.senses import OwnSenses, ReadyCommand, read_facts
from fwctl_agent.runtime.settings import FactsCommand, Readiness
from tests.unit.agent.bench import Bench, Switch


def facts_of(source: str, *, every: float = 1e-9, timeout: float = 5) -> OwnSenses:
    command = FactsCommand(argv=(sys.executable, "-c", source), timeout=timeout, every=every)
    return OwnSenses({"ring": "prod", "battery": 100}, command)


def ready(source: str, timeout: float = 5) -> str | None:
    return ReadyCommand(Readiness(command=(sys.executable, "-c", source), timeout=timeout)).why_not()


async def test_without_a_program_the_static_facts_are_told() -> None:
    assert await OwnSenses({"ring": "prod"}, None).facts() == {"ring": "prod"}


async def test_what_the_program_prints_stands_over_the_static_facts() -> None:
    told = await facts_of("""print('{"battery": 12, "busy": true}')""").facts()
    assert told == {"ring": "prod", "battery": 12, "busy": True}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"battery": 1.5}',
        '{"battery": null}',
        '{"battery": 1, "battery": 2}',
        '{"a": {"b": 1}}',
        '{"a key": 1}',
        json.dumps({"a": "x" * 257}),
        json.dumps({f"k{n}": n for n in range(65)}),
        '{"a": "' + "x" * 20_000 + '"}',
        "nonsense",
    ],
)
async def test_what_is_no_strict_object_of_facts_is_not_used(text: str) -> None:
    with pytest.raises(Refusal):
        read_facts(text.encode())


@pytest.mark.parametrize(
    "source",
    [
        """print('{"battery": 12}'); raise SystemExit(1)""",
        """print('{"battery": 12}', flush=True); import time; time.sleep(60)""",
        "print('{')",
    ],
)
async def test_a_program_that_fails_leaves_no_old_facts(source: str, tmp_path: Path) -> None:
    flag = tmp_path / "broken"
    good = """print('{"battery": 55}')"""
    senses = facts_of(f"import os\nif os.path.exists({str(flag)!r}):\n    {source}\nelse:\n    {good}", timeout=0.8)
    assert (await senses.facts())["battery"] == 55
    flag.touch()
    assert await senses.facts() == {"ring": "prod", "battery": 100}


async def test_a_missing_program_is_no_reason_to_say_nothing() -> None:
    senses = OwnSenses({"ring": "prod"}, FactsCommand(argv=("/nonexistent/x",), timeout=1, every=1))
    assert await senses.facts() == {"ring": "prod"}


async def test_the_program_is_not_asked_more_often_than_configured(tmp_path: Path) -> None:
    count = tmp_path / "count"
    source = f"""open({str(count)!r}, 'a').write('x'); print('{{"n": %d}}' % len(open({str(count)!r}).read()))"""
    often, seldom = facts_of(source), facts_of(source, every=3600)
    assert [(await often.facts())["n"], (await often.facts())["n"]] == [1, 2]
    assert [(await seldom.facts())["n"], (await seldom.facts())["n"]] == [3, 3]


def test_readiness_is_the_exit_status_and_the_first_line_says_why_not() -> None:
    assert ready("print('whatever')") is None
    assert ready(r"print('\nbattery 12 %\nmore'); raise SystemExit(1)") == "battery 12 %"
    assert ready("raise SystemExit(3)") == "the readiness command ended with status 3"
    assert ready("import time; time.sleep(60)", 0.3) == "the readiness command took longer than 0.3 s"
    assert ready(r"print('\x1b[2J' + 'x' * 9000); raise SystemExit(1)") == "[2J" + "x" * 197
    missing = ReadyCommand(Readiness(command=("/nonexistent/x",), timeout=1)).why_not()
    assert missing == "the readiness command cannot be started: No such file or directory"


def test_a_device_that_is_not_ready_defers_an_install_and_moves_no_mark() -> None:
    bench = Bench(ready=Switch("battery 12 %"))
    before = bench.device.record
    order, request = bench.install()
    with pytest.raises(Refusal) as caught:
        bench.device.put_order(order.id, request)
    assert (caught.value.klass, caught.value.code) == ("deferred", "E_DEFERRED")
    assert caught.value.message == "this device is not ready: battery 12 %"
    assert (bench.device.record, bench.device.reply(order.id)) == (before, None)
    bench.ready.why = None
    bench.device.put_order(order.id, request)
    assert bench.device.record.job is not None


def test_an_order_that_must_not_be_done_is_refused_even_when_not_ready() -> None:
    bench = Bench(ready=Switch("busy"))
    order, request = bench.install(probes="unheard-of")
    with pytest.raises(Refusal, match="E_PROBE_SET"):
        bench.device.put_order(order.id, request)


def test_only_an_install_waits_for_readiness() -> None:
    bench = Bench()
    order = bench.to_trial()
    bench.ready.why = "busy"
    bench.device.probed(True, ())
    bench.follow("confirm", order)
    bench.follow("revert", order)
    assert bench.device.record.image.running.version == "1.0.0"


def test_vitals_are_those_of_the_newest_round_even_in_a_watch_that_goes_well() -> None:
    bench = Bench()
    bench.to_confirmed(watch=300)
    for value in (61, 72):
        operations = bench.disk.operations
        bench.device.probed(True, (ProbeResult("temperature", True, str(value), value),))
        wire = document(bench.device, uptime=5).to_wire()
        assert DeviceDocument.from_wire(wire).vitals == {"uptime": 5, "temperature": value}
        assert bench.disk.operations == operations, "a good round of a watch costs no write"
