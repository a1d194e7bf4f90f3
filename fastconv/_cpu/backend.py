"""The CPU backend: what ``_backend.Backend`` asks for, on NumPy arrays."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from .. import _arrays, _config
from .. import _timing as timing
from .._algorithm import Algorithm, Machine, Operands, Params
from .._arrays import dtype_name, is_native, native
from .._plan import Plan
from .._problem import ConvProblem, Epilogue
from . import calibration, epilogue, lowering
from . import execute as execution
from . import fingerprint as fingerprints
from .cost import model
from .elementwise import loops as elementwise
from .elementwise.loops import cast
from .engine import pages, runtime
from .engine.workspace import aligned, watched
from .normalization import algorithm as normalization_algorithm
from .pooling import algorithm as pooling_algorithm
from .prepare import prepare as prepare_convolution
from .registry import ALGORITHMS
from .unfolding import Unfolding

SUMMED = ("float32", "float64", "complex64", "complex128")
"""Dtypes whose sums over all but the channels have a kernel."""
SUMMED_PER_THREAD = 2**18
"""Elements that a thread adds up in about the time that it takes to start one."""
GUARD, GUARD_BYTES = 0xA5, 2**16
"""The bytes behind the scratch memory of a run that is watched."""

ISA = runtime.select_isa(os.environ.get("FASTCONV_MAX_ISA") or None)
_config.obey(runtime.thread_limit)

name, library, worker = "cpu", "NumPy", "thread"
baseline = "im2col"
max_candidates: int | None = None
timer = timing
algorithms = ALGORITHMS
default_machine = model.machine
target = lowering.target
lowering_seconds = lowering.seconds
level = runtime.isa
fingerprint = fingerprints.fingerprint
calibrate = calibration.calibrate
empty = pages.empty
prepare = prepare_convolution
accepts = execution.accepts
compute = execution.compute
execute = execution.execute
repeated = execution.repeated
pooling: Any = pooling_algorithm
normalization: Any = normalization_algorithm
unfolding = Unfolding
zeros: Any = np.zeros
writable_in_place = _arrays.writable_in_place


def missing() -> None:
    """Nothing is."""


def current_device() -> int:
    """0: there is one."""
    return 0


def machine_here(measured: Machine | None) -> Machine:
    """Constants of the cost models: measured ones, or those of the machine of the fit."""
    return measured or model.machine()


def memory_bytes() -> int:
    """Memory of the machine."""
    return _config.memory_bytes()


def runs_on(threads: int) -> str:
    """In words, what a plan for so many threads runs on."""
    return f"{threads} thread{'s' * (threads != 1)}"


def is_usable(algorithm: Algorithm) -> bool:
    """True: whatever supports a problem works."""
    return True


def set_aside(algorithm: Algorithm) -> bool:
    """False: nothing ever is."""
    return False


def tries_smaller() -> bool:
    """False: which algorithm computes never depends on how much memory is free."""
    return False


def load(plans: Sequence[Plan], operands: Operands) -> None:
    """Nothing to be done: kernels are part of the library."""


def facts() -> dict[str, str]:
    """What ``show_runtime`` prints of the backend."""
    levels = runtime.isa_levels()
    built = ", ".join(level if usable else f"{level}, which this machine does not run" for level, usable in levels)
    return {
        "isa": f"{runtime.isa()} (built: {built})",
        "openmp": "its limits are obeyed" if runtime.has_openmp() else "not built in: its limits are not seen",
    }


def parallelism(threads: int) -> int:
    """The threads that a plan is made for, of those that were asked for."""
    return threads


def place(array: object) -> str:
    """In words, what kind of array it is."""
    return "a NumPy array"


def active(arrays: object) -> AbstractContextManager[None]:
    """Nothing to be done: memory is one."""
    return nullcontext()


def array_key(array: object) -> None:
    """None: what is not NumPy's is made an array each time."""


def from_host(array: np.ndarray) -> np.ndarray:
    """The array itself."""
    return array


to_host = from_host


def snapshot(array: np.ndarray) -> np.ndarray:
    """A copy that does not change."""
    copied = array.copy()
    copied.setflags(write=False)
    return copied


def concatenate(arrays: tuple[np.ndarray, ...], axis: int) -> np.ndarray:
    """Arrays joined along an axis, as a new one."""
    return np.concatenate(arrays, axis)


def workspace_bytes(algorithm: Algorithm, problem: ConvProblem, params: Params, threads: int) -> int:
    """Bytes of scratch memory that the algorithm needs for the problem."""
    if problem.is_empty:
        return 0
    return algorithm.workspace(_lowered(algorithm, problem), params, threads)


def pack(algorithm: Algorithm, problem: ConvProblem, params: Params, weight: np.ndarray, threads: int) -> object | None:
    """The algorithm's packed form of a canonical weight; None where it has none for this problem."""
    if _lowered(algorithm, problem) is not problem or problem.is_empty:
        return None
    return algorithm.pack(problem, params, native(weight), threads)


def _lowered(algorithm: Algorithm, problem: ConvProblem) -> ConvProblem:
    own = target(algorithm, problem)
    assert own is not None
    return own


def stays_inside(plan: Plan, operands: Operands) -> bool:
    """Execute the plan; whether it wrote nothing right behind its scratch memory, the only fault that may not show."""
    guards = []

    def take(size_bytes: int) -> np.ndarray:
        memory = aligned(size_bytes + GUARD_BYTES)
        guard = memory[size_bytes:]
        guard[...] = GUARD
        guards.append(guard)
        return memory[:size_bytes]

    with watched(take, lambda memory: None):
        execute(plan, operands)
    return all((guard == GUARD).all() for guard in guards)


def activation_gradient(activation: Epilogue, dy: np.ndarray, z: np.ndarray, threads: int) -> np.ndarray:
    """``dy`` times the activation's slope at ``z``, in the place of z; computed in float32 for narrower dtypes."""
    wide = np.dtype(np.float32) if dy.dtype.itemsize == 2 else z.dtype
    for box in epilogue.blocks(z):
        gradient = epilogue.activation_gradient(activation, cast(dy[box], wide, threads), cast(z[box], wide, threads))
        z[box] = cast(gradient, z.dtype, threads)
    return z


def channel_sums(array: np.ndarray, threads: int) -> np.ndarray:
    """Sums of (N, C, D, H, W) over all but C, in the dtype of ``array``; added up in double precision."""
    # NumPy takes an empty array for aligned wherever it lies.
    if array.size and dtype_name(array.dtype) in SUMMED and is_native(array):
        return elementwise.channel_sums(array, sum_threads(array.size, threads))
    wide = np.complex128 if array.dtype.kind == "c" else np.float64
    return array.sum(axis=(0, 2, 3, 4), dtype=wide).astype(array.dtype.newbyteorder("="))


def prepare_sums(place: int, axes: tuple[int, ...], dy: np.ndarray, threads: int) -> elementwise.SumsCall | None:
    """What computes ``channel_sums`` of the array at a place among those of a call, for all arrays like ``dy``; None
    where it has no kernel."""
    if dtype_name(dy.dtype) not in SUMMED:
        return None
    return elementwise.SumsCall(place, axes, dy.dtype, sum_threads(dy.size, threads))


def sum_threads(size: int, threads: int) -> int:
    """Threads that it pays to add up so many elements on."""
    return max(1, min(threads, size // SUMMED_PER_THREAD))
