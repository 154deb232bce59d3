"""Run a named probe set. What is run stands in the device's configuration; an order only names the set and limits."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import os
import re
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from fwctl_agent.protocol.statements import ProbeResult
from fwctl_agent.runtime.settings import Check, CommandCheck, FileCheck, HttpCheck, ProbeSet


@dataclass(frozen=True)
class Limits:
    """What an order demands of numeric probes, by name."""

    maxima: tuple[tuple[str, int], ...] = ()
    minima: tuple[tuple[str, int], ...] = ()


Verdict = tuple[bool, tuple[ProbeResult, ...]]
Probe = Callable[[ProbeSet, Limits], Awaitable[Verdict]]

MAX_OUTPUT: Final = 4096
MAX_DETAIL: Final = 200
_NUMBER: Final = re.compile(r"-?[0-9]{1,15}")


async def judge(probe_set: ProbeSet, limits: Limits, *, seconds: float, probe: Probe | None = None) -> Verdict:
    """Run rounds until one is all good, attempts or time run out; the verdict is that of the last round (D09).

    `probe` makes one round; `once` if it is not given.
    """
    probe = probe or once
    verdict: Verdict = (False, (ProbeResult("probes", False, "no round of probes ended in time"),))
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(min(probe_set.deadline, seconds)):
            for attempt in range(probe_set.attempts):
                if attempt:
                    await asyncio.sleep(probe_set.interval)
                verdict = await probe(probe_set, limits)
                if verdict[0]:
                    return verdict
    return verdict


async def once(probe_set: ProbeSet, limits: Limits) -> Verdict:
    """Run every check once. Never raises: a check that cannot be made is a bad one."""
    results = [await _checked(check, limits) for check in probe_set.checks]
    names = {check.name for check in probe_set.checks}
    for name in dict([*limits.maxima, *limits.minima]):
        if name not in names:
            results.append(ProbeResult(name, False, "a limit was ordered for a probe that this set does not have"))
    if not results:
        results.append(ProbeResult("none", True, "no probes configured"))
    return all(result.ok for result in results), tuple(results)


async def _checked(check: Check, limits: Limits) -> ProbeResult:
    try:
        match check:
            case CommandCheck():
                ok, text = await _command(check)
            case HttpCheck():
                ok, text = await asyncio.to_thread(_http, check)
            case FileCheck():
                ok, text = await asyncio.to_thread(_file, check)
    except TimeoutError:
        ok, text = False, "no answer in time"
    except (OSError, http.client.HTTPException, ValueError) as error:
        ok, text = False, f"{type(error).__name__}: {error}"
    value = int(text.strip()) if _NUMBER.fullmatch(text.strip()) else None
    if (why := _beyond(check.name, value, limits)) is not None:
        ok, text = False, f"{why}: {text}" if value is None else why
    return ProbeResult(check.name, ok, clean(text), value)


def _beyond(name: str, value: int | None, limits: Limits) -> str | None:
    """Return how a value breaks what was ordered; None if it does not."""
    most, least = dict(limits.maxima).get(name), dict(limits.minima).get(name)
    if most is None and least is None:
        return None
    if value is None:
        return "a limit was ordered, but the probe gave no whole number"
    if most is not None and value > most:
        return f"{value} is above the limit {most}"
    return f"{value} is below the limit {least}" if least is not None and value < least else None


async def _command(check: CommandCheck) -> tuple[bool, str]:
    process = await asyncio.create_subprocess_exec(
        *check.argv,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(check.timeout):
            # More output than that blocks the program until the timeout: a probe says one line.
            text = await _head(process)
            status = await process.wait()
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
    return status == 0, text or f"exit status {status}"


async def _head(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None  # noqa: S101
    text = b""
    while len(text) < MAX_OUTPUT and (piece := await process.stdout.read(MAX_OUTPUT - len(text))):
        text += piece
    return text.decode(errors="replace")


def _http(check: HttpCheck) -> tuple[bool, str]:
    address = urlsplit(check.url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=check.timeout)
    try:
        path = (address.path or "/") + (f"?{address.query}" if address.query else "")
        connection.request("GET", path, headers={"User-Agent": "fwctl-agent", "Connection": "close"})
        response = connection.getresponse()
        body = response.read(MAX_OUTPUT).decode(errors="replace")
    finally:
        connection.close()
    good = response.status == check.status
    return good, body if good and _NUMBER.fullmatch(body.strip()) else f"status {response.status}"


def _file(check: FileCheck) -> tuple[bool, str]:
    with Path(check.path).open("rb") as file:
        text = file.read(MAX_OUTPUT).decode(errors="replace").strip()
    if check.equals is not None and text != check.equals:
        return False, f"content is not {check.equals!r}"
    if check.max is not None:
        if not _NUMBER.fullmatch(text):
            return False, "content is not a whole number"
        return int(text) <= check.max, text
    return True, text if _NUMBER.fullmatch(text) else "as expected"


def clean(text: str) -> str:
    """Return text that may stand in a signed statement: printable, one line, bounded."""
    return "".join(char if char.isprintable() else " " for char in text).strip()[:MAX_DETAIL]
