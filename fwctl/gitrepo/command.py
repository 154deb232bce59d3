"""Run git with nothing of the machine's configuration, no hooks, no helpers and a time limit.

No user string reaches this module as an option: callers put them after `--end-of-options` or on stdin.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from fwctl.errors import FwctlError, InputError, WorldError

READ_TIMEOUT = 300.0
FETCH_TIMEOUT = 1800.0

# Command-scope settings win over the repository's own .git/config.
_CONFIG: Mapping[str, str] = {
    "core.hooksPath": os.devnull,
    "core.fsmonitor": "false",
    "core.pager": "cat",
    "core.attributesFile": os.devnull,
    "core.quotePath": "false",
    "protocol.allow": "never",
    "fetch.fsckObjects": "true",
    "transfer.fsckObjects": "true",
    "fetch.recurseSubmodules": "false",
    "submodule.recurse": "false",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "log.showSignature": "false",
    "format.pretty": "medium",
    "http.followRedirects": "false",
    "advice.detachedHead": "false",
    "advice.graftFileDeprecated": "false",
}
# The operator's own way to authenticate; everything else named GIT_* could redirect git to other files.
_KEEP = ("GIT_ASKPASS", "GIT_SSH_COMMAND", "GIT_SSL_CAINFO")
_DISTRUST = "dubious ownership"


@dataclass(frozen=True)
class Answer:
    """What git said: exit status, raw stdout, stderr for messages."""

    status: int
    stdout: bytes
    stderr: str

    def text(self) -> str:
        """Return stdout without its last newline; odd bytes are replaced."""
        return self.stdout.decode("utf-8", "replace").rstrip("\n")


def run(
    args: Sequence[str],
    *,
    cwd: Path,
    stdin: bytes | None = None,
    protocol: str | None = None,
    config: Sequence[tuple[str, str]] = (),
    env: Mapping[str, str] | None = None,
    timeout: float = READ_TIMEOUT,
) -> Answer:
    """Run `git args` in `cwd` and return what it answered, whatever its exit status.

    `protocol` is the one transport git may use; without it git cannot leave the machine nor start a helper.
    Raises WorldError E_GIT_MISSING when git cannot be started, E_GIT_TIMEOUT after `timeout` seconds.
    """
    git_class, not_found = _gitpython()
    settings = [*_CONFIG.items(), *config]
    if protocol is not None:
        settings.append((f"protocol.{protocol}.allow", "always"))
    environment = {**_environment(settings), "GIT_ALLOW_PROTOCOL": protocol or "none", **(env or {})}
    with TemporaryFile() as source:
        if stdin is not None:
            source.write(stdin)
            source.seek(0)
        try:
            status, out, err = git_class(str(cwd)).execute(
                [*_scrub(environment), "git", "--no-pager", *args],
                istream=source,
                with_extended_output=True,
                with_exceptions=False,
                stdout_as_string=False,
                strip_newline_in_stdout=False,
                kill_after_timeout=timeout,
                shell=False,
                env=environment,
            )
        except not_found as error:
            raise _missing() from error
        except OSError as error:
            raise WorldError(
                f"git could not be started: {error.strerror}",
                code="E_GIT",
                place=str(cwd),
                remedy="Check the folder and this machine's limits, then run the command again.",
            ) from error
    message = str(err)
    if status == -9 and message.startswith("Timeout:"):
        raise WorldError(
            f"git did not finish within {timeout:.0f} s",
            code="E_GIT_TIMEOUT",
            place=str(cwd),
            remedy="Check the connection to the repository, then run the command again.",
        )
    return Answer(int(status), bytes(out), message)


def run_discovering(args: Sequence[str], *, cwd: Path) -> Answer:
    """Run a command that looks for the repository around `cwd`, honouring the user's own `safe.directory`.

    Our commands do not see the user's global configuration, where that declaration stands.
    """
    answer = run(args, cwd=cwd)
    if _DISTRUST not in answer.stderr or answer.status == 0:
        return answer
    declared = user_config("safe.directory", cwd=Path("/"))
    return run(args, cwd=cwd, config=[("safe.directory", folder) for folder in declared])


def checked(answer: Answer, *, what: str, place: str) -> Answer:
    """Return the answer of a command that must succeed.

    Raises InputError E_GIT_OWNER when git distrusts the folder's owner, WorldError E_GIT for the rest.
    """
    if answer.status == 0:
        return answer
    raise failure(answer, what=what, place=place)


def failure(answer: Answer, *, what: str, place: str) -> FwctlError:
    """Turn a failed answer into an error that says what git said, on one line."""
    if _DISTRUST in answer.stderr:
        return InputError(
            "the repository belongs to another user, and git refuses to trust it",
            code="E_GIT_OWNER",
            place=place,
            remedy=f"If you trust it: git config --global --add safe.directory {place}",
        )
    return WorldError(
        f"git could not {what}: {said(answer)}",
        code="E_GIT",
        place=place,
        remedy="Run `git fsck` in the repository; if it reports damage, clone it again.",
    )


def said(answer: Answer) -> str:
    """Return the telling line of git's stderr, printable, at most 200 characters."""
    from fwctl.gitrepo.location import redact

    lines = [line.strip() for line in answer.stderr.splitlines() if line.strip()]
    telling = [line for line in lines if line.startswith(("fatal:", "error:"))] or lines or ["no reason given"]
    return "".join(c if c.isprintable() else "?" for c in redact(telling[0]))[:200]


