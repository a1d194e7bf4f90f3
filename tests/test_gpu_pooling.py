"""The GPU's pooling kernels against the definition of tests/pooling_cases.py: values, places and gradients."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import emulated_cupy
import gpu_cases
from array_modules import ArrayModule, array_module, assert_equal
from fastconv._gpu import layout
from fastconv._gpu import source as source_text
from fastconv._gpu.layout import Layout
from fastconv._gpu.pooling import gather as algorithm
from fastconv._gpu.pooling import planes, tiles
from fastconv._normalize.pooling import MAXIMUM_DTYPES, MEAN_DTYPES, AdaptiveSettings, PoolSettings, forward
from fastconv._problem import DATA_AXES
from fastconv._windows import WindowAxis, Windows
from gpu_launches import layout_of, on_device, on_host, start, traffic
from operands import numpy_dtype
from pooling_cases import FLOATS, INTEGERS, LAYOUTS, PoolCase, integer_values, real_values

CASES: dict[str, tuple[str, tuple[int, ...], dict[str, Any]]] = {
    "2x2": ("max_pool", (2, 3, 9, 12), {"kernel_size": (2, 2)}),
    "3x3 s2": ("max_pool", (2, 3, 11, 14), {"kernel_size": (3, 3), "stride": (2, 2), "padding": (1, 1)}),
    "3x3": ("max_pool", (1, 4, 9, 8), {"kernel_size": (3, 3), "stride": (1, 1), "padding": (1, 1)}),
    "large steps": ("max_pool", (1, 4, 13, 20), {"kernel_size": (3, 2), "stride": (6, 5), "padding": (1, 0)}),
    "ceil": ("max_pool", (1, 2, 10, 8), {"kernel_size": (3, 2), "stride": (2, 3), "padding": (1, 1),
                                         "ceil_mode": True}),
    "dilated": ("max_pool", (1, 3, 12, 11), {"kernel_size": (2, 3), "stride": (1, 2), "padding": ((0, 1), (2, 1)),
                                             "dilation": (3, 2)}),
    "1-D": ("max_pool", (2, 3, 40), {"kernel_size": (5,), "stride": (3,), "padding": (2,)}),
    "3-D": ("max_pool", (1, 2, 5, 6, 4), {"kernel_size": (2, 3, 2), "stride": (2, 1, 1), "padding": (1, 1, 1)}),
    "empty windows": ("max_pool", (1, 2, 3, 4), {"kernel_size": (2, 2), "stride": (1, 1), "padding": ((4, 4), (0, 1)),
                                                 "dilation": (5, 1)}),
    "a warp each": ("max_pool", (1, 3, 19, 17), {"kernel_size": (7, 6), "stride": (3, 5), "padding": (3, 2)}),
    "adaptive": ("adaptive_max_pool", (2, 3, 11, 7), {"output_size": (4, 3)}),
    "global": ("adaptive_max_pool", (2, 6, 9, 13), {"output_size": (1, 1)}),
    "global large": ("adaptive_max_pool", (1, 2, 40, 41), {"output_size": (1, 1)}),
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
        edit: Callable[[str], str] = lambda text: text, has_places: bool = True,
        **given: np.ndarray) -> dict[str, np.ndarray]:  # fmt: skip
    """The arrays by their roles after a run; those that are not given are poisoned."""
    dtype = case.x.dtype
    if "gradient" not in kind:
        given["source"] = case.x
    shapes = {"source": case.x.shape, "result": case.result_shape}
    dtypes = {"source": dtype, "result": dtype}
    if "maximum" in kind and has_places:
        shapes["index"], dtypes["index"] = case.result_shape, np.dtype(np.int64)
    arrays = {}
    for role, shape in shapes.items():
        host = lifted(given.get(role, np.full(shape, 97, dtypes[role])))
        order = (0, 2, 3, 4, 1) if channels_last else (0, 1, 2, 3, 4)
        arrays[role] = on_device(cp, np.ascontiguousarray(host.transpose(order))).transpose(np.argsort(order).tolist())
    layouts = {role: layout_of(array, dtypes[role]) for role, array in arrays.items()}
    windows = windows_of(case)
    assert algorithm.supports(windows, kind, dtype.name)
    made = algorithm.launches(windows, kind, dtype.name, *case.x.shape[:2], layouts)
    start(cp, made, arrays, edit)
    return {
        role: on_host(cp.ascontiguousarray(array), dtypes[role]).reshape(shapes[role]) for role, array in arrays.items()
    }


@pytest.fixture(autouse=True)
def _large_units(monkeypatch: pytest.MonkeyPatch) -> None:
    """As of large arrays."""
    monkeypatch.setattr(tiles, "WANTED_UNITS", 1)
    monkeypatch.setattr(planes, "WANTED_THREADS", 1)


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


PAIRS: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "overlapping": ((1, 4, 9, 8), {"kernel_size": (3, 3), "stride": (1, 1), "padding": (1, 1)}),
    "steps of 2": ((1, 6, 7, 12), {"kernel_size": (3, 3), "stride": (2, 2), "padding": (1, 0), "ceil_mode": True}),
    "dilated": ((1, 4, 8, 18), {"kernel_size": (2, 3), "stride": (1, 1), "padding": (0, 1), "dilation": (1, 2)}),
    "large steps": ((1, 4, 13, 20), {"kernel_size": (3, 2), "stride": (6, 5), "padding": (1, 0)}),
    "odd": ((1, 3, 5, 7), {"kernel_size": (3, 3), "stride": (1, 1), "padding": (1, 1)}),
}


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_maxima_without_places(cp: Any, dtype: str, channels_last: bool) -> None:
    """Half floats are compared in pairs; of zeros the first one's sign stays."""
    for shape, settings in PAIRS.values():
        one = PoolCase("max_pool", real_values(5, shape, dtype), settings)
        zeros = np.random.default_rng(1).random(shape)
        one.x[zeros < 0.6], one.x[zeros < 0.3] = 0, -np.zeros((), one.x.dtype)
        values = one.maxima()[0]
        found = run(cp, one, "maximum", channels_last, has_places=False)["result"]
        np.testing.assert_array_equal(found.astype(np.float64), values.astype(np.float64))
        np.testing.assert_array_equal(np.signbit(found[values == 0]), np.signbit(values[values == 0]))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_averages_that_are_very_small(cp: Any, dtype: str) -> None:
    """Quotients are rounded once, whether they are normal numbers or not."""
    for unit in (2.0**-132, 2.0**-90, 2.0**3):
        one = case("3x3 s2", dtype, True, count_include_pad=True)
        expected = (one.sums().astype(np.float32) * np.float32(unit) / np.float32(9)).astype(one.x.dtype)
        one.x = (one.x * np.float32(unit)).astype(one.x.dtype)
        np.testing.assert_array_equal(run(cp, one, "average")["result"], expected)
        gradient = (integer_values(3, one.result_shape, dtype) * np.float32(unit)).astype(one.x.dtype)
        shares = gradient.astype(np.float32) / np.float32(9)
        found = run(cp, one, "average_gradient", result=gradient)["source"]
        np.testing.assert_array_equal(found, one.spread(shares).astype(one.x.dtype))


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


