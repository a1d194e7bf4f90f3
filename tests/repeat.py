"""Repeats one comparison of the suite: python tests/repeat.py "<problem>" --algorithm NAME [--threads N] [--seed N]."""

from __future__ import annotations

import argparse

from fastconv import ConvProblem
from operands import accepted, check_exact


def main() -> None:
    """Compare with integer arithmetic and say so."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("problem", type=ConvProblem.parse)
    parser.add_argument("--algorithm", action="append", help="may be given several times; default: all that apply")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for algorithm in options.algorithm or accepted(options.problem):
        check_exact(options.problem, algorithm, options.threads, options.seed)
        print(f"{algorithm}: equals integer arithmetic on {options.problem}")


if __name__ == "__main__":
    main()
