"""The GPU's backend beside the CPU's: the same names, the same rooms; its plain kernels changed."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastconv
from array_modules import ArrayModule, array_module, forget_gpu
from emulated_cupy import KernelError, nvrtc
from fastconv import ConvProblem
from fastconv._backend import CPU, Backend, backend_of, find_backend
from fastconv._choose.select import bind, forget_plans
from fastconv._gpu import prepare, registry, source
from fastconv._gpu.algorithm import Operation
from fastconv._gpu.algorithms.reference.algorithm import Reference
from fastconv._gpu.launch import Launch
from gpu_cases import BIAS, W2, X2, integers

PACKAGE = Path(fastconv.__file__).parent
needs_nvrtc = pytest.mark.skipif(nvrtc.library() is None, reason=nvrtc.MISSING)

CPU_ONLY = {"direct", "fft_fused", "fft_scipy", "im2col", "split_bf16"}
"""Rooms that the GPU has not."""
GPU_ONLY = {"few_channels", "fft", "gemm", "implicit_gemm_mma", "wgmma"}


@pytest.fixture
def gpu() -> Iterator[ArrayModule]:
    with array_module("emulated") as module:
        yield module


def test_the_backends_have_the_same_names() -> None:
    names = {name for name in (*vars(Backend), *Backend.__annotations__) if not name.startswith("_")}
    gpu = find_backend("gpu")
    assert names <= set(dir(gpu))
    assert names <= set(dir(CPU))
    for name, declared in vars(Backend).items():
        if inspect.isfunction(declared) and name[0] != "_":
            wanted = len(inspect.signature(declared).parameters) - 1
            for backend in (CPU, gpu):
                inspect.signature(getattr(backend, name)).bind(*range(wanted))
    pooling = {
        name
        for name, value in vars(CPU.pooling).items()
        if inspect.isfunction(value) and value.__module__ == CPU.pooling.__name__ and name[0] != "_"
    }
    assert pooling <= set(dir(gpu.pooling))


def test_the_rooms_are_the_cpus() -> None:
    rooms = {
        name: {folder.name for folder in (PACKAGE / name / "algorithms").iterdir() if (folder / "__init__.py").exists()}
        for name in ("_cpu", "_gpu")
    }
    assert rooms["_cpu"] - rooms["_gpu"] == CPU_ONLY
    assert rooms["_gpu"] - rooms["_cpu"] == GPU_ONLY
    assert set(registry.ROOMS) == rooms["_gpu"]
    assert registry.ALGORITHMS[-1].name == CPU.algorithms[-1].name == "reference"


def test_arrays_decide(gpu: ArrayModule) -> None:
    x = gpu.to(X2)
    assert backend_of(X2, None, [1.0]) is CPU
    assert backend_of(X2, x) is backend_of(x) is find_backend("gpu")

    class Derived(gpu.module.ndarray):  # type: ignore[name-defined, misc]
        pass

    assert backend_of(Derived(3)).name == "gpu"


def test_facts_and_fingerprint(gpu: ArrayModule) -> None:
    backend = find_backend("gpu")
    assert backend.level() == "sm_90"
    assert backend.facts() == {"gpu": "NVIDIA H200, sm_90, 132 multiprocessors"}
    here = backend.fingerprint()
    with gpu.module.cuda.Device(1):
        assert backend.level() == "sm_75"
        assert backend.fingerprint() != here


# -- changes of plain kernels
MUTATIONS = [
    # file, what is changed, into what: each must change a result or be reported
    ("elementwise/kernels.cu", "__syncthreads();\n            if", "if"),
    ("elementwise/kernels.cu", "d[at[2]]", "d[at[2] + 1]"),
    ("elementwise/kernels.cu", "begin_w[at[4] + 1]", "begin_w[at[4]]"),
    ("elementwise/kernels.cu", "z <= 0 ? 0", "z < 0 ? 0"),
    ("elementwise/kernels.cu", "(double)f0 * p[i + apart]", "-(double)p[i + apart]"),
    ("elementwise/kernels.cu", "(double)f2 * p", "(double)f1 * p"),
    ("algorithms/reference/kernels.cu", "at[2 + axis] >= 0 && ", ""),
    ("algorithms/reference/kernels.cu", "if (offset < 0 || offset % c.step[axis])", "if (offset < 0)"),
    ("algorithms/reference/kernels.cu", "group * c.channels + channel", "channel"),
    ("algorithms/reference/kernels.cu", "if (bias) ", "if (false) "),

    ("csrc/elements.cuh", "at[axis] = i % size[axis];", "at[axis] = i & (size[axis] - 1);"),
]  # fmt: skip


def _results(to: Any) -> list[Any]:
    """Calls that each of the changes has a part in."""
    x, w, bias = to((X2, W2, BIAS))
    bad = X2.copy()
    bad[0, 0, 2, 2] = np.nan
    sevens = np.full((2, 4, 2, 1), 7)
    sevens[0, 0, 0, 0] = 6 * 5 + 900
    relu = integers(2, 6, 4, 4), X2 * 0, W2
    plain = {"groups": 2, "padding": 1, "algorithm": "reference"}
    return [
        fastconv.conv2d(x, w, bias, padding_mode="reflect", **plain),
        fastconv.conv2d(x, w, bias, stride=2, **plain),
        *fastconv.conv2d_backward(to(integers(2, 6, 3, 3)), x, w, stride=2, padding_mode="reflect",
                                  needs=(True, False, False), **plain)[:1],
        *fastconv.conv1d_backward(*to((integers(1, 2, 3, dtype="c8"), integers(1, 2, 4, dtype="c8"),
                                       integers(2, 2, 2, dtype="c8"))), algorithm="implicit_gemm")[:2],
        *fastconv.conv2d_backward(*to(relu), groups=2, activation="relu"),
        fastconv.grad.conv2d_bias(to(integers(70, 5, 6, 5))),
        fastconv.max_pool2d(to(bad), 3, 1),
        fastconv.max_pool2d_backward(to(integers(2, 4, 2, 1)), X2.shape, 3, indices=to(sevens)),
        fastconv.fold(to(integers(2, 4 * 6, 9)), (6, 5), (3, 2), padding=1, stride=2),
    ]  # fmt: skip


@needs_nvrtc
@pytest.mark.parametrize(("file", "old", "new"), MUTATIONS)
def test_what_is_changed_in_a_kernel_is_found(
    gpu: ArrayModule, monkeypatch: pytest.MonkeyPatch, file: str, old: str, new: str
) -> None:
    read = source._text

    def edited(path: str) -> str:
        text = read(path)
        assert path != file or old in text
        return text.replace(old, new) if path == file else text

    expected = [gpu.host(result) for result in _results(gpu.to)]
    forget_plans()
    monkeypatch.setattr(source, "_text", edited)
    try:
        results = [gpu.host(result) for result in _results(gpu.to)]
    except KernelError:
        return
    assert not all(np.array_equal(*pair, equal_nan=True) for pair in zip(results, expected, strict=True))


# -- arrays that lie so that the chosen algorithm does not compute them
class Picky(Reference):
    """Computes no arrays."""

    def computes(self, operation: Operation) -> bool:
        return False


@pytest.mark.parametrize(
    ("device", "dtype", "considered", "kernels"),
    [
        ("H200", "float32", (), {"pack_weights", "correlate"}),
        ("H200", "bfloat16", ("implicit_gemm_mma",), {"pack_weights", "correlate"}),
        ("T4", "bfloat16", ("implicit_gemm_mma",), {"gemm_unfold"}),
    ],
)
def test_another_algorithm_computes_them(
    device: str, dtype: str, considered: tuple[str, ...], kernels: set[str]
) -> None:
    """One of this device, and at no lower precision than was asked for."""
    problem = ConvProblem.parse(f"forward 1x8x6x6 8x8x3x3 p1 {dtype}")
    with array_module("emulated", devices=(device,)):
        forget_gpu()
        plan = bind(problem, Picky(), {}, 1, "forced", [(name, 1.0) for name in considered], find_backend("gpu"))
        steps = prepare._own_steps(plan, Operation.contiguous(problem))
        texts = [step for step in steps if isinstance(step, Launch)]
        assert {step.kernel for step in texts} == kernels
        assert not any("TF32" in step.source for step in texts if dtype == "float32")
    forget_gpu()