@pytest.mark.parametrize("dtype", [*FLOATS, "int64"])
def test_averages_of_large_windows(cp: Any, dtype: str) -> None:
    """Sums of 64-bit integers do not fit into doubles."""
    one = case("a warp each", dtype, True)
    if dtype == "int64":
        one.x[...] += 2**55
        np.testing.assert_array_equal(run(cp, one, "average")["result"], one.averages())
    else:
        found = run(cp, one, "average")["result"].astype(np.float64)
        rtol = {"float64": 1e-15, "float32": 1e-7, "float16": 1e-3, "bfloat16": 8e-3}[dtype]
        np.testing.assert_allclose(found, one.averages().astype(np.float64), rtol=rtol, atol=rtol)


def lowest(name: str) -> PoolCase:
    """A case of nothing but infinities."""
    one = case(name, "float32")
    one.x[...] = -np.inf
    return one


def given_places(one: PoolCase) -> np.ndarray:
    """Those of the maxima, and in one plane of each image some that lie outside of their windows."""
    places = one.maxima()[1]
    places[:, 1, ..., ::3] = 5
    places[:, 0].flat[0] = -7
    return places


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("name", ["3x3 s2", "3-D", "adaptive", "empty windows", "global"])
def test_places_outside_of_their_windows_count(cp: Any, name: str, channels_last: bool) -> None:
    one = case(name, "float32")
    gradient, places = integer_values(3, one.result_shape, "float32"), given_places(one)
    expected = one.scatter(places, gradient)
    places[0, 0].flat[0] = math.prod(one.x.shape[2:]) + 900  # where there is no plane
    found = run(cp, one, "maximum_gradient", channels_last, result=gradient, index=places)
    np.testing.assert_array_equal(found["source"], expected)


