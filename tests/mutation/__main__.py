"""`make mutate`: change the verifier in every small way, and see that a test notices each change.

Ends with 1 if a change survives that docs/mutation.md does not explain, or if not everything was tried.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter

from tests.mutation import staging
from tests.mutation.mutants import Mutant, forget_survivors, read
from tests.mutation.page import explained, row

_BAD = ("survived", "no test", "suspicious")


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.mutation", description=__doc__)
    parser.add_argument("patterns", nargs="*", help="names of mutants, such as 'fwctl_agent.trust.keys.*'")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--report", action="store_true", help="only tell what the last run found")
    options = parser.parse_args()
    if not options.report:
        staging.install()
        forget_survivors(staging.TREE)
        staging.stage()
        staging.run(options.patterns, options.jobs, dict(os.environ))
    return report(read(staging.TREE))


def report(mutants: list[Mutant]) -> int:
    """Print what became of the mutants; return the exit code."""
    reasons = explained()
    left = [one for one in mutants if one.status in _BAD and not one.only_words and one.id not in reasons]
    for one in left:
        print(row(one.id, f"{one.module}:{one.function}", *one.change, one.status))  # noqa: T201
    print(table(mutants, reasons))  # noqa: T201
    tried = [one for one in mutants if one.status != "not tried"]
    stale = set(reasons) - {one.id for one in mutants if one.status in _BAD}
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
    if one.status not in _BAD:
        return one.status
    return "words" if one.only_words else "explained" if one.id in reasons else "unexplained"


if __name__ == "__main__":
    sys.exit(main())
