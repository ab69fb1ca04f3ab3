"""`python -m campaign` from the tests' folder: cases of every generator, kills, and a table of what came of them."""

from __future__ import annotations

import argparse
import sys

from campaign.fuzz import Result, fuzz
from campaign.generators import GENERATORS
from campaign.kills import TARGETS, kill


def main() -> int:
    """Run the campaign; 1 if anything was found."""
    parser = argparse.ArgumentParser(prog="campaign", description=__doc__)
    parser.add_argument("--cases", type=int, default=2000, help="of all generators together; %(default)s if left out")
    parser.add_argument("--kills", type=int, default=12, help="of all commands together; %(default)s if left out")
    parser.add_argument("--seed", type=int, default=0, help="from which all cases follow; %(default)s if left out")
    parser.add_argument("--only", nargs="*", choices=[*GENERATORS, *TARGETS], help="these generators and commands")
    options = parser.parse_args()
    print(
        f"seed {options.seed}\n\n| what | cases | of which taken | seconds | findings |\n|---|---|---|---|---|",
        flush=True,
    )
    wanted = options.only or [*GENERATORS, *TARGETS]
    kinds = {name: kind for name, kind in GENERATORS.items() if name in wanted}
    shares, found = sum(kind.share for kind in kinds.values()), 0
    for name, kind in kinds.items():
        count = round(options.cases * kind.share / shares)
        found += tell(name, fuzz(name, options.seed, count)) if count else 0
    targets = [name for name in TARGETS if name in wanted]
    for index, name in enumerate(targets):
        count = options.kills // len(targets) + (index < options.kills % len(targets))
        found += tell(f"kills: {name}", kill(name, options.seed, count)) if count else 0
    return int(found > 0)


def tell(name: str, result: Result) -> int:
    """Print a row of the table, and each finding; gives their number."""
    taken = "" if result.taken is None else f"{result.taken / max(result.cases, 1):.0%}"
    print(f"| {name} | {result.cases} | {taken} | {result.seconds:.0f} | {len(result.findings)} |", flush=True)
    for case, what in result.findings:
        print(f"    case {case}: {what}", file=sys.stderr, flush=True)
    return len(result.findings)


if __name__ == "__main__":
    sys.exit(main())
