"""``cupy.cuda.nvrtc``: the device compiler's version."""

from __future__ import annotations

from .. import nvrtc


def getVersion() -> tuple[int, int]:  # noqa: N802 - CuPy's name
    """NVRTC's."""
    return nvrtc.version()
