"""Seed -> problems such as networks, signals and images bring: what no list has, and what users will ask for."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from fastconv import ConvProblem
from fastconv.suites.layers import PASSES, problem_of_pass

Kind = Callable[[random.Random], str]

MAX_MULTIPLY_ADDS, MIN_MULTIPLY_ADDS = 1.5e9, 2e3
MAX_LONG_MULTIPLY_ADDS = 1e12
"""Of kernels so long that nobody computes the definition."""
MAX_RARE_MULTIPLY_ADDS = 3e8
MAX_ELEMENTS = 2**25
"""Of input and output together."""
USUAL_SIZES = (7, 8, 13, 14, 16, 17, 19, 20, 26, 28, 32, 35, 38, 40, 52, 56, 64, 80, 112, 128, 224, 256)


def realistic(seed: int, count: int) -> list[ConvProblem]:
    """``count`` problems of networks, images and signals, every kind in its turn, passes in theirs."""
    return _problems(seed, count, KINDS, MAX_MULTIPLY_ADDS)


def long_kernels(seed: int, count: int) -> list[ConvProblem]:
    """``count`` problems of kernels that are long or large, with strides, channels or three axes."""
    return _problems(seed, count, LONG_KINDS, MAX_LONG_MULTIPLY_ADDS)


def rare(seed: int, count: int) -> list[ConvProblem]:
    """``count`` problems of shapes that are realistic, seldom met, and unlike the others."""
    return _problems(seed, count, RARE_KINDS, MAX_RARE_MULTIPLY_ADDS)


def _problems(seed: int, count: int, kinds: Sequence[Kind], most: float) -> list[ConvProblem]:
    found: list[ConvProblem] = []
    number = 0
    while len(found) < count:
        rng = random.Random(f"{seed}:{number}")
        kind, pass_name = kinds[number % len(kinds)], PASSES[number // len(kinds) % len(PASSES)]
        number += 1
        text = kind(rng)
        try:
            problem = ConvProblem.parse("forward " + " ".join([text, _dtype(rng), *_layout(rng)]))
        except ValueError:
            continue
        elements = problem.batch * (problem.in_channels * _volume(problem.input_size))
        elements += problem.batch * problem.out_channels * _volume(problem.output_size)
        if elements <= MAX_ELEMENTS and MIN_MULTIPLY_ADDS <= problem.multiply_adds <= most:
            found.append(problem_of_pass(problem, pass_name))
    return found


def _volume(sizes: Sequence[int]) -> int:
    volume = 1
    for size in sizes:
        volume *= size
    return volume


def _dtype(rng: random.Random) -> str:
    return "float64" if rng.random() < 0.12 else "float32"


def _layout(rng: random.Random) -> list[str]:
    return ["channels_last"] if rng.random() < 0.25 else []


def _log(rng: random.Random, least: float, most: float) -> int:
    """A size between two, all magnitudes alike."""
    return round(least * (most / least) ** rng.random())


def _channels(rng: random.Random, least: int = 8, most: int = 1024) -> int:
    """Mostly multiples of 8, as networks have them."""
    size = _log(rng, least, most)
    return size if rng.random() < 0.15 else max(8, -(-size // 8) * 8)


def _size(rng: random.Random, least: int = 5, most: int = 130) -> int:
    usual = [size for size in USUAL_SIZES if least <= size <= most]
    return rng.choice(usual) if usual and rng.random() < 0.6 else _log(rng, least, most)


def _batch(rng: random.Random) -> int:
    return rng.choice((1, 1, 1, 1, 2, 4, 8, 16, 32))


def _sides(rng: random.Random, least: int = 5, most: int = 130) -> str:
    height = _size(rng, least, most)
    width = height if rng.random() < 0.75 else _size(rng, least, most)
    return f"{height}x{width}"


def _square(rng: random.Random) -> str:
    """3x3, the most usual layer."""
    stride = rng.choice((1, 1, 1, 2))
    return f"{_batch(rng)}x{(c := _channels(rng))}x{_sides(rng)} {rng.choice((c, _channels(rng)))}x{c}x3x3 s{stride} p1"


def _pointwise(rng: random.Random) -> str:
    c, stride = _channels(rng, 16, 2048), rng.choice((1, 1, 1, 1, 1, 2))
    return f"{_batch(rng)}x{c}x{_sides(rng)} {_channels(rng, 16, 2048)}x{c}x1x1 s{stride}"


def _odd_kernel(rng: random.Random) -> str:
    """5x5, 7x7, 1x7, 7x1, 1x3, 2x2..."""
    kh, kw = rng.choice(((5, 5), (7, 7), (1, 7), (7, 1), (1, 3), (3, 1), (2, 2), (4, 4), (3, 5), (1, 5)))
    c = _channels(rng, 8, 512)
    stride = rng.choice((1, 1, 1, 2))
    padding = f"p{kh // 2}x{kw // 2}" if kh % 2 and kw % 2 else "p1"
    return f"{_batch(rng)}x{c}x{_sides(rng)} {_channels(rng, 8, 512)}x{c}x{kh}x{kw} s{stride} {padding}"


def _dilated(rng: random.Random) -> str:
    c, d = _channels(rng, 8, 512), rng.choice((2, 2, 4, 6, 12, 18))
    return f"{rng.choice((1, 1, 2))}x{c}x{_sides(rng, 17)} {_channels(rng, 8, 512)}x{c}x3x3 p{d} d{d}"


def _depthwise(rng: random.Random) -> str:
    c, k, stride = _channels(rng, 16, 1536), rng.choice((3, 3, 3, 5, 5, 7, 9, 11)), rng.choice((1, 1, 2))
    d = rng.choice((2, 4)) if stride == 1 and k <= 5 and rng.random() < 0.25 else 1
    return f"{_batch(rng)}x{c}x{_sides(rng, 7, 150)} {c}x1x{k}x{k} s{stride} p{k // 2 * d} d{d} g{c}"


def _large_depthwise(rng: random.Random) -> str:
    c, k = _channels(rng, 16, 256), rng.choice((13, 15, 17, 21, 25, 27, 31))
    return f"{rng.choice((1, 1, 4))}x{c}x{_sides(rng, 14, 128)} {c}x1x{k}x{k} p{k // 2} g{c}"


def _grouped(rng: random.Random) -> str:
    own = rng.choice((2, 4, 4, 8, 16, 32, 40))
    groups, factor = rng.choice((2, 4, 8, 16, 32, 32, 64)), rng.choice((1, 1, 1, 2))
    c, k, stride = own * groups, rng.choice((3, 3, 3, 1, 5)), rng.choice((1, 1, 2))
    return f"{_batch(rng)}x{c}x{_sides(rng)} {c * factor}x{own}x{k}x{k} s{stride} p{k // 2} g{groups}"


def _stem(rng: random.Random) -> str:
    k, stride = rng.choice(((7, 2), (3, 2), (3, 1), (11, 4), (4, 4), (5, 1), (5, 2)))
    c = rng.choice((1, 3, 3, 3, 4))
    return f"{_batch(rng)}x{c}x{_sides(rng, 28, 256)} {_channels(rng, 8, 128)}x{c}x{k}x{k} s{stride} p{k // 2}"


def _patches(rng: random.Random) -> str:
    k, c = rng.choice((2, 2, 4, 8, 14, 16, 32)), rng.choice((3, 3, 3, 64, 96, 192, 384))
    side = k * rng.choice((7, 8, 14, 16, 28))
    return f"{_batch(rng)}x{c}x{side}x{side} {_channels(rng, 32, 1024)}x{c}x{k}x{k} s{k}"


def _head(rng: random.Random) -> str:
    """To few filters: segmentation, detection, images that come out of a network."""
    c, k = _channels(rng, 8, 256), rng.choice((1, 1, 3, 3, 5, 9))
    return f"{rng.choice((1, 1, 4))}x{c}x{_sides(rng, 14, 256)} {rng.choice((1, 2, 3, 3, 4, 6))}x{c}x{k}x{k} p{k // 2}"


def _dense(rng: random.Random) -> str:
    """Fully connected layers as convolutions, squeeze-excite, kernels as large as the input."""
    c, k = _channels(rng, 32, 2048), rng.choice((1, 1, 1, 5, 6, 7))
    filters = _channels(rng, 10, 2048)
    return f"{rng.choice((1, 1, 8, 32, 64))}x{c}x{k}x{k} {filters}x{c}x{k}x{k}"


def _image_filter(rng: random.Random) -> str:
    k = rng.choice((3, 3, 5, 7, 9, 11, 15, 21, 31, 41, 63))
    c = rng.choice((1, 1, 1, 3))
    groups = f" g{c}" if c > 1 else ""
    return f"{rng.choice((1, 1, 4))}x{c}x{_sides(rng, 64, 2048)} {c}x1x{k}x{k} p{k // 2}{groups}"


def _bank(rng: random.Random) -> str:
    """A bank of filters on an image of one channel."""
    k = rng.choice((3, 5, 7, 9, 11, 21, 31))
    return f"{rng.choice((1, 1, 16))}x1x{_sides(rng, 28, 512)} {rng.choice((2, 4, 6, 8, 16, 32))}x1x{k}x{k} p{k // 2}"


def _signal(rng: random.Random) -> str:
    taps = _log(rng, 3, 4097)
    return f"{rng.choice((1, 1, 2, 16))}x1x{_log(rng, max(50, taps), 300000)} {rng.choice((1, 1, 1, 4, 32))}x1x{taps}"


def _sequence(rng: random.Random) -> str:
    """1-D layers: text, speech, WaveNet."""
    k, c = rng.choice((2, 3, 3, 4, 5, 5, 7, 9)), _channels(rng, 16, 512)
    d = rng.choice((1, 1, 2, 8, 64))
    length = _log(rng, max(32, k * d), 20000)
    return f"{_batch(rng)}x{c}x{length} {rng.choice((c, _channels(rng, 16, 512)))}x{c}x{k} p{(k - 1) * d}:0 d{d}"


def _depthwise_sequence(rng: random.Random) -> str:
    k, c = rng.choice((3, 4, 5, 7, 9, 15, 31, 33)), _channels(rng, 16, 1024)
    return f"{rng.choice((1, 1, 4, 8))}x{c}x{_log(rng, 50, 10000)} {c}x1x{k} p{k // 2} g{c}"


def _volumes(rng: random.Random) -> str:
    k, c, stride = rng.choice((3, 3, 3, 1, 2)), rng.choice((1, 3, 16, 32, 32, 64, 128)), rng.choice((1, 1, 1, 2))
    depth, side = rng.choice((4, 8, 16, 32)), rng.choice((7, 14, 16, 24, 28, 32, 56))
    filters = rng.choice((8, 16, 32, 64, 128))
    return f"1x{c}x{depth}x{side}x{side} {filters}x{c}x{k}x{k}x{k} s{stride} p{k // 2}"


KINDS: tuple[Kind, ...] = (
    _square,
    _pointwise,
    _depthwise,
    _odd_kernel,
    _square,
    _grouped,
    _stem,
    _pointwise,
    _signal,
    _depthwise,
    _dilated,
    _sequence,
    _head,
    _image_filter,
    _dense,
    _patches,
    _large_depthwise,
    _bank,
    _depthwise_sequence,
    _volumes,
)
"""Each as often as it comes up, about."""


def _long_sequence(rng: random.Random) -> str:
    """Speech and music: many taps between several channels."""
    taps, c, stride = _log(rng, 33, 1025), rng.choice((1, 4, 16, 32, 64, 128)), rng.choice((1, 1, 2, 2, 4))
    length = _log(rng, 4 * taps, 40000)
    return f"{rng.choice((1, 4))}x{c}x{length} {rng.choice((c, 2 * c, 64))}x{c}x{taps} s{stride}"


def _large_strided(rng: random.Random) -> str:
    k, stride, batch = rng.choice((15, 21, 31, 41, 63)), rng.choice((2, 2, 3, 4)), rng.choice((1, 1, 4))
    return f"{batch}x1x{_sides(rng, 128, 1100)} {rng.choice((1, 1, 4, 16))}x1x{k}x{k} s{stride} p{k // 2}"


def _large_volume(rng: random.Random) -> str:
    k, side, c = rng.choice((5, 7, 9, 11, 15)), rng.choice((24, 32, 48, 64, 80)), rng.choice((1, 1, 2, 8))
    return f"1x{c}x{side}x{side}x{side} {rng.choice((1, 2, 8))}x{c}x{k}x{k}x{k} p{k // 2}"


def _very_long_signal(rng: random.Random) -> str:
    taps = _log(rng, 3000, 150000)
    return f"1x1x{_log(rng, 4 * taps, 3000000)} {rng.choice((1, 1, 2))}x1x{taps} s{rng.choice((1, 1, 1, 2))}"


def _large_between_channels(rng: random.Random) -> str:
    k, c = rng.choice((9, 11, 13, 21, 31)), rng.choice((2, 4, 8, 16, 32))
    return f"{rng.choice((1, 1, 4))}x{c}x{_sides(rng, 32, 256)} {rng.choice((c, 2, 8, 16))}x{c}x{k}x{k} p{k // 2}"


LONG_KINDS: tuple[Kind, ...] = (
    _long_sequence,
    _large_strided,
    _large_volume,
    _very_long_signal,
    _large_between_channels,
)
"""Kernels that transforms are made for."""


def _whole_input(rng: random.Random) -> str:
    """Kernels as large as their input, or nearly."""
    k, c = rng.choice((2, 3, 4, 5, 6, 7, 8)), _channels(rng, 8, 700)
    side = k + rng.choice((0, 0, 0, 1, 2))
    return f"{rng.choice((1, 1, 4, 8, 32, 64))}x{c}x{side}x{side} {_channels(rng, 8, 700)}x{c}x{k}x{k}"


def _few_depthwise(rng: random.Random) -> str:
    """Depthwise on fewer channels than a vector or two has lanes: colours, features of small networks."""
    c, k, stride = rng.choice((2, 3, 3, 4, 6, 10, 12, 20, 24)), rng.choice((3, 3, 5, 7, 9)), rng.choice((1, 1, 2))
    return f"{_batch(rng)}x{c}x{_sides(rng, 7, 200)} {c}x1x{k}x{k} s{stride} p{k // 2} g{c}"


def _thin_pointwise(rng: random.Random) -> str:
    """1x1 to or from few channels, on maps and volumes."""
    few, many = rng.choice((1, 1, 2, 3, 4, 6)), _channels(rng, 8, 512)
    c, filters = rng.choice(((few, many), (many, few)))
    depth = rng.choice(("", "", "", "4x", "16x"))
    kernel = "1x1x1" if depth else "1x1"
    return (
        f"{rng.choice((1, 1, 4, 16))}x{c}x{depth}{_sides(rng, 7, 80)} {filters}x{c}x{kernel} s{rng.choice((1, 1, 2))}"
    )


def _small_map(rng: random.Random) -> str:
    c, k, stride = _channels(rng, 4, 320), rng.choice((2, 3, 3, 3, 4, 5)), rng.choice((1, 1, 2))
    return f"{_batch(rng)}x{c}x{_sides(rng, 3, 11)} {_channels(rng, 4, 320)}x{c}x{k}x{k} s{stride} p{k // 2}"


def _few_in_a_group(rng: random.Random) -> str:
    own, groups, factor = rng.choice((1, 2, 2, 3, 4, 8)), rng.choice((2, 3, 4, 8, 16, 64)), rng.choice((1, 1, 2, 4))
    c, k, stride = own * groups, rng.choice((1, 3, 3, 5)), rng.choice((1, 1, 2))
    return f"{_batch(rng)}x{c}x{_sides(rng, 7, 80)} {c * factor}x{own}x{k}x{k} s{stride} p{k // 2} g{groups}"


def _small_patches(rng: random.Random) -> str:
    k, c = rng.choice((2, 3, 4, 5, 8, 12, 16)), rng.choice((1, 2, 3, 4, 16, 32, 64, 96))
    height, width = (k * rng.choice((3, 4, 7, 8, 14)) for _ in "hw")
    return f"{rng.choice((1, 1, 4))}x{c}x{height}x{width} {_channels(rng, 8, 256)}x{c}x{k}x{k} s{k}"


def _depthwise_line(rng: random.Random) -> str:
    """1-D depthwise of any length and number of channels."""
    c, k, stride = _log(rng, 2, 800), rng.choice((2, 3, 3, 4, 5, 7, 15, 31)), rng.choice((1, 1, 1, 2))
    return f"{rng.choice((1, 1, 4))}x{c}x{_log(rng, 40, 6000)} {c}x1x{k} s{stride} p{k // 2} g{c}"


def _few_channel_volume(rng: random.Random) -> str:
    c, filters, k = rng.choice((1, 2, 3, 4, 16)), rng.choice((1, 2, 4, 8, 16, 32)), rng.choice((1, 2, 3, 3, 5))
    depth, side, stride = rng.choice((4, 8, 16)), rng.choice((7, 12, 16, 24, 40)), rng.choice((1, 1, 2))
    return f"{rng.choice((1, 1, 2))}x{c}x{depth}x{side}x{side} {filters}x{c}x{k}x{k}x{k} s{stride} p{k // 2}"


RARE_KINDS: tuple[Kind, ...] = (
    _whole_input,
    _few_depthwise,
    _thin_pointwise,
    _small_map,
    _few_in_a_group,
    _small_patches,
    _depthwise_line,
    _few_channel_volume,
)
"""What choices went wrong on where only realistic problems had been fitted to."""
