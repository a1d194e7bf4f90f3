"""Every family of instructions of the PTX machine against what NumPy makes of the same operands."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import subprocesses
from emulated_cupy import ptx
from ptx_snippets import HEADER, run

pytestmark = pytest.mark.skipif(not subprocesses.has_compiler(), reason="no C compiler")

LANES = 64
bf16 = ml_dtypes.bfloat16
RNG = np.random.default_rng(7)


def operands(kind: str, count: int) -> list[np.ndarray]:
    """Edge cases and random values of a dtype, paired at random."""
    dtype = np.dtype(bf16 if kind == "bf2" else kind)
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        edges = [0, 1, 2, 7, 31, 32, 33, info.min, info.max, info.max - 1, info.min + 1, info.max // 2]
        made = [RNG.integers(info.min, info.max, LANES, dtype, endpoint=True) for _ in range(count)]
        for array in made:
            array[: len(edges)] = edges
    else:
        edges = [0.0, -0.0, 1, -1, 0.5, 1.5, 2.5, -2.5, np.inf, -np.inf, np.nan, 100.25, -127.5, 300]
        made = [np.round(RNG.normal(0, 8, LANES) * 64) / 64 for _ in range(count)]
        for array in made:
            array[: len(edges)] = edges
    return [RNG.permutation(array).astype(dtype) for array in made]


def fitted(values: Any, kind: str) -> np.ndarray:
    """As an array of a dtype, integers wrapped around."""
    dtype = np.dtype(bf16 if kind == "bf2" else kind)
    if dtype.kind in "iu":
        mask = (1 << 8 * dtype.itemsize) - 1
        unsigned = np.array([int(value) & mask for value in values], f"u{dtype.itemsize}")
        return unsigned.view(dtype)
    return np.asarray(values).astype(dtype)


def wide(array: np.ndarray) -> Any:
    """Python's integers, which have no end."""
    return array.astype(object)


def clamp(values: Any, low: int, high: int) -> Any:
    return [min(max(int(value), low), high) for value in values]


def rounded_down(exact: np.ndarray) -> np.ndarray:
    """To float32."""
    nearest = exact.astype("f4")
    return np.where(nearest > exact, np.nextafter(nearest, np.float32(-np.inf)), nearest)


