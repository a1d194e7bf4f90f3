"""What computes on the CPU: C kernels, the Cython loops over them, and the algorithms that these make up."""

from __future__ import annotations

import importlib

from .._errors import not_built

try:
    importlib.import_module(".engine.runtime", __name__)
except ModuleNotFoundError as error:
    raise not_built(__path__[0]) from error
