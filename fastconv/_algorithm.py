"""Algorithm: how a problem is computed. The protocol that every algorithm, CPU or GPU, is written to.

An algorithm is one class in a room, a folder under ``_cpu/algorithms``, and the room one line in
``_cpu/registry.py``; selection, tuner, tests, benchmarks and the command line walk the registry and need no change.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from ._once import once

if TYPE_CHECKING:
    import numpy as np

    from ._problem import ConvProblem

Params = Mapping[str, Any]
"""Values of an algorithm's tuning parameters; plain JSON values, since they are stored by the tuner."""

MAX_PHASES = 1024
"""The most stride phases of a problem for algorithms that set up each phase, which costs about 500 bytes and a
microsecond. im2col sets up none: it visits only the elements that taps reach."""

UNIT_ROUNDOFF = {"float32": 2.0**-24, "float64": 2.0**-53}


@dataclass(frozen=True)
class Machine:
    """The few constants that cost models read; measured by ``fastconv autotune --calibrate``."""

    multiply_adds_per_second: Mapping[str, float]
    """Peak rate of one thread by dtype name ("float32", "float64")."""
    bytes_per_second: float = 12e9
    """Copy bandwidth of one thread, reads plus writes, out of cache."""
    call_seconds: float = 5e-6
    """Fixed cost of entering a compiled algorithm once."""
    numpy_call_seconds: float = 2e-6
    """Fixed cost of one NumPy call on small arrays."""

    def __hash__(self) -> int:
        return self._hash

    @once
    def _hash(self) -> int:
        return hash((self.bytes_per_second, self.call_seconds, self.numpy_call_seconds))

    @classmethod
    def of(cls, constants: object) -> Machine:
        """The Machine of plain values that come from a file or a clock.

        Raises
        ------
        ValueError
            If a constant is missing, not a number, or outside its PLAUSIBLE range; the message says which.
        """
        if not isinstance(constants, Mapping):
            raise ValueError(f"machine is {reprlib.repr(constants)}, not the constants of one")
        rates = constants.get("multiply_adds_per_second")
        by_dtype = rates if isinstance(rates, Mapping) else {}
        return cls(
            {dtype: _plausible("multiply_adds_per_second", by_dtype.get(dtype), dtype) for dtype in UNIT_ROUNDOFF},
            *(_plausible(name, constants.get(name)) for name in PLAUSIBLE if name != "multiply_adds_per_second"),
        )


PLAUSIBLE = {
    "multiply_adds_per_second": (1e6, 1e15),
    "bytes_per_second": (1e6, 1e14),
    "call_seconds": (1e-10, 1.0),
    "numpy_call_seconds": (1e-10, 1.0),
}
"""Smallest and largest plausible value of each constant of a Machine, in the order and the units of its fields.

A machine a thousand times slower or faster than those of today is within these ranges; estimates made from constants
within them are finite and positive.
"""


def _plausible(name: str, value: object, dtype: str = "") -> float:
    """``value`` if it can be the constant called ``name``."""
    least, most = PLAUSIBLE[name]
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not least <= value <= most:
        shown = f"{name} of {dtype}" if dtype else name
        raise ValueError(f"{shown} is {reprlib.repr(value)}, not a number from {least:g} to {most:g}")
    return float(value)


@dataclass(frozen=True)
class ErrorBound:
    """What an algorithm promises about its error, before the result is rounded to a narrower dtype.

    ``elementwise``: ``|error| <= elementwise * (|x| conv |w|)`` for every element and any data; None where the
    algorithm mixes elements (Winograd, FFT). ``normwise``: ``|error| <= normwise * norm2(x) * norm2(w)`` over the
    elements that can reach one tile of the result. ``relative``: largest error over largest exact result on normal,
    uniform and ReLU'd data, the figure that the precision levels admit algorithms by.
    """

    elementwise: float | None
    normwise: float
    relative: float


ROLES = ("input", "weight", "output", "bias", "add")
"""Of the arrays of an execution, in the order that all lists of them have."""


@dataclass
class Operands:
    """The arrays of one execution, under the names of their roles; one of the three is the result.

    Every array is a 5-D channels-first view with any strides that are multiples of the item size, aligned and in
    native byte order: input (N, C, D, H, W), weight (K, C/groups, kD, kH, kW), output (N, K, oD, oH, oW). ``bias``
    has one value per result channel and is contiguous; ``add`` has the result's shape.
    """

    input: np.ndarray
    weight: np.ndarray
    output: np.ndarray
    bias: np.ndarray | None = None
    add: np.ndarray | None = None
    packed: object = None
    """What ``pack`` of the same algorithm, problem and params returned; None: take ``weight``."""


@dataclass(frozen=True)
class Resources:
    """What an execution may use: its threads and the scratch memory that ``workspace`` asked for."""

    threads: int
    workspace: np.ndarray | None = field(default=None, compare=False)
    """uint8, 64-byte aligned, at least ``workspace(...)`` bytes; contents undefined."""
    limit_bytes: int = field(default=2**30, compare=False)
    """Scratch memory that may be used, the workspace included."""


