"""`poe bench [SECTION …]`: runs `bench_SECTION.py`, by default all that need no running stack.

A benchmark module has `main() -> bool`, which prints and saves its section and tells whether its
budgets are met.
"""

import argparse
import sys
from importlib import import_module
from pathlib import Path
from typing import Final

ON_THE_STACK: Final = frozenset({"writers"})
"""They measure what `poe up` brought up."""


def main() -> int:
    sections = sorted(
        path.stem.removeprefix("bench_") for path in Path(__file__).parent.glob("bench_*.py")
    )
    parser = argparse.ArgumentParser(prog="poe bench", description="Run the benchmarks.")
    parser.add_argument("section", nargs="*", help=f"of {', '.join(sections)}")
    by_default = [section for section in sections if section not in ON_THE_STACK]
    wanted: list[str] = parser.parse_args().section or by_default
    if unknown := sorted(set(wanted) - set(sections)):
        parser.error(f"no such section: {', '.join(unknown)} (there are {', '.join(sections)})")
    met = [import_module(f"tests.bench.bench_{section}").main() for section in wanted]
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
