"""What a device perceives of itself: probes, readiness, facts. The programs stand in its configuration only."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Final, Protocol

from fwctl_agent.errors import Refusal
from fwctl_agent.protocol import canonical
from fwctl_agent.protocol.fields import WORD
from fwctl_agent.runtime import probes
from fwctl_agent.runtime.programs import output_of
from fwctl_agent.runtime.settings import FactsCommand, ProbeSet, Readiness

log = logging.getLogger("fwctl_agent")

Facts = Mapping[str, str | int | bool]
MAX_FACTS: Final = 64
MAX_FACT: Final = 256
MAX_FACTS_OUTPUT: Final = 16 << 10
MAX_REASON: Final = 4096


class Senses(Protocol):
    """Defined by `Host`; nothing may leave as an exception."""

    async def probe(self, probe_set: ProbeSet, limits: probes.Limits) -> probes.Verdict:
        """Run every check of the set once."""

    def watches(self, probe_set: ProbeSet) -> bool:
        """Say whether another round of the set could say anything new."""

    async def facts(self) -> Facts:
        """Return what the device tells of itself now."""


class OwnSenses:
    """The configured probes; the static facts, with those of `[facts_command]` over them."""

    def __init__(self, static: Facts, command: FactsCommand | None) -> None:
        self._static = static
        self._command = command
        self._asked: float | None = None
        self._told: Facts = {}
        self._asking = asyncio.Lock()

    async def probe(self, probe_set: ProbeSet, limits: probes.Limits) -> probes.Verdict:
        return await probes.once(probe_set, limits)

    def watches(self, probe_set: ProbeSet) -> bool:
        return bool(probe_set.checks)

    async def facts(self) -> Facts:
        """Ask the program at most once every `every` seconds; what it last said counts until then.

        After a failure its facts are missing, not old: a battery that was full yesterday proves nothing.
        """
        command = self._command
        if command is None:
            return self._static
        async with self._asking:
            if self._asked is None or time.monotonic() - self._asked >= command.every:
                self._told = await asyncio.to_thread(_ask, command)
                self._asked = time.monotonic()
            merged = {**self._static, **self._told}
        return dict(list(merged.items())[:MAX_FACTS])


def _ask(command: FactsCommand) -> Facts:
    try:
        status, text = output_of(command.argv, timeout=command.timeout, limit=MAX_FACTS_OUTPUT)
        if status == 0:
            return read_facts(text)
        how = "took too long" if status is None else f"ended with status {status}"
        log.warning("[facts_command] is not used: it %s", how)
    except OSError as error:
        log.warning("[facts_command] cannot be started: %s", error.strerror)
    except Refusal as refusal:
        log.warning("[facts_command] is not used: %s", refusal.message)
    return {}


def read_facts(text: bytes) -> dict[str, str | int | bool]:
    """Read one strict JSON object of facts.

    Raises:
        Refusal: `E_LIMIT` or `E_SCHEMA`: it is something else.
    """
    value = canonical.decode(text, what="the output", max_bytes=MAX_FACTS_OUTPUT)
    if not isinstance(value, dict) or len(value) > MAX_FACTS:
        raise Refusal("E_SCHEMA", f"the output must be a JSON object of at most {MAX_FACTS} facts")
    for key, fact in value.items():
        if not WORD.fullmatch(key) or not is_fact(fact):
            raise Refusal("E_SCHEMA", f"the fact {key[:64]!r} must be text, a whole number, or true or false")
    return value


def is_fact(value: object) -> bool:
    """Say whether the fleet would read it: one number too large, and it would read nothing of the device."""
    if type(value) is int:
        return abs(value) <= canonical.MAX_INT
    return type(value) is bool or (isinstance(value, str) and len(value) <= MAX_FACT)


class ReadyCommand:
    """`[readiness]`: exit status 0 means ready; otherwise the first line that it prints says why not."""

    def __init__(self, readiness: Readiness) -> None:
        self._readiness = readiness

    def why_not(self) -> str | None:
        try:
            status, text = output_of(self._readiness.command, timeout=self._readiness.timeout, limit=MAX_REASON)
        except OSError as error:
            return f"the readiness command cannot be started: {error.strerror}"
        if status == 0:
            return None
        if status is None:
            return f"the readiness command took longer than {self._readiness.timeout:g} s"
        first = probes.clean(text.decode(errors="replace").strip().partition("\n")[0])
        return first or f"the readiness command ended with status {status}"
