"""The GPU backend: what ``_backend.Backend`` asks for, on CuPy arrays."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from .._algorithm import Algorithm, Machine, Operands, Params
from .._arrays import is_cupys
from .._plan import Plan
from .._problem import RESULT, ConvProblem
from .._version import __version__
from . import calibration, compile, complex_numbers, cupy, device, memory
from . import normalization as normalization
from . import timing as timing
from .algorithm import GpuAlgorithm
from .elementwise import algorithm as elementwise
from .layout import alignment_of
from .layout import writable_in_place as writable_in_place
from .machine import LARGE, of_device
from .pooling import algorithm as pooling_algorithm
from .prepare import PreparedConvolution, operands_of
from .prepare import prepare as prepare_convolution
from .registry import ALGORITHMS
from .unfolding.algorithm import Unfolding

GUARD, GUARD_BYTES = 0xA5, 2**12
"""The bytes behind the scratch memory of a run that is watched."""

name, library, worker = "gpu", "CuPy", "device"
baseline = "implicit_gemm"
max_candidates = 8
timer = timing
calibrate = calibration.calibrate
missing = device.missing
algorithms = ALGORITHMS
prepare = prepare_convolution
pooling: Any = pooling_algorithm
unfolding = Unfolding
activation_gradient = elementwise.activation_gradient
channel_sums = elementwise.channel_sums
cast = elementwise.cast
empty, zeros, concatenate = memory.empty, memory.zeros, memory.concatenate
snapshot = memory.copy
"""CuPy has no arrays that cannot be written to."""
from_host = memory.upload


def level() -> str:
    """The architecture of the current device."""
    return device.current().architecture


def current_device() -> int:
    """The number of the current device."""
    return cupy.current_device()


def memory_bytes() -> int:
    """Memory of the current device, in use or not."""
    return device.current().memory_bytes


def default_machine() -> Machine:
    """The constants of a large device."""
    return LARGE


def machine_here(measured: Machine | None) -> Machine:
    """The constants of the current device, or of the default one where there is none."""
    return LARGE if device.missing() is not None else of_device(device.current(), measured)


def runs_on(threads: int) -> str:
    """In words, what plans run on."""
    return device.current().name


def parallelism(threads: int) -> int:
    """1: threads of the host have no part in it."""
    return 1


def facts() -> dict[str, str]:
    """What ``show_runtime`` prints of the backend."""
    here = device.current()
    return {"gpu": f"{here.name}, {here.architecture}, {here.multiprocessors} multiprocessors"}


def fingerprint() -> dict[str, str]:
    """What a measured time depends on beside the problem."""
    here, runtime = device.current(), cupy.module().cuda.runtime
    return {
        "gpu": here.name,
        "architecture": here.architecture,
        "multiprocessors": str(here.multiprocessors),
        "l2_bytes": str(here.l2_bytes),
        "driver": str(runtime.driverGetVersion()),
        "runtime": str(runtime.runtimeGetVersion()),
        "fastconv": __version__,
    }


def target(algorithm: Algorithm, problem: ConvProblem) -> ConvProblem | None:
    """The problem itself, or that of a complex one's real parts, if it is of one of the algorithm's dtypes.

    Complex ones are for algorithms that do not mix elements: the others promise their error for real numbers alone.
    """
    if not algorithm.is_available():
        return None
    if problem.dtype in algorithm.dtypes:
        return problem
    real = complex_numbers.real_problem(problem)
    if real is None or real.dtype not in algorithm.dtypes or problem.is_empty:
        return None
    return real if algorithm.supports(real) and algorithm.error_bound(real).elementwise is not None else None


def is_usable(algorithm: Algorithm) -> bool:
    """Whether the current device, or the default one where there is none, has what the algorithm's kernels need."""
    assert isinstance(algorithm, GpuAlgorithm)
    return algorithm.is_usable()


def set_aside(algorithm: Algorithm) -> bool:
    """Never choose the algorithm again on the current device; whether it was usable so far."""
    return device.set_aside(algorithm.name)


def accepts(algorithm: Algorithm, problem: ConvProblem) -> bool:
    """Whether the algorithm computes the problem; it is not asked about empty ones."""
    found = target(algorithm, problem)
    return found is not None and (problem.is_empty or algorithm.supports(found))


def lowering_seconds(problem: ConvProblem, target: ConvProblem, threads: int, machine: Machine) -> float:
    """Of a complex problem's three other products, at the least, and of what puts them together."""
    if problem.dtype == target.dtype:
        return 0.0
    arithmetic = 3 * problem.multiply_adds / machine.multiply_adds_per_second[target.dtype]
    moved = 2 * complex_numbers.result_bytes(problem)
    return 4 * machine.call_seconds + arithmetic + moved / machine.bytes_per_second


