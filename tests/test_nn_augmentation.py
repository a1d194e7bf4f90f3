"""Augmentation: what it does to images is what SciPy and plain indexing do; a generator decides."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from fastconv import nn
from fastconv.nn.augmentation import sampled

RNG = np.random.default_rng(0)
X = RNG.standard_normal((40, 3, 9, 7)).astype(np.float32)
ALL: dict[str, Any] = {
    "RandomFlip": nn.RandomFlip(),
    "RandomCrop": nn.RandomCrop((8, 5), padding=2),
    "RandomRotation": nn.RandomRotation(30),
    "RandomScale": nn.RandomScale(0.7, 1.5),
    "RandomAffine": nn.RandomAffine(20, (0.8, 1.2), 2),
    "RandomNoise": nn.RandomNoise(0.1),
    "Compose": nn.Compose(nn.RandomFlip(), nn.RandomCrop(6), nn.RandomNoise(0.1)),
}


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "uint8"])
def test_the_generator_decides(name: str, dtype: str) -> None:
    x = (X * 50 + 100).clip(0, 255).astype(dtype)
    before = x.copy()
    one, two, other = ALL[name](x, generator()), ALL[name](x, generator()), ALL[name](x, generator(1))
    assert one.dtype == dtype
    assert one.flags.c_contiguous
    np.testing.assert_array_equal(one, two)
    if name != "RandomNoise" or dtype != "uint8":
        assert (one != other).any()
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("axis", [-1, -2, 2, 3])
def test_flip(axis: int) -> None:
    y = nn.RandomFlip(axis=axis)(X, generator())
    flipped = [np.array_equal(b, np.flip(a, axis - 1 if axis > 0 else axis)) for a, b in zip(X, y, strict=True)]
    same = [np.array_equal(a, b) for a, b in zip(X, y, strict=True)]
    assert all(a != b for a, b in zip(flipped, same, strict=True))
    assert 8 < sum(flipped) < 32
    np.testing.assert_array_equal(nn.RandomFlip(0)(X, generator()), X)
    np.testing.assert_array_equal(nn.RandomFlip(1)(X, generator()), X[..., ::-1])


@pytest.mark.parametrize(("mode", "numpy_mode"), [("zeros", "constant"), ("reflect", "reflect"), ("edge", "edge")])
@pytest.mark.parametrize("shape", [(40, 2, 11), (40, 3, 9, 7), (40, 1, 5, 6, 7)])
def test_crop(mode: str, numpy_mode: Any, shape: tuple[int, ...]) -> None:
    x = RNG.standard_normal(shape)
    y = nn.RandomCrop(5, padding=2, padding_mode=mode)(x, generator())
    assert y.shape == (*shape[:2], *(5,) * (len(shape) - 2))
    places = set()
    for image, crop in zip(x, y, strict=True):
        padded = np.pad(image, ((0, 0), *((2, 2),) * (len(shape) - 2)), mode=numpy_mode)
        views = np.lib.stride_tricks.sliding_window_view(padded, crop.shape)[0]
        found = np.argwhere((views == crop).reshape(*views.shape[: crop.ndim - 1], -1).all(-1))
        assert len(found) >= 1
        places.add(tuple(found[0]))
    assert len(places) > 5
    np.testing.assert_array_equal(nn.RandomCrop(shape[2:])(x, generator()), x)


def test_affine_maps_are_scipy_s() -> None:
    x = RNG.standard_normal((6, 2, 12, 15))
    matrices = RNG.standard_normal((6, 2, 2)) * 0.5 + np.eye(2)
    shifts = RNG.uniform(-3, 3, (6, 2))
    y = sampled(x, matrices, shifts)
    centre = (np.array(x.shape[2:]) - 1) / 2
    for image, result, matrix, shift in zip(x, y, matrices, shifts, strict=True):
        offset = centre - matrix @ (centre + shift)
        for channel, seen in zip(image, result, strict=True):
            padded = np.pad(channel, 1)  # SciPy's own edge is sharp; zeros fade in by interpolation here
            wanted = ndimage.affine_transform(
                padded, matrix, offset=offset - matrix @ np.ones(2) + 1, order=1, output_shape=(14, 17)
            )[1:-1, 1:-1]
            np.testing.assert_allclose(seen, wanted, atol=1e-12)


def test_rotation_and_scale_turn_and_grow() -> None:
    quarter = np.array([[[0.0, 1.0], [-1.0, 0.0]]])
    x = RNG.standard_normal((1, 2, 8, 8))
    np.testing.assert_allclose(sampled(x, quarter, np.zeros((1, 2))), np.rot90(x, 1, (2, 3)), atol=1e-12)
    blob = np.zeros((20, 1, 33, 33), np.float32)
    blob[:, :, 12:21, 12:21] = 1
    larger = nn.RandomScale(2, 2)(blob, generator()).sum((1, 2, 3))
    np.testing.assert_allclose(larger, 4 * 81, rtol=0.02)
    np.testing.assert_allclose(nn.RandomRotation(90)(blob, generator()).sum((1, 2, 3)), 81, rtol=0.03)
    np.testing.assert_array_equal(nn.RandomRotation(0)(X, generator()), X)


def test_noise() -> None:
    x = np.full((50, 3, 20, 20), 3.0, np.float32)
    noise = nn.RandomNoise(0.2)(x, generator()) - x
    assert abs(noise.mean()) < 0.01
    assert noise.std() == pytest.approx(0.2, rel=0.02)
    bright = np.full((5, 1, 9, 9), 254, np.uint8)
    assert nn.RandomNoise(20.0)(bright, generator()).min() > 150, "integers do not wrap around"


def test_what_augmentation_refuses() -> None:
    with pytest.raises(ValueError, match="probability: 2 is not between 0 and 1"):
        nn.RandomFlip(2)
    with pytest.raises(ValueError, match=r"axis: 1 of shape \(40, 3, 9, 7\) is no axis of an image"):
        nn.RandomFlip(axis=1)(X, generator())
    with pytest.raises(ValueError, match="padding_mode: 'wrap' is none of"):
        nn.RandomCrop(3, padding_mode="wrap")
    with pytest.raises(ValueError, match="padding: -1"):
        nn.RandomCrop(3, padding=-1)
    with pytest.raises(ValueError, match=r"size: 9 does not fit images of \(9, 7\) padded by 0"):
        nn.RandomCrop(9)(X, generator())
    with pytest.raises(ValueError, match=r"size: \(3,\) does not fit"):
        nn.RandomCrop((3,))(X, generator())
    with pytest.raises(ValueError, match=r"scale: \(0, 1\)"):
        nn.RandomScale(0, 1)
    with pytest.raises(ValueError, match="degrees, shift: -3"):
        nn.RandomRotation(-3)
    with pytest.raises(ValueError, match=r"x: shape \(40, 3, 9\); images of two axes"):
        nn.RandomRotation(3)(X[..., 0], generator())
    with pytest.raises(ValueError, match=r"x: shape \(9, 7\); \(batch, channels, ...\)"):
        nn.RandomNoise(1)(X[0, 0], generator())
    with pytest.raises(ValueError, match="deviation: -1"):
        nn.RandomNoise(-1)
