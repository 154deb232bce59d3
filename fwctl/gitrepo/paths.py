"""Which paths of a fleet repository fwctl reads, and which names it refuses. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from fwctl.errors import InputError

MANAGED = frozenset(
    {
        "fleet.yaml",
        "firmware",
        "devices",
        "groups",
        "rollouts",
        "control",
        "policies",
        "approvals",
        "trust",
    }
)
MAX_FILE = 256 * 2**20
MAX_TOTAL = 2**30
MAX_FILES = 2_000_000


def is_managed(path: str) -> bool:
    """Tell whether fwctl reads this path; case is folded, so that `Rollouts/` is judged and not overlooked."""
    return path.split("/", 1)[0].casefold() in MANAGED


def check_path(path: str) -> str:
    """Return the path if every checkout on every system would hold the same file at it.

    Raises InputError E_PATH for empty, `.`, `..` and `.git` segments, backslashes, invisible or undecodable
    characters, blanks at the ends, leading dashes, and names that are not in Unicode's NFC form.
    """
    for segment in path.split("/"):
        if segment in ("", ".", "..") or segment.casefold() == ".git":
            raise path_error(path, "a segment is empty, dots only, or .git")
        if segment[0] == "-" or segment != segment.strip() or "\\" in segment or not segment.isprintable():
            raise path_error(path, "it has a leading dash, a backslash, blanks at an end or invisible characters")
        if len(segment.encode("utf-8", "replace")) > 255 or unicodedata.normalize("NFC", segment) != segment:
            raise path_error(path, "it is too long, or not in Unicode's NFC form")
    top = path.split("/", 1)[0]
    if is_managed(path) and top not in MANAGED:
        raise path_error(path, f"the folder is called {top.casefold()!r}, in lower case")
    return path


def check_collisions(paths: Iterable[str]) -> None:
    """Refuse two paths (or folders of them) that a case-insensitive file system would take for one.

    Raises InputError E_PATH naming both.
    """
    seen: dict[str, str] = {}
    done: set[str] = set()
    for path in sorted(paths):
        prefix = path
        while prefix and prefix not in done:
            other = seen.setdefault(prefix.casefold(), prefix)
            if other != prefix:
                raise path_error(prefix, f"it differs only in case from {shown(other)}")
            done.add(prefix)
            prefix = prefix.rpartition("/")[0]


def path_error(path: str, why: str) -> InputError:
    """Build the E_PATH error for one path of the repository; never shows what a file contains."""
    return InputError(
        f"refused path: {why}",
        code="E_PATH",
        place=shown(path),
        remedy="Rename or remove it in the repository; fwctl reads plain files with plain names only.",
    )


def shown(path: str) -> str:
    """Return a path fit for one line of a message."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in path[:200])


def check_sizes(sizes: Iterable[tuple[str, int]]) -> None:
    """Refuse what would not fit into memory, before a byte is read.

    Raises InputError E_SIZE naming the file, or the whole.
    """
    total = count = 0
    for path, size in sizes:
        total, count = total + size, count + 1
        if size > MAX_FILE:
            raise _too_big(shown(path), f"{size} bytes in one file, at most {MAX_FILE} are read")
    if total > MAX_TOTAL or count > MAX_FILES:
        raise _too_big("", f"{count} files with {total} bytes, at most {MAX_FILES} with {MAX_TOTAL} are read")


def _too_big(place: str, why: str) -> InputError:
    return InputError(why, code="E_SIZE", place=place, remedy="Keep images and other data out of the repository.")
