"""Per cent of the machine's multiply-add peak that implicit GEMM reaches on dense 3x3 layers: python bench/peak.py.

Every ISA level that this machine runs is measured in a process of its own, one thread. The peak (independent chains of
multiply-adds in registers) and the layers are timed in turn, so that a change of clock speed meets them all; figures
are medians over the rounds.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time

ROUNDS = 15
LAYERS = ("1x128x56x56 128x128x3x3", "8x128x28x28 128x128x3x3", "8x256x14x14 256x256x3x3")
DIRECTIONS = ("forward", "backward_input", "backward_weight")


def measure() -> None:
    """Print the table of the ISA level that FASTCONV_MAX_ISA leaves in force."""
    import numpy as np

    import fastconv
    from fastconv import grad
    from fastconv._cpu import _runtime

    rng = np.random.default_rng(0)
    for dtype in ("float32", "float64"):
        calls, work = [], []
        for layer in LAYERS:
            x_shape, w_shape = (tuple(map(int, shape.split("x"))) for shape in layer.split())
            x, w = rng.standard_normal(x_shape).astype(dtype), rng.standard_normal(w_shape).astype(dtype)
            dy = fastconv.conv2d(x, w, padding=1)
            settings = {"padding": 1, "threads": 1, "algorithm": "implicit_gemm"}
            calls += [
                lambda x=x, w=w, s=settings: fastconv.conv2d(x, w, **s),
                lambda x=x, w=w, dy=dy, s=settings: grad.conv2d_input(x.shape, w, dy, **s),
                lambda x=x, w=w, dy=dy, s=settings: grad.conv2d_weight(x, w.shape, dy, **s),
            ]
            work += [dy.size * w[0].size] * 3
        shares: list[list[float]] = [[] for _ in calls]
        for _ in range(ROUNDS):
            for share, call, multiply_adds in zip(shares, calls, work, strict=True):
                peak = _runtime.multiply_add_rate(dtype, 2)
                start = time.perf_counter()
                call()
                share.append(multiply_adds / (time.perf_counter() - start) / peak)
        for number, layer in enumerate(LAYERS):
            figures = [statistics.median(share) for share in shares[3 * number : 3 * number + 3]]
            text = "  ".join(f"{name} {figure:4.0%}" for name, figure in zip(DIRECTIONS, figures, strict=True))
            print(f"{_runtime.isa():10s} {dtype} {layer:26s} {text}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Per cent of the multiply-add peak that implicit GEMM reaches.")
    parser.add_argument("--level", action="store_true", help="measure the level in force only")
    if parser.parse_args().level:
        measure()
        return
    from fastconv._cpu import _runtime

    for name, usable in _runtime.isa_levels():
        if usable:
            environment = {**os.environ, "FASTCONV_MAX_ISA": name}
            subprocess.run([sys.executable, __file__, "--level"], env=environment, check=True)
        else:
            print(f"{name:10s} not run: this machine does not have it")


if __name__ == "__main__":
    main()
