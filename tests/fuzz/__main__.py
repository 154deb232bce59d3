"""`make fuzz`: many cases on every target; the same seed tries the same cases."""

from __future__ import annotations

import argparse
import hashlib
import secrets
import sys
from pathlib import Path

from tests.fuzz.run import ACCEPTED, Account, fuzz
from tests.fuzz.targets import TARGETS


def main() -> int:
    """Return 1 if there are findings."""
    parser = argparse.ArgumentParser(prog="tests.fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=100_000, help="in all (default: 100000)")
    parser.add_argument("--seed", type=int, default=None, help="default: a new one, which is printed")
    parser.add_argument("--target", action="append", choices=sorted(TARGETS), help="only this one; may be repeated")
    parser.add_argument("--keep", type=Path, default=Path(".fuzz"), help="folder for the bytes of findings")
    options = parser.parse_args()
    number = secrets.randbelow(2**32) if options.seed is None else options.seed
    print(f"seed {number}: the same cases again with --seed {number}", file=sys.stderr)  # noqa: T201
    targets = [TARGETS[name]() for name in (options.target or TARGETS)]
    shares = sum(target.share for target in targets)
    accounts = []
    for target in targets:
        cases = -(-options.cases * target.share // shares)
        print(f"{target.name}: {cases} cases", file=sys.stderr, flush=True)  # noqa: T201
        accounts.append(fuzz(target, cases, number))
        _keep(accounts[-1], options.keep)
    print(table(accounts))  # noqa: T201
    return 1 if any(account.findings for account in accounts) else 0


def table(accounts: list[Account]) -> str:
    """Return one line for each target, with the most frequent codes."""
    lines = [
        f"{'target':17} {'cases':>7} {'accepted':>8} {'findings':>8} {'slowest':>8} {'memory':>8}  refused by code"
    ]
    for one in accounts:
        codes = ", ".join(f"{code} {count}" for code, count in one.verdicts.most_common() if code != ACCEPTED)
        lines.append(
            f"{one.target:17} {one.cases:>7} {one.verdicts[ACCEPTED]:>8} {len(one.findings):>8} "
            f"{one.slowest * 1000:>5.0f} ms {one.grown / 1024:>4.0f} MiB  {codes}"
        )
    total = sum(one.cases for one in accounts)
    lines.append(f"{'in all':17} {total:>7} {'':8} {sum(len(one.findings) for one in accounts):>8}")
    return "\n".join(lines)


def _keep(account: Account, folder: Path) -> None:
    """Write the bytes of the first findings of each sort, so that they can be tried again."""
    seen: set[str] = set()
    for data, why in account.findings:
        if why[:60] in seen:
            continue
        seen.add(why[:60])
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{account.target}-{hashlib.sha256(data).hexdigest()[:12]}.bin"
        file.write_bytes(data)
        print(f"  finding: {why[:300]}\n  bytes: {file}", file=sys.stderr)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
