"""``python -m bench gpu-model``: how long the example kernels would take on a GPU. Predicted, not measured.

Needs the wheels nvidia-cuda-nvrtc and nvidia-cuda-nvdisasm and a C compiler, but no GPU. The last lines hold the model
to published times.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from .chips import CHIPS, Chip

if TYPE_CHECKING:
    from .examples import Example, LayerExample
    from .launches import Prediction

HEADER: tuple[str, ...] = (
    *("kernel", "layer", "chip", "us", "rate", "of the ceiling", "limit", "registers", "local", "blocks/SM", "waves"),
    *("compute us", "memory us", "L2 us", "math"),
)


def add_to(subparsers: argparse._SubParsersAction) -> None:
    """The subcommand's options."""
    parser = subparsers.add_parser("gpu-model", help="predict the time of GPU kernels", description=__doc__)
    parser.add_argument("--chip", choices=CHIPS, action="append", help="default: H200, A100 and RTX4090")
    parser.add_argument("--no-published", action="store_true", help="leave out the comparison with published times")
    parser.add_argument("--no-layers", action="store_true", help="leave out implicit_gemm on layers of ResNet-50")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """The subcommand."""
    from .examples import examples, nvrtc
    from .sass import MISSING, disassembler

    if nvrtc.library() is None or disassembler() is None:
        raise ValueError(nvrtc.MISSING if nvrtc.library() is None else MISSING)
    from .launches import predict

    rows = [HEADER]
    for example in examples():
        for chip in (CHIPS[name] for name in arguments.chip or ("H200", "A100", "RTX4090")):
            if example.runs_on(chip):
                rows.append(_row(example, chip, predict(chip, example.code(chip), example.launch)))
    _print_table(rows)
    if not arguments.no_layers:
        _print_layers([CHIPS[name] for name in arguments.chip or ("H200",)])
    if not arguments.no_published:
        _print_published()
    return 0


def _row(example: Example | LayerExample, chip: Chip, made: Prediction) -> tuple[str, ...]:
    launch = example.launch
    if example.ceiling == "copy":
        rate, unit, peak = launch.memory_bytes / made.seconds, "TB/s", chip.copy_bytes_per_second
    else:
        rate, unit = launch.flops / made.seconds, "TFLOP/s"
        peak = chip.float32_peak() if example.ceiling == "FFMA" else chip.tensor_peak(example.ceiling)
    times = (f"{seconds * 1e6:.1f}" for seconds in (made.compute_seconds, made.memory_seconds, made.l2_seconds))
    return (example.name, example.layer, chip.name, f"{made.seconds * 1e6:.1f}", f"{rate / 1e12:.1f} {unit}",
            f"{rate / peak:.0%}", made.limit(), str(made.registers), str(made.local_bytes), str(made.resident_blocks),
            f"{made.waves:.2f}", *times, f"{made.math_share:.0%}")  # fmt: skip


def _print_table(rows: list[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    print("predicted, not measured")
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _print_layers(chips: list[Chip]) -> None:
    from .layers import LAYERS, layer

    print("\nimplicit_gemm in float32; seconds with packed weights and sums of splits, the rest of the first product")
    rows = [("layer", "tile", "splits", *HEADER[2:])]
    for chip in chips:
        for text in LAYERS:
            found = layer(chip, text)
            rate, made = found.flops_per_second(), found.products[0]
            times = (f"{seconds * 1e6:.1f}" for seconds in (made.compute_seconds, made.memory_seconds, made.l2_seconds))
            rows.append((text, found.tile, str(found.splits), chip.name, f"{found.seconds * 1e6:.1f}",
                         f"{rate / 1e12:.1f} TFLOP/s", f"{rate / chip.float32_peak():.0%}", made.limit(),
                         str(made.registers), str(made.local_bytes), str(made.resident_blocks), f"{made.waves:.2f}",
                         *times, f"{made.math_share:.0%}"))  # fmt: skip
    _print_table(rows)


def _print_published() -> None:
    from .published import compare

    print("\npublished, RTX A6000, float32 4096 x 4096 x 4096, TFLOP/s")
    for one in compare():
        error = one.predicted / one.measured - 1
        print(f"variant {one.variant}: measured {one.measured}, predicted {one.predicted:.1f} ({error:+.0%})")
