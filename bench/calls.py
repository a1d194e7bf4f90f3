"""``python -m bench calls``: what a call of every public function costs that computes next to nothing.

Each is called again and again with the same tiny arrays, beside the call of torch that does the same, where there is
one. Figures are microseconds from Python to Python, and torch's time over fastconv's in pairs. With ``--backend gpu``
they are those of calls on CuPy arrays whose kernels are empty.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np

import fastconv

from .timing import Entrant, contest, ratio

SECONDS = 0.5
"""Time given to each pair of calls."""
Call = Callable[[], Any]


def add_to(subparsers: Any) -> None:
    """The subcommand."""
    parser = subparsers.add_parser("calls", help="microseconds of tiny calls of all functions, beside torch's")
    parser.add_argument("words", nargs="*", metavar="WORD", help="only calls whose names contain one of these")
    parser.add_argument("--backend", choices=("cpu", "gpu"), default="cpu", help="gpu: on the stand-in for CuPy")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print a table."""
    if arguments.backend == "gpu":
        from .gpu import overhead

        return overhead.report(arguments.words)
    torch = _torch()
    fastconv.set_num_threads(1)
    peers = {} if torch is None else torch_calls(torch)
    print("| call | microseconds | torch / fastconv |\n|---|---|---|")
    for name, call in calls().items():
        if arguments.words and not any(word in name for word in arguments.words):
            continue
        entrants = [Entrant(each) for each in (call, peers.get(name)) if each is not None]
        for entrant in entrants:
            entrant.run()
        contest(entrants, SECONDS)
        shown = f"{ratio(entrants[1], entrants[0]):.2f}" if len(entrants) > 1 else ""
        print(f"| {name} | {entrants[0].seconds * 1e6:.1f} | {shown} |", flush=True)
    return 0


def _torch() -> Any:
    try:
        import torch
    except ImportError:
        return None
    torch.set_num_threads(1)
    return torch


def arrays(dtype: Any = np.float32) -> dict[str, np.ndarray]:
    """Tiny operands: 1x3x8x8, 4 filters."""
    rng = np.random.default_rng(0)
    shapes = {
        "x": (1, 3, 8, 8),
        "w": (4, 3, 3, 3),
        "dy": (1, 4, 8, 8),
        "w_depthwise": (3, 1, 3, 3),
        "w_pointwise": (4, 3, 1, 1),
        "half": (1, 3, 4, 4),
        "one": (1, 3, 1, 1),
        "signal": (1, 3, 32),
        "w_signal": (3, 5),
        "columns": (1, 27, 64),
    }
    return {name: rng.standard_normal(shape).astype(dtype) for name, shape in shapes.items()}


def calls() -> dict[str, Call]:
    """One call of every public function, by name."""
    f, a = fastconv, arrays()
    x, w, dy, half = a["x"], a["w"], a["dy"], a["half"]
    dx, dsignal = a["x"].copy(), a["signal"].copy()
    wd, wp, signal, ws = a["w_depthwise"], a["w_pointwise"], a["signal"], a["w_signal"]
    h, c = arrays(np.float16), arrays(np.complex64)
    bytes_x, bytes_w = (8 * x).astype(np.int8), (8 * w).astype(np.int8)
    _, indices = f.max_pool2d(x, 2, return_indices=True)
    planned = f.plan("conv2d", x.shape, w.shape, padding=1)
    return {
        "conv2d": lambda: f.conv2d(x, w, padding=1),
        "conv2d planned": lambda: planned(x, w),
        "conv2d relu": lambda: f.conv2d(x, w, padding=1, activation="relu"),
        "conv2d channels last": lambda: f.conv2d(x.transpose(0, 2, 3, 1), w, padding=1, layout="NHWC"),
        "conv2d reflect": lambda: f.conv2d(x, w, padding=1, padding_mode="reflect"),
        "conv2d float16": lambda: f.conv2d(h["x"], h["w"], padding=1),
        "conv2d complex64": lambda: f.conv2d(c["x"], c["w"], padding=1),
        "conv2d_integer": lambda: f.conv2d_integer(bytes_x, bytes_w, padding=1, x_zero_point=3),
        "conv2d_backward": lambda: f.conv2d_backward(dy, x, w, padding=1),
        "conv2d_backward relu": lambda: f.conv2d_backward(dy, x, w, padding=1, activation="relu"),
        "conv2d_backward reflect": lambda: f.conv2d_backward(dy, x, w, padding=1, padding_mode="reflect"),
        "conv2d_backward float16": lambda: f.conv2d_backward(h["dy"], h["x"], h["w"], padding=1),
        "conv2d_backward complex64": lambda: f.conv2d_backward(c["dy"], c["x"], c["w"], padding=1),
        "grad.conv2d_input": lambda: f.grad.conv2d_input(x.shape, w, dy, padding=1),
        "grad.conv2d_weight": lambda: f.grad.conv2d_weight(x, w.shape, dy, padding=1),
        "conv_transpose2d": lambda: f.conv_transpose2d(dy, w, padding=1),
        "depthwise_conv2d": lambda: f.depthwise_conv2d(x, wd, padding=1),
        "depthwise_conv2d_backward": lambda: f.depthwise_conv2d_backward(dx, x, wd, padding=1),
        "separable_conv2d": lambda: f.separable_conv2d(x, wd, wp, padding=1),
        "separable_conv2d_backward": lambda: f.separable_conv2d_backward(dy, x, wd, wp, padding=1),
        "causal_conv1d": lambda: f.causal_conv1d(signal, ws),
        "causal_conv1d_backward": lambda: f.causal_conv1d_backward(dsignal, signal, ws),
        "max_pool2d": lambda: f.max_pool2d(x, 2),
        "max_pool2d indices": lambda: f.max_pool2d(x, 2, return_indices=True),
        "max_pool2d_backward": lambda: f.max_pool2d_backward(half, x, 2),
        "max_pool2d_backward indices": lambda: f.max_pool2d_backward(half, x, 2, indices=indices),
        "avg_pool2d": lambda: f.avg_pool2d(x, 2),
        "avg_pool2d_backward": lambda: f.avg_pool2d_backward(half, x, 2),
        "adaptive_avg_pool2d": lambda: f.adaptive_avg_pool2d(x, 2),
        "global_avg_pool": lambda: f.global_avg_pool(x),
        "global_avg_pool_backward": lambda: f.global_avg_pool_backward(a["one"], x),
        "unfold": lambda: f.unfold(x, 3, padding=1),
        "fold": lambda: f.fold(a["columns"], (8, 8), 3, padding=1),
    }


