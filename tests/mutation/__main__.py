"""`make mutate`: change the verifier in every small way, and see that a test notices each change.

Ends with 1 if a change survives that docs/mutation.md does not explain, or if not everything was tried.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from dataclasses import asdict
from fnmatch import fnmatch

from tests.mutation import staging
from tests.mutation.mutants import NOT_TRIED, Mutant, read
from tests.mutation.page import explained, row
from tests.mutation.results import Digests, holding, load


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.mutation", description=__doc__)
    parser.add_argument("patterns", nargs="*", help="names of mutants, such as 'fwctl_agent.trust.keys.*'")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--minutes", type=float, default=24 * 60, help="begin no mutant after that; go on another time")
    parser.add_argument("--again", action="store_true", help="try also what has been tried and has not changed since")
    parser.add_argument("--report", action="store_true", help="only tell what has been found")
    options = parser.parse_args()
    if not options.report:
        try_mutants(options.patterns, options.jobs, options.minutes, again=options.again)
    return report(known()[0])


def known() -> tuple[list[Mutant], Digests]:
    """Return all mutants of the copy with the verdicts that hold, and the digests they were compared with."""
    modules, selection = staging.chosen()
    digests = Digests.of(staging.TREE, modules, selection)
    return read(staging.TREE, holding(load(staging.RESULTS), digests)), digests


def try_mutants(patterns: list[str], jobs: int, minutes: float, *, again: bool) -> None:
    until = time.time() + 60 * minutes
    staging.install()
    staging.stage()
    staging.generate()
    mutants, digests = known()
    wanted = [
        one.key for one in mutants
        if (one.status == NOT_TRIED or (again and not one.only_words))
        and (not patterns or any(fnmatch(one.key, pattern) for pattern in patterns))
    ]  # fmt: skip
    order = [path.removesuffix(".py").replace("/", ".") for path in staging.chosen()[0]]
    wanted.sort(key=lambda name: order.index(name.rpartition(".")[0]))
    hints = {name: record["test"] for name, record in load(staging.RESULTS).items() if record["test"]}
    print(f"{len(wanted)} of {len(mutants)} mutants are to be tried", flush=True)  # noqa: T201
    if wanted:
        task = {"mutants": wanted, "jobs": jobs, "until": until, "hints": hints, "digests": asdict(digests)}
        files = {"results": str(staging.RESULTS), "reached": str(staging.REACHED)}
        staging.judge(task | files | {"selection": staging.chosen()[1]})


def report(mutants: list[Mutant]) -> int:
    """Print what became of the mutants; return the exit code."""
    reasons = explained()
    left = [one for one in mutants if one.status == "survived" and one.id not in reasons]
    for one in left:
        print(row(one.id, f"{one.module}:{one.function}", *one.change, one.status))  # noqa: T201
    print(table(mutants, reasons))  # noqa: T201
    tried = [one for one in mutants if one.status != NOT_TRIED]
    stale = set(reasons) - {one.id for one in mutants if one.status == "survived"}
    if stale and len(tried) == len(mutants):
        print(f"docs/mutation.md explains what does not survive any more: {', '.join(sorted(stale))}")  # noqa: T201
    return 1 if left or len(tried) < len(mutants) or stale else 0


def table(mutants: list[Mutant], reasons: dict[str, str]) -> str:
    """Return one line for each module."""
    heads = ("killed", "timeout", "words", "explained", "unexplained", "not tried")
    lines = ["| module | mutants | " + " | ".join(heads) + " |", "|---|---|" + "---|" * len(heads)]
    for module in [*sorted({one.module for one in mutants}), ""]:
        these = [one for one in mutants if module in ("", one.module)]
        counted = Counter(_kind(one, reasons) for one in these)
        cells = " | ".join(str(counted[head]) for head in heads)
        lines.append(f"| {f'`{module}`' if module else 'in all'} | {len(these)} | {cells} |")
    return "\n".join(lines)


def _kind(one: Mutant, reasons: dict[str, str]) -> str:
    if one.status != "survived":
        return one.status
    return "explained" if one.id in reasons else "unexplained"


if __name__ == "__main__":
    sys.exit(main())