def quotient(a: np.ndarray, b: np.ndarray) -> Any:
    pairs = zip(wide(a), wide(b), strict=True)
    return [-1 if y == 0 else abs(x) // abs(y) * (1 if (x < 0) == (y < 0) else -1) for x, y in pairs]


def remainder(a: np.ndarray, b: np.ndarray) -> Any:
    return [x - q * y for x, y, q in zip(wide(a), wide(b), quotient(a, b), strict=True)]


def each(function: Callable[..., int]) -> Callable[..., Any]:
    """A function of Python's integers, for every lane."""
    return lambda *arrays: [function(*values) for values in zip(*map(wide, arrays), strict=True)]


def extract(x: int, at: int, size: int, *, signed: bool) -> int:
    """``size`` bits from bit ``at``; those beyond the end are zeros, or copies of the sign."""
    at, size = at & 255, size & 255
    value = (x if signed else x & 0xFFFFFFFF) >> at & (1 << size) - 1
    return value - (1 << size) if signed and size and value >> (size - 1) else value


def signs_and_bytes(x: int, y: int) -> int:
    return (x >> 7 & 1) * 0xFF | (y & 0xFF) << 8 | (x & 0xFF) << 16 | (x >> 31 & 1) * 0xFF000000


def reversed_quarters(a: np.ndarray) -> np.ndarray:
    return a.view("u2").reshape(-1, 4)[:, ::-1].copy().view("u8")[:, 0]


INTEGERS = [
    # instruction, dtypes of the operands, of the result, the same in Python
    ("add.s32 r, a, b;", "i4 i4", "i4", lambda a, b: wide(a) + wide(b)),
    ("sub.u64 r, a, b;", "u8 u8", "u8", lambda a, b: wide(a) - wide(b)),
    ("add.s16 r, a, b;", "i2 i2", "i2", lambda a, b: wide(a) + wide(b)),
    ("mul.lo.s16 r, a, b;", "i2 i2", "i2", lambda a, b: wide(a) * wide(b)),
    ("mul.lo.s32 r, a, b;", "i4 i4", "i4", lambda a, b: wide(a) * wide(b)),
    ("mul.lo.u64 r, a, b;", "u8 u8", "u8", lambda a, b: wide(a) * wide(b)),
    ("mul.hi.s32 r, a, b;", "i4 i4", "i4", lambda a, b: wide(a) * wide(b) >> 32),
    ("mul.hi.u32 r, a, b;", "u4 u4", "u4", lambda a, b: wide(a) * wide(b) >> 32),
    ("mul.hi.u64 r, a, b;", "u8 u8", "u8", lambda a, b: wide(a) * wide(b) >> 64),
    ("mul.hi.s64 r, a, b;", "i8 i8", "i8", lambda a, b: wide(a) * wide(b) >> 64),
    ("mul.wide.s32 r, a, b;", "i4 i4", "i8", lambda a, b: wide(a) * wide(b)),
    ("mul.wide.u32 r, a, b;", "u4 u4", "u8", lambda a, b: wide(a) * wide(b)),
    ("mul.wide.s16 r, a, b;", "i2 i2", "i4", lambda a, b: wide(a) * wide(b)),
    ("mul.wide.u16 r, a, b;", "u2 u2", "u4", lambda a, b: wide(a) * wide(b)),
    ("mad.lo.s32 r, a, b, c;", "i4 i4 i4", "i4", lambda a, b, c: wide(a) * wide(b) + wide(c)),
    ("mad.hi.u32 r, a, b, c;", "u4 u4 u4", "u4", lambda a, b, c: (wide(a) * wide(b) >> 32) + wide(c)),
    ("mad.hi.s32 r, a, b, c;", "i4 i4 i4", "i4", lambda a, b, c: (wide(a) * wide(b) >> 32) + wide(c)),
    ("mad.wide.s32 r, a, b, c;", "i4 i4 i8", "i8", lambda a, b, c: wide(a) * wide(b) + wide(c)),
    ("mad.wide.u32 r, a, b, c;", "u4 u4 u8", "u8", lambda a, b, c: wide(a) * wide(b) + wide(c)),
    ("div.s32 r, a, b;", "i4 i4", "i4", quotient),
    ("rem.s32 r, a, b;", "i4 i4", "i4", remainder),
    ("div.u32 r, a, b;", "u4 u4", "u4", quotient),
    ("div.u64 r, a, b;", "u8 u8", "u8", quotient),
    ("rem.u64 r, a, b;", "u8 u8", "u8", remainder),
    ("div.s64 r, a, b;", "i8 i8", "i8", quotient),
    ("rem.u16 r, a, b;", "u2 u2", "u2", remainder),
    ("min.s16 r, a, b;", "i2 i2", "i2", np.minimum),
    ("max.u32 r, a, b;", "u4 u4", "u4", np.maximum),
    ("min.s64 r, a, b;", "i8 i8", "i8", np.minimum),
    ("abs.s32 r, a;", "i4", "i4", lambda a: abs(wide(a))),
    ("neg.s16 r, a;", "i2", "i2", lambda a: -wide(a)),
    ("sad.s32 r, a, b, c;", "i4 i4 i4", "i4", lambda a, b, c: abs(wide(a) - wide(b)) + wide(c)),
    ("shl.b32 r, a, b;", "i4 u4", "i4", lambda a, b: [x << min(n, 32) for x, n in zip(wide(a), wide(b), strict=True)]),
    ("shr.s32 r, a, b;", "i4 u4", "i4", lambda a, b: [x >> min(n, 32) for x, n in zip(wide(a), wide(b), strict=True)]),
    ("shr.u32 r, a, b;", "u4 u4", "u4", lambda a, b: [x >> min(n, 32) for x, n in zip(wide(a), wide(b), strict=True)]),
    ("shr.s16 r, a, b;", "i2 u4", "i2", lambda a, b: [x >> min(n, 16) for x, n in zip(wide(a), wide(b), strict=True)]),
    ("shr.b64 r, a, b;", "u8 u4", "u8", lambda a, b: [x >> min(n, 64) for x, n in zip(wide(a), wide(b), strict=True)]),
    ("and.b32 r, a, b;", "u4 u4", "u4", np.bitwise_and),
    ("xor.b16 r, a, b;", "u2 u2", "u2", np.bitwise_xor),
    ("not.b64 r, a;", "u8", "u8", np.bitwise_not),
    ("popc.b32 r, a;", "u4", "u4", each(lambda x: x.bit_count())),
    ("popc.b64 r, a;", "u8", "u4", each(lambda x: x.bit_count())),
    ("clz.b32 r, a;", "u4", "u4", each(lambda x: 32 - x.bit_length())),
    ("clz.b64 r, a;", "u8", "u4", each(lambda x: 64 - x.bit_length())),
    ("bfind.u32 r, a;", "u4", "u4", each(lambda x: x.bit_length() - 1)),
    ("brev.b32 r, a;", "u4", "u4", each(lambda x: int(f'{x:032b}'[::-1], 2))),
    ("bfe.u32 r, a, b, c;", "u4 u4 u4", "u4", each(partial(extract, signed=False))),
    ("bfe.s32 r, a, b, c;", "i4 u4 u4", "i4", each(partial(extract, signed=True))),
    ("bfi.b32 r, a, b, 5, 9;", "u4 u4", "u4", each(lambda x, y: y & ~(511 << 5) | (x & 511) << 5)),
    ("bfi.b64 r, a, b, 25, 19;", "u8 u8", "u8", each(lambda x, y: y & ~(0x7FFFF << 25) | (x & 0x7FFFF) << 25)),
    ("bfi.b64 r, a, b, 32, 32;", "u8 u8", "u8", each(lambda x, y: y & 0xFFFFFFFF | (x & 0xFFFFFFFF) << 32)),
    ("prmt.b32 r, a, b, 0x7610;", "u4 u4", "u4", each(lambda x, y: x & 0xffff | y & 0xffff0000)),
    ("prmt.b32 r, a, b, 0xb048;", "u4 u4", "u4", each(signs_and_bytes)),
    ("shf.l.wrap.b32 r, a, b, c;", "u4 u4 u4", "u4", each(lambda x, y, z: ((y << 32 | x) << (z & 31)) >> 32)),
    ("shf.r.wrap.b32 r, a, b, c;", "u4 u4 u4", "u4", each(lambda x, y, z: (y << 32 | x) >> (z & 31))),
    ("shf.l.clamp.b32 r, a, b, c;", "u4 u4 u4", "u4", each(lambda x, y, z: ((y << 32 | x) << min(z, 32)) >> 32)),
    ("shf.r.clamp.b32 r, a, b, c;", "u4 u4 u4", "u4", each(lambda x, y, z: (y << 32 | x) >> min(z, 32))),
    ("lop3.b32 r, a, b, c, 0xea;", "u4 u4 u4", "u4", each(lambda x, y, z: x & y | z)),
    ("lop3.b32 r, a, b, c, 0x96;", "u4 u4 u4", "u4", each(lambda x, y, z: x ^ y ^ z)),
    ("dp4a.s32.s32 r, a, b, c;", "i4 i4 i4", "i4", lambda a, b, c: (
        (a.view("i1").astype(int) * b.view("i1")).reshape(-1, 4).sum(1) + c)),
    ("dp4a.u32.s32 r, a, b, c;", "u4 i4 i4", "i4", lambda a, b, c: (
        (a.view("u1").astype(int) * b.view("i1")).reshape(-1, 4).sum(1) + c)),
    ("{ .reg .pred p; setp.lt.s32 p, a, b; selp.s32 r, a, b, p; }", "i4 i4", "i4", np.minimum),
    ("{ .reg .pred p; setp.hi.u16 p, a, b; selp.u16 r, a, b, p; }", "u2 u2", "u2", np.maximum),
    ("{ .reg .pred p, q; setp.eq.s32 q, a, 0; setp.ge.and.s64 p, b, 0, q; selp.u32 r, 1, 0, p; }", "i4 i8", "u4",
     lambda a, b: (a == 0) & (b >= 0)),
    ("{ .reg .pred p, q; setp.lt.s32 p|q, a, b; selp.u32 r, 1, 0, q; }", "i4 i4", "u4", lambda a, b: a >= b),
    ("cvt.sat.s8.s32 r, a;", "i4", "i1", lambda a: clamp(a, -128, 127)),
    ("cvt.sat.u8.s32 r, a;", "i4", "u1", lambda a: clamp(a, 0, 255)),
    ("cvt.sat.s16.s64 r, a;", "i8", "i2", lambda a: clamp(a, -32768, 32767)),
    ("cvt.sat.s32.u32 r, a;", "u4", "i4", lambda a: clamp(a, -(2**31), 2**31 - 1)),
    ("cvt.u16.u32 r, a;", "u4", "u2", wide),
    ("cvt.s32.s8 r, a;", "i4", "i4", lambda a: a.astype("i1")),
    ("cvt.s64.s16 r, a;", "i2", "i8", wide),
    ("cvt.u64.u32 r, a;", "u4", "u8", wide),
    ("cvt.s64.s32 r, a;", "i4", "i8", wide),
    ("cvt.s64.s32 r, a;", "i8", "i8", lambda a: a.astype("i4")),
    ("cvt.rn.f32.s16 r, a;", "i8", "f4", lambda a: a.astype("i2")),
    ("mov.b64 r, {a, b};", "u4 u4", "u8", each(lambda x, y: x | y << 32)),
    ("mov.b32 r, {a, b};", "u2 u2", "u4", each(lambda x, y: x | y << 16)),
    ("{ .reg .b16 p, q; mov.b32 {p, q}, a; sub.s16 r, q, p; }", "u4", "u2", each(lambda x: (x >> 16) - x)),
    ("{ .reg .b32 p; mov.b64 {_, p}, a; mov.b32 r, p; }", "u8", "u4", each(lambda x: x >> 32)),
    ("{ .reg .b16 h, i, j, k; mov.b64 {h, i, j, k}, a; mov.b64 r, {k, j, i, h}; }", "u8", "u8", reversed_quarters),
]  # fmt: skip


@pytest.mark.parametrize(("body", "kinds", "result", "function"), INTEGERS, ids=[row[0][:40] for row in INTEGERS])
def test_integers(body: str, kinds: str, result: str, function: Callable[..., Any]) -> None:
    arrays = [operands(kind, 1)[0] for kind in kinds.split()]
    (found,) = run(body, arrays, result)
    np.testing.assert_array_equal(found, fitted(function(*arrays), result))


def ordered(function: Callable[..., Any]) -> Callable[..., Any]:
    """A comparison that is false where an operand is NaN."""
    return lambda a, b: function(a, b) & (a == a) & (b == b)


def compared(name: str, kind: str) -> str:
    return f"{{ .reg .pred p; setp.{name}.{kind} p, a, b; selp.u32 r, 1, 0, p; }}"


def rounded(function: Callable[..., Any], low: int, high: int) -> Callable[..., Any]:
    def convert(a: np.ndarray) -> Any:
        values = [0.0 if x != x else x for x in function(a.astype(float)).tolist()]
        return [low if x < low else high if x > high else int(x) for x in values]

    return convert


S32, U8 = (-(2**31), 2**31 - 1), (0, 255)
COMPARISONS: dict[str, Callable[..., Any]] = {
    "eq": np.equal,
    "ne": ordered(np.not_equal),
    "neu": np.not_equal,
    "lt": np.less,
    "ge": np.greater_equal,
    "ltu": lambda a, b: ~(a >= b),
    "geu": lambda a, b: ~(a < b),
    "equ": lambda a, b: ~ordered(np.not_equal)(a, b),
    "nan": lambda a, b: np.isnan(a) | np.isnan(b),
    "num": lambda a, b: ~(np.isnan(a) | np.isnan(b)),
}
FLOATS = [
    ("add.f32 r, a, b;", "f4 f4", "f4", np.add),
    ("sub.rn.ftz.f32 r, a, b;", "f4 f4", "f4", np.subtract),
    ("mul.f32 r, a, b;", "f4 f4", "f4", np.multiply),
    ("div.rn.f32 r, a, b;", "f4 f4", "f4", np.divide),
    ("fma.rn.f32 r, a, b, c;", "f4 f4 f4", "f4", lambda a, b, c: a.astype(float) * b + c),
    ("fma.rm.f32 r, a, b, c;", "f4 f4 f4", "f4", lambda a, b, c: rounded_down(a.astype(float) * b + c)),
    ("fma.rn.f64 r, a, b, c;", "f8 f8 f8", "f8", lambda a, b, c: a * b + c),
    ("add.f64 r, a, b;", "f8 f8", "f8", np.add),
    ("min.f32 r, a, b;", "f4 f4", "f4", np.fmin),
    ("max.ftz.f32 r, a, b;", "f4 f4", "f4", np.fmax),
    ("min.NaN.f32 r, a, b;", "f4 f4", "f4", np.minimum),
    ("max.NaN.f32 r, a, b;", "f4 f4", "f4", np.maximum),
    ("max.f64 r, a, b;", "f8 f8", "f8", np.fmax),
    ("abs.f32 r, a;", "f4", "f4", np.abs),
    ("neg.f64 r, a;", "f8", "f8", np.negative),
    ("copysign.f32 r, a, b;", "f4 f4", "f4", lambda a, b: np.copysign(b, a)),
    ("sqrt.rn.f32 r, a;", "f4", "f4", np.sqrt),
    ("rcp.rn.f64 r, a;", "f8", "f8", np.reciprocal),
    ("cvt.sat.f32.f32 r, a;", "f4", "f4", lambda a: np.where(a > 0, np.minimum(a, 1), 0)),
    ("cvt.rni.f32.f32 r, a;", "f4", "f4", np.rint),
    ("cvt.rzi.f64.f64 r, a;", "f8", "f8", np.trunc),
    ("cvt.rmi.f32.f32 r, a;", "f4", "f4", np.floor),
    ("cvt.rpi.f32.f32 r, a;", "f4", "f4", np.ceil),
    ("cvt.f64.f32 r, a;", "f4", "f8", lambda a: a),
    ("cvt.rn.f32.f64 r, a;", "f8", "f4", lambda a: a),
    ("cvt.rn.f32.s32 r, a;", "i4", "f4", lambda a: a),
    ("cvt.rn.f32.u64 r, a;", "u8", "f4", lambda a: a),
    ("cvt.rn.f64.s64 r, a;", "i8", "f8", lambda a: a),
    ("cvt.rn.f32.u8 r, a;", "u4", "f4", lambda a: a & 255),
    ("cvt.rn.f16.s16 r, a;", "i2", "f2", lambda a: a),
    ("cvt.rzi.s32.f32 r, a;", "f4", "i4", rounded(np.trunc, *S32)),
    ("cvt.rni.s32.f32 r, a;", "f4", "i4", rounded(np.rint, *S32)),
    ("cvt.rmi.s32.f64 r, a;", "f8", "i4", rounded(np.floor, *S32)),
    ("cvt.rpi.s32.f32 r, a;", "f4", "i4", rounded(np.ceil, *S32)),
    ("cvt.rzi.u32.f32 r, a;", "f4", "u4", rounded(np.trunc, 0, 2**32 - 1)),
    ("cvt.rni.sat.u8.f32 r, a;", "f4", "u1", rounded(np.rint, *U8)),
    ("cvt.rzi.s64.f64 r, a;", "f8", "i8", rounded(np.trunc, -(2**63), 2**63 - 1)),
    ("cvt.rzi.s32.f16 r, a;", "f2", "i4", rounded(np.trunc, *S32)),
    ("cvt.f32.f16 r, a;", "f2", "f4", lambda a: a),
    ("cvt.rn.f16.f32 r, a;", "f4", "f2", lambda a: a),
    ("cvt.rn.f16.f64 r, a;", "f8", "f2", lambda a: a),
    ("cvt.f32.bf16 r, a;", "bf2", "f4", lambda a: a.astype("f4")),
    ("cvt.rn.bf16.f32 r, a;", "f4", "bf2", lambda a: a),
    ("add.f16 r, a, b;", "f2 f2", "f2", np.add),
    ("mul.rn.bf16 r, a, b;", "bf2 bf2", "bf2", np.multiply),
    ("fma.rn.f16 r, a, b, c;", "f2 f2 f2", "f2", lambda a, b, c: a.astype(float) * b + c),
    ("max.f16 r, a, b;", "f2 f2", "f2", np.fmax),
    ("max.NaN.bf16 r, a, b;", "bf2 bf2", "bf2", np.maximum),
    ("neg.f16 r, a;", "f2", "f2", np.negative),
    ("abs.bf16 r, a;", "bf2", "bf2", np.abs),
    ("{ .reg .pred p; setp.lt.f16 p, a, b; selp.u32 r, 1, 0, p; }", "f2 f2", "u4", np.less),
    ("{ .reg .pred p; testp.infinite.f32 p, a; selp.u32 r, 1, 0, p; }", "f4", "u4", np.isinf),
    *[(compared(name, "f32"), "f4 f4", "u4", function) for name, function in COMPARISONS.items()],
]  # fmt: skip


@pytest.mark.parametrize(("body", "kinds", "result", "function"), FLOATS, ids=[row[0][:60] for row in FLOATS])
def test_floats(body: str, kinds: str, result: str, function: Callable[..., Any]) -> None:
    arrays = [operands(kind, 1)[0] for kind in kinds.split()]
    dtype = np.dtype(bf16 if result == "bf2" else result)
    (found,) = run(body, [a.view("u2") if a.dtype == bf16 else a for a in arrays], f"V{dtype.itemsize}")
    found = found.view(dtype)
    with np.errstate(all="ignore"):
        expected = fitted(function(*arrays), result)
    nan = np.isnan(expected) if dtype.kind in "fV" else np.zeros(LANES, bool)
    np.testing.assert_array_equal(np.isnan(found) if nan.any() else nan, nan)
    np.testing.assert_array_equal(found[~nan], expected[~nan])


def test_pairs_of_halves() -> None:
    for kind, name in ((np.float16, "f16x2"), (bf16, "bf16x2")):
        a, b, c = (RNG.integers(-8, 9, 2 * LANES).astype(kind) for _ in range(3))
        words = [x.view("u4") for x in (a, b, c)]
        (found,) = run(f"fma.rn.{name} r, a, b, c;", words, "u4")
        np.testing.assert_array_equal(found.view(kind), a * b + c)
        (found,) = run(f"max.NaN.{name} r, a, b;", words, "u4")
        np.testing.assert_array_equal(found.view(kind), np.maximum(a, b))
        (found,) = run(f"set.gt.u32.{name} r, a, b;", words, "u4")
        np.testing.assert_array_equal(found.view("u2"), np.where(a > b, 0xFFFF, 0))
        (found,) = run(f"set.nan.u32.{name} r, a, b;", [np.where(a > b, kind(np.nan), a).view("u4"), words[1]], "u4")
        np.testing.assert_array_equal(found.view("u2"), np.where(a > b, 0xFFFF, 0))
        low, high = (x.astype("f4") for x in (a[:LANES], b[:LANES]))
        (found,) = run(f"cvt.rn.{name}.f32 r, b, a;", [low, high], "u4")
        np.testing.assert_array_equal(found.view(kind).reshape(-1, 2).T, [a[:LANES], b[:LANES]])


def test_bfloat16_is_rounded_once() -> None:
    """Just above the middle of two bfloat16 numbers, and nearer to it than float32 can say."""
    a = np.full(32, 1 + 2**-8 + 2**-30)
    (found,) = run("cvt.rn.bf16.f64 r, a;", [a], "u2")
    assert (found.view(bf16).astype(float) == 1 + 2**-7).all()


def test_subnormals_are_flushed_where_the_text_says_so() -> None:
    small = np.full(LANES, 1e-39, "f4")
    assert (run("mul.ftz.f32 r, a, 0f40000000;", [small], "f4")[0] == 0).all()
    assert (run("mul.f32 r, a, 0f40000000;", [small], "f4")[0] == 2 * small).all()
    tiny = np.full(LANES, 1e-310)
    assert (run("mul.f64 r, a, 0d4000000000000000;", [tiny], "f8")[0] == 2 * tiny).all()


@pytest.mark.parametrize(
    "body",
    [
        "add.cc.u32 r, a, a;",
        "add.rz.f32 r, a, a;",
        "cvt.rz.f32.f64 r, b;",
        "tcgen05.alloc.cta_group::1.sync.aligned.shared::cta.b32 [b], 32;",
        "mma.sync.aligned.m16n8k16.row.col.f16.f16.f16.f16 {a, a}, {a, a, a, a}, {a, a}, {a, a};",
        "mov.u32 r, %clock;",
        "call.uni (r), sine, (a);",
        "atom.global.add.noftz.f16x2 r, [b], a;",
        "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [a], [b], a, [a];",
    ],
)
def test_what_the_machine_lacks_is_refused(body: str) -> None:
    with pytest.raises(ptx.UnknownInstructionError):
        run(body, [np.zeros(32, "u4"), np.zeros(32, "u8")], "u4")


def test_functions_are_refused() -> None:
    with pytest.raises(ptx.UnknownInstructionError, match="function"):
        ptx.load(HEADER + ".func helper()\n{\nret;\n}\n")
