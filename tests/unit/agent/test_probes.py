"""Probe sets: real programs, real files, a real HTTP server."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

from fwctl_agent.runtime.probes import Limits, judge, once
from fwctl_agent.runtime.settings import Check, CommandCheck, FileCheck, HttpCheck, ProbeSet


def probe_set(*checks: Check, attempts: int = 1, deadline: float = 10) -> ProbeSet:
    return ProbeSet(name="default", attempts=attempts, interval=0.01, deadline=deadline, checks=checks)


def command(source: str, timeout: float = 5) -> CommandCheck:
    return CommandCheck(name="app", argv=(sys.executable, "-c", source), timeout=timeout)


async def test_an_empty_set_is_good_and_says_so() -> None:
    ok, evidence = await once(probe_set(), Limits())
    assert ok
    assert [result.detail for result in evidence] == ["no probes configured"]


async def test_a_program_is_judged_by_its_exit_status() -> None:
    assert (await once(probe_set(command("")), Limits()))[0]
    ok, evidence = await once(probe_set(command("import sys; sys.exit(3)")), Limits())
    assert not ok
    assert evidence[0].detail == "exit status 3"


async def test_a_program_that_hangs_is_ended_with_its_children() -> None:
    begun = time.monotonic()
    hang = CommandCheck(name="app", argv=("/bin/sh", "-c", "sleep 60 & sleep 60"), timeout=0.2)
    ok, _ = await once(probe_set(hang), Limits())
    assert not ok
    assert time.monotonic() - begun < 5


async def test_a_program_that_is_missing_is_a_bad_probe() -> None:
    ok, evidence = await once(probe_set(CommandCheck(name="app", argv=("/nonexistent/x",), timeout=1)), Limits())
    assert not ok
    assert "No such file" in evidence[0].detail


async def test_numbers_are_held_against_the_ordered_minima_too() -> None:
    cold = command("print(-12)")
    assert (await once(probe_set(cold), Limits(minima=(("app", -12),))))[0]
    ok, evidence = await once(probe_set(cold), Limits(maxima=(("app", 5),), minima=(("app", -11),)))
    assert (ok, evidence[0].detail, evidence[0].value) == (False, "-12 is below the limit -11", -12)
    assert not (await once(probe_set(command("print('fine')")), Limits(minima=(("app", 1),))))[0]
    ok, evidence = await once(probe_set(), Limits(minima=(("temperature", 1),)))
    assert (ok, evidence[0].probe) == (False, "temperature")


async def test_numbers_are_held_against_the_ordered_limits() -> None:
    hot = command("print(81)")
    assert (await once(probe_set(hot), Limits((("app", 81),))))[0]
    ok, evidence = await once(probe_set(hot), Limits((("app", 80),)))
    assert (ok, evidence[0].value, evidence[0].detail) == (False, 81, "81 is above the limit 80")


async def test_a_limit_without_a_number_fails_closed() -> None:
    assert not (await once(probe_set(command("print('fine')")), Limits((("app", 80),))))[0]
    assert not (await once(probe_set(), Limits((("temperature", 80),))))[0]


async def test_what_a_probe_says_is_bounded_and_printable() -> None:
    noisy = command(r"import sys; sys.stdout.write('\x1b[31m\x00\u202e' * 3000)")
    ok, evidence = await once(probe_set(noisy), Limits())
    assert evidence[0].detail.isprintable()
    assert len(evidence[0].detail) <= 200
    assert isinstance(ok, bool)


async def test_files_are_judged_by_content_or_number(tmp_path: Path) -> None:
    file = tmp_path / "value"
    check = FileCheck(name="value", path=str(file), equals=None, max=None)
    assert not (await once(probe_set(check), Limits()))[0]
    file.write_text("42\n")
    assert (await once(probe_set(check), Limits()))[0]
    assert (await once(probe_set(FileCheck(name="value", path=str(file), equals="42", max=None)), Limits()))[0]
    assert not (await once(probe_set(FileCheck(name="value", path=str(file), equals="ok", max=None)), Limits()))[0]
    assert not (await once(probe_set(FileCheck(name="value", path=str(file), equals=None, max=41)), Limits()))[0]
    file.write_text("٤٢")
    assert not (await once(probe_set(FileCheck(name="value", path=str(file), equals=None, max=99)), Limits()))[0]


async def test_http_is_judged_by_status() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = await reader.readline()
        status = b"200 OK" if b"/good" in line else b"500 No"
        writer.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 2\r\n\r\n17")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    def check(path: str) -> HttpCheck:
        return HttpCheck(name="web", url=f"http://127.0.0.1:{port}{path}", status=200, timeout=2)

    async with server:
        ok, evidence = await once(probe_set(check("/good")), Limits((("web", 20),)))
        assert (ok, evidence[0].value) == (True, 17)
        ok, evidence = await once(probe_set(check("/bad")), Limits())
        assert (ok, evidence[0].detail) == (False, "status 500")
    assert not (await once(probe_set(check("/good")), Limits()))[0]


async def test_rounds_go_on_until_one_is_good(tmp_path: Path) -> None:
    count = tmp_path / "count"
    third = command(f"import sys; p={str(count)!r}; open(p,'a').write('x'); sys.exit(len(open(p).read()) < 3)")
    assert (await judge(probe_set(third, attempts=3), Limits(), seconds=20))[0]
    count.unlink()
    assert not (await judge(probe_set(third, attempts=2), Limits(), seconds=20))[0]


async def test_the_deadline_ends_every_round() -> None:
    begun = time.monotonic()
    ok, evidence = await judge(
        probe_set(command("import time; time.sleep(60)", 60), deadline=0.3), Limits(), seconds=20
    )
    assert not ok
    assert evidence
    assert time.monotonic() - begun < 5
