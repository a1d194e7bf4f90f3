"""The seam: all that the parts above know of what computes. Nothing else imports ``_cpu`` and ``_gpu``.

A backend is a module that has the names of ``Backend``. There are two, and the arrays of a call decide: NumPy's are
computed on the CPU, CuPy's on the GPU that they lie on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np

from ._algorithm import Algorithm, Machine, Operands, Params
from ._arrays import is_cupys
from ._blocks import Blocks
from ._cpu import backend as _cpu
from ._cpu.engine.call_cache import CallCache, Dispatcher, exact
from ._cpu.engine.compiled_call import CompiledCall, GradientsCall, PythonCall
from ._cpu.engine.convolution_call import ConvolutionCall
from ._cpu.engine.runtime import borrow_team
from ._late import late
from ._problem import ConvProblem

__all__ = [
    "BACKENDS",
    "CPU",
    "Backend",
    "CallCache",
    "CompiledCall",
    "ConvolutionCall",
    "Dispatcher",
    "GradientsCall",
    "PythonCall",
    "algorithm_names",
    "array_key",
    "backend_of",
    "borrow_team",
    "exact",
    "find_algorithm",
    "find_backend",
]


class PreparedCall(Protocol):
    """What a backend's ``prepare`` makes of a call."""

    def at(self, places: Any) -> CompiledCall | Callable[[tuple[Any, ...], Any], Any]:
        """``compute(arrays, out)`` for the arguments of a function: the places of its operands among them, by roles."""


class Timer(Protocol):
    """How the time of executions is measured."""

    def repeats_of(self, seconds: float) -> int:
        """How often a call that takes so long is made for one sample."""

    def seconds_of(self, call: Callable[[], object], repeats: int) -> float:
        """Seconds of one call, the mean of so many in a row; what is measured first may be a cold one."""