def workspace_bytes(algorithm: Algorithm, problem: ConvProblem, params: Params, threads: int) -> int:
    """Bytes of scratch memory that the algorithm needs for the problem."""
    found = None if problem.is_empty else target(algorithm, problem)
    if found is None:
        return 0
    more = 0 if found is problem else complex_numbers.result_bytes(problem)
    return more + algorithm.workspace(found, params, threads)


def pack(algorithm: Algorithm, problem: ConvProblem, params: Params, weight: Any, threads: int) -> object | None:
    """The algorithm's packed form of a canonical weight; None where it has none for this problem."""
    is_native = problem.dtype in algorithm.dtypes and not problem.is_empty
    return algorithm.pack(problem, params, weight, threads) if is_native else None


def compute(plan: Plan, call: Any, compiled: PreparedConvolution) -> Any:
    """The result of a call, by what ``prepare`` made of it."""
    operands = operands_of(call)
    assert compiled.is_for(operands)
    return compiled.run(operands, call.out, call.packed)


class _Canonical:
    """A call whose arrays are canonical views."""

    border = conjugated = out = None
    subtracted: dict[str, Any] = {}  # noqa: RUF012 - nothing is put in

    def __init__(self, plan: Plan, operands: Operands) -> None:
        self.problem, self.frame = plan.problem, self
        self.axes = dict.fromkeys(("input", "weight", "output", "add"), (0, 1, 2, 3, 4))
        self.input, self.weight, self.output = operands.input, operands.weight, operands.output
        self.bias, self.add, self.packed = operands.bias, operands.add, operands.packed
        self.result_shape = plan.problem.result_shape


def _in_place(plan: Plan, operands: Operands) -> tuple[PreparedConvolution, dict[str, Any], Any]:
    """What computes canonical views, those that it reads, and the result."""
    call = _Canonical(plan, operands)
    role = RESULT[plan.problem.direction]
    result = getattr(call, role)
    setattr(call, role, None)
    return PreparedConvolution(plan, call), operands_of(call), result


def tries_smaller() -> bool:
    """Whether another algorithm can be had: its kernels may have to be loaded."""
    return not cupy.is_capturing()


def load(plans: Sequence[Plan], operands: Operands) -> None:
    """Compile, side by side, all kernels that the plans need to compute these operands."""
    sources: list[str] = []
    for plan in plans:
        prepared, _, result = _in_place(plan, operands)
        sources += prepared.sources(result, operands.packed is not None)
    compile.load(sources)


def repeated(plan: Plan, operands: Operands) -> Callable[[], None]:
    """What computes the result of canonical views again and again, in their place and in scratch memory of its own."""
    prepared, arrays, result = _in_place(plan, operands)
    return prepared.repeated(arrays, result, operands.packed)


def stays_inside(plan: Plan, operands: Operands) -> bool:
    """Execute the plan; whether it wrote nothing right behind its scratch memory, the only fault that may not show."""
    guards = []

    def take(shape: tuple[int, ...], dtype: np.dtype) -> Any:
        size = math.prod(shape) * dtype.itemsize
        whole = memory.empty((size + GUARD_BYTES,), np.dtype(np.uint8))
        guards.append(whole[size:])
        guards[-1].fill(GUARD)
        return whole[:size].view(dtype).reshape(shape)

    prepared, arrays, result = _in_place(plan, operands)
    prepared.repeated(arrays, result, operands.packed, take)()
    return all((to_host(guard) == GUARD).all() for guard in guards)


def to_host(array: Any) -> np.ndarray:
    """A copy of an array as NumPy's, as soon as the current stream has computed it."""
    copied: np.ndarray = array.get()
    return copied


def execute(plan: Plan, operands: Operands) -> None:
    """Compute the result of canonical views in their place."""
    repeated(plan, operands)()


def prepare_sums(place: int, axes: tuple[int, ...], dy: Any, threads: int) -> Any:
    """``compute(arrays, out)`` that sums the array at ``place`` over all but its channels; None if it has none."""
    return elementwise.prepare_sums(place, axes, dy)


def place(array: Any) -> str:
    """In words, what kind of array it is and where its memory lies."""
    return f"a CuPy array on device {array.data.device_id}"


def active(arrays: tuple[Any, ...]) -> AbstractContextManager[object]:
    """Inside, the device of the first of CuPy's arrays is the current one."""
    cupy.current_device()
    own = (array.data.device_id for array in arrays if is_cupys(array))
    context: AbstractContextManager[object] = cupy.module().cuda.Device(next(own))
    return context


def array_key(array: Any) -> object | None:
    """All that a prepared call depends on of an array; None where its device is not the current one."""
    number = array.data.device_id
    if number != cupy.current_device():
        return None
    return array.shape, array.strides, array.dtype, number, alignment_of(array)