def user_config(key: str, *, cwd: Path) -> tuple[str, ...]:
    """Return the values of one setting as the user's own git would see them (reading runs nothing)."""
    git_class, not_found = _gitpython()
    try:
        status, out, _ = git_class(str(cwd)).execute(
            [*_scrub({}, keep="GIT_CONFIG"), "git", "config", "-z", "--get-all", key],
            with_extended_output=True,
            with_exceptions=False,
            stdout_as_string=False,
            kill_after_timeout=READ_TIMEOUT,
            shell=False,
        )
    except not_found as error:
        raise _missing() from error
    if status != 0:
        return ()
    return tuple(bytes(out).decode("utf-8", "replace").rstrip("\0").split("\0"))


def _environment(settings: Sequence[tuple[str, str]]) -> dict[str, str]:
    env = {
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_SYSTEM": os.devnull,
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_NO_REPLACE_OBJECTS": "1",  # a replace ref would show another history than the one that is hashed
        "GIT_GRAFT_FILE": os.devnull,  # and so would grafts
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_LITERAL_PATHSPECS": "1",
        "GIT_SSH_COMMAND": os.environ.get("GIT_SSH_COMMAND", "ssh -oBatchMode=yes"),
        "GIT_CONFIG_COUNT": str(len(settings)),
    }
    for index, (key, value) in enumerate(settings):
        env[f"GIT_CONFIG_KEY_{index}"], env[f"GIT_CONFIG_VALUE_{index}"] = key, value
    return env


def _scrub(own: Mapping[str, str], *, keep: str = "GIT_ASKPASS") -> list[str]:
    """Return an `env -u ...` prefix for inherited GIT_* variables (a hook sets GIT_DIR and more).

    GitPython can add to the environment but not take away from it.
    """
    inherited = [name for name in os.environ if name.startswith("GIT_") and not name.startswith(keep)]
    strange = [name for name in inherited if name not in own and name not in _KEEP]
    return ["env", *(part for name in strange for part in ("-u", name))] if strange else []


def _gitpython() -> tuple[Any, type[Exception]]:
    try:
        from git.cmd import Git  # imported late: 87 ms that `--help` need not pay
        from git.exc import GitCommandNotFound
    except ImportError as error:
        raise _missing() from error
    return Git, GitCommandNotFound


def _missing() -> WorldError:
    return WorldError("git is not installed", code="E_GIT_MISSING", remedy="Install git 2.39 or newer.")
