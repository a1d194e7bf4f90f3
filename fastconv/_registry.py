"""THE list of algorithms, in the order in which ties are broken; the last one accepts every problem."""

from __future__ import annotations

from ._algorithm import Algorithm
from ._cpu.algorithms.depthwise import Depthwise
from ._cpu.algorithms.direct import Direct
from ._cpu.algorithms.fft import Fft
from ._cpu.algorithms.grouped import Grouped
from ._cpu.algorithms.im2col import Im2col
from ._cpu.algorithms.implicit_gemm import ImplicitGemm
from ._cpu.algorithms.narrow import Narrow
from ._cpu.algorithms.planes import Planes
from ._cpu.algorithms.reference import Reference
from ._cpu.algorithms.spectral import Spectral
from ._cpu.algorithms.split_bf16 import SplitBf16
from ._cpu.algorithms.winograd import Winograd

CPU: tuple[Algorithm, ...] = (
    ImplicitGemm(),
    Direct(),
    Narrow(),
    Depthwise(),
    Grouped(),
    Planes(),
    Im2col(),
    Winograd(),
    Spectral(),
    SplitBf16(),
    Fft(),
    Reference(),
)


def names() -> list[str]:
    """Names of all algorithms."""
    return [algorithm.name for algorithm in CPU]


def find(name: str) -> Algorithm:
    """The algorithm called ``name``; KeyError where there is none."""
    for algorithm in CPU:
        if algorithm.name == name:
            return algorithm
    raise KeyError(name)
