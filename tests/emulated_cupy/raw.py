"""``cupy.RawModule`` and ``cupy.RawKernel``: CUDA text that NVRTC compiles and the machine for PTX runs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from . import nvrtc, ptx
from .array import ndarray
from .cuda import memory, runtime
from .cuda.compiler import CompileException
from .cuda.driver import CUDADriverError
from .cuda.memory import MemoryPointer
from .cuda.stream import submit
from .system import profile, require_device, system

DEFAULT_SHARED_BYTES = 48 << 10
REGISTERS = 65536
MAX_ARGUMENT_BYTES = 4096


class KernelError(runtime.CUDARuntimeError):
    """What the machine found wrong with a launch: the message says what, and where."""

    def __init__(self, message: str) -> None:
        super().__init__(719)
        self.args = (message,)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self.args


def argument_bytes(value: Any) -> bytes:
    """What CuPy passes for an argument: an array as its pointer, a number or an array of one element by value."""
    if isinstance(value, ndarray):
        return value.data.ptr.to_bytes(8, "little")
    if isinstance(value, MemoryPointer):
        return value.ptr.to_bytes(8, "little")
    if isinstance(value, (np.ndarray, np.generic)):
        if value.size != 1:
            raise TypeError(f"Unsupported type {type(value)}: an array of {value.size} elements on the host")
        return value.tobytes()
    for kind, dtype in ((bool, "?"), (int, "i8"), (float, "f8"), (complex, "c16")):
        if isinstance(value, kind):
            return np.array(value, dtype).tobytes()
    if value is None:
        return bytes(8)
    raise TypeError(f"Unsupported type {type(value)}")


class RawModule:
    """CUDA text, compiled for each device when a function of it is first asked for."""

    def __init__(self, code: str | None = None, *, path: str | None = None, options: tuple[str, ...] = (),
                 backend: str = "nvrtc", translate_cucomplex: bool = False, enable_cooperative_groups: bool = False,
                 name_expressions: Any = None, jitify: bool = False) -> None:  # fmt: skip
        if code is None or path is not None or backend != "nvrtc" or translate_cucomplex or name_expressions or jitify:
            raise NotImplementedError('the stand-in compiles text of extern "C" functions by NVRTC alone')
        if enable_cooperative_groups:
            raise NotImplementedError("the stand-in runs blocks one after the other")
        if not isinstance(options, tuple):
            raise TypeError("Argument 'options' has incorrect type (expected tuple)")
        self.code, self.options, self.backend = code, options, backend
        self._loaded: dict[int, dict[str, ptx.Kernel]] = {}

    def _architecture(self, prefix: str) -> tuple[str, tuple[str, ...]]:
        """Of the current device, unless the options name one; and the other options."""
        others = tuple(option for option in self.options if not option.startswith(("-arch=", "--gpu-architecture=")))
        capability = "{}{}".format(*profile(runtime.getDevice()).capability)
        for option in set(self.options) - set(others):
            chosen = option.partition("=")[2].removeprefix("sm_").removeprefix("compute_")
            if chosen.rstrip("af") != capability:
                raise CUDADriverError(500, f"code for {chosen} on a device of {capability}")
            capability = chosen
        return prefix + capability, others

    def compile(self, log_stream: Any = None) -> None:
        """For the current device."""
        self._kernels()

    def _kernels(self) -> dict[str, ptx.Kernel]:
        device = runtime.getDevice()
        if device not in self._loaded:
            arch, options = self._architecture("compute_")
            capability = int(arch.removeprefix("compute_").rstrip("af"))
            lacks = [word for word, least in system.needs.items() if word in self.code and capability < least]
            try:
                text = nvrtc.ptx(f"#error {lacks[0]}\n{self.code}" if lacks else self.code, arch, options)
            except nvrtc.CompileError as failed:
                raise CompileException(str(failed), self.code, "kernel.cu", options) from None
            self._loaded[device] = ptx.load(text)
            system.counts["module"] += 1
        return self._loaded[device]

    def _resources(self) -> dict[str, nvrtc.Resources]:
        arch, options = self._architecture("sm_")
        return nvrtc.resources(nvrtc.cubin(self.code, arch, options))

    def get_function(self, name: str) -> RawKernel:
        """A kernel of it."""
        if name not in self._kernels():
            raise CUDADriverError(500)
        return RawKernel._of(self, name)


class RawKernel:
    """A kernel, to be called with (grid, block, arguments)."""

    def __init__(self, code: str, name: str, options: tuple[str, ...] = (), backend: str = "nvrtc", *,
                 translate_cucomplex: bool = False, enable_cooperative_groups: bool = False,
                 jitify: bool = False) -> None:  # fmt: skip
        self._module = RawModule(code, options=options, backend=backend, translate_cucomplex=translate_cucomplex,
                                 enable_cooperative_groups=enable_cooperative_groups, jitify=jitify)  # fmt: skip
        self._start(name)

    @classmethod
    def _of(cls, module: RawModule, name: str) -> RawKernel:
        made = object.__new__(cls)
        made._module = module
        made._start(name)
        return made

    def _start(self, name: str) -> None:
        self.name = name
        self._shared_limits: dict[int, int] = {}
        self.preferred_shared_memory_carveout = -1

    def compile(self, log_stream: Any = None) -> None:
        """For the current device."""
        self._compiled()

    def _compiled(self) -> ptx.Kernel:
        kernels = self._module._kernels()
        if self.name not in kernels:
            raise CUDADriverError(500)
        return kernels[self.name]

    # -- attributes
    @property
    def attributes(self) -> dict[str, int]:
        """What the driver says of it."""
        used = self._module._resources()[self.name]
        registers = -(-used.registers // 8) * 8
        return {
            "num_regs": used.registers,
            "local_size_bytes": used.local_bytes,
            "shared_size_bytes": used.shared_bytes,
            "max_threads_per_block": min(1024, self._compiled().max_threads, REGISTERS // registers // 32 * 32),
            "max_dynamic_shared_size_bytes": self.max_dynamic_shared_size_bytes,
            "preferred_shared_memory_carveout": self.preferred_shared_memory_carveout,
        }

    num_regs = property(lambda self: self.attributes["num_regs"])
    local_size_bytes = property(lambda self: self.attributes["local_size_bytes"])
    shared_size_bytes = property(lambda self: self.attributes["shared_size_bytes"])
    max_threads_per_block = property(lambda self: self.attributes["max_threads_per_block"])

    @property
    def max_dynamic_shared_size_bytes(self) -> int:
        """What a launch on the current device may ask for."""
        return self._shared_limits.get(runtime.getDevice(), DEFAULT_SHARED_BYTES - self._compiled().static_shared)

    @max_dynamic_shared_size_bytes.setter
    def max_dynamic_shared_size_bytes(self, size: int) -> None:
        device = runtime.getDevice()
        if size > profile(device).shared_bytes_optin - self._compiled().static_shared:
            raise CUDADriverError(1, f"{size} bytes of shared memory")
        self._shared_limits[device] = size

    # -- a launch
    def __call__(self, grid: tuple[int, ...], block: tuple[int, ...], args: Any, *, shared_mem: int = 0,
                 stream: Any = None, enable_cooperative_groups: bool = False) -> None:  # fmt: skip
        require_device()
        if not isinstance(grid, tuple) or not isinstance(block, tuple):
            raise TypeError("grid and block are tuples")
        kernel = self._compiled()
        self._check_sizes(kernel, grid, block, shared_mem)
        values = [argument_bytes(value) for value in args]
        if [len(value) for value in values] != kernel.parameter_sizes:
            sizes = [len(value) for value in values]
            raise TypeError(f"{self.name}: arguments of {sizes} bytes for parameters of {kernel.parameter_sizes}")
        if sum(kernel.parameter_sizes) > MAX_ARGUMENT_BYTES:
            raise CUDADriverError(1, f"{sum(kernel.parameter_sizes)} bytes of arguments")
        device = runtime.getDevice()
        grid3, block3 = ((*size, 1, 1)[:3] for size in (grid, block))

        def launch() -> None:
            system.counts["launch"] += 1
            ranges = memory.live_ranges(device)
            message = kernel.run(grid3, block3, values, shared_mem, ranges, system.seed)
            system.last_launch[self.name] = kernel.counts
            if message:
                raise KernelError(f"{self.name}: {message}")

        held = [value.data.mem for value in args if isinstance(value, ndarray)]
        held += [value.mem for value in args if isinstance(value, MemoryPointer)]
        submit(launch, held, stream)

    def _check_sizes(self, kernel: ptx.Kernel, grid: tuple[int, ...], block: tuple[int, ...], shared: int) -> None:
        limits = runtime.getDeviceProperties(runtime.getDevice())
        for size, most in ((grid, limits["maxGridSize"]), (block, limits["maxThreadsDim"])):
            if any(not 0 < n <= limit for n, limit in zip(size, most, strict=False)) or not 0 < len(size) <= 3:
                raise CUDADriverError(1, f"grid {grid}, block {block}")
        if math.prod(block) > min(limits["maxThreadsPerBlock"], kernel.max_threads):
            raise CUDADriverError(1, f"{math.prod(block)} threads in a block of at most {kernel.max_threads}")
        if not 0 <= shared <= self.max_dynamic_shared_size_bytes:
            raise CUDADriverError(1, f"{shared} bytes of shared memory of {self.max_dynamic_shared_size_bytes}")
