"""fastconv.tiled: the same result as on the whole image, for any cut; images larger than memory; Dask."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import fastconv
from array_modules import array_module
from fastconv import nn
from subprocesses import output_of

RNG = np.random.default_rng(0)
KERNEL = RNG.integers(-3, 4, (2, 1, 3, 3)).astype(float)
"""Small whole numbers: sums are exact, whatever the order."""


def two_levels(x: Any) -> Any:
    """A small U-Net's arithmetic: halved, convolved, doubled, added to what was there."""
    w = np.asarray(KERNEL[:1], like=x)
    below = fastconv.conv2d(fastconv.max_pool2d(x, 2), w, padding=1)
    return fastconv.conv2d(below.repeat(2, axis=2).repeat(2, axis=3) + x, w, padding=1)


class Case(NamedTuple):
    name: str
    function: Callable[[Any], Any]
    halo: Any
    scale: Any = 1
    align: int | None = None


CASES = [
    Case("same", lambda x: fastconv.conv2d(x, np.asarray(KERNEL, like=x), padding=1), 1),
    Case("dilated", lambda x: fastconv.conv2d(x, np.asarray(KERNEL, like=x), padding=2, dilation=2), (2, 2)),
    Case("mirrored", lambda x: fastconv.conv2d(x, np.asarray(KERNEL, like=x), padding=1, padding_mode="reflect"), 1),
    Case("valid", lambda x: fastconv.conv2d(x, np.asarray(KERNEL, like=x)), [(0, 2), (0, 2)]),
    Case("strided", lambda x: fastconv.conv2d(x, np.asarray(KERNEL, like=x), stride=2, padding=1), 1, Fraction(1, 2)),
    Case("third", lambda x: fastconv.conv2d(x, np.asarray(KERNEL, like=x), stride=3), 0, 1 / 3),
    Case("pooled", lambda x: fastconv.max_pool2d(x, 2), 0, 0.5),
    Case(
        "doubled",
        lambda x: fastconv.conv_transpose2d(x, np.asarray(KERNEL.transpose(1, 0, 2, 3), like=x), stride=2, padding=1),
        1,
        2,
    ),
]
EVEN = Case("two levels", two_levels, 4, 1, 2)
"""Of images of even sizes."""
by_name = pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])


def image_of(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 9, shape).astype(float)


