"""The stand-in has no name and no parameter that CuPy has not; CuPy can be imported without a driver."""

from __future__ import annotations

import ctypes
import inspect
import re
from collections.abc import Callable, Iterator
from operator import attrgetter
from typing import Any

import numpy as np
import pytest

import emulated_cupy as cp
from emulated_cupy import nvrtc
from emulated_cupy.raw import argument_bytes
from fastconv._gpu import cublas, cufft


def test_imports_find_the_stand_in() -> None:
    with cp.installed():
        import cupy
        import cupyx.scipy.fft
        from cupy.cuda.memory import OutOfMemoryError
        from cupy.lib.stride_tricks import as_strided

        assert cupy is cp
        assert OutOfMemoryError is cp.cuda.memory.OutOfMemoryError
        assert as_strided is cp.lib.stride_tricks.as_strided
        assert cupyx.scipy.fft.rfftn(cupy.ones(4)).get()[0] == 4


OWN = {
    "": {"KernelError", "PROFILES", "Profile", "System", "cupyx", "installed", "pretend", "system"},
    "cuda": {"cublas", "cufft"},  # CuPy looks for their libraries before it says what is there
    "cuda.memory": {"default_pool", "device_of", "holds", "live_bytes", "live_ranges", "using_allocator"},
    "cuda.stream": {"forbid_synchronization", "submit"},
    "cuda.graph": {"Node"},
}
"""Names of the stand-in's own, by module."""
MODULES = ("cuda", "cuda.runtime", "cuda.memory", "cuda.stream", "cuda.device", "cuda.graph", "cuda.driver",
           "cuda.compiler", "cuda.nvrtc", "lib.stride_tricks")  # fmt: skip


def _public(module: Any) -> dict[str, Any]:
    """What a module offers: what it defines or says that it exports."""
    names = getattr(module, "__all__", None) or [
        name for name, value in vars(module).items() if getattr(value, "__module__", None) == module.__name__
    ]
    return {name: getattr(module, name) for name in names if not name.startswith("_")}


def _parameters(function: Any) -> list[str] | None:
    """The names of a function's parameters; of a compiled one, from its docstring's first line. None: any."""
    try:
        parameters = inspect.signature(function).parameters
        if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters.values()):
            return None
        return [name for name in parameters if name not in ("self", "kwargs")]
    except (TypeError, ValueError):
        match = re.match(r"[\w.]+\((.*)\)", function.__doc__ or "")
        if match is None:
            return None
        words = [word for part in match[1].split(", ") for word in part.split("=")[0].split(":")[0].split()[-1:]]
        return [word.lstrip("*") for word in words if word not in ("self", "*", "/", "*args", "**kwargs")]


def _differences(name: str, ours: Any, theirs: Any) -> Iterator[str]:
    """What is not as CuPy has it, of a function or a class and its members."""
    is_own = inspect.isclass(ours) and (ours.__module__.startswith("emulated_cupy") or ours is cp.ndarray)
    if is_own and not issubclass(ours, BaseException):
        members = {key: getattr(ours, key) for base in ours.__mro__[:-1] for key in vars(base) if key[0] != "_"}
        for key, member in members.items():
            if not hasattr(theirs, key):
                yield f"{name}.{key}"
            elif inspect.isfunction(member):
                yield from _differences(f"{name}.{key}", member, getattr(theirs, key))
    elif inspect.isfunction(ours):
        given, real = _parameters(ours), _parameters(theirs)
        if given and real and given != real[: len(given)]:
            yield f"{name}({', '.join(given)}), CuPy's ({', '.join(real)})"