def torch_calls(torch: Any) -> dict[str, Call]:
    """What torch has of the same."""
    g, a = torch.nn.functional, arrays()
    t = {name: torch.from_numpy(array) for name, array in a.items()}
    x, w, dy, half = t["x"], t["w"], t["dy"], t["half"]
    wd, wp = t["w_depthwise"], t["w_pointwise"]
    signal, ws = t["signal"], t["w_signal"][:, None]
    h = {name: tensor.half() for name, tensor in t.items()}
    c = {name: torch.from_numpy(array) for name, array in arrays(np.complex64).items()}
    last = x.contiguous(memory_format=torch.channels_last)
    _, indices = g.max_pool2d(x, 2, return_indices=True)
    aten = torch.ops.aten
    sides = [1, 1]

    def backward(dy: Any, x: Any, w: Any, groups: int = 1, bias: bool = True) -> Any:
        mask = [True, True, bias]
        return aten.convolution_backward(dy, x, w, [len(w)], sides, sides, sides, False, [0, 0], groups, mask)

    with_grad = [each.clone().requires_grad_() for each in (x, wd, wp)]

    def separable(x: Any, wd: Any, wp: Any) -> Any:
        return g.conv2d(g.conv2d(x, wd, padding=1, groups=3), wp)

    return {
        "conv2d": lambda: g.conv2d(x, w, padding=1),
        "conv2d planned": lambda: g.conv2d(x, w, padding=1),
        "conv2d relu": lambda: g.conv2d(x, w, padding=1).relu_(),
        "conv2d channels last": lambda: g.conv2d(last, w, padding=1),
        "conv2d reflect": lambda: g.conv2d(g.pad(x, (1, 1, 1, 1), mode="reflect"), w),
        "conv2d float16": lambda: g.conv2d(h["x"], h["w"], padding=1),
        "conv2d complex64": lambda: g.conv2d(c["x"], c["w"], padding=1),
        "conv2d_backward": lambda: backward(dy, x, w),
        "grad.conv2d_input": lambda: torch.nn.grad.conv2d_input(x.shape, w, dy, padding=1),
        "grad.conv2d_weight": lambda: torch.nn.grad.conv2d_weight(x, w.shape, dy, padding=1),
        "conv_transpose2d": lambda: g.conv_transpose2d(dy, w, padding=1),
        "depthwise_conv2d": lambda: g.conv2d(x, wd, padding=1, groups=3),
        "depthwise_conv2d_backward": lambda: backward(x, x, wd, 3),
        "separable_conv2d": lambda: separable(x, wd, wp),
        "separable_conv2d_backward": lambda: torch.autograd.grad(separable(*with_grad), with_grad, dy),
        "causal_conv1d": lambda: g.conv1d(g.pad(signal, (4, 0)), ws, groups=3),
        "max_pool2d": lambda: g.max_pool2d(x, 2),
        "max_pool2d indices": lambda: g.max_pool2d(x, 2, return_indices=True),
        "max_pool2d_backward indices": lambda: aten.max_pool2d_with_indices_backward(
            half, x, [2, 2], [2, 2], [0, 0], sides, False, indices
        ),
        "avg_pool2d": lambda: g.avg_pool2d(x, 2),
        "avg_pool2d_backward": lambda: aten.avg_pool2d_backward(half, x, [2, 2], [2, 2], [0, 0], False, True, None),
        "adaptive_avg_pool2d": lambda: g.adaptive_avg_pool2d(x, 2),
        "global_avg_pool": lambda: x.mean((2, 3)),
        "unfold": lambda: g.unfold(x, 3, padding=1),
        "fold": lambda: g.fold(t["columns"], (8, 8), 3, padding=1),
    }
