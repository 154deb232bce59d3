"""Keys as text and JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from fwctl.render.words import counted, document, labelled
from fwctl.trust.public_key import fingerprint

if TYPE_CHECKING:
    from fwctl.cli.keying import Keys, Stored, Vetted, VettedFile

STORES: Final[Mapping[str | None, str]] = {
    "file": "in a file, not encrypted",
    "encrypted": "in an encrypted file",
    "hsm": "in a token",
    None: "",
}


def keys_text(keys: Keys) -> str:
    """Return the keys on this machine; ids are whole."""
    if not keys.lines:
        return f"No private key of this fleet is here ({keys.folder})."
    lines = [f"Keys in {keys.folder}"]
    for one in keys.lines:
        mode = one.mode if one.safe else f"{one.mode}, others can read it: chmod 600"
        unknown = "nothing the policy knows" if keys.judged else "not judged: no root of trust is pinned here"
        pairs = [
            ("id", one.keyid),
            ("kind", one.kind),
            ("kept", STORES[one.store]),
            ("mode", mode),
            ("is", ", ".join(one.known_as) or unknown),
            ("problem", one.problem),
        ]
        lines += ["", one.name, *labelled(pair for pair in pairs if pair[1])]
    return "\n".join(lines)


def keys_json(keys: Keys) -> str:
    """Return the keys for programs."""
    return document(
        {
            "folder": str(keys.folder),
            "judged": keys.judged,
            "keys": [
                {
                    "name": one.name,
                    "keyid": one.keyid,
                    "fingerprint": one.fingerprint,
                    "kind": one.kind,
                    "store": one.store,
                    "mode": one.mode,
                    "safe": one.safe,
                    "knownAs": list(one.known_as),
                    "problem": one.problem,
                }
                for one in keys.lines
            ],
        }
    )


def stored_text(stored: Stored) -> str:
    """Return what was done with a key, and what is read aloud to compare it."""
    pairs = [
        ("id", stored.key.keyid),
        ("kind", stored.key.keytype),
        ("kept", STORES[stored.store]),
        ("read", fingerprint(stored.key)),
        ("private", str(stored.private)),
        ("public", str(stored.public)),
    ]
    return "\n".join([f"Key {stored.name} is {stored.done}", *labelled(pairs)])


def stored_json(stored: Stored) -> str:
    """Return what was done with a key for programs."""
    return document(
        {
            "done": stored.done,
            "name": stored.name,
            "keyid": stored.key.keyid,
            "fingerprint": fingerprint(stored.key),
            "kind": stored.key.keytype,
            "store": stored.store,
            "private": str(stored.private),
            "public": str(stored.public),
        }
    )


def vetted_text(vetted: Vetted) -> str:
    """Return each file with what it holds and what is wrong with it."""
    lines: list[str] = []
    for file in vetted.files:
        lines += [str(file.path), *labelled(_vetted(file, judged=vetted.judged)), ""]
    bad = sum(bool(file.findings) for file in vetted.files)
    return "\n".join([*lines, f"{counted(len(vetted.files), 'key')}, {bad or 'none'} refused"])


def vetted_json(vetted: Vetted) -> str:
    """Return the judgement for programs."""
    return document(
        {
            "judged": vetted.judged,
            "keys": [
                {
                    "path": str(file.path),
                    "person": file.held.person if file.held else None,
                    "keyid": file.held.key.keyid if file.held else None,
                    "fingerprint": fingerprint(file.held.key) if file.held else None,
                    "kind": file.held.key.keytype if file.held else None,
                    "knownAs": list(file.known_as),
                    "findings": [{"code": one.code, "message": one.message} for one in file.findings],
                }
                for file in vetted.files
            ],
        }
    )


KEYS: Mapping[str, Callable[[Keys], str]] = {"text": keys_text, "json": keys_json}
STORED: Mapping[str, Callable[[Stored], str]] = {"text": stored_text, "json": stored_json}
VETTED: Mapping[str, Callable[[Vetted], str]] = {"text": vetted_text, "json": vetted_json}


def _vetted(file: VettedFile, *, judged: bool) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    if file.held is not None:
        new = "new to the policy" if judged else "not compared: no trusted policy is here"
        pairs += [
            ("person", file.held.person),
            ("id", file.held.key.keyid),
            ("kind", file.held.key.keytype),
            ("read", fingerprint(file.held.key)),
            ("is", ", ".join(file.known_as) or new),
        ]
    return [*pairs, *(("refused", f"{one.code}: {one.message}") for one in file.findings)]
