"""Repeats one comparison of the suite: python tests/repeat.py "<problem>" --algorithm NAME [--data KIND] [--seed N]."""

from __future__ import annotations

import argparse

from fastconv import ConvProblem
from operands import accepted, check_exact, compute
from real_data import KINDS, RealCase


def main() -> None:
    """Compare with integer arithmetic, or with the declared bounds on real data, and say so."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("problem", type=ConvProblem.parse)
    parser.add_argument("--algorithm", action="append", help="may be given several times; default: all that apply")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", choices=("integers", *KINDS), default="integers")
    options = parser.parse_args()
    for algorithm in options.algorithm or accepted(options.problem):
        if options.data == "integers":
            check_exact(options.problem, algorithm, options.threads, options.seed)
            print(f"{algorithm}: equals integer arithmetic on {options.problem}")
        else:
            case = RealCase(options.problem, options.data)
            result = compute(options.problem, algorithm, case.operands, options.threads)
            ratios = ", ".join(f"{name} {ratio:.3g}" for name, ratio in case.ratios(algorithm, result).items())
            print(f"{algorithm}: error / bound on {options.problem}: {ratios}")


if __name__ == "__main__":
    main()
