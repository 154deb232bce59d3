"""Judge what a user calls a repository or a ref, before any git runs. No files, no network."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias
from urllib.parse import urlsplit

from fwctl.errors import InputError

_SCHEMES = ("https", "ssh", "file")
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\]")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")
_URL_PATH = re.compile(r"/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*")
_HELPER = re.compile(r"[A-Za-z0-9+.-]*::")
_SCP = re.compile(r"(?:(?P<user>[^@/:]+)@)?(?P<host>\[[^\]]*\]|[^:/@]+):(?P<path>.+)", re.DOTALL)
_MAX = 2048


@dataclass(frozen=True)
class Local:
    """A folder on this machine: a work tree, a bare repository, or a folder inside one."""

    path: Path


@dataclass(frozen=True)
class Remote:
    """An address git fetches from; `protocol` is the only one git may use for it."""

    url: str
    protocol: str


Location: TypeAlias = Local | Remote


def parse_location(text: str) -> Location:
    """Tell a local path from an address, and refuse every address outside the allow-list.

    Raises InputError E_GIT_URL when the text looks like an option, names a transport helper (`ext::`), a scheme
    other than https, ssh and file, a password, or carries characters no address needs.
    """
    if not text or len(text) > _MAX or text.startswith("-") or not text.isprintable() or text != text.strip():
        raise _refused(text, "it is empty, too long, looks like an option, or has invisible characters")
    if _HELPER.match(text):
        raise _refused(text, "transport helpers (`name::address`) can run commands")
    if "://" in text:
        return _url(text)
    colon, slash = text.find(":"), text.find("/")
    if colon == -1 or (slash != -1 and slash < colon):
        return Local(Path(text))
    return _scp(text)


def _url(text: str) -> Remote:
    try:
        parts = urlsplit(text)
        _ = parts.port  # reading it checks it
    except ValueError as error:
        raise _refused(text, "it is no well-formed address") from error
    if parts.scheme not in _SCHEMES or not text.startswith(f"{parts.scheme}://"):
        raise _refused(text, "only https, ssh and file are allowed")
    if parts.password is not None:
        raise _refused(text, "a password in an address ends up in logs; use ssh, ~/.netrc or GIT_ASKPASS")
    if parts.query or parts.fragment or not _URL_PATH.fullmatch(parts.path) or parts.path == "/":
        raise _refused(text, "its path is missing or has characters that are not allowed")
    if parts.scheme == "file":
        if parts.netloc:
            raise _refused(text, "a file address has no host: write file:///absolute/path")
        return Remote(text, "file")
    host = parts.netloc.rpartition("@")[2]
    if parts.port is not None:
        host = host.rpartition(":")[0]
    user = parts.username
    if not _HOST.fullmatch(host) or (user is not None and not _USER.fullmatch(user)):
        raise _refused(text, "its user or host is not well formed")
    return Remote(text, parts.scheme)


def _scp(text: str) -> Remote:
    match = _SCP.fullmatch(text)
    if match is None:
        raise _refused(text, "it is neither a path nor an address")
    user, host, path = match["user"], match["host"], match["path"]
    plain = path if path.startswith("/") else f"/{path}"
    if not _HOST.fullmatch(host) or path.startswith("-") or not _URL_PATH.fullmatch(plain.replace("~", "")):
        raise _refused(text, "its host or path is not well formed")
    if user is not None and not _USER.fullmatch(user):
        raise _refused(text, "its user is not well formed")
    return Remote(text, "ssh")


def check_host(remote: Remote, hosts: str | None) -> None:
    """Refuse a host that is not in the operator's list: names, separated by commas; None means no list.

    With a list no address of a folder (`file:`) is taken either. Raises InputError E_GIT_URL.
    """
    if hosts is None:
        return
    parts = urlsplit(remote.url) if "://" in remote.url else None
    name = parts.hostname if parts else remote.url.partition(":")[0].rpartition("@")[2]
    allowed = [host.strip().casefold() for host in hosts.split(",") if host.strip()]
    if (name or "").strip("[]").casefold() not in allowed:
        raise InputError(
            "refused as a repository: its host is not one of those that FWCTL_GIT_HOSTS allows on this machine",
            code="E_GIT_URL",
            place=redact(repr(remote.url[:120])),
            remedy=f"Name a repository on {' or '.join(allowed) or 'this machine'}, or have FWCTL_GIT_HOSTS changed.",
        )


def check_ref(ref: str) -> str:
    """Return the ref if git may see it.

    Raises InputError E_GIT_URL when it looks like an option or a range, or has blanks or invisible characters.
    """
    bad = not ref or len(ref) > 512 or ref[0] in "-^:" or " " in ref or not ref.isprintable() or ".." in ref
    if bad or ":" in ref:
        raise InputError(
            f"this is not a name of one commit: {ref[:80]!r}",
            code="E_GIT_URL",
            remedy="Name a branch, a tag or a commit id, for example: main",
        )
    return ref


def redact(text: str) -> str:
    """Return the text with what may be a secret in addresses blanked, for messages: user, password, query."""
    return re.sub(r"(://[^\s?]*)\?[^\s'\"]*", r"\1?***", re.sub(r"(://)\S*@", r"\1***@", text))


def _blanked(text: str) -> str:
    """As `redact`, where the whole text is one address, well formed or not: a password may hold blanks and slashes."""
    scheme, mark, rest = text.partition("://")
    if "@" in rest:
        rest = "***@" + rest.rpartition("@")[2]
    return scheme + mark + re.sub(r"[?#].*", "?***", rest, flags=re.DOTALL)


def _refused(text: str, why: str) -> InputError:
    return InputError(
        f"refused as a repository: {why}",
        code="E_GIT_URL",
        place=repr(_blanked(text)[:120]),
        remedy="Give a folder, https://host/path, ssh://user@host/path, user@host:path or file:///path",
    )
