"""A plugin of pytest: SciPy's own tests call fastconv. ``python -m pytest -p scipy_suites --pyargs scipy.signal``."""

from __future__ import annotations

import functools
from typing import Any

from scipy import ndimage, signal

from fastconv.compat import ndimage as images
from fastconv.compat import scipy_signal as signals

try:
    from scipy._lib._array_api import xp_capabilities_table as capabilities  # the tests look functions up there
except ImportError:
    capabilities = {}

for module, compat in ((signal, signals), (ndimage, images)):
    for name in compat.FUNCTIONS:
        own: Any = getattr(module, name)
        ours = functools.wraps(own)(getattr(compat, name))
        if own in capabilities:
            capabilities[ours] = capabilities[own]
        setattr(module, name, ours)
