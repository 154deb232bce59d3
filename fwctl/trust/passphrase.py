"""What opens a key: read from a file that the environment names, or asked for on a terminal. Never a flag.

Whatever was asked for is remembered while the process lives, so that one command asks once. Nothing is ever shown.
"""

from __future__ import annotations

import getpass
import os
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fwctl.errors import InputError
from fwctl.files import read_input

LEAST: Final = 8
"""characters of a new passphrase"""
MAX_BYTES: Final = 1023
"""what OpenSSL takes"""


@dataclass(frozen=True)
class Kind:
    """One kind of secret: what it is called, and the variable that names its file."""

    noun: str
    variable: str


PASSPHRASE: Final = Kind("passphrase", "FWCTL_PASSPHRASE_FILE")
NEW_PASSPHRASE: Final = Kind("passphrase", "FWCTL_NEW_PASSPHRASE_FILE")
"""what replaces another one"""
PIN: Final = Kind("PIN", "FWCTL_PIN_FILE")

_remembered: Final[dict[tuple[Kind, str], str]] = {}


def secret(kind: Kind, name: str, place: str) -> str:
    """Return the secret of the key `name`, which lies at `place`.

    The file that the environment names comes first (or, if it is a folder, the file `name` in it), then the terminal.

    Raises:
        InputError: `E_PASSPHRASE` or `E_PIN` where there is neither, `E_NO_FILE` if the file cannot be read.
    """
    file = _file(kind, name)
    if file is not None:
        return _read(kind, file)
    known = _remembered.get((kind, place))
    if known is None:
        known = _remembered[kind, place] = _ask(kind, f"{kind.noun} of the key {name}: ", place)
    return known


def new_passphrase(name: str, place: str, *, kind: Kind = PASSPHRASE) -> str:
    """Return the passphrase that a key gets: from the file, or typed twice.

    Raises:
        InputError: `E_PASSPHRASE` where there is neither, `E_PASSPHRASE_SHORT`, `E_PASSPHRASE_MISMATCH`.
    """
    file = _file(kind, name)
    found = _read(kind, file) if file else _ask(kind, f"new passphrase of the key {name}: ", place)
    if len(found) < LEAST:
        raise InputError(
            f"a passphrase has at least {LEAST} characters",
            code="E_PASSPHRASE_SHORT",
            place=str(file or place),
            remedy="Take several words: whoever gets the file can try passphrases as fast as he likes.",
        )
    if file is None and _ask(kind, "once more: ", place) != found:
        raise InputError(
            "the two passphrases differ",
            code="E_PASSPHRASE_MISMATCH",
            place=place,
            remedy="Run the command again. Nothing was written.",
        )
    return found


def forget(kind: Kind, place: str) -> None:
    """Forget what was typed for a key: it was wrong."""
    _remembered.pop((kind, place), None)


def _file(kind: Kind, name: str) -> Path | None:
    named = os.environ.get(kind.variable)
    if not named:
        return None
    path = Path(named)
    return path / name if path.is_dir() else path


def _read(kind: Kind, path: Path) -> str:
    known = _remembered.get((kind, f"file {path}"))
    if known is not None:
        return known
    whole = read_input(path, remedy=f"{kind.variable} names the file that holds the {kind.noun}.", most=4 * MAX_BYTES)
    try:
        found = whole.decode().split("\n", 1)[0].removesuffix("\r")
    except UnicodeDecodeError:
        found = ""
    if not found or len(found.encode()) > MAX_BYTES:
        raise InputError(
            f"its first line is no {kind.noun}",
            code="E_PIN" if kind is PIN else "E_PASSPHRASE",
            place=str(path),
            remedy=f"Write the {kind.noun} into its first line, as UTF-8 text of at most {MAX_BYTES} bytes.",
        )
    if not path.is_file():  # a pipe can be read once
        _remembered[kind, f"file {path}"] = found
    return found


def _ask(kind: Kind, prompt: str, place: str) -> str:
    if sys.stdin is not None and sys.stdin.isatty():
        sys.stdout.flush()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", getpass.GetPassWarning)  # it would be echoed
                found = getpass.getpass(prompt, stream=sys.stderr)
        except (EOFError, getpass.GetPassWarning, UnicodeDecodeError):
            found = ""
        if found and len(found.encode()) <= MAX_BYTES:
            return found
        what = f"no {kind.noun} was typed"
    else:
        what = f"a {kind.noun} is needed, and nobody can be asked for it here"
    raise InputError(
        what,
        code="E_PIN" if kind is PIN else "E_PASSPHRASE",
        place=place,
        remedy=f"Write it into a file that only you can read, and name that file: {kind.variable}=FILE fwctl ...",
    )
