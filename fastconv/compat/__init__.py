"""fastconv in the place of other libraries: one module for each, imported when it is first asked for.

=================  ==================================================================
``autograd``       convolutions and pooling that HIPS autograd differentiates
``dask_array``     convolutions of arrays of Dask, chunk by chunk
``keras``          Keras' NumPy backend convolves and pools without JAX
``lax``            ``jax.lax``'s convolutions, for plain arrays and for JAX
``ndimage``        ``scipy.ndimage``'s filters
``onnx``           operators for ``onnx.reference.ReferenceEvaluator``
``scipy_signal``   ``scipy.signal``'s convolutions
``sigpy``          sigpy's convolutions and their adjoints
``torch``          PyTorch's convolutions and pooling on the CPU
=================  ==================================================================

``import fastconv`` imports none of them. Those of a library that is not installed say which extra installs it.
"""

from __future__ import annotations

import importlib
from types import ModuleType

CLIENTS = ("autograd", "dask_array", "keras", "lax", "ndimage", "onnx", "scipy_signal", "sigpy", "torch")


def __getattr__(name: str) -> ModuleType:
    if name in CLIENTS:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *CLIENTS})