class Algorithm:
    """Base class: the declarations that selection reads and the method that computes.

    Subclasses are stateless; one instance of each is in the registry. Only ``is_available`` and ``supports`` are asked
    about any problem, the other methods about those that ``supports`` accepts.
    """

    name: ClassVar[str]
    """What users and files call it; unique in its registry."""
    dtypes: ClassVar[frozenset[str]]
    """Problem dtypes computed natively. Others reach the algorithm lowered to one of these by the backend."""
    exact_on_integers: ClassVar[bool] = True
    """Equal to integer arithmetic, bit for bit, for integers of up to 8 bits and while no partial sum exceeds the
    significand."""
    is_proven: ClassVar[bool] = True
    """Whether it has run on the hardware that it is for. What has not is taken where it is asked for by name, or where
    the tuner has compared its results and measured it; never for its estimated cost."""
    reads_padding: ClassVar[bool] = False
    """backward_input multiplies weights by zeros that the definition does not have, so that non-finite weights must
    be computed by another algorithm."""

    def is_available(self) -> bool:
        """Whether the machine, at the ISA level in use, has the instructions that the algorithm is made of."""
        return True

    def supports(self, problem: ConvProblem) -> bool:
        """Whether ``execute`` accepts the problem; its dtype is one of ``dtypes``."""
        raise NotImplementedError

    def parameters(self, problem: ConvProblem) -> list[Params]:
        """Candidate parameter sets, the default first; the tuner tries each."""
        return [{}]

    def workspace(self, problem: ConvProblem, params: Params, threads: int) -> int:
        """Bytes of scratch memory that ``execute`` needs."""
        return 0

    def fitting(self, problem: ConvProblem, limit_bytes: int) -> Params | None:
        """The parameters to take where scratch memory is limited: the first that fit on one thread, or None.

        They do not depend on the number of threads, which must not change the result.
        """
        for params in self.parameters(problem):
            if self.workspace(problem, params, 1) <= limit_bytes:
                return params
        return None

    def fitting_like(self, problem: ConvProblem, params: Params, limit_bytes: int) -> Params | None:
        """The same where a problem of other sizes takes ``params``: those, if they fit here too."""
        return self.fitting(problem, limit_bytes)

    def packed_params(self, problem: ConvProblem) -> Params | None:
        """Those for a weight that is packed once, before all calls; None: the same as for any other."""
        return None

    def cost(self, problem: ConvProblem, params: Params, threads: int, machine: Machine) -> float:
        """Estimated seconds."""
        raise NotImplementedError

    def packed_cost(self, problem: ConvProblem, params: Params, threads: int, machine: Machine) -> float:
        """The same for weights that were packed before; at most ``cost``."""
        return self.cost(problem, params, threads, machine)

    def least_seconds(self, problem: ConvProblem, threads: int, machine: Machine) -> float:
        """Seconds that ``cost`` hardly ever undercuts, found without listing parameters; asked about any problem."""
        return 0.0

    def error_bound(self, problem: ConvProblem) -> ErrorBound:
        """The promise for a problem of its ``dtypes``; this default is that of the definition, summed in any order."""
        return definition_bound(problem)

    def pack(self, problem: ConvProblem, params: Params, weight: np.ndarray, threads: int) -> object | None:
        """The weights in the algorithm's own layout, to be given back in ``Operands.packed``; None: nothing gained."""
        return None

    def bind(self, problem: ConvProblem, params: Params) -> Any:
        """A compiled kernel that does what ``execute`` does; None: there is only ``execute``.

        It does not check weights (``reads_padding``); it tells its caller which results non-finite data have spoiled.
        """
        return None

    def execute(self, problem: ConvProblem, params: Params, operands: Operands, resources: Resources) -> None:
        """Compute the problem's direction into its result array, epilogue included."""
        raise NotImplementedError


def unit_roundoff(problem: ConvProblem) -> float:
    """Unit roundoff of the real arithmetic that the problem is computed in."""
    return UNIT_ROUNDOFF["float64" if problem.dtype in ("float64", "complex128", "int8") else "float32"]


def definition_bound(problem: ConvProblem) -> ErrorBound:
    """Bound of a sum of ``reduction`` products in any order, with the two roundings of an epilogue.

    Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., section 3.1: gamma_n = n u / (1 - n u). The
    relative figure takes random signs: errors grow as the square root of the number of terms.
    """
    roundoff = unit_roundoff(problem)
    terms = (problem.reduction + 4) * (4 if problem.dtype.startswith("complex") else 1)
    gamma = terms * roundoff / max(1 - terms * roundoff, 0.5)
    return ErrorBound(elementwise=gamma, normwise=gamma, relative=min(gamma, 4 * math.sqrt(terms) * roundoff))
