"""What the model takes of the tests: the stand-in for CuPy with its machine for PTX, and example kernels."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "tests"))

import emulated_cupy
import gpu_kernels
from emulated_cupy import nvrtc, ptx
from emulated_cupy.built import built
from emulated_cupy.ptx.build import COMPILER

__all__ = ["COMPILER", "built", "emulated_cupy", "gpu_kernels", "nvrtc", "ptx"]
