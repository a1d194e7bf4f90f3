"""``python -m bench gpu-model``: how long layers would take on a GPU. Predicted, not measured.

Every layer gets the plan that the cost model would choose, and each of its launches is predicted: machine code,
occupancy, waves, bytes; how often loops run, sectors and conflicts are counted by running a few blocks on the machine
for PTX. Needs the wheels nvidia-cuda-nvrtc and nvidia-cuda-nvdisasm and a C compiler, but no GPU. The last lines hold
the model to published times.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fastconv.suites.layers import PASSES

from ..layers import Layer, layers
from .chips import CHIPS, Chip

if TYPE_CHECKING:
    from .plans import Planned

DTYPES = {"float32": {}, "tf32": {"dtype": "float32", "precision": "medium"},
          **{name: {"dtype": name} for name in ("float64", "float16", "bfloat16")}}  # fmt: skip
Table = list[tuple[str, ...]]


def add_to(subparsers: argparse._SubParsersAction) -> None:
    """The subcommand's options."""
    parser = subparsers.add_parser("gpu-model", help="predict the time of GPU kernels", description=__doc__)
    parser.add_argument("layers", nargs="*", help="lists, suites or problems; default: reference")
    parser.add_argument("--chip", choices=CHIPS, action="append", help="default: H200")
    parser.add_argument("--pass", dest="passes", choices=PASSES, action="append", help="default: all three")
    parser.add_argument("--dtype", choices=DTYPES, action="append", help="default: float32")
    parser.add_argument("--batch", type=int, help="instead of the layers' own")
    parser.add_argument("--only", action="append", help="layers with this in their name or problem")
    parser.add_argument("--algorithm", help="instead of the cost model's choice")
    parser.add_argument("--ranking", action="store_true", help="predict all candidates: where the cost model is wrong")
    parser.add_argument("--write-table", action="store_true", help="print a table in Markdown")
    parser.add_argument("--no-published", action="store_true", help="leave out the comparison with published times")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """The subcommand."""
    from .sass import MISSING, disassembler
    from .stand_in import nvrtc

    if nvrtc.library() is None or disassembler() is None:
        raise ValueError(nvrtc.MISSING if nvrtc.library() is None else MISSING)
    print("predicted, not measured")
    for chip in (CHIPS[name] for name in arguments.chip or ("H200",)):
        for dtype in arguments.dtype or ("float32",):
            chosen = layers(arguments.layers or ["reference"], arguments.passes or list(PASSES), arguments.only,
                            batch=arguments.batch, **DTYPES[dtype])  # fmt: skip
            if arguments.ranking:
                _print_ranking(chip, chosen)
            else:
                _print_layers(chip, dtype, chosen, arguments.algorithm, arguments.write_table)
    if not arguments.no_published:
        _print_published()
    return 0


def _print_layers(chip: Chip, dtype: str, chosen: Sequence[Layer], algorithm: str | None, is_markdown: bool) -> None:
    from .plans import UnpredictableError, planned
    from .summary import rows

    found: list[tuple[str, Planned]] = []
    for layer in chosen:
        try:
            found.append((layer.name, planned(chip, layer.problem, algorithm)))
        except UnpredictableError as why:
            print(f"{layer.name} {layer.pass_name}: {why}")
    header = ("layer", "pass", "algorithm", "us", "TFLOP/s", "GB/s", "of the roofline", "limit", "launches",
              "registers", "spilled", "blocks/SM", "waves", "sectors", "by its cost")  # fmt: skip
    table: Table = [header, *(_line(name, one) for name, one in found)]
    print(f"\n{chip.name}, {dtype}")
    _print_table(table, is_markdown)
    sets: Table = [("set", "pass", "layers", "of the roofline", "worst", "", "asked for")]
    for row in rows(found):
        sets.append((row.name, row.direction, str(row.layers), f"{row.share:.0%}", f"{row.worst:.0%}", row.worst_layer,
                     row.compared))  # fmt: skip
    print("\ngeometric means")
    _print_table(sets, is_markdown)


def _line(name: str, one: Planned) -> tuple[str, ...]:
    longest = max(one.steps, key=lambda step: step.seconds)
    return (name, one.problem.direction, one.algorithm, f"{one.seconds * 1e6:.1f}",
            f"{one.flops / one.seconds / 1e12:.1f}", f"{one.fewest_bytes / one.seconds / 1e9:.0f}", f"{one.share:.0%}",
            one.limit(), str(len(one.steps)), str(longest.registers),
            str(max(step.local_bytes for step in one.steps)), str(longest.resident_blocks), f"{longest.waves:.2f}",
            f"{one.sectors:.2f}", f"{one.cost_seconds / one.seconds:.2f}")  # fmt: skip


def _print_ranking(chip: Chip, chosen: Sequence[Layer]) -> None:
    """Layers for which another candidate is predicted to be faster by more than the model can tell."""
    from .ranking import DISAGREEMENT, ranked

    table: Table = [("layer", "pass", "chosen", "us", "cost", "best", "us", "cost", "slower")]
    agreed = 0
    for layer in chosen:
        first, *_ = found = ranked(chip, layer.problem)
        best = min(found, key=lambda one: one.seconds)
        agreed += first.seconds <= DISAGREEMENT * best.seconds
        if first.seconds > DISAGREEMENT * best.seconds:
            table.append((layer.name, layer.pass_name, f"{first.algorithm} {dict(first.params)}",
                          f"{first.seconds * 1e6:.1f}", f"{first.cost_seconds * 1e6:.1f}",
                          f"{best.algorithm} {dict(best.params)}", f"{best.seconds * 1e6:.1f}",
                          f"{best.cost_seconds * 1e6:.1f}", f"{first.seconds / best.seconds:.2f}"))  # fmt: skip
    print(f"\n{chip.name}: the cost model's choice is within {DISAGREEMENT - 1:.0%} of the best of all candidates for "
          f"{agreed} of {len(chosen)} layers; the others:")  # fmt: skip
    _print_table(table)


def _print_table(table: Table, is_markdown: bool = False) -> None:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for i, row in enumerate(table):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        print(f"| {' | '.join(cells)} |" if is_markdown else "  ".join(cells).rstrip())
        if is_markdown and i == 0:
            print(f"|{'|'.join('-' * (width + 2) for width in widths)}|")


def _print_published() -> None:
    from .examples import examples
    from .published import errors, peers

    print("\nkernels that the library does not have yet, 32x256x56x56 -> 256, 3x3, bfloat16")
    for example in examples(CHIPS["H200"]):
        made = example.predicted
        print(f"{example.name}: {made.seconds * 1e6:.0f} us, {example.share:.0%} of the ceiling, {made.limit()}")
    print("\npublished: measured, predicted")
    for one in errors():
        print(f"{one.what}, {one.chip}: {one.measured:.1f} {one.unit}, {one.predicted:.1f} ({one.ratio - 1:+.0%})")
    print("\nothers' times, measured by them, and ours, predicted")
    for one in peers():
        print(f"{one.what}, {one.chip}: {one.predicted:.1f} us, {one.measured:.1f} us: {one.ratio:.2f} x as fast")