@pytest.mark.parametrize("name", ["2x2", "a warp each"])
def test_subnormal_numbers_are_kept(cp: Any, name: str) -> None:
    """Although CuPy compiles with -ftz=true."""
    one, unit = case(name, "float32"), np.float32(2.0**-139)
    values, places = one.maxima()
    averages = case(name, "float32", True).averages()
    one.x, values = one.x * unit, values * unit
    found = run(cp, one, "maximum")
    np.testing.assert_array_equal(found["result"], values)
    np.testing.assert_array_equal(found["index"], places)
    found = run(cp, one, "maximum_gradient", result=values, index=places)
    np.testing.assert_array_equal(found["source"], one.scatter(places, values))
    if name == "2x2":  # larger windows are added up in double, too
        np.testing.assert_array_equal(run(cp, one, "average", True)["result"], averages * unit)
        found = run(cp, one, "average_gradient", result=values)
        np.testing.assert_array_equal(found["source"], one.spread(values / np.float32(4)))


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("name", ["dilated", "a warp each", "empty windows", "adaptive"])
def test_the_lowest_value_has_a_place(cp: Any, name: str, channels_last: bool) -> None:
    one = lowest(name)
    found = run(cp, one, "maximum", channels_last)
    np.testing.assert_array_equal(found["index"], one.maxima()[1])
    np.testing.assert_array_equal(found["result"], -np.inf)


PLAIN = [case for case in gpu_cases.CASES if "pool" in case.name and case.arguments[0] is not None]


