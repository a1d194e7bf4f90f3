"""NVRTC by ctypes: the wheel ``nvidia-cuda-nvrtc`` is all it takes, no driver and no GPU. And what a cubin says."""

from __future__ import annotations

import ctypes
import glob
import os
import struct
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from .built import built

MISSING = "needs NVRTC: pip install nvidia-cuda-nvrtc"
OPTIONS = ("--std=c++17", "-ftz=true", "--device-as-default-execution-space")
"""What CuPy adds to every compilation, besides folders of headers."""


class CompileError(Exception):
    """The compiler's log."""


@cache
def library() -> ctypes.CDLL | None:
    """NVRTC, of the first wheel that is found; None if there is none."""
    for place in sys.path:
        for pattern in ("nvidia/cu1[0-9]/lib/libnvrtc.so.*", "nvidia/cuda_nvrtc/lib/libnvrtc.so.*"):
            for path in sorted(glob.glob(os.path.join(place, pattern))):
                for part in glob.glob(os.path.join(os.path.dirname(path), "libnvrtc-builtins.so.*")):
                    ctypes.CDLL(part)  # NVRTC opens it by its name alone
                return ctypes.CDLL(path)
    return None


@cache
def version() -> tuple[int, int]:
    """NVRTC's."""
    nvrtc = library()
    if nvrtc is None:
        raise CompileError(MISSING)
    major, minor = ctypes.c_int(), ctypes.c_int()
    nvrtc.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
    return major.value, minor.value


def _compile(source: str, arch: str, options: tuple[str, ...], kind: str) -> bytes:
    nvrtc = library()
    if nvrtc is None:
        raise CompileError(MISSING)
    program, size = ctypes.c_void_p(), ctypes.c_size_t()
    nvrtc.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"kernel.cu", 0, None, None)
    try:
        flags = [option.encode() for option in (*options, f"-arch={arch}", *OPTIONS)]
        failed = nvrtc.nvrtcCompileProgram(program, len(flags), (ctypes.c_char_p * len(flags))(*flags))
        if failed:
            nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
            log = ctypes.create_string_buffer(size.value)
            nvrtc.nvrtcGetProgramLog(program, log)
            raise CompileError(log.value.decode())
        getattr(nvrtc, f"nvrtcGet{kind}Size")(program, ctypes.byref(size))
        made = ctypes.create_string_buffer(size.value)
        getattr(nvrtc, f"nvrtcGet{kind}")(program, made)
        return made.raw if kind == "CUBIN" else made.value
    finally:
        nvrtc.nvrtcDestroyProgram(ctypes.byref(program))


def _kept(source: str, arch: str, options: tuple[str, ...], kind: str) -> bytes:
    """As ``_compile``; kept for the next time."""

    def make(path: Path) -> None:
        path.write_bytes(_compile(source, arch, options, kind))

    return built(f".{kind.lower()}", (source, arch, options, OPTIONS, version()), make).read_bytes()


def cubin(source: str, arch: str, options: tuple[str, ...] = ()) -> bytes:
    """Machine code of CUDA text ``source`` for ``arch``, as "sm_90a"; CompileError with the log."""
    return _kept(source, arch, options, "CUBIN")


def ptx(source: str, arch: str, options: tuple[str, ...] = ()) -> str:
    """PTX of CUDA text ``source`` for ``arch``, as "compute_90a"; CompileError with the log."""
    return _kept(source, arch, options, "PTX").decode()


LINES = ("-lineinfo",)
"""Makes a cubin carry the PTX it was made of, and say which line every instruction comes from; the code is the same."""


def carried_ptx(cubin: bytes) -> str:
    """The PTX of a cubin that was compiled with ``LINES``, line by line."""
    elf = _Elf(cubin)
    section = next(section for section in elf.sections if elf.name(section) == ".nv_debug_ptx_txt")
    return elf.content(section).replace(b"\0", b"\n").decode()


@dataclass(frozen=True)
class Resources:
    """What a kernel takes of a multiprocessor."""

    registers: int
    """Of a thread."""
    local_bytes: int
    """Of a thread's memory: spilled registers, arrays with computed indices."""
    shared_bytes: int
    """Static shared memory of a block."""


_REGISTERS, _LOCAL_BYTES = 0x2F, 0x11  # attributes of the section .nv.info
_SYMBOL_TABLE = 2


class _Elf:
    """The sections of an ELF file."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        at, size, count, names = *struct.unpack_from("<Q", data, 40), *struct.unpack_from("<HHH", data, 58)
        self.sections = [struct.unpack_from("<IIQQQQIIQQ", data, at + i * size) for i in range(count)]
        self._names = self.sections[names][4]
        self._symbols = next(section for section in self.sections if section[1] == _SYMBOL_TABLE)

    def _text(self, at: int) -> str:
        return self.data[at : self.data.index(0, at)].decode()

    def name(self, section: tuple[int, ...]) -> str:
        return self._text(self._names + section[0])

    def symbol(self, number: int) -> str:
        strings = self.sections[self._symbols[6]][4]
        return self._text(strings + struct.unpack_from("<I", self.data, self._symbols[4] + 24 * number)[0])

    def content(self, section: tuple[int, ...]) -> bytes:
        return self.data[section[4] : section[4] + section[5]]


def resources(cubin: bytes) -> dict[str, Resources]:
    """What each kernel of a cubin takes, from its ELF sections."""
    elf = _Elf(cubin)
    found: dict[str, dict[int, int]] = {}
    for section in elf.sections:
        if elf.name(section) != ".nv.info":
            continue
        data, at = elf.content(section), 0
        while at + 4 <= len(data):  # attributes: form, number, length; those of form 4 have (symbol, value)
            form, attribute, length = struct.unpack_from("<BBH", data, at)
            if form == 4 and attribute in (_REGISTERS, _LOCAL_BYTES):
                symbol, value = struct.unpack_from("<II", data, at + 4)
                found.setdefault(elf.symbol(symbol), {})[attribute] = value
            at += 4 + (length if form == 4 else 0)
    shared = {elf.name(s)[len(".nv.shared.") :]: s[5] for s in elf.sections if elf.name(s).startswith(".nv.shared.")}
    return {
        name: Resources(values[_REGISTERS], values.get(_LOCAL_BYTES, 0), shared.get(name, 0))
        for name, values in found.items()
        if _REGISTERS in values
    }
