"""Packages that say what they offer, and load a module of theirs when something of it is asked for (PEP 562)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def on_demand(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """Return the `__getattr__` of a package. `homes` names the module of each, several names in one text.

    A package states it under `if not TYPE_CHECKING`, beside the imports that a type checker reads, so that a name that
    is not there stays an error for both.
    """
    places = {name: home for home, names in homes.items() for name in names.split()}

    def load(name: str) -> Any:
        if name not in places:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(f"{package}.{places[name]}"), name)
        setattr(sys.modules[package], name, value)  # the next time it is simply there
        return value

    return load
