"""The choice of the event loop."""

from __future__ import annotations

import asyncio
import sys

import pytest

from fwctl.fleet.loop import run


async def loop_in_use() -> str:
    return type(asyncio.get_running_loop()).__module__.partition(".")[0]


def test_uvloop_is_used_where_it_is_installed() -> None:
    assert run(loop_in_use()) == "uvloop"


def test_asyncio_does_where_it_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert run(loop_in_use()) == "asyncio"


def test_what_main_raises_comes_out() -> None:
    async def fails() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        run(fails())
