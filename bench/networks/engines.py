"""Engines that compute whole networks: each makes a callable of the same model, images and threads."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import numpy as np

from fastconv import nn

Run = Callable[[], np.ndarray]


def fastconv(model: nn.Module, path: Path, x: np.ndarray, threads: int) -> Run:
    compiled = nn.compile(model, x.shape, threads=threads, effort="measure")
    return lambda: compiled(x)


def _torch(model: nn.Module, x: np.ndarray, threads: int, last: bool, is_compiled: bool) -> Run:
    import torch

    from .in_torch import in_torch

    torch.set_num_threads(threads)
    module, images = in_torch(model).eval(), torch.from_numpy(x)
    if last:
        module, images = (each.to(memory_format=torch.channels_last) for each in (module, images))
    if is_compiled:
        module = torch.compile(module)

    def run() -> np.ndarray:
        with torch.inference_mode():
            result: np.ndarray = module(images).numpy()
            return result

    return run


def torch_eager(model: nn.Module, path: Path, x: np.ndarray, threads: int) -> Run:
    return _torch(model, x, threads, False, False)


def torch_channels_last(model: nn.Module, path: Path, x: np.ndarray, threads: int) -> Run:
    return _torch(model, x, threads, True, False)


def torch_compile(model: nn.Module, path: Path, x: np.ndarray, threads: int) -> Run:
    return _torch(model, x, threads, True, True)


def onnxruntime(model: nn.Module, path: Path, x: np.ndarray, threads: int) -> Run:
    import onnxruntime as engine

    options = engine.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.graph_optimization_level = engine.GraphOptimizationLevel.ORT_ENABLE_ALL
    session = engine.InferenceSession(exported(model, path, x), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda: session.run(None, {name: x})[0]  # type: ignore[no-any-return]


def openvino(model: nn.Module, path: Path, x: np.ndarray, threads: int) -> Run:
    import openvino as engine

    settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    request = engine.Core().compile_model(exported(model, path, x), "CPU", settings).create_infer_request()
    return lambda: request.infer([x], share_inputs=True, share_outputs=True)[0]  # type: ignore[no-any-return]


def exported(model: nn.Module, path: Path, x: np.ndarray) -> str:
    """The model as an ONNX file that torch writes, once."""
    if not path.exists():
        import torch

        from .in_torch import in_torch

        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        torch.onnx.export(in_torch(model).eval(), (torch.from_numpy(x),), str(partial), dynamo=False, opset_version=17)
        partial.rename(path)
    return str(path)


ENGINES: dict[str, Callable[[nn.Module, Path, np.ndarray, int], Run]] = {
    "fastconv": fastconv,
    "onnxruntime": onnxruntime,
    "openvino": openvino,
    "torch": torch_eager,
    "torch channels_last": torch_channels_last,
    "torch.compile": torch_compile,
}
"""By name; fastconv's first, which the others are compared with."""


def versions() -> dict[str, str]:
    """Of Python and of all that takes part."""
    found = {"python": sys.version.split()[0]}
    for name in ("fastconv", "numpy", "torch", "onnx", "onnxruntime", "openvino"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            if name == "fastconv":
                from fastconv import __version__

                found[name] = __version__
    return found
