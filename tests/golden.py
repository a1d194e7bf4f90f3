"""Hashes of exact results that hold on every machine, compiler and backend: python tests/golden.py --write."""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path

import numpy as np

from fastconv import ConvProblem
from operands import exact_case
from problems import SHAPES, problems

FILE = Path(__file__).with_name("golden.json")
LISTS = ("basic", "dilated", "strided", "grouped", "depthwise", "padded", "1-D", "3-D", "channels last")


def golden_problems() -> list[ConvProblem]:
    """The problems whose hashes are kept."""
    return problems(shape for name in LISTS for shape in SHAPES[name])


def fingerprint(result: np.ndarray) -> str:
    """SHA-256 of a result with integer values: little-endian int64 in canonical order, after its shape."""
    values = np.ascontiguousarray(result).astype("<i8")
    assert (values == result).all(), "not integers"
    return hashlib.sha256(repr(values.shape).encode() + values.tobytes()).hexdigest()


def main() -> None:
    """Print or write the hashes of the oracle's results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"replace {FILE.name}")
    hashes = {str(problem): fingerprint(exact_case(problem)[1]) for problem in golden_problems()}
    text = json.dumps(hashes, indent=1) + "\n"
    if parser.parse_args().write:
        FILE.write_text(text)
    else:
        print(text, end="")


if __name__ == "__main__":
    main()
