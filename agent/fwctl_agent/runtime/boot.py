"""Slot selection: a simulated boot loader in two small files, and one that asks the device's own commands."""

from __future__ import annotations

from dataclasses import replace

from fwctl_agent.protocol.fields import WORD, Fields
from fwctl_agent.runtime.commands import Commands
from fwctl_agent.runtime.copies import TwoCopies
from fwctl_agent.runtime.ports import Fs, InstallFailed, Selector

SLOTS = ("a", "b")


class FileBoot:
    """The selector as two alternating checksummed copies: switching is one atomic rename (D06)."""

    def __init__(self, fs: Fs, path: str = "state/selector") -> None:
        self._copies = TwoCopies(fs, path)
        stored = self._copies.load()
        self._state = Selector(SLOTS[0]) if stored is None else _from_wire(stored)

    def state(self) -> Selector:
        return self._state

    def start(self) -> str:
        """Run the trial slot while it has starts left, counted before it runs; else the good one (D08)."""
        state = self._state
        if state.trial is None:
            return state.good
        if state.tries > 0:
            self._store(replace(state, tries=state.tries - 1))
            return state.trial
        self._store(Selector(state.good, failed=state.trial))
        return state.good

    def try_slot(self, slot: str, tries: int) -> None:
        self._store(Selector(self._state.good, trial=slot, tries=tries))

    def mark_good(self, slot: str) -> None:
        self._store(Selector(slot))

    def go_back(self, slot: str) -> None:
        self._store(Selector(slot))

    def give_up(self) -> None:
        """Record that the boot loader itself ended the trial."""
        self._store(Selector(self._state.good, failed=self._state.trial))

    def _store(self, state: Selector) -> None:
        if state == self._state:
            return
        wire = {"good": state.good, "trial": state.trial, "tries": state.tries, "failed": state.failed}
        try:
            self._copies.store(wire)
        except OSError:
            # The new selection may have reached the disk all the same; until a write succeeds, count with both.
            self._state = replace(self._state, settled=False)
            raise
        self._state = state


class CommandBoot:
    """The device's own boot loader through `activate`, `markGood`, `revert`, `status`; all must be repeatable.

    The file selector remembers what was asked for; `status` prints the slot that really runs, and wins.
    """

    def __init__(self, file: FileBoot, commands: Commands) -> None:
        self._file = file
        self._commands = commands

    def state(self) -> Selector:
        return self._file.state()

    def start(self) -> str:
        booted = self._commands.word("status")
        if booted not in SLOTS:
            raise InstallFailed("E_BOOT_STATUS", f"status must print one of {', '.join(SLOTS)}")
        wanted = self._file.start()
        if booted != wanted and self._file.state().trial is not None:
            self._file.give_up()  # the boot loader fell back before our own count ran out
        elif booted != wanted and self._file.state().failed == booted:
            self._commands.run("revert", wanted)  # our count ran out before the boot loader's
            booted = wanted
        return booted

    def try_slot(self, slot: str, tries: int) -> None:
        self._commands.run("activate", slot)
        self._file.try_slot(slot, tries)

    def mark_good(self, slot: str) -> None:
        self._commands.run("markGood", slot)
        self._file.mark_good(slot)

    def go_back(self, slot: str) -> None:
        self._commands.run("revert", slot)
        self._file.go_back(slot)


def _from_wire(value: object) -> Selector:
    top = Fields(value, "selector")
    state = Selector(
        top.text("good", WORD), top.maybe_text("trial", WORD), top.integer("tries"), top.maybe_text("failed", WORD)
    )
    top.done()
    return state
