"""CuPy or its stand-in, torch where it has CUDA, and what results depend on."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

from fastconv import _version
from fastconv._backend import find_backend

DISTRIBUTIONS = ("cupy-cuda13x", "cupy-cuda12x", "torch", "nvidia-cudnn-cu13", "nvidia-cudnn-cu12", "numpy")


@contextmanager
def cupy(emulated: bool) -> Iterator[Any]:
    """CuPy with a device, or the stand-in; ValueError that says what is missing."""
    if emulated:
        sys.path.append(str(Path(__file__).parents[2] / "tests"))
        import emulated_cupy

        with emulated_cupy.installed(), emulated_cupy.pretend(devices=("H200",)):
            yield emulated_cupy
        return
    try:
        find_backend("gpu").facts()
    except RuntimeError as missing:
        raise ValueError(missing) from missing
    import cupy

    yield cupy


def torch_with_cuda() -> Any:
    """torch, set to be at its best; None where it is not installed or has no CUDA device."""
    try:
        import torch
    except ImportError:
        return None
    if not torch.cuda.is_available():
        return None
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.benchmark_limit = 0  # all of cuDNN's engines are tried
    return torch


def facts(cp: Any, torch: Any) -> dict[str, Any]:
    """What must agree for two results to be comparable."""
    runtime = cp.cuda.runtime
    versions = {"fastconv": _version.__version__, "cuda driver": str(runtime.driverGetVersion()),
                "cuda runtime": str(runtime.runtimeGetVersion()),
                "nvrtc": "{}.{}".format(*cp.cuda.nvrtc.getVersion()), "cupy": cp.__version__}  # fmt: skip
    for name in DISTRIBUTIONS:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    if torch is not None:
        versions |= {"torch": torch.__version__, "torch cuda": torch.version.cuda,
                     "cudnn": str(torch.backends.cudnn.version())}  # fmt: skip
    return {
        "gpu": find_backend("gpu").facts()["gpu"],
        "driver": _nvidia_smi("driver_version"),
        "clocks": _nvidia_smi("clocks.max.sm,clocks.max.mem,power.limit"),
        "fingerprint": find_backend("gpu").fingerprint(),
        "versions": versions,
    }


def _nvidia_smi(query: str) -> str:
    """What the driver's own tool says of the first device; empty without it."""
    command = ["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader", "--id=0"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
