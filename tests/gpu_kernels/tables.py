"""All written tables of what kernels take of a multiprocessor, with their variants."""

from __future__ import annotations

import gpu_kernels
from gpu_kernels import few_channels, implicit_gemm_mma, library, memory_bound, plain, wgmma

TABLES = {
    "examples": (gpu_kernels.VARIANTS, gpu_kernels.RESOURCES),
    "plain": (plain.VARIANTS, plain.RESOURCES),
    "memory-bound": (memory_bound.VARIANTS, memory_bound.TABLE),
    "library": (library.VARIANTS, library.TABLE),
    "wgmma": (wgmma.VARIANTS, wgmma.TABLE),
    "few_channels": (few_channels.VARIANTS, few_channels.TABLE),
    "implicit_gemm_mma": (implicit_gemm_mma.VARIANTS, implicit_gemm_mma.TABLE),
}
