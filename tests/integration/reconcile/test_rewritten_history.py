"""Rewritten history, odd trees, odd addresses: through the command line and a pass, and nothing changes."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.committers import Forge
from tests.support.world import IDENTITY, World


class Kept:
    """A fleet without devices, one commit of which was applied."""

    def __init__(self, world: World) -> None:
        self.world = world.init()
        self.forge = Forge(world.repo, env=IDENTITY)
        world.fwctl("reconcile", "--once", "--new-ledger")
        world.commit("Applied")
        world.fwctl("reconcile", "--once")
        self.applied = self.forge.head

    def facts(self) -> tuple[str | None, int]:
        with self.world.ledger() as ledger:
            return ledger.meta("last_applied_commit"), len(list(ledger.events()))

    def refused(self, code: str, exit_code: int, *words: str) -> str:
        before = self.facts()
        assert before[0] == self.applied
        ran = self.world.run(*(words or ("reconcile", "--once")))
        assert (ran.code, code in ran.err) == (exit_code, True), ran.text
        assert self.facts() == before
        return ran.err


@pytest.fixture
def kept(world: World) -> Kept:
    return Kept(world)


def test_a30_history_that_does_not_go_on_is_refused(kept: Kept) -> None:
    git = kept.forge.git
    git("reset", "-q", "--hard", "HEAD~1")
    kept.refused("E_GIT_REWIND", 4)
    kept.world.commit("Beside what was applied")
    kept.refused("E_GIT_REWIND", 4)
    git("checkout", "-q", "--orphan", "unrelated")
    kept.world.commit("Unrelated")
    kept.refused("E_GIT_REWIND", 4)
    git("replace", "--graft", "HEAD", kept.applied)
    kept.refused("E_GIT_REWIND", 4)
    git("replace", "-d", git("rev-parse", "HEAD"))
    (kept.world.repo / ".git/info").mkdir(exist_ok=True)
    (kept.world.repo / ".git/info/grafts").write_text(f"{kept.forge.head} {kept.applied}\n")
    kept.refused("E_GIT_REWIND", 4)
    git("checkout", "-q", "main")
    git("reset", "-q", "--hard", kept.applied)
    kept.world.commit("Goes on")
    kept.world.fwctl("reconcile", "--once")


def test_a30_a_deleted_branch_or_a_lost_commit_is_not_an_empty_fleet(kept: Kept) -> None:
    git = kept.forge.git
    git("update-ref", "-d", "refs/heads/main")
    kept.refused("E_GIT_EMPTY", 3)
    git("update-ref", "refs/heads/main", kept.applied)
    git("symbolic-ref", "HEAD", "refs/heads/gone")
    kept.refused("E_GIT_EMPTY", 3)
    git("symbolic-ref", "HEAD", "refs/heads/main")
    git("checkout", "-q", "--orphan", "other")
    kept.world.commit("Unrelated")
    git("branch", "-qD", "main")
    git("reflog", "expire", "--expire=now", "--all")
    git("gc", "-q", "--prune=now")
    kept.refused("E_GIT_REWIND", 4)


def test_a30_a_shallow_clone_of_something_else_is_refused(kept: Kept) -> None:
    kept.world.git("reset", "-q", "--hard", "HEAD~1")
    kept.world.commit("Beside")
    kept.world.git("clone", "-q", "--depth", "1", f"file://{kept.world.repo}", str(kept.world.folder / "shallow"))
    kept.world.location = str(kept.world.folder / "shallow")
    kept.refused("E_GIT_SHALLOW", 3)


SECRET = "the content of another file 0815"


def _link(tree: Path) -> None:
    (tree / "rollouts").mkdir(exist_ok=True)
    (tree / "secret").write_text(SECRET)
    (tree / "rollouts/x.yaml").symlink_to("../secret")


def _linked_folder(tree: Path) -> None:
    shutil.rmtree(tree / "groups", ignore_errors=True)
    (tree / "groups").symlink_to("/etc")


def _submodule(tree: Path) -> None:
    Forge(tree, IDENTITY).git("update-index", "--add", "--cacheinfo", f"160000,{'a' * 40},devices/sub")


def _collision(tree: Path) -> None:
    (tree / "groups").mkdir(exist_ok=True)
    (tree / "groups/A.yaml").write_text(SECRET)
    (tree / "groups/a.yaml").write_text(SECRET)


def _newline(tree: Path) -> None:
    (tree / "groups").mkdir(exist_ok=True)
    (tree / "groups/a\nb\tc.yaml").write_text(SECRET)


def _deep(tree: Path, depth: int = 3000) -> None:
    """Commit a file that many folders deep: made of tree objects, for no file system holds it."""
    git = Forge(tree, IDENTITY).git
    mode, kind, name, oid = "100644", "blob", "x.yaml", git("hash-object", "-w", "--stdin", stdin=SECRET.encode())
    listings = []
    for _ in range(depth):
        listings.append(f"{mode} {kind} {oid}\t{name}\n")
        raw = f"{mode.lstrip('0')} {name}\0".encode() + bytes.fromhex(oid)
        mode, kind, name, oid = "040000", "tree", "d", hashlib.sha1(b"tree %d\0" % len(raw) + raw).hexdigest()
    git("mktree", "--batch", "--missing", stdin="\n".join(listings).encode())
    top = [line for line in git("ls-tree", "HEAD").split("\n") if not line.endswith("\tgroups")]
    listing = "\n".join([*top, f"040000 tree {oid}\tgroups"]) + "\n"
    git("update-ref", "HEAD", git("commit-tree", git("mktree", stdin=listing.encode()), "-p", "HEAD", "-m", "deep"))


@pytest.mark.parametrize("attack", [_link, _linked_folder, _submodule, _collision, _newline])
def test_a31_odd_paths_end_a_pass_before_it_begins(kept: Kept, attack: Callable[[Path], None]) -> None:
    attack(kept.world.repo)
    if attack is _submodule:
        kept.forge.git("commit", "-qm", "Odd")
    else:
        kept.world.commit("Odd")
    for words in ((), ("validate", "--ref", "HEAD"), ("plan", "--ref", "HEAD")):
        said = kept.refused("E_PATH", 3, *words)
        assert SECRET not in said
        assert "root:" not in said


def test_a31_a_tree_of_any_depth_is_refused_in_bounded_time(kept: Kept) -> None:
    _deep(kept.world.repo)
    assert SECRET not in kept.refused("E_PATH", 3)


def test_a31_attributes_of_the_repository_change_no_byte_and_run_nothing(kept: Kept) -> None:
    sentinel = kept.world.folder / "ran"
    attributes = "* filter=evil working-tree-encoding=UTF-16 export-subst ident eol=crlf diff=evil merge=evil\n"
    text = "# $Format:%H$ $Id$\napiVersion: fwctl/v1\nkind: DeviceGroup\nmetadata: {name: g}\n"
    text += "spec: {selector: {matchLabels: {a: b}}}\n"
    kept.forge.git("config", "filter.evil.smudge", f"touch {sentinel}")
    kept.forge.git("config", "filter.evil.required", "true")
    kept.forge.git("config", "diff.evil.textconv", f"touch {sentinel}")
    kept.forge.git("config", "core.fsmonitor", f"touch {sentinel}")
    kept.forge.git("config", "core.pager", f"touch {sentinel}")
    blob = kept.forge.git("hash-object", "-w", "--stdin", stdin=text.encode())
    attr = kept.forge.git("hash-object", "-w", "--stdin", stdin=attributes.encode())
    index = {"GIT_INDEX_FILE": str(kept.world.folder / "index")}
    kept.forge.git("-c", "core.fsmonitor=false", "read-tree", "HEAD", env=index)
    for path, oid in (("groups/g.yaml", blob), (".gitattributes", attr)):
        kept.forge.git("update-index", "--add", "--cacheinfo", f"100644,{oid},{path}", env=index)
    tree = kept.forge.git("write-tree", env=index)
    kept.forge.git("update-ref", "HEAD", kept.forge.git("commit-tree", tree, "-p", "HEAD", "-m", "attributes"))
    sentinel.unlink(missing_ok=True)
    kept.world.fwctl("validate", "--ref", "HEAD")
    kept.world.fwctl("reconcile", "--once")
    assert not sentinel.exists()


def test_a31_a_large_blob_under_a_managed_folder_is_refused(kept: Kept) -> None:
    blob = kept.forge.git("hash-object", "-w", "--stdin", stdin=b"#" * (100 * 2**20))
    kept.forge.git("update-index", "--add", "--cacheinfo", f"100644,{blob},groups/big.yaml")
    kept.forge.git("commit", "-qm", "Large")
    kept.refused("E_MANIFESTS", 3)


def test_a32_addresses_and_names_run_nothing(kept: Kept) -> None:
    sentinel = kept.world.folder / "ran"
    addresses = (
        f"ext::sh -c touch% {sentinel}",
        f"--upload-pack=touch {sentinel}",
        f"-c core.pager=touch {sentinel}",
        f"--output={sentinel}",
        f"ssh://-oProxyCommand=touch%20{sentinel}/x",
        "git@-oProxyCommand=touch:x",
        "http://127.0.0.1/x.git",
    )
    own, before = kept.world.location, kept.facts()
    for kept.world.location in addresses:
        ran = kept.world.run("reconcile", "--once")
        assert (ran.code, "E_GIT_URL" in ran.err) == (3, True), ran.text
    kept.world.location = own
    assert kept.facts() == before
    for ref in (f"--output={sentinel}", "-c", "HEAD..HEAD", "HEAD:fleet.yaml", f":(glob){sentinel}"):
        kept.refused("E_GIT_URL", 3, "reconcile", "--once", f"--ref={ref}")
    assert not sentinel.exists()
