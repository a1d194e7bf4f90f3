"""Variants of the GPU's plain kernels, one element type of each kind: what gates and tables are made of."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fastconv._gpu.calibration import multiply_adds_source
from fastconv._gpu.source import C_TYPES, SHARED, kernel_source, source_of
from nvrtc_gate import Variant, from_architecture

RESOURCES = Path(__file__).parent / "plain_resources.txt"
"""What they take of a multiprocessor, as ``nvrtc_gate`` has written it."""
GELU = 5


def _variants() -> Iterator[Variant]:
    for dtype in ("float32", "bfloat16", "complex64"):
        is_real, element = dtype != "complex64", C_TYPES[dtype]
        activation: dict[str, int | str] = {"ACTIVATION": GELU} if is_real else {}
        real: dict[str, int | str] = {"IS_REAL": 1} if is_real else {}
        types = {"SOURCE": element, "WEIGHT": element, "RESULT": element}
        for direction in ("forward", "backward_input", "backward_weight"):
            yield _variant("reference", f"reference_{direction}", dtype, {**types, **activation})
        names = ["channel_sums", "fold_padding", "pad", *(["activation_gradient", "cast"] if is_real else [])]
        for name in names:
            yield _variant("elementwise", name, dtype, {"ELEMENT": element, **real, **activation})
        for name in ("pool_average", "pool_average_gradient", "pool_maximum_gradient"):
            yield _variant("pooling", name, dtype, {"ELEMENT": element, "SHARE": element})
        for name in ("unfold", "fold"):
            text = source_of("unfolding/plain.cu", {"ELEMENT": element, "IS_SUMMED": 1}, *SHARED, "elements.cuh")
            yield Variant(f"{name}_{dtype}", name, text, from_architecture(75))
        if not is_real:
            yield _variant("elementwise", "put_together", dtype, {"ELEMENT": element, "PART": "float"})
        if is_real:
            yield _variant("pooling", "pool_maximum", dtype, {"ELEMENT": element, "LOWEST": "(-1.0 / 0.0)"})
    integers: dict[str, int | str] = {"SOURCE": "fc_u8", "WEIGHT": "fc_i8", "RESULT": "int", "HAS_ZERO_POINTS": 1}
    yield _variant("reference", "reference_forward", "int8", integers)
    yield _variant("pooling", "pool_maximum", "uint64", {"ELEMENT": "fc_u64", "LOWEST": "0LL"})
    for dtype in ("float32", "float64"):
        yield Variant(f"multiply_adds_{dtype}", "multiply_adds", multiply_adds_source(dtype), from_architecture(75))


def _variant(room: str, kernel: str, dtype: str, defines: dict[str, int | str]) -> Variant:
    return Variant(f"{kernel} {dtype}".replace(" ", "_"), kernel, kernel_source(room, defines, "elements.cuh"),
                   from_architecture(75))  # fmt: skip


VARIANTS = tuple(_variants())