def test_names_are_cupys() -> None:
    cupy = pytest.importorskip("cupy", exc_type=ImportError)
    import cupyx.scipy.fft

    pairs = [(cp, cupy), (cp.cupyx.scipy.fft, cupyx.scipy.fft)]
    for name in MODULES:
        pairs.append((attrgetter(name)(cp), attrgetter(name)(cupy)))
    compared, wrong = 0, []
    for ours, theirs in pairs:
        for name, value in _public(ours).items():
            if name in OWN.get(ours.__name__.removeprefix("emulated_cupy").lstrip("."), ()):
                continue
            compared += 1
            if not hasattr(theirs, name):
                wrong.append(f"{ours.__name__}.{name}")
            else:
                wrong += _differences(f"{ours.__name__}.{name}", value, getattr(theirs, name))
    assert not wrong, "\n".join(wrong)
    assert compared > 150


@pytest.mark.parametrize(("name", "called"), [("cublas", cublas.FUNCTIONS), ("cufft", cufft.FUNCTIONS)])
def test_libraries_are_cupys(name: str, called: Any) -> None:
    """Names, numbers and parameters; and CuPy's module is linked with the functions that are called past it."""
    cupy = pytest.importorskip("cupy", exc_type=ImportError)
    try:
        ours, theirs = getattr(cp.cuda, name), getattr(cupy.cuda, name)
    except ImportError as missing:
        pytest.skip(str(missing))
    for key, value in vars(ours).items():
        if key.startswith("CU"):
            assert value == getattr(theirs, key)
        elif inspect.isfunction(value) and value.__module__ == ours.__name__ and key[0] != "_":
            assert list(_differences(key, value, getattr(theirs, key))) == []
    for library in (ctypes.CDLL(theirs.__file__), ctypes.CDLL(ours.__file__)):
        assert all(hasattr(library, function) for function in called)


WANTED = {
    "": "ndarray empty zeros ones full empty_like zeros_like asarray ascontiguousarray asnumpy concatenate moveaxis "
    "broadcast_to arange take where add multiply subtract negative conj sum matmul may_share_memory shares_memory "
    "RawModule RawKernel get_default_memory_pool get_array_module cuda lib",
    "ndarray": "shape strides dtype data nbytes flags ndim size itemsize T transpose reshape astype copy fill get set "
    "device real imag sum view swapaxes squeeze ravel base item __cuda_array_interface__ __getitem__ __setitem__",
    "lib.stride_tricks": "as_strided",
    "cuda": "Device Stream Event get_elapsed_time get_current_stream runtime alloc MemoryPool MemoryPointer "
    "get_allocator set_allocator using_allocator memory is_available nvrtc compiler driver Graph",
    "cuda.Device": "id attributes compute_capability synchronize use mem_info __enter__",
    "cuda.Stream": "null ptds begin_capture end_capture is_capturing synchronize wait_event record use __enter__",
    "cuda.Event": "record synchronize done",
    "cuda.Graph": "launch upload",
    "cuda.runtime": "getDeviceCount getDevice setDevice getDeviceProperties driverGetVersion runtimeGetVersion "
    "deviceSynchronize memGetInfo CUDARuntimeError",
    "cuda.memory": "OutOfMemoryError",
    "RawKernel": "num_regs local_size_bytes shared_size_bytes max_dynamic_shared_size_bytes max_threads_per_block "
    "attributes preferred_shared_memory_carveout compile name",
    "RawModule": "get_function compile code options",
}
"""What a backend is written with."""


INSTANCES: dict[str, Callable[[], Any]] = {
    "ndarray": lambda: cp.zeros(3),
    "cuda.Device": lambda: cp.cuda.Device(0),
    "RawKernel": lambda: cp.RawKernel("", "k"),
    "RawModule": lambda: cp.RawModule(code=""),
}
"""Where attributes are of instances alone."""


@pytest.mark.parametrize("where", WANTED)
def test_what_a_backend_needs_is_there(where: str) -> None:
    place = attrgetter(where)(cp) if where else cp
    here = {*dir(place), *(vars(INSTANCES[where]()) if where in INSTANCES else ())}
    assert set(WANTED[where].split()) <= here