@by_name
def test_tiles_give_what_the_whole_gives(case: Case) -> None:
    multiple = Fraction(case.scale).limit_denominator(9).denominator
    for size, tile, batch in itertools.product([(37, 50), (9, 7), (64, 66)], [1, 2, 5, 16, 99, (8, 13)], [1, 3]):
        x = image_of(2, 1, *size)
        tiles = tuple(-(-each // multiple) * multiple for each in np.broadcast_to(tile, 2).tolist())
        y = fastconv.tiled(case.function, x, tiles, case.halo, scale=case.scale, align=case.align, batch=batch)
        np.testing.assert_array_equal(y, case.function(x))


def test_a_network_of_two_levels_is_aligned() -> None:
    x = image_of(1, 1, 62, 44)
    for tile in (2, 6, 20, (100, 4)):
        np.testing.assert_array_equal(fastconv.tiled(two_levels, x, tile, 4, align=2), two_levels(x))
    # Planted: windows that start at odd places are halved otherwise.
    x = image_of(1, 1, 48, 42)
    assert (fastconv.tiled(two_levels, x, 6, 5) != two_levels(x)).any()


def test_a_halo_that_is_too_small_is_seen_in_the_result() -> None:
    x, case = image_of(1, 1, 40, 40), CASES[1]
    assert (fastconv.tiled(case.function, x, 10, 1) != case.function(x)).any()


def test_signals_and_volumes() -> None:
    x, w = image_of(2, 3, 101), image_of(4, 3, 5)
    np.testing.assert_array_equal(
        fastconv.tiled(lambda x: fastconv.conv1d(x, w, padding=[(4, 0)]), x, 7, [(4, 0)]),
        fastconv.conv1d(x, w, padding=[(4, 0)]),
    )
    x, w = image_of(1, 2, 9, 14, 17), image_of(3, 2, 3, 3, 3)
    for tile in (4, (3, 5, 17), (9, 1, 6)):
        y = fastconv.tiled(lambda x: fastconv.conv3d(x, w, padding=1), x, tile, 1, batch=4)
        np.testing.assert_array_equal(y, fastconv.conv3d(x, w, padding=1))


def test_random_chains() -> None:
    """Strided, pooled, dilated and padded layers, their halo by arithmetic, cut at random."""
    choose = random.Random(1)
    for _ in range(60):
        layers, halo, step = [], 0, 1
        for _ in range(choose.randint(1, 3)):
            size, stride, dilation = choose.choice([1, 2, 3, 5]), choose.choice([1, 1, 2, 3]), choose.choice([1, 2])
            reach = (size - 1) * dilation
            layers.append((image_of(1, 1, size, seed=size), stride, choose.randint(0, reach // 2), dilation))
            halo, step = halo + reach * step, step * stride

        def chain(x: Any, layers: Any = layers) -> Any:
            for w, stride, padding, dilation in layers:
                x = fastconv.conv1d(x, w, stride=stride, padding=padding, dilation=dilation)
            return x

        x = image_of(choose.randint(1, 2), 1, choose.randint(60, 140))
        tile = step * choose.randint(1, 12)
        y = fastconv.tiled(chain, x, tile, halo, scale=Fraction(1, step), batch=choose.randint(1, 3))
        np.testing.assert_array_equal(y, chain(x))


def test_most_windows_have_one_shape() -> None:
    """Those of a compiled network have to."""
    shapes = []

    def model(x: np.ndarray) -> np.ndarray:
        shapes.append(x.shape)
        return x

    fastconv.tiled(model, np.zeros((3, 2, 50, 64)), (10, 16), (2, 3), batch=2)
    assert {shape[1:] for shape in shapes} == {(2, 14, 22)}
    assert sum(shape[0] for shape in shapes) == 3 * 5 * 4
    assert max(shape[0] for shape in shapes) == 2


def test_memory_maps_in_and_out(tmp_path: Path) -> None:
    x = np.memmap(tmp_path / "in", np.float32, "w+", shape=(1, 1, 70, 90))
    x[...] = image_of(*x.shape)
    out = np.memmap(tmp_path / "out", np.float32, "w+", shape=(1, 2, 70, 90))
    kernel = KERNEL.astype(np.float32)
    kinds = set()

    def model(x: np.ndarray) -> np.ndarray:
        kinds.add(type(x))
        return fastconv.conv2d(x, kernel, padding=1)

    assert fastconv.tiled(model, x, 32, 1, out=out) is out
    out.flush()
    there = np.fromfile(tmp_path / "out", np.float32).reshape(out.shape)
    np.testing.assert_array_equal(there, fastconv.conv2d(np.asarray(x), kernel, padding=1))
    assert kinds == {np.ndarray}
    assert type(fastconv.tiled(model, x, 32, 1)) is np.ndarray


LARGER_THAN_MEMORY = """
import resource
import numpy as np
import fastconv
from fastconv import nn
fastconv.set_num_threads(1)
side, folder = 9000, FOLDER
image = np.memmap(folder + "/in", np.float32, "r", shape=(1, 1, side, side))
out = np.memmap(folder + "/out", np.float32, "w+", shape=(1, 1, side, side))
kernel = np.ones((1, 1, 5, 5), np.float32)
blur = lambda x: fastconv.conv2d(x, kernel, padding=2)
blur(np.zeros((1, 1, 64, 64), np.float32))
used = int(next(line for line in open("/proc/self/status") if line.startswith("VmData")).split()[1]) * 1024
limit = used + 150 * 2**20
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
assert image.nbytes > 300e6 > 150 * 2**20
try:
    whole = blur(image)
except MemoryError:
    print("the whole does not fit")
fastconv.tiled(blur, image, 1024, 2, out=out)
out.flush()
rows = [0, 1, 1023, 1024, 5000, side - 1]
for row in rows:
    top, bottom = max(row - 2, 0), min(row + 3, side)
    band = np.zeros((1, 1, 5, side), np.float32)
    band[..., top - row + 2 : bottom - row + 2, :] = image[..., top:bottom, :]
    wanted = fastconv.conv2d(band, kernel, padding=[(0, 0), (2, 2)])
    assert np.array_equal(out[0, 0, row], wanted[0, 0, 0]), row
print("tiled")
"""


def test_an_image_larger_than_the_memory_limit(tmp_path: Path) -> None:
    """Data may take 150 MB more than the libraries; the image alone has 324, and so has the result."""
    rng = np.random.default_rng(0)
    with open(tmp_path / "in", "wb") as file:
        for _ in range(9):
            file.write(rng.integers(0, 9, (1000, 9000)).astype(np.float32).tobytes())
    code = LARGER_THAN_MEMORY.replace("FOLDER", repr(str(tmp_path)))
    assert output_of(code, timeout=120).split("\n")[:2] == ["the whole does not fit", "tiled"]


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"model": 3}, TypeError, "model: got 3"),
        ({"image": [1, 2]}, TypeError, "image: got list"),
        ({"image": np.zeros((4, 4))}, ValueError, r"image: got shape \(4, 4\)"),
        ({"image": np.zeros((1, 1, 0, 4))}, ValueError, "none of them 0"),
        ({"tile": 0}, ValueError, "tile: got 0"),
        ({"tile": 2.5}, TypeError, "tile: got 2.5"),
        ({"tile": (4, 4, 4)}, ValueError, r"tile: got \(4, 4, 4\); allowed: one value, or 2"),
        ({"halo": -1}, ValueError, "halo: got -1"),
        ({"halo": [(1, 1, 1), (1, 1)]}, ValueError, "halo: got"),
        ({"halo": "a"}, TypeError, "halo: got 'a'"),
        ({"scale": 0}, ValueError, "scale: got 0"),
        ({"scale": "x"}, TypeError, "scale: got 'x'"),
        ({"scale": float("nan")}, TypeError, "scale: got nan"),
        ({"align": 0}, ValueError, "align: got 0"),
        ({"align": 3, "scale": 0.5}, ValueError, "align: got 3; allowed: multiples of 2"),
        ({"align": 4, "tile": 6}, ValueError, "tile: got 6; allowed: multiples of 4"),
        ({"batch": 0}, ValueError, "batch: got 0"),
        ({"batch": 1.0}, ValueError, "batch: got 1.0"),
        ({"out": np.zeros((1, 1, 20, 19))}, ValueError, r"out: got shape \(1, 1, 20, 19\).*\(1, 1, 20, 20\)"),
        ({"out": [1]}, ValueError, "out: got shape None"),
        ({"model": lambda x: 1}, ValueError, "model: returned int"),
        ({"model": lambda x: x[0]}, ValueError, "model: returned shape"),
        ({"model": lambda x: x[..., ::2, :]}, ValueError, "scale: got 1 for axis 2.* allowed: about 1/2"),
        ({"model": lambda x: x.repeat(2, axis=3)}, ValueError, "scale: got 1 for axis 3.* allowed: about 2"),
        ({"model": lambda x: x[..., 2:-2, :]}, ValueError, "axis 2"),
    ],
)
def test_what_does_not_fit_is_refused(change: dict[str, Any], error: type[Exception], words: str) -> None:
    arguments = {"model": lambda x: x, "image": np.zeros((1, 1, 20, 20)), "tile": 8, "halo": 1, **change}
    with pytest.raises(error, match=words):
        fastconv.tiled(**arguments)


def test_results_that_overlap_the_image_are_refused() -> None:
    x = np.zeros((1, 1, 20, 20))
    with pytest.raises(ValueError, match="out: got an array that overlaps image"):
        fastconv.tiled(lambda x: x, x, 8, 1, out=x)


def test_channels_that_change_are_refused() -> None:
    calls = itertools.count(1)
    with pytest.raises(ValueError, match="channels for one window"):
        fastconv.tiled(lambda x: x.repeat(next(calls), axis=1), np.zeros((1, 1, 20, 20)), 8, 1)


def test_networks_are_in_evaluation_mode() -> None:
    class Network:
        training = True

        def __call__(self, x: Any) -> Any:
            return x

    with pytest.raises(ValueError, match=r"model\.eval\(\)"):
        fastconv.tiled(Network(), np.zeros((1, 1, 20, 20)), 8, 1)


def test_on_the_stand_in_for_cupy() -> None:
    x = image_of(1, 1, 11, 9)
    with array_module("emulated") as arrays:
        y = fastconv.tiled(lambda x: x * 2, arrays.to(x), 6, 1, batch=2)
        np.testing.assert_array_equal(arrays.host(y), x * 2)


# -- Dask
@pytest.mark.parametrize("case", [*CASES, EVEN], ids=lambda case: case.name)
def test_dask(case: Case) -> None:
    dask_array = pytest.importorskip("dask.array")
    x = image_of(2, 1, 38, 54)
    multiple = case.align or Fraction(case.scale).limit_denominator(9).denominator
    calls = []

    def function(x: Any) -> Any:
        calls.append(x.shape)
        return case.function(x)

    wanted = case.function(x)
    for tile in (6, 16, 100, (8, 14)):
        tiles = tuple(-(-each // multiple) * multiple for each in np.broadcast_to(tile, 2).tolist())
        calls.clear()
        image = dask_array.from_array(x, chunks=(1, 1, 10, 11))
        y = fastconv.tiled(function, image, tiles, case.halo, scale=case.scale, align=case.align)
        assert len(calls) == 1, "more than the window of zeros is computed"
        assert (y.shape, y.dtype) == (wanted.shape, wanted.dtype)
        np.testing.assert_array_equal(y.compute(scheduler="threads", num_workers=3), wanted)
        assert y.blocks[0, 0, 0, 0].compute().shape == tuple(chunks[0] for chunks in y.chunks)


def test_dask_computes_nothing_of_the_image_before() -> None:
    dask_array = pytest.importorskip("dask.array")

    def load(block: Any) -> Any:
        raise AssertionError("computed")

    image = dask_array.zeros((1, 1, 40, 40), chunks=20).map_blocks(load, dtype=float, meta=np.empty((0,) * 4))
    y = fastconv.tiled(CASES[0].function, image, 8, 1)
    assert y.shape == (1, 2, 40, 40)
    with pytest.raises(AssertionError, match="computed"):
        y.compute(scheduler="synchronous")


def blur(x: np.ndarray) -> np.ndarray:
    """At the top of the module, where other processes find it."""
    return fastconv.conv2d(x, KERNEL[:1], padding=1)


DASK_WORKERS = """
import numpy as np, dask.array, fastconv
from test_tiling import blur
if __name__ == "__main__":
    x = np.random.default_rng(0).integers(0, 9, (1, 1, 80, 90)).astype(float)
    image = dask.array.from_array(x, chunks=(1, 1, 33, 90))
    y = fastconv.tiled(blur, image, 32, 1).compute(scheduler="processes", num_workers=2)
    assert np.array_equal(y, blur(x))
    print("same")
"""


def test_dask_in_several_processes(tmp_path: Path) -> None:
    pytest.importorskip("dask.array")
    script = tmp_path / "workers.py"
    script.write_text(DASK_WORKERS)
    assert output_of(f"import runpy; runpy.run_path({str(script)!r}, run_name='__main__')").split() == ["same"]


DASK_LARGER_THAN_MEMORY = """
import resource
import numpy as np, dask.array, fastconv
fastconv.set_num_threads(1)
side, folder = 9000, FOLDER
image = np.memmap(folder + "/in", np.float32, "r", shape=(1, 1, side, side))
out = np.memmap(folder + "/out", np.float32, "w+", shape=(1, 1, side, side))
kernel = np.ones((1, 1, 5, 5), np.float32)
model = lambda x: fastconv.conv2d(x, kernel, padding=2)
y = fastconv.tiled(model, dask.array.from_array(image, chunks=(1, 1, 1000, 1000)), 1000, 2)
model(np.zeros((1, 1, 64, 64), np.float32))
used = int(next(line for line in open("/proc/self/status") if line.startswith("VmData")).split()[1]) * 1024
limit = used + 250 * 2**20
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
dask.array.store(y, out, scheduler="threads", num_workers=2, lock=False)
out.flush()
rows = slice(990, 1010)
band = np.ascontiguousarray(image[..., 988:1012, :])
assert np.array_equal(out[..., rows, :], model(band)[..., 2:-2, :])
print("stored")
"""


def test_dask_of_an_image_larger_than_the_memory_limit(tmp_path: Path) -> None:
    """With two workers, in 250 MB; the image alone has 324, and so has the result."""
    pytest.importorskip("dask.array")
    rng = np.random.default_rng(0)
    with open(tmp_path / "in", "wb") as file:
        for _ in range(9):
            file.write(rng.integers(0, 9, (1000, 9000)).astype(np.float32).tobytes())
    code = DASK_LARGER_THAN_MEMORY.replace("FOLDER", repr(str(tmp_path)))
    assert output_of(code, timeout=120).split() == ["stored"]


def test_dask_refuses_what_is_not_for_it() -> None:
    dask_array = pytest.importorskip("dask.array")
    image = dask_array.zeros((1, 1, 40, 40))
    for arguments in ({"batch": 2}, {"out": np.zeros((1, 1, 40, 40))}):
        with pytest.raises(ValueError, match="not for an image of Dask"):
            fastconv.tiled(lambda x: x, image, 8, 1, **arguments)
    with pytest.raises(ValueError, match="tile: got 4 for axis 2; allowed for Dask: 5"):
        fastconv.tiled(lambda x: x, image, 4, 5)


# -- Networks
NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "chain": lambda: nn.Sequential(
        nn.Conv2d(1, 4, 5, padding=(2, 1)),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 4, 3, dilation=2),
    ),
    "strided": lambda: nn.Sequential(
        nn.Conv2d(1, 4, 7, 2, 3), nn.MaxPool2d(3, 2, 1), nn.Conv2d(4, 4, 3, padding="same"), nn.SiLU()
    ),
    "up": lambda: nn.Sequential(
        nn.ConvTranspose2d(1, 3, 4, 2, 1), nn.Upsample(scale_factor=2), nn.Conv2d(3, 2, 3, padding=1)
    ),
    "bilinear": lambda: nn.Sequential(
        nn.AvgPool2d(2),
        nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False),
        nn.Conv2d(1, 2, 3, padding=1),
    ),
    "residual": lambda: nn.Residual(
        nn.Sequential(nn.Conv2d(1, 4, 3, 2, 1), nn.ReLU(), nn.Conv2d(4, 2, 5, padding=2)), nn.Conv2d(1, 2, 1, 2)
    ),
    "branches": lambda: nn.Concatenate(nn.Identity(), nn.Conv2d(1, 2, 9, padding=4)),
    "unet": lambda: nn.networks.unet(width=4, depth=2, batch_norm=True),
    "valid unet": lambda: nn.networks.unet(width=4, depth=2, padding="valid"),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_receptive_fields_are_enough_and_no_less(name: str) -> None:
    model = NETWORKS[name]().astype(np.float64).eval()
    x = np.random.default_rng(0).random((1, 1, 152, 184))
    whole, field = model(x), nn.receptive_field(model)
    y = fastconv.tiled(model, x, 32, **field._asdict())
    np.testing.assert_allclose(y, whole, rtol=1e-10, atol=1e-12)
    # The result depends on nothing that lies further away.
    changed = x.copy()
    changed[0, 0, 76, 92] += 5
    # Other elements of a block may be rounded otherwise.
    places = np.argwhere((np.abs(model(changed) - whole) > 1e-11)[0].any(axis=0))
    for axis, (centre, (before, after)) in enumerate(zip((76, 92), field.halo, strict=True)):
        positions = places[:, axis] / float(field.scale[axis])
        assert positions.min() >= centre - after - 1
        assert positions.max() <= centre + before + 1


def test_networks_that_look_at_everything_are_refused() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.SqueezeExcite(2, 1))
    with pytest.raises(ValueError, match="tiles are not possible"):
        nn.receptive_field(model)
    with pytest.raises(ValueError, match="dimensions: got 0"):
        nn.receptive_field(model, 0)
    assert nn.receptive_field(nn.Conv3d(1, 1, (1, 3, 5), padding=(0, 1, 2)), 3).halo == ((0, 0), (1, 1), (2, 2))
