"""A few PTX instructions as a kernel of their own: operands from arrays, results to arrays, one lane an element."""

from __future__ import annotations

import numpy as np

from emulated_cupy import ptx

HEADER = ".version 8.5\n.target sm_90a\n.address_size 64\n"


def kernel(body: str, inputs: list[np.ndarray], outputs: list[np.ndarray], declarations: str = "") -> ptx.Kernel:
    """A kernel whose registers a, b, c, ... hold its thread's elements of ``inputs``; r, s, t, u go to ``outputs``."""
    arrays = [*zip("abcdefghij", inputs, strict=False), *zip("rstu", outputs, strict=False)]
    parameters = ",\n".join(f".param .u64 {name}_pointer" for name, _ in arrays)
    registers = "\n".join(f".reg .b{max(8 * x.itemsize, 16)} {name};\n.reg .b64 {name}_at;" for name, x in arrays)
    address = "\n".join(
        f"ld.param.u64 {name}_at, [{name}_pointer];\nmad.wide.u32 {name}_at, %lane, {array.itemsize}, {name}_at;"
        for name, array in arrays
    )
    load = "\n".join(f"ld.global.b{8 * array.itemsize} {name}, [{name}_at];" for name, array in arrays[: len(inputs)])
    store = "\n".join(f"st.global.b{8 * array.itemsize} [{name}_at], {name};" for name, array in arrays[len(inputs) :])
    lines = [".reg .b32 %lane;", registers, "mov.u32 %lane, %tid.x;", address, load, body, store, "ret;"]
    text = f"{HEADER}{declarations}\n.visible .entry snippet(\n{parameters}\n)\n{{\n" + "\n".join(lines) + "\n}\n"
    return ptx.load(text)["snippet"]


def launch(made: ptx.Kernel, arrays: list[np.ndarray], threads: int, seed: int = 0) -> str:
    """Run it in one block; what went wrong, or nothing."""
    ranges = [(array.ctypes.data, array.ctypes.data + array.nbytes) for array in arrays]
    pointers = [array.ctypes.data.to_bytes(8, "little") for array in arrays]
    return made.run((1, 1, 1), (threads, 1, 1), pointers, 0, ranges, seed)


def run(body: str, inputs: list[np.ndarray], *kinds: str, declarations: str = "", seed: int = 0) -> list[np.ndarray]:
    """The results, as arrays of the dtypes ``kinds``; AssertionError if the machine finds something wrong."""
    inputs = [np.ascontiguousarray(array) for array in inputs]
    outputs = [np.full(len(inputs[0]), 0xAA, np.uint8).repeat(np.dtype(kind).itemsize).view(kind) for kind in kinds]
    made = kernel(body, inputs, outputs, declarations)
    message = launch(made, [*inputs, *outputs], len(inputs[0]), seed)
    assert not message, message
    return outputs
