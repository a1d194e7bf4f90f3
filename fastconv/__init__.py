"""Convolutions, forward and backward, on plain arrays, by the fastest algorithm for every shape.

One way through the code; everything above an arrow may use what is below it, and nothing else::

    nn  compat    networks: layers, training, inference; in the place of other libraries; both imported when asked for
        |
    functional  grad  pooling  planning  tiling
        |
    _normalize    what users pass, checked, as a ConvProblem (what is computed) and arrays by their roles
        |
    _choose       the choice: forced by the caller, else tuned, else by a cost model; the tuner and its file
        |
    Plan          a problem bound to an Algorithm, its parameters and threads
        |
    _execute      prepares a call once, computes it and all others like it
        |
    _backend      the seam: the one module that imports _cpu
        |
    _cpu          a room per algorithm: Cython loops over C kernels, per ISA level; engine, elementwise, pooling

Start with ``conv2d``, ``conv2d_backward`` and ``plan``; ``show_runtime()`` prints what the library runs on.
"""

from __future__ import annotations

from . import _interrupt  # before all others

# isort: split
import importlib
from types import ModuleType
from typing import TYPE_CHECKING

from . import grad
from ._config import (
    get_deterministic,
    get_num_threads,
    get_precision,
    get_workspace_limit,
    num_threads,
    precision,
    set_deterministic,
    set_num_threads,
    set_precision,
    set_workspace_limit,
)
from ._problem import ConvProblem
from ._version import __version__
from .functional.activation import activate, activate_backward
from .functional.backward import (
    conv1d_backward,
    conv2d_backward,
    conv3d_backward,
    conv_transpose1d_backward,
    conv_transpose2d_backward,
    conv_transpose3d_backward,
)
from .functional.causal import causal_conv1d, causal_conv1d_backward
from .functional.convolution import conv1d, conv2d, conv3d, conv_transpose1d, conv_transpose2d, conv_transpose3d
from .functional.depthwise import (
    depthwise_conv1d,
    depthwise_conv1d_backward,
    depthwise_conv2d,
    depthwise_conv2d_backward,
    depthwise_conv3d,
    depthwise_conv3d_backward,
)
from .functional.integer import conv1d_integer, conv2d_integer, conv3d_integer
from .functional.normalization import (
    batch_norm,
    batch_norm_backward,
    group_norm,
    group_norm_backward,
    layer_norm,
    layer_norm_backward,
)
from .functional.separable import (
    separable_conv1d,
    separable_conv1d_backward,
    separable_conv2d,
    separable_conv2d_backward,
    separable_conv3d,
    separable_conv3d_backward,
)
from .functional.shapes import output_shape
from .functional.unfolding import fold, fold_backward, unfold, unfold_backward
from .planning import PackedWeight, PlannedConvolution, plan
from .pooling import (
    adaptive_avg_pool1d,
    adaptive_avg_pool1d_backward,
    adaptive_avg_pool2d,
    adaptive_avg_pool2d_backward,
    adaptive_avg_pool3d,
    adaptive_avg_pool3d_backward,
    adaptive_max_pool1d,
    adaptive_max_pool1d_backward,
    adaptive_max_pool2d,
    adaptive_max_pool2d_backward,
    adaptive_max_pool3d,
    adaptive_max_pool3d_backward,
    avg_pool1d,
    avg_pool1d_backward,
    avg_pool2d,
    avg_pool2d_backward,
    avg_pool3d,
    avg_pool3d_backward,
    global_avg_pool,
    global_avg_pool_backward,
    global_max_pool,
    global_max_pool_backward,
    max_pool1d,
    max_pool1d_backward,
    max_pool2d,
    max_pool2d_backward,
    max_pool3d,
    max_pool3d_backward,
)
from .runtime import show_runtime
from .tiling import tiled
from .tuning import autotune, explain, export_tuning, forget_tuning, import_tuning

if TYPE_CHECKING:
    from . import compat
    from .tuning import TuningModule

    tuning: TuningModule
else:

    def __getattr__(name: str) -> ModuleType:
        if name == "compat":
            return importlib.import_module(f"{__name__}.compat")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
