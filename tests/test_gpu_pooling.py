"""The GPU's pooling kernels against the definition of tests/pooling_cases.py: values, places and gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastconv._gpu import layout
from fastconv._gpu.pooling import gather as algorithm
from fastconv._normalize.pooling import MAXIMUM_DTYPES, MEAN_DTYPES, AdaptiveSettings, PoolSettings, forward
from fastconv._windows import Windows
from gpu_launches import layout_of, on_device, on_host, start
from operands import numpy_dtype
from pooling_cases import FLOATS, INTEGERS, LAYOUTS, PoolCase, integer_values, real_values

CASES: dict[str, tuple[str, tuple[int, ...], dict[str, Any]]] = {
    "2x2": ("max_pool", (2, 3, 9, 12), {"kernel_size": (2, 2)}),
    "3x3 s2": ("max_pool", (2, 3, 11, 14), {"kernel_size": (3, 3), "stride": (2, 2), "padding": (1, 1)}),
    "ceil": ("max_pool", (1, 2, 10, 8), {"kernel_size": (3, 2), "stride": (2, 3), "ceil_mode": True}),
    "dilated": ("max_pool", (1, 3, 12, 11), {"kernel_size": (2, 3), "stride": (1, 2), "padding": ((0, 1), (2, 1)),
                                             "dilation": (3, 2)}),
    "1-D": ("max_pool", (2, 3, 40), {"kernel_size": (5,), "stride": (3,), "padding": (2,)}),
    "3-D": ("max_pool", (1, 2, 5, 6, 4), {"kernel_size": (2, 3, 2), "stride": (2, 1, 1), "padding": (1, 1, 1)}),
    "empty windows": ("max_pool", (1, 2, 3, 4), {"kernel_size": (2, 2), "stride": (1, 1), "padding": ((4, 4), (0, 1)),
                                                 "dilation": (5, 1)}),
    "a warp each": ("max_pool", (1, 3, 19, 17), {"kernel_size": (7, 6), "stride": (3, 5), "padding": (3, 2)}),
    "adaptive": ("adaptive_max_pool", (2, 3, 11, 7), {"output_size": (4, 3)}),
    "global": ("adaptive_max_pool", (2, 5, 9, 13), {"output_size": (1, 1)}),
    "adaptive to more": ("adaptive_max_pool", (1, 2, 3, 5, 4), {"output_size": (5, 2, None)}),
}  # fmt: skip


def case(name: str, dtype: str, averages: bool = False, special: bool = False, **settings: Any) -> PoolCase:
    function, shape, given = CASES[name]
    make = real_values if special else integer_values
    return PoolCase(function.replace("max", "avg") if averages else function, make(7, shape, dtype), given | settings)


def windows_of(case: PoolCase) -> Windows:
    kind = AdaptiveSettings if case.name.startswith("adaptive") else PoolSettings
    settings = kind(**case.settings, layout=LAYOUTS[case.rank][0])
    return forward(case.rank, settings, {*MAXIMUM_DTYPES, *MEAN_DTYPES}, case.x).windows


def lifted(array: np.ndarray) -> np.ndarray:
    """With three spatial axes."""
    return array.reshape(*array.shape[:2], *(1,) * (5 - array.ndim), *array.shape[2:])


def run(cp: Any, case: PoolCase, kind: algorithm.Kind, channels_last: bool = False,
        **given: np.ndarray) -> dict[str, np.ndarray]:  # fmt: skip
    """The arrays by their roles after a run; those that are not given are poisoned."""
    dtype = case.x.dtype
    if "gradient" not in kind:
        given["source"] = case.x
    shapes = {"source": case.x.shape, "result": case.result_shape}
    dtypes = {"source": dtype, "result": dtype}
    if "maximum" in kind:
        shapes["index"], dtypes["index"] = case.result_shape, np.dtype(np.int64)
    arrays = {}
    for role, shape in shapes.items():
        host = lifted(given.get(role, np.full(shape, 97, dtypes[role])))
        order = (0, 2, 3, 4, 1) if channels_last else (0, 1, 2, 3, 4)
        arrays[role] = on_device(cp, np.ascontiguousarray(host.transpose(order))).transpose(np.argsort(order).tolist())
    layouts = {role: layout_of(array, dtypes[role]) for role, array in arrays.items()}
    windows = windows_of(case)
    assert algorithm.supports(windows, kind, dtype.name)
    start(cp, algorithm.launches(windows, kind, dtype.name, *case.x.shape[:2], layouts), arrays)
    return {
        role: on_host(cp.ascontiguousarray(array), dtypes[role]).reshape(shapes[role]) for role, array in arrays.items()
    }


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_maxima_and_their_gradient(cp: Any, name: str, channels_last: bool) -> None:
    one = case(name, "float32", special=True)
    found, (values, places) = run(cp, one, "maximum", channels_last), one.maxima()
    np.testing.assert_array_equal(found["result"], values)
    np.testing.assert_array_equal(found["index"], places)
    gradient = integer_values(3, one.result_shape, "float32")
    found = run(cp, one, "maximum_gradient", channels_last, result=gradient, index=places)
    np.testing.assert_array_equal(found["source"], one.scatter(places, gradient))


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_averages_and_their_gradient(cp: Any, name: str, padded: bool) -> None:
    more = {} if name.startswith(("adaptive", "global")) else {"count_include_pad": padded}
    if name == "2x2":
        more["divisor_override"] = -3
    one = case(name, "float32", True, **more)
    found = run(cp, one, "average", padded)
    np.testing.assert_allclose(found["result"], one.averages(), rtol=2e-7, atol=0)
    gradient = integer_values(3, one.result_shape, "float32") * one.divisors().astype(np.float32)
    found = run(cp, one, "average_gradient", padded, result=gradient)
    np.testing.assert_array_equal(found["source"], one.spread(gradient / one.divisors().astype(np.float32)))


@pytest.mark.parametrize("dtype", [*FLOATS, *INTEGERS])
def test_every_dtype(cp: Any, dtype: str) -> None:
    one = case("3x3 s2", dtype, special=True)
    values, places = one.maxima()
    found = run(cp, one, "maximum")
    np.testing.assert_array_equal(found["result"].astype(np.float64), values.astype(np.float64))
    np.testing.assert_array_equal(found["index"], places)
    if dtype in (*FLOATS, "int64"):
        one = case("3x3 s2", dtype, True)
        np.testing.assert_array_equal(run(cp, one, "average")["result"], one.averages())
    if dtype in FLOATS:
        gradient = integer_values(3, one.result_shape, dtype)
        found = run(cp, one, "maximum_gradient", result=gradient, index=places)
        expected = one.scatter(places, gradient.astype(np.float32)).astype(numpy_dtype(dtype))
        np.testing.assert_array_equal(found["source"], expected)


def test_wide_offsets_and_batches_in_parts(cp: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "OFFSET_LIMIT", 1)
    one = case("3x3 s2", "float32", special=True)
    monkeypatch.setattr(algorithm, "MAX_THREADS", 32 * 200)
    values, places = one.maxima()
    found = run(cp, one, "maximum")
    np.testing.assert_array_equal(found["result"], values)
    np.testing.assert_array_equal(found["index"], places)