@pytest.mark.parametrize("one", PLAIN, ids=lambda one: one.name)
def test_plain_kernels_compute_the_same(one: gpu_cases.Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(algorithm, "supports", lambda *_: False)
    expected = one(ArrayModule("numpy", np))
    with array_module("emulated") as gpu:
        assert_equal(gpu.host(one(gpu)), expected, one.ulps)


def test_wide_offsets_and_batches_in_parts(cp: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "OFFSET_LIMIT", 1)
    one = case("3x3 s2", "float32", special=True)
    monkeypatch.setattr(algorithm, "MAX_THREADS", 32 * 200)
    values, places = one.maxima()
    found = run(cp, one, "maximum")
    np.testing.assert_array_equal(found["result"], values)
    np.testing.assert_array_equal(found["index"], places)


FEWEST_FOR = {
    # windows of one axis of a plane, whether channels are last
    "2x2": (WindowAxis(32, 16, 2, 2), False),
    "2x2 odd": (WindowAxis(33, 16, 2, 2), False),
    "3x3 s2": (WindowAxis(32, 16, 3, 2, 1, 1), False),
    "3x3": (WindowAxis(24, 24, 3, 1, 1, 1), False),
    "global": (WindowAxis.shared(16, 1), False),
    "NHWC": (WindowAxis(16, 8, 3, 2, 1, 1), True),
}
PARTS_OF_FEWEST = 1.1, 1.35
"""Where windows overlap, blocks read rows of their neighbours once more, from the second-level cache."""


@pytest.mark.parametrize("kind", ["maximum", "average", "maximum_gradient", "average_gradient"])
@pytest.mark.parametrize("name", FEWEST_FOR)
def test_few_more_sectors_than_there_must_be(name: str, kind: algorithm.Kind) -> None:
    """Every array once, the places twice where they are read: the second time, for strays, mostly from cache."""
    axis, channels_last = FEWEST_FOR[name]
    with emulated_cupy.pretend():
        windows = Windows((WindowAxis(1, 1, 1), axis, axis))
        shapes = {"source": (1, 32, 1, axis.size, axis.size), "result": (1, 32, 1, axis.outputs, axis.outputs)}
        if "maximum" in kind:
            shapes["index"] = shapes["result"]
        arrays = {role: emulated_cupy.full(shape, -1, np.int64 if role == "index" else np.float32)
                  for role, shape in shapes.items()}  # fmt: skip
        order = DATA_AXES["channels_last" if channels_last else "channels_first"]
        lie = {role: Layout.packed(arrays[role].dtype, shape, order) for role, shape in shapes.items()}
        made = algorithm.launches(windows, kind, "float32", 1, 32, lie)
        start(emulated_cupy, made, arrays)
        moved = traffic(emulated_cupy, made)
        least = sum(arrays[role].nbytes for role in shapes) / 32
        if kind == "maximum_gradient":
            least += arrays["index"].nbytes / 32
        assert moved.loaded + moved.stored <= PARTS_OF_FEWEST[axis.taps > axis.step] * least, (moved, least)


MUTATIONS = (
    # kind, case, channels last, what is changed, into what: each must change a result or be reported
    ("maximum", "2x2", False, "if (index >= p.count) return;", ""),
    ("maximum", "3x3 s2", False, "(fc_u32)j < (fc_u32)p.axis[1].size", "true"),
    ("maximum", "3x3 s2", False, "(fc_u32)(left + i * LOADED) < (fc_u32)p.axis[2].size", "true"),
    ("maximum", "3x3 s2", False, "is_odd = found.has_nan;", ""),
    ("maximum", "3x3", False, "best[r].take(best[r + 1])", ""),
    ("maximum", "3x3", True, ", u.channel *= VECTOR;", ";"),
    ("maximum", "3x3", False, "if (!WHOLE && u.h + r >= p.axis[1].outputs) break;", ""),
    ("maximum", "empty windows", False, "int where = -1;", "int where = 0;"),
    ("maximum", "dilated lowest", False, "is_odd |= !(I0", "is_odd |= false && !(I0"),
    ("maximum", "a warp each lowest", False, "(where < 0) | larger", "larger"),
    ("maximum", "a warp each", False, "later == fc_is_nan(best)", "true"),
    ("maximum", "a warp each", False, "distance = 16", "distance = 8"),
    ("maximum", "a warp each", True, "k >= w.end", "false"),
    ("maximum", "global", False, "if (upper) number += half;", ""),
    ("maximum", "global", False, "first + number >= p.count", "false"),
    ("average", "global", False, "lane < SIZE && first", "lane < SIZE + 1 && first"),
    ("average", "global", False, " || begin + AT_ONCE >= LOADS", ""),
    ("average", "a warp each", False, "total += sum, sum = 0;\n#pragma", "sum = 0;\n#pragma"),
    ("average", "ceil", False, "a.size + a.after", "a.size"),
    ("average", "adaptive", False, "+ a.outputs - 1, a.by_outputs", ", a.by_outputs"),
    ("maximum_gradient", "3x3 s2", False, ": late / shape::step", ": late / shape::step + 1"),
    ("maximum_gradient", "3x3 s2", False, "(size - 1 + shape::before)", "(size - 2 + shape::before)"),
    ("maximum_gradient", "3x3 s2", False, "if (!WHOLE && (u.d + a", "if (false && (u.d + a"),
    ("maximum_gradient", "3x3", True, "if (place[at] -", "if (place[0] -"),
    ("maximum_gradient", "global", False, "element + v < SIZE ?", "true ?"),
    ("maximum_gradient", "global", True, "u.w * RUN + i", "u.w + i"),
    (
        "maximum_gradient",
        "large steps",
        False,
        "unit + shape::before - base * shape::step",
        "unit - base * shape::step",
    ),
    ("maximum_gradient", "adaptive", False, "(element + 1) * a.outputs - 1", "element * a.outputs"),
    ("maximum_gradient", "strays", True, "__syncthreads_or(strays && threadIdx.x % RUN == c)", "strays"),
    ("maximum_gradient", "strays", True, "strays |= place", "strays &= place"),
    ("average_gradient", "dilated", False, "&& distance % shape::dilation == 0", ""),
    ("average_gradient", "adaptive", False, "fc_window<1>(p.axis[1], j)", "fc_window<1>(p.axis[1], 0)"),
)


@pytest.mark.parametrize(("kind", "name", "channels_last", "old", "new"), MUTATIONS)
def test_what_is_changed_in_a_kernel_is_found(
    kind: algorithm.Kind, name: str, channels_last: bool, old: str, new: str
) -> None:
    changed = 0

    def edit(text: str) -> str:
        nonlocal changed
        changed += old in text
        return text.replace(old, new)

    is_average = kind.startswith("average")
    more = {"count_include_pad": True} if is_average and not name.startswith(("adaptive", "global")) else {}
    one = case(name.replace("strays", "3x3 s2").removesuffix(" lowest"), "float32", is_average, not is_average, **more)
    if name.endswith("lowest"):
        one.x[...] = -np.inf
    values, places = (one.averages(), None) if is_average else one.maxima()
    gradient = integer_values(3, one.result_shape, "float32") * (one.divisors() if is_average else 1)
    given = {}
    if "gradient" in kind:
        given = {"result": gradient.astype(np.float32)}
        places = given_places(one) if name == "strays" else places
    if kind == "maximum_gradient":
        given["index"] = places
    with emulated_cupy.pretend(seed=3):
        try:
            found = run(emulated_cupy, one, kind, channels_last, edit, **given)
        except emulated_cupy.KernelError:
            assert changed
            return
    assert changed
    if kind == "maximum_gradient":
        same = np.array_equal(found["source"], one.scatter(places, gradient))
    elif kind == "average_gradient":
        same = np.array_equal(found["source"], one.spread(gradient / one.divisors()))
    elif kind == "average":
        same = np.allclose(found["result"], values, rtol=2e-7, atol=0)
    else:
        same = np.array_equal(found["result"], values, equal_nan=True) and np.array_equal(found["index"], places)
    assert not same


PLAIN_MUTATIONS = (("max_pool2d bad", "|| value != value", ""),
                   ("max_pool2d_backward indices", "where >= plane", "where > plane + 1000"),
                   ("avg_pool2d inside", "c.count_padding ?", "!c.count_padding ?"))  # fmt: skip


@pytest.mark.parametrize(("name", "old", "new"), PLAIN_MUTATIONS)
def test_what_is_changed_in_a_plain_kernel_is_found(
    name: str, old: str, new: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(algorithm, "supports", lambda *_: False)
    (one,) = (case for case in gpu_cases.CASES if case.name == name)
    if "indices" in name:
        one = replace(one, options=one.options | {"indices": one.options["indices"] + 900})
    read = source_text._text

    def edited(path: str) -> str:
        text = read(path)
        assert path != "pooling/kernels.cu" or old in text
        return text.replace(old, new) if path == "pooling/kernels.cu" else text

    with array_module("emulated") as gpu:
        expected = gpu.host(one(gpu))
    monkeypatch.setattr(source_text, "_text", edited)
    with array_module("emulated") as gpu, pytest.raises((AssertionError, emulated_cupy.KernelError)):
        assert_equal(gpu.host(one(gpu)), expected)
