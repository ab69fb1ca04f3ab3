"""`python -m campaign` from the tests' folder: cases, kills, faults, a soak, and a table of what came of them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator

from campaign.faults import COMMANDS, FAULTS, lack
from campaign.fuzz import Result, fuzz
from campaign.generators import GENERATORS
from campaign.kills import TARGETS, kill
from campaign.soak import Soak, soak


def main() -> int:
    """Run the campaign; 1 if anything was found."""
    options = read_options()
    print(f"seed {options.seed}\n\n| what | cases | of which taken | seconds | findings |", flush=True)
    print("|---|---|---|---|---|", flush=True)
    found = sum(tell(name, result) for name, result in run(options))
    return int(found > 0)


def read_options() -> argparse.Namespace:
    """Read how much of what is wanted."""
    parser = argparse.ArgumentParser(prog="campaign", description=__doc__)
    parser.add_argument("--cases", type=int, default=2000, help="of all generators together; %(default)s if left out")
    parser.add_argument("--kills", type=int, default=12, help="of all commands together; %(default)s if left out")
    faults = f"rounds of {', '.join(FAULTS)}, of each command; %(default)s if left out"
    parser.add_argument("--faults", type=int, default=1, help=faults)
    parser.add_argument(
        "--soak", type=float, default=1, metavar="MINUTES", help="of one stream; %(default)s if left out"
    )
    parser.add_argument("--seed", type=int, default=0, help="from which all cases follow; %(default)s if left out")
    parser.add_argument("--only", nargs="*", choices=[*GENERATORS, *TARGETS], help="these generators and commands")
    return parser.parse_args()


def run(options: argparse.Namespace) -> Iterator[tuple[str, Result | Soak]]:
    """Give each part as it is done."""
    wanted = options.only or [*GENERATORS, *TARGETS]
    kinds = {name: kind for name, kind in GENERATORS.items() if name in wanted}
    shares = sum(kind.share for kind in kinds.values())
    for name, kind in kinds.items():
        if count := round(options.cases * kind.share / shares):
            yield name, fuzz(name, options.seed, count)
    targets = [name for name in TARGETS if name in wanted]
    for index, name in enumerate(targets):
        if count := options.kills // len(targets) + (index < options.kills % len(targets)):
            yield f"kills: {name}", kill(name, options.seed, count)
    for name in COMMANDS:
        if options.faults and name in wanted:
            yield f"faults: {name}", lack(name, options.seed, options.faults)
    if options.soak:
        yield "soak", soak(options.soak, options.seed)


def tell(name: str, result: Result | Soak) -> int:
    """Print a row of the table, and each finding; gives their number."""
    deep = result.taken if isinstance(result, Result) else None
    taken = "" if deep is None else f"{deep / max(result.cases, 1):.0%}"
    print(f"| {name} | {result.cases} | {taken} | {result.seconds:.0f} | {len(result.findings)} |", flush=True)
    if isinstance(result, Soak):
        print(result, flush=True)
    for case, what in result.findings:
        print(f"    case {case}: {what}", file=sys.stderr, flush=True)
    return len(result.findings)


if __name__ == "__main__":
    sys.exit(main())
