"""Numbers of cuDNN 9's graph interface, by the names of its header without what they all begin with."""

from __future__ import annotations

import ctypes

TYPES = {
    "HANDLE": (0, ctypes.c_void_p),
    "DATA_TYPE": (1, ctypes.c_int),
    "INT64": (3, ctypes.c_int64),
    "FLOAT": (4, ctypes.c_float),
    "VOID_PTR": (6, ctypes.c_void_p),
    "CONVOLUTION_MODE": (7, ctypes.c_int),
    "HEUR_MODE": (8, ctypes.c_int),
    "NUMERICAL_NOTE": (11, ctypes.c_int),
    "BACKEND_DESCRIPTOR": (15, ctypes.c_void_p),
}
"""CUDNN_TYPE_*, and an element."""
KINDS = {
    "CONVOLUTION": 1,
    "ENGINE": 2,
    "ENGINECFG": 3,
    "ENGINEHEUR": 4,
    "EXECUTION_PLAN": 5,
    "OPERATION_CONVOLUTION_FORWARD": 10,
    "OPERATION_CONVOLUTION_BACKWARD_FILTER": 11,
    "OPERATION_CONVOLUTION_BACKWARD_DATA": 12,
    "OPERATIONGRAPH": 15,
    "VARIANT_PACK": 16,
    "TENSOR": 17,
}
"""CUDNN_BACKEND_*_DESCRIPTOR."""
_OPERATIONS = {
    "FORWARD": ("ALPHA", "BETA", "CONV_DESC", "W", "X", "Y"),
    "BWD_DATA": ("ALPHA", "BETA", "CONV_DESC", "W", "DX", "DY"),
    "BWD_FILTER": ("ALPHA", "BETA", "CONV_DESC", "DW", "X", "DY"),
}
ATTRIBUTES = {
    "CONVOLUTION_COMP_TYPE": (100, "DATA_TYPE"),
    "CONVOLUTION_CONV_MODE": (101, "CONVOLUTION_MODE"),
    "CONVOLUTION_DILATIONS": (102, "INT64"),
    "CONVOLUTION_FILTER_STRIDES": (103, "INT64"),
    "CONVOLUTION_POST_PADDINGS": (104, "INT64"),
    "CONVOLUTION_PRE_PADDINGS": (105, "INT64"),
    "CONVOLUTION_SPATIAL_DIMS": (106, "INT64"),
    "ENGINEHEUR_MODE": (200, "HEUR_MODE"),
    "ENGINEHEUR_OPERATION_GRAPH": (201, "BACKEND_DESCRIPTOR"),
    "ENGINEHEUR_RESULTS": (202, "BACKEND_DESCRIPTOR"),
    "ENGINECFG_ENGINE": (300, "BACKEND_DESCRIPTOR"),
    "EXECUTION_PLAN_HANDLE": (400, "HANDLE"),
    "EXECUTION_PLAN_ENGINE_CONFIG": (401, "BACKEND_DESCRIPTOR"),
    "EXECUTION_PLAN_WORKSPACE_SIZE": (402, "INT64"),
    **{
        f"OPERATION_CONVOLUTION_{operation}_{name}": (number, "FLOAT" if i < 2 else "BACKEND_DESCRIPTOR")
        for first, (operation, names) in zip((700, 706, 712), _OPERATIONS.items(), strict=True)
        for i, (number, name) in enumerate(zip(range(first, first + 6), names, strict=True))
    },
    "OPERATIONGRAPH_HANDLE": (800, "HANDLE"),
    "OPERATIONGRAPH_OPS": (801, "BACKEND_DESCRIPTOR"),
    "TENSOR_BYTE_ALIGNMENT": (900, "INT64"),
    "TENSOR_DATA_TYPE": (901, "DATA_TYPE"),
    "TENSOR_DIMENSIONS": (902, "INT64"),
    "TENSOR_STRIDES": (903, "INT64"),
    "TENSOR_UNIQUE_ID": (906, "INT64"),
    "VARIANT_PACK_UNIQUE_IDS": (1000, "INT64"),
    "VARIANT_PACK_DATA_POINTERS": (1001, "VOID_PTR"),
    "VARIANT_PACK_WORKSPACE": (1003, "VOID_PTR"),
    "ENGINE_NUMERICAL_NOTE": (1303, "NUMERICAL_NOTE"),
}
"""CUDNN_ATTR_*, and the type of an element."""
DATA_TYPES = {"float32": 0, "float16": 2, "bfloat16": 9}
CROSS_CORRELATION = 1
HEUR_MODE_A, HEUR_MODE_FALLBACK = 3, 2
NOTES = {
    "TENSOR_CORE": 0,
    "DOWN_CONVERT_INPUTS": 1,
    "REDUCED_PRECISION_REDUCTION": 2,
    "FFT": 3,
    "NONDETERMINISTIC": 4,
    "WINOGRAD": 5,
    "WINOGRAD_TILE_4x4": 6,
    "WINOGRAD_TILE_6x6": 7,
    "WINOGRAD_TILE_13x13": 8,
}
"""CUDNN_NUMERICAL_NOTE_*."""
MAX_NOTES = 32
