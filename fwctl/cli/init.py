"""`fwctl init`: a fleet repository with a trust of one person, in one command; or of several, by a plan."""

from __future__ import annotations

import getpass
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fwctl.cli.context import Context, next_is, say

if TYPE_CHECKING:
    from fwctl.cli.founding import Founded, Wish

FLEET = """\
# What holds for the whole fleet.
apiVersion: fwctl/v1
kind: Fleet
metadata: {{name: {repo_id}}}
spec:
  repoId: {repo_id}              # stands in approvals and certificates, so it never changes
  storage: {{type: file, path: images}}
  deviceAddress: "{{id}}:8443"    # where agents listen; a device's own `address` wins
  passInterval: 5m               # how often `fwctl reconcile` runs
"""


def register(app: typer.Typer) -> None:
    app.command()(init)


@dataclass(frozen=True)
class Made:
    """What init did."""

    folder: Path
    repo_id: str
    person: str
    keys: Path
    commit: str
    new: bool


def init(
    context: typer.Context,
    folder: Annotated[Path | None, typer.Argument(metavar="FOLDER", help="Where; this folder by default.")] = None,
    repo_id: Annotated[
        str, typer.Option(metavar="ID", help="The fleet's id, for ever; the folder's name by default.")
    ] = "",
    person: Annotated[str, typer.Option("--as", metavar="NAME", help="Your name as a signer.")] = "",
    profile: Annotated[
        Literal["development", "production"], typer.Option(help="One person's trust, or that of several by a plan.")
    ] = "development",
    trust: Annotated[
        Path | None, typer.Option("--trust", metavar="FILE", help="The plan for production; trust.yaml by default.")
    ] = None,
) -> None:
    """Make a fleet repository with its trust.

    The trust is one person's; with --profile production that of several, which they have to sign.
    Makes what is missing of git repository, fleet.yaml, keys, trust and ledger; what stands already stays.
    """
    settings: Context = context.obj
    if profile == "production":
        _production(settings, (folder or Path(settings.location)).absolute(), repo_id, trust)
        return
    made = _init(settings, (folder or Path(settings.location)).absolute(), repo_id, person)
    what = "made" if made.new else "stands already"
    say(f"Fleet {made.repo_id} {what} in {made.folder}")
    say(f"  signer     {made.person} (alone: this is a development trust)")
    say(f"  keys       {made.keys}")
    say(f"  commit     {made.commit[:12]}")
    next_is(
        *(("cd " + str(made.folder),) if made.folder != Path.cwd() else ()),
        "fwctl device enroll device-001 --model sensor-v1 --address 127.0.0.1:8443 --out device-001",
    )


def _init(settings: Context, folder: Path, repo_id: str, person: str) -> Made:
    from fwctl.fleet.certificates import create_authorities, device_ca_digest
    from fwctl.gitrepo import init as git_init
    from fwctl.gitrepo import worktree_files
    from fwctl.manifests.load import load
    from fwctl.reconcile.setting import open_ledger
    from fwctl.trust.development import ROOT, development_trust

    wanted = _id(repo_id or folder.name)
    repo = git_init(folder)
    files = worktree_files(folder)
    if "fleet.yaml" in files:
        known = load(files).repo
        wanted = known.fleet.spec.repo_id if known else wanted
    name = slug(person or _git_name(repo.git_dir) or getpass.getuser())
    keystore, now = settings.keystore(wanted), settings.now()

    def device_ca() -> str:
        return device_ca_digest(create_authorities(keystore, wanted, now))

    trust = development_trust(keystore, files, repo_id=wanted, person=name, device_ca=device_ca, now=now)
    new = trust | ({} if "fleet.yaml" in files else {"fleet.yaml": FLEET.format(repo_id=wanted).encode()})
    create_authorities(keystore, wanted, now)
    commit = repo.commit_files(
        new or {path: data for path, data in files.items() if path == "fleet.yaml" or path.startswith("trust/")},
        "Begin the fleet with a development trust",
    )
    if not keystore.exists:
        keystore.pin_root((trust.get(ROOT) or files[ROOT]).decode())
    open_ledger(settings.state_dir(wanted), new=True).close()
    return Made(folder, wanted, keystore.people()[0], keystore.folder, commit, bool(new))


def _production(settings: Context, folder: Path, repo_id: str, trust: Path | None) -> None:
    from fwctl.cli.founding import Wish, found
    from fwctl.gitrepo import init as git_init
    from fwctl.gitrepo import worktree_files
    from fwctl.manifests.load import load

    wanted, repo = _id(repo_id or folder.name), git_init(folder)
    files = worktree_files(folder)
    if "fleet.yaml" in files:
        known = load(files).repo
        wanted = known.fleet.spec.repo_id if known else wanted
    fleet = {} if "fleet.yaml" in files else {"fleet.yaml": FLEET.format(repo_id=wanted).encode()}
    wish = Wish(folder, wanted, files, fleet, (trust or folder / "trust.yaml").absolute())
    _tell(found(settings, repo, wish))


def _tell(done: Founded) -> None:
    from fwctl.render.diagnostics import full
    from fwctl.render.founding import text

    if done.findings:
        say(full(done.findings))
        next_is(_again(done.wish))
        raise typer.Exit(1)
    say(text(done))
    if done.starter:
        next_is(f"fwctl keys generate NAME --fleet {done.wish.repo_id}", _again(done.wish))
    elif done.open is not None:
        next_is(*done.open.commands)
    else:
        next_is("fwctl trust status")


def _again(wish: Wish) -> str:
    plan = "" if wish.plan == wish.folder / "trust.yaml" else f" --trust {wish.plan}"
    return f"fwctl init {wish.folder} --repo-id {wish.repo_id} --profile production{plan}"


def _git_name(git_dir: Path) -> str:
    from fwctl.gitrepo.command import user_config

    return (user_config("user.name", cwd=git_dir) or ("",))[-1]


def slug(name: str) -> str:
    """Return a name as signers and actors are called."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40].strip("-") or "owner"


def _id(text: str) -> str:
    from fwctl.errors import UsageError

    found = re.sub(r"[^a-z0-9-]+", "-", text.lower()).strip("-")[:40].strip("-")
    if not found:
        raise UsageError("the folder's name cannot be a fleet id", code="E_REPO_ID", remedy="Say --repo-id NAME.")
    return found
