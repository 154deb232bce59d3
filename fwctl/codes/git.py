"""What is wrong with git, with the repository, or with a commit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from fwctl.codes.entry import Stop

GIT: Final[Mapping[str, Stop]] = {
    "E_DIRTY": Stop(
        ("Files differ from what is committed; what you see would not be what is signed, or would be overwritten."),
        "Commit them, or put them back with `git checkout HEAD -- PATH`.",
        exits=(6,),
    ),
    "E_GIT": Stop(
        "git failed at something that fwctl asked it for.",
        "Run `git fsck` in the repository; if it reports damage, clone it again.",
        exits=(5,),
    ),
    "E_GIT_BARE": Stop(
        "The command edits files, and the repository has no work tree.", "Run it inside a clone with files.", exits=(3,)
    ),
    "E_GIT_EMPTY": Stop(
        "The repository has no commit yet.", "Commit the manifests first: git add . && git commit.", exits=(3,)
    ),
    "E_GIT_FETCH": Stop(
        "The repository could not be fetched.", "Check address, network and access: git ls-remote ADDRESS.", exits=(5,)
    ),
    "E_GIT_IDENTITY": Stop(
        "git does not know who you are, so it can commit nothing.",
        "Set user.name and user.email with git config.",
        exits=(3,),
    ),
    "E_GIT_MISSING": Stop("git is not installed.", "Install git 2.39 or newer.", exits=(5,)),
    "E_GIT_OWNER": Stop(
        "The repository belongs to another user, and git refuses to trust it.",
        "If you trust it: git config --global --add safe.directory FOLDER.",
        exits=(3,),
    ),
    "E_GIT_REF": Stop(
        "No branch, tag or commit has that name.", "List the names there are: git branch -a; git tag.", exits=(3,)
    ),
    "E_GIT_REPO": Stop(
        "There is no git repository here.",
        "Change into a clone of the fleet repository, or make one with `fwctl init`.",
        exits=(3,),
    ),
    "E_GIT_REWIND": Stop(
        ("The commit does not descend from the one that was applied last: history was rewritten, or taken back."),
        "Find out who rewrote it; put the applied commit back and add to it.",
        exits=(4,),
    ),
    "E_GIT_SHALLOW": Stop(
        "The clone is shallow, so its history cannot be checked.",
        "Fetch the whole history: git fetch --unshallow; in CI, fetch-depth: 0.",
        exits=(3,),
    ),
    "E_GIT_SIG": Stop(
        "The policy demands signed commits; one is not signed by somebody whom it names, or they cannot be judged.",
        (
            "Have it committed again, signed (git commit -S) by somebody in the policy's gitSigners; apply many in "
            "parts with --ref COMMIT."
        ),
        exits=(4,),
    ),
    "E_GIT_SIGNING": Stop(
        "git is told to sign commits, and could not.",
        "Try git commit --allow-empty -S -m test; then run the command again, its files are written.",
        exits=(3,),
    ),
    "E_GIT_TIMEOUT": Stop(
        "git did not finish in time.", "Check the connection to the repository, then run the command again.", exits=(5,)
    ),
    "E_GIT_URL": Stop(
        ("The address or name of a commit is of a kind that is refused, because git could be made to run something."),
        ("Give a folder, https, ssh or file address that this machine allows, or a plain branch, tag or commit id."),
        exits=(3,),
    ),
    "E_PATH": Stop(
        ("The repository holds a path that is refused: a link, a submodule, or an odd name below a managed folder."),
        "Rename or remove it; fwctl reads plain files with plain names only.",
        exits=(3,),
    ),
    "E_PATH_MISSING": Stop(
        "The commit does not hold the file.", "List what it holds: git ls-tree -r COMMIT.", exits=(3,)
    ),
    "E_SIZE": Stop(
        "The repository, or what is to be judged at once, is larger than fwctl reads.",
        "Keep images and other data out of it; apply many commits in parts with --ref COMMIT.",
        exits=(3,),
    ),
    "E_SIGN_TOOL": Stop(
        "The program that verifies signatures of commits is not installed.",
        "Install what the message names (ssh-keygen or gpg), then run the command again.",
        exits=(5,),
    ),
}
