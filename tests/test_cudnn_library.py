"""What the GPU's cuDNN candidate asks for is held to the library itself, where its wheel is installed: to its header,
and to what it answers about an H200 that is described to it, for which it needs neither a GPU nor a driver."""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import itertools
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fastconv import ConvProblem
from fastconv._gpu import cudnn, cudnn_names, cupy
from fastconv._gpu.algorithm import Operation
from fastconv._gpu.algorithms.cudnn.steps import graph_of

H200 = {
    "deviceName": "NVIDIA H200", "deviceVer": 900, "driverVer": 13000, "cudaDeviceId": 0, "pciDeviceId": 0,
    "multiProcessorCount": 132, "smCountOrigin": 0, "warpSize": 32, "maxCtasPerSM": 32, "maxThreadsPerSM": 2048,
    "maxThreadsPerBlock": 1024, "maxRegistersPerSM": 65536, "regsPerBlock": 65536, "maxSharedMemoryPerBlock": 49152,
    "maxSharedMemoryPerBlockOptin": 232448, "reservedSharedMemoryPerBlock": 1024, "isTccDriver": 0,
    "maxGridSize": [2147483647, 65535, 65535], "maxBlockSize": [1024, 1024, 64], "supportCoopLaunch": 1,
    "totalGlobalMem": 150_000_000_000, "smClockRateKHz": 1_980_000, "memClockRateKHz": 2_619_000,
    "memoryBusWidth": 6144, "l2CacheSize": 62_914_560,
}  # fmt: skip
"""What the library reads of a device, in its own words."""
DRIVER = "\n".join(
    f"int {name}(void) {{ return 100; }}"
    for name in ("cuGetErrorString", "cuModuleGetFunction", "cuModuleLoadData", "cuModuleUnload",
                 "cuTensorMapEncodeIm2col", "cuTensorMapEncodeTiled")
)  # fmt: skip
"""Functions of a driver that the library is linked with, and that say that there is no device."""
PROBLEMS = (
    "8x64x56x56 64x64x3x3 p1",
    "8x64x57x55 128x16x3x5 s2 p1x2 d2 g4",
    "8x64x56x56 64x1x3x3 p1 g64",
    "4x16x1000 32x16x9 p4",
    "2x8x10x12x14 16x8x3x3x3 p1",
    "8x64x56x56 64x64x3x3 p1 channels_last",
    "8x64x56x56 64x64x3x3 p1 float16",
    "8x64x56x56 64x64x3x3 p1 bfloat16 channels_last ODHWI",
)


def folder() -> Path:
    """Of the wheel."""
    found = importlib.util.find_spec("nvidia.cudnn") if importlib.util.find_spec("nvidia") else None
    if found is None:
        pytest.skip("nvidia-cudnn-cu13 is not installed")
    return Path(next(iter(found.submodule_search_locations or ())))


@functools.cache
def header() -> str:
    return (folder() / "include" / "cudnn_graph_v9.h").read_text()


def number(name: str) -> int:
    found = re.search(rf"\b{name}\b(?: CUDNN_DEPRECATED_ENUM)?\s*=\s*(\d+)", header())
    assert found, name
    return int(found[1])


def test_numbers_are_the_headers() -> None:
    for name, (code, _) in cudnn_names.TYPES.items():
        assert code == number(f"CUDNN_TYPE_{name}"), name
    for name, code in cudnn_names.KINDS.items():
        assert code == number(f"CUDNN_BACKEND_{name}_DESCRIPTOR"), name
    for name, code in cudnn_names.NOTES.items():
        assert code == number(f"CUDNN_NUMERICAL_NOTE_{name}"), name
    for name, (code, _) in cudnn_names.ATTRIBUTES.items():
        assert code == number(f"CUDNN_ATTR_{name}"), name
    for name, code in {"FLOAT": "float32", "HALF": "float16", "BFLOAT16": "bfloat16"}.items():
        assert cudnn_names.DATA_TYPES[code] == number(f"CUDNN_DATA_{name}")
    assert number("CUDNN_CROSS_CORRELATION") == cudnn_names.CROSS_CORRELATION
    assert number("CUDNN_HEUR_MODE_A") == cudnn_names.HEUR_MODE_A
    assert number("CUDNN_HEUR_MODE_FALLBACK") == cudnn_names.HEUR_MODE_FALLBACK
    assert number("CUDNN_NUMERICAL_NOTE_TYPE_COUNT") <= cudnn_names.MAX_NOTES


def test_types_of_attributes_are_the_headers() -> None:
    documented = dict(re.findall(r"\* - CUDNN_ATTR_(\w+) \(CUDNN_TYPE_(\w+)", header()))
    renamed = {"CONVOLUTION_CONV_MODE": "CONVOLUTION_MODE"}
    compared = 0
    for name, (_, kind) in cudnn_names.ATTRIBUTES.items():
        if (said := documented.get(renamed.get(name, name))) is not None:
            assert kind == said, name
            compared += 1
    assert compared > 30


def test_the_library_has_plans_for_an_h200(tmp_path: Path) -> None:
    library = folder() / "lib"
    command = ["gcc", "-shared", "-fPIC", "-x", "c", "-", "-Wl,-soname,libcuda.so.1", "-o", tmp_path / "libcuda.so.1"]
    try:
        subprocess.run(command, check=True, input=DRIVER.encode())
    except FileNotFoundError:
        pytest.skip("there is no gcc")
    paths = [tmp_path, library, *library.parents[1].glob("cu*/lib")]
    environment = {**os.environ, "LD_LIBRARY_PATH": os.pathsep.join(map(str, paths)),
                   "PYTHONPATH": os.pathsep.join(sys.path)}  # fmt: skip
    asked = subprocess.run([sys.executable, __file__, str(library / "libcudnn.so.9")], env=environment, text=True,
                           capture_output=True, check=True)  # fmt: skip
    found = [line for line in asked.stdout.splitlines() if " plans: " in line]
    assert len(found) == 3 * len(PROBLEMS)
    assert not [line for line in found if line.endswith(" 0")]


def _ask(path: str) -> None:
    """How many plans there are of each problem, at most three."""
    cupy.library = lambda name: path
    cudnn_names.KINDS["DEVICEPROP"] = number("CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR")
    cudnn_names.TYPES["CHAR"] = number("CUDNN_TYPE_CHAR"), ctypes.c_char
    for name, kind in (("DEVICEPROP_JSON_REPRESENTATION", "CHAR"), ("ENGINEHEUR_DEVICEPROP", "BACKEND_DESCRIPTOR"),
                       ("EXECUTION_PLAN_DEVICEPROP", "BACKEND_DESCRIPTOR")):  # fmt: skip
        cudnn_names.ATTRIBUTES[name] = number(f"CUDNN_ATTR_{name}"), kind
    device = cudnn.Descriptor("DEVICEPROP", json_representation=json.dumps(H200).encode())
    target = cudnn.Target({}, {"deviceprop": device}, {"deviceprop": device})
    for text, direction in itertools.product(PROBLEMS, ("forward", "backward_input", "backward_weight")):
        problem = ConvProblem.parse(f"{direction} {text}")
        graph = graph_of(Operation.contiguous(problem), False)
        assert graph is not None
        print(f"{problem} plans: {len(list(itertools.islice(cudnn.plans(graph, target), 3)))}")


if __name__ == "__main__":
    _ask(sys.argv[1])