class Backend(Protocol):
    """What computes on one kind of arrays."""

    name: str
    """Of files and messages: "cpu" or "gpu"."""
    library: str
    """In messages, that of the arrays: "NumPy" or "CuPy"."""
    worker: str
    """In messages, what the constants of ``Machine`` are of: "thread" or "device"."""
    baseline: str
    """The algorithm that gains are quoted against."""
    max_candidates: int | None
    """So many candidates are measured, the cheapest by the cost model, unless all are asked for; None: no limit."""
    timer: Timer
    algorithms: tuple[Algorithm, ...]
    """In the order in which ties are broken; the last one accepts every problem."""

    def missing(self) -> str | None:
        """What this machine lacks to compute anything at all, as a message; None: nothing."""

    def level(self) -> str:
        """Name of the instructions in use: as FASTCONV_MAX_ISA has it, or the GPU's architecture."""

    def current_device(self) -> int:
        """The number of the device that computes now; there is one CPU."""

    def default_machine(self) -> Machine:
        """Constants of the cost models where a choice must not depend on the machine at hand."""

    def machine_here(self, measured: Machine | None) -> Machine:
        """Constants of the cost models: measured ones, or those that are known of the machine at hand."""

    def memory_bytes(self) -> int:
        """Memory of the current device, in use or not."""

    def runs_on(self, threads: int) -> str:
        """In words, what a plan for so many threads runs on."""

    def parallelism(self, threads: int) -> int:
        """The threads that a plan is made for, of those that were asked for."""

    def facts(self) -> dict[str, str]:
        """What ``show_runtime`` prints of the backend."""

    def fingerprint(self) -> dict[str, str]:
        """What a measured time depends on beside the problem and the number of threads."""

    def calibrate(self, call_seconds: float) -> dict[str, object]:
        """Measured constants of the cost models; ``call_seconds`` is one that only a whole call shows."""

    def target(self, algorithm: Algorithm, problem: ConvProblem) -> ConvProblem | None:
        """The problem, of one of the algorithm's dtypes, that is computed in its place; None: there is none."""

    def is_usable(self, algorithm: Algorithm) -> bool:
        """Whether the algorithm may be chosen on the current device; one that is forced is tried all the same."""

    def set_aside(self, algorithm: Algorithm) -> bool:
        """Never choose the algorithm again on the current device; whether it was usable so far."""

    def accepts(self, algorithm: Algorithm, problem: ConvProblem) -> bool:
        """Whether the algorithm computes the problem or one in its place; it is not asked about empty ones."""

    def lowering_seconds(self, problem: ConvProblem, target: ConvProblem, threads: int, machine: Machine) -> float:
        """Estimated time of the casts to ``target`` and back."""

    def workspace_bytes(self, algorithm: Algorithm, problem: ConvProblem, params: Params, threads: int) -> int:
        """Bytes of scratch memory that the algorithm needs for the problem."""

    def pack(
        self, algorithm: Algorithm, problem: ConvProblem, params: Params, weight: np.ndarray, threads: int
    ) -> object | None:
        """The algorithm's packed form of a canonical weight; None where it has none for this problem."""

    pooling: Any
    """Maxima and averages of windows, and their gradients: ``_cpu/pooling/algorithm.py``."""

    normalization: Any
    """Normalizations, activations of whole arrays, and their gradients: ``_cpu/normalization/algorithm.py``."""

    def unfolding(self, blocks: Blocks) -> Any:
        """What has ``unfold`` and ``fold`` for images with these blocks."""

    def prepare(self, plan: Any, call: Any) -> PreparedCall | None:
        """What computes calls like ``call`` by the plan; None where each has to be looked at.

        UnusableAlgorithmError where the plan's algorithm turns out not to work here; ``compute`` may find out, too.
        """

    def compute(self, plan: Any, call: Any, compiled: Any) -> np.ndarray:
        """The result of a call, whatever its arrays, by what ``prepare`` made of it."""

    def tries_smaller(self) -> bool:
        """Whether a call that is refused memory is tried once more by the algorithm that needs least scratch memory."""

    def load(self, plans: Sequence[Any], operands: Operands) -> None:
        """Make ready, side by side, all that the plans need to compute these operands; what fails, fails again when it
        is needed."""

    def execute(self, plan: Any, operands: Operands) -> None:
        """Compute the result of canonical views in their place."""

    def repeated(self, plan: Any, operands: Operands) -> Callable[[], None]:
        """What does so again and again, in the time that a call takes that was prepared."""

    def stays_inside(self, plan: Any, operands: Operands) -> bool:
        """Execute a plan; whether it wrote nothing right behind its scratch memory."""

    def prepare_sums(self, place: int, axes: tuple[int, ...], dy: np.ndarray, threads: int) -> Any:
        """What computes ``channel_sums`` of the array at a place among those of a call, for all arrays like ``dy``: a
        CompiledCall or a function of (arrays, out); None where there is nothing to prepare."""

    def channel_sums(self, array: np.ndarray, threads: int) -> np.ndarray:
        """Sums of (N, C, D, H, W) over all but C."""

    def activation_gradient(self, activation: Any, dy: np.ndarray, z: np.ndarray, threads: int) -> np.ndarray:
        """``dy`` times the activation's slope at ``z``, in the place of z."""

    def place(self, array: Any) -> str:
        """In words, what kind of array it is and where its memory lies; arrays of one call are in one place."""

    def active(self, arrays: tuple[Any, ...]) -> AbstractContextManager[object]:
        """Inside, whatever is computed or allocated is where the arrays of a call lie."""

    def array_key(self, array: Any) -> object | None:
        """All that a prepared call depends on of an array that is not NumPy's; None where calls are not prepared."""

    def writable_in_place(self, out: Any, *inputs: Any) -> bool:
        """Whether kernels may write straight into ``out``: free of overlap with itself and with the inputs."""

    def snapshot(self, array: Any) -> Any:
        """A copy that does not change."""

    def from_host(self, array: np.ndarray) -> Any:
        """A contiguous array of NumPy's as one of this backend's."""

    def to_host(self, array: Any) -> np.ndarray:
        """An array of this backend's as NumPy's."""

    def empty(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """A new array."""

    def zeros(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """A new array of zeros."""

    def concatenate(self, arrays: tuple[Any, ...], axis: int) -> np.ndarray:
        """Arrays joined along an axis, as a new one."""

    def cast(self, array: np.ndarray, dtype: np.dtype, threads: int) -> np.ndarray:
        """The array in another dtype; itself if it has that one."""


CPU: Backend = _cpu
BACKENDS = ("cpu", "gpu")
"""Their names."""


def find_backend(name: str) -> Backend:
    """The backend called ``name``, one of ``BACKENDS``."""
    if name == "cpu":
        return CPU
    found: Backend = late(f"{__package__}._gpu.backend")
    return found


def backend_of(*arrays: Any) -> Backend:
    """The backend that computes these arrays, or their like: the GPU's where one of them is CuPy's."""
    return find_backend("gpu") if any(map(is_cupys, arrays)) else CPU


def array_key(array: Any) -> object | None:
    """What a repeated call is known by, of an array that is not NumPy's."""
    return find_backend("gpu").array_key(array) if is_cupys(array) else None


def algorithm_names(backend: Backend = CPU) -> list[str]:
    """Names of all algorithms."""
    return [algorithm.name for algorithm in backend.algorithms]


def find_algorithm(name: object, backend: Backend = CPU) -> Algorithm:
    """The algorithm called ``name``; KeyError where there is none."""
    for algorithm in backend.algorithms:
        if algorithm.name == name:
            return algorithm
    raise KeyError(name)