# -- what CuPy does with kernels, as far as it does it without a driver
STRUCT = np.zeros(1, [("pointer", np.int64), ("sizes", np.int32, 3), ("slope", np.float32)])
STRUCT["pointer"], STRUCT["sizes"], STRUCT["slope"] = 2**40 + 1, (1, 2, 3), 0.5


@pytest.mark.parametrize("value", [0, -1, 2**62, True, 2.5, 1 + 2j, np.int32(3), np.uint8(7), np.float16(0.5),
                                   np.float32(0.1), np.void(b"0123456789ab"), STRUCT, STRUCT.view("V24"),
                                   np.array(5, np.int16)], ids=repr)  # fmt: skip
def test_arguments_of_kernels_are_passed_as_cupy_passes_them(value: Any) -> None:
    pytest.importorskip("cupy", exc_type=ImportError)
    from cupy._core._scalar import CScalar
    from cupy.cuda.function import CNumpyArray

    passed = CNumpyArray(value) if isinstance(value, np.ndarray) else CScalar(value)
    ours = argument_bytes(value)
    assert ctypes.string_at(passed.ptr, len(ours)) == ours
    if not isinstance(value, np.ndarray):
        assert passed.dtype.itemsize == len(ours)


def test_the_compiler_gets_the_options_that_cupy_gives_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last of two ``-ftz`` counts, and of two architectures the one that has more."""
    pytest.importorskip("cupy", exc_type=ImportError)
    import cuda.pathfinder
    from cupy._core import core
    from cupy.cuda import compiler

    seen: list[tuple[str, ...]] = []

    class Program:
        def __init__(self, *_: Any, **__: Any) -> None:
            pass

        def compile(self, options: tuple[str, ...], log: Any) -> tuple[bytes, dict[str, str]]:
            seen.append(options)
            return b"", {}

    class Module:
        def load(self, cubin: bytes) -> None:
            pass

        def _set_mapping(self, mapping: dict[str, str]) -> None:
            pass

    monkeypatch.setattr(cuda.pathfinder, "find_nvidia_header_directory", lambda name: "/headers")
    monkeypatch.setattr(compiler, "_NVRTCProgram", Program)
    monkeypatch.setattr(compiler, "_get_arch_for_options_for_nvrtc", lambda arch=None: (f"-arch=sm_{arch}", "cubin"))
    monkeypatch.setattr(compiler, "_preprocess", lambda *_: "")
    monkeypatch.setattr(compiler, "_get_nvrtc_version", lambda: (13, 0))
    monkeypatch.setattr(compiler.function, "Module", Module)
    monkeypatch.setenv("CUPY_CACHE_IN_MEMORY", "1")
    given = core.assemble_cupy_compiler_options(("-ftz=false", "-arch=sm_90a"))
    compiler._compile_module_with_cache("text", given, arch="90")
    (options,) = seen
    plain = [option for option in options if not option.startswith("-I")]
    assert sorted(plain) == sorted(["-ftz=false", "-arch=sm_90a", "-arch=sm_90", *nvrtc.OPTIONS])
    assert plain.index("-ftz=false") < plain.index("-ftz=true")


@pytest.mark.skipif(nvrtc.library() is None, reason=nvrtc.MISSING)
def test_code_for_an_architecture_with_all_its_features() -> None:
    """CuPy names the device's architecture behind the one that a module asks for."""
    text = 'extern "C" __global__ void k() { asm volatile("wgmma.fence.sync.aligned;"); }'
    assert nvrtc.resources(nvrtc.cubin(text, "sm_90", ("-arch=sm_90a",)))["k"].registers > 0
    with pytest.raises(nvrtc.CompileError, match="not supported on"):
        nvrtc.cubin(text, "sm_90")


def test_a_graph_is_what_a_stream_has_recorded() -> None:
    cupy = pytest.importorskip("cupy", exc_type=ImportError)
    for module in (cp, cupy):
        with pytest.raises(NotImplementedError, match="cannot be initiated by the user"):
            module.cuda.Graph()
