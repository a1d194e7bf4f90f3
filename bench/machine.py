"""The machine's roofline, and what results depend on: versions, CPU, flags, environment."""

from __future__ import annotations

import functools
import os
import statistics
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np

from fastconv import ConvProblem
from fastconv import runtime as shown
from fastconv._cpu import fingerprint
from fastconv._cpu.engine import runtime

from .peers import Peer

COPIED_BYTES = 2**26
"""Bytes that one thread copies; more than the caches hold."""
COPIES = 3
PEAK_RUNS = 5
CPU_FLAGS = ("avx2", "fma", "avx512f", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_bf16")
ENVIRONMENT = (
    *shown.ENVIRONMENT,
    "ATEN_CPU_CAPABILITY",
    "MKL_ENABLE_INSTRUCTIONS",
    "OMP_WAIT_POLICY",
    "ONEDNN_MAX_CPU_ISA",
    "OPENBLAS_CORETYPE",
    "XLA_FLAGS",
)


@dataclass(frozen=True)
class Roofline:
    """What bounds every algorithm that computes the definition."""

    multiply_adds_per_second: float
    bytes_per_second: float

    def seconds(self, problem: ConvProblem) -> float:
        """The least time: of the multiply-adds, or of reading both arrays and writing the result once."""
        elements = sum(map(np.prod, (problem.input_shape, problem.weight_shape, problem.output_shape)))
        size = 2 if problem.dtype in ("float16", "bfloat16") else np.dtype(problem.dtype).itemsize
        return float(
            max(problem.multiply_adds / self.multiply_adds_per_second, elements * size / self.bytes_per_second)
        )


def measure_roofline(dtype: str, threads: int) -> Roofline:
    """The roofline at this moment; takes about 0.1 s."""
    arithmetic = "float64" if dtype == "float64" else "float32"
    peak = runtime.multiply_add_rate(arithmetic, PEAK_RUNS) * threads
    return Roofline(peak, _copied_bytes_per_second(threads))


def _copied_bytes_per_second(threads: int) -> float:
    """Bytes read and written by plain copies, one per thread at the same time."""
    pairs = _copied_arrays(threads)
    samples = []
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(COPIES):
            start = time.perf_counter()
            list(pool.map(lambda pair: np.copyto(*pair), pairs))
            samples.append(time.perf_counter() - start)
    return 2 * COPIED_BYTES * threads / statistics.median(samples)


@functools.cache
def _copied_arrays(threads: int) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(np.ones(COPIED_BYTES, np.uint8), np.ones(COPIED_BYTES, np.uint8)) for _ in range(threads)]


def facts(peers: Iterable[Peer]) -> dict[str, object]:
    """What must agree for two results to be comparable."""
    versions = {name: metadata.version(name) for name in ("numpy", "scipy")}
    for peer in peers:
        found = [name for name in peer.distributions if _is_distribution(name)]
        if found:
            versions[found[0]] = metadata.version(found[0])
    return {
        "cpu": _cpu_field("model name"),
        "cpu_flags": [flag for flag in CPU_FLAGS if flag in _cpu_field("flags").split()],
        "fingerprint": fingerprint.fingerprint(),
        "versions": dict(sorted(versions.items())),
        "environment": {name: os.environ[name] for name in ENVIRONMENT if name in os.environ},
    }


def _is_distribution(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _cpu_field(name: str) -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return "unknown"
    return next((line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == name), "unknown")
