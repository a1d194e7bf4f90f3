"""THE list of algorithms, in the order in which ties are broken; the last one accepts every problem."""

from __future__ import annotations

from .._algorithm import Algorithm
from .algorithms.depthwise.nchw import Planes
from .algorithms.depthwise.nhwc import Depthwise
from .algorithms.depthwise.small_groups import Grouped
from .algorithms.direct.algorithm import Direct
from .algorithms.direct.few_filters import Narrow
from .algorithms.fft_fused.algorithm import Spectral
from .algorithms.fft_scipy.algorithm import Fft
from .algorithms.im2col.algorithm import Im2col
from .algorithms.implicit_gemm.algorithm import ImplicitGemm
from .algorithms.reference.algorithm import Reference
from .algorithms.split_bf16.algorithm import SplitBf16
from .algorithms.winograd.algorithm import Winograd

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
