"""The programs under examples/ and the README's code run; what the photograph's filters compute is looked at, too."""

from __future__ import annotations

import importlib.util
import re
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from array_modules import DEVICE, array_module

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def photo_filters() -> types.ModuleType:
    pytest.importorskip("skimage", reason='needs pip install ".[examples]"')
    spec = importlib.util.spec_from_file_location("photo_filters", ROOT / "examples" / "photo_filters.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_sheet_of_the_photograph(
    photo_filters: types.ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from PIL import Image

    output = tmp_path / "sheet.png"
    photo_filters.main(["--output", str(output)])
    assert "9 panels from a photograph of 512 x 512 pixels" in capsys.readouterr().out
    pixels = np.asarray(Image.open(output))
    assert pixels.shape[2] == 3
    side, gap, caption = photo_filters.PANEL, photo_filters.GAP, photo_filters.CAPTION
    for number, panel in enumerate(photo_filters.PANELS):
        x = gap + number % photo_filters.COLUMNS * (side + gap)
        y = gap + number // photo_filters.COLUMNS * (side + caption + gap)
        assert pixels[y : y + side, x : x + side].std() > 20, f"{panel.title} is empty"
        assert (pixels[y + side + 2 : y + side + caption, x : x + side] < 100).any(), f"{panel.title} has no caption"


def test_sheet_of_any_file(photo_filters: types.ModuleType, tmp_path: Path) -> None:
    from PIL import Image

    rng = np.random.default_rng(0)
    for mode, channels in (("L", ()), ("RGBA", (4,))):
        path = tmp_path / f"{mode}.png"
        Image.fromarray(rng.integers(0, 256, (70, 101, *channels), dtype=np.uint8)).save(path)
        photo_filters.main([str(path), "--output", str(tmp_path / "sheet.png")])


def test_filters_do_what_they_say(photo_filters: types.ModuleType) -> None:
    photo = photo_filters.load(None)
    assert photo.shape == (512, 512, 3)
    flat = np.full((80, 90, 3), 0.25, np.float32)
    for same in (photo_filters.blur, photo_filters.lens_blur, photo_filters.sharpen):
        np.testing.assert_allclose(same(flat), flat, atol=1e-5)
    assert photo_filters.half_size(photo).shape == (256, 256, 3)
    for kernel in photo_filters.gabor_bank():
        assert abs(kernel.sum()) < 1e-5
    ramp = np.zeros((40, 50, 3), np.float32) + np.linspace(0, 1, 50, dtype=np.float32)[:, None]
    along_x, along_y = photo_filters.sobel_gradient(ramp)
    np.testing.assert_allclose(along_x[5:-5, 5:-5], 1 / 49, rtol=1e-4)
    np.testing.assert_allclose(along_y, 0, atol=1e-6)
    bright = photo_filters.blur(photo).std(), photo_filters.lens_blur(photo).std()
    assert photo.std() > bright[0] > bright[1]


def test_lens_blur_is_that_of_the_definition(photo_filters: types.ModuleType) -> None:
    import fastconv

    photo = photo_filters.load(None)[:96, :80]
    weights = np.repeat(photo_filters.disc(30)[None, None], 3, axis=0)
    wanted = fastconv.depthwise_conv2d(
        photo**2.2, weights, padding="same", padding_mode="reflect", layout="NHWC", algorithm="reference"
    )
    np.testing.assert_allclose(photo_filters.lens_blur(photo) ** 2.2, wanted, atol=2e-6)


# -- on a GPU
@pytest.fixture
def small_filters(photo_filters: types.ModuleType, monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """Kernels that the stand-in for CuPy has time for."""
    disc, bank = photo_filters.disc, photo_filters.gabor_bank
    monkeypatch.setattr(photo_filters, "disc", lambda radius: disc(2))
    monkeypatch.setattr(photo_filters, "gabor_bank", lambda: bank(size=7))
    return photo_filters


@pytest.mark.parametrize("gpu", ["emulated", DEVICE])
def test_filters_compute_the_same_on_cupy_arrays(small_filters: types.ModuleType, gpu: str) -> None:
    photo = np.random.default_rng(0).random((13, 12, 3), np.float32)
    with array_module(gpu) as arrays:
        there = arrays.to(photo)
        for panel in small_filters.PANELS:
            if panel.make is small_filters.gabor_kernels:
                continue
            picture = panel.make(there)
            assert isinstance(picture, arrays.module.ndarray), panel.title
            np.testing.assert_allclose(small_filters.on_host(picture), panel.make(photo), atol=2e-4)


def test_sheet_on_a_gpu(
    small_filters: types.ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from PIL import Image

    monkeypatch.setattr(small_filters, "PANELS", small_filters.PANELS[3:6])
    path, output = tmp_path / "photo.png", tmp_path / "sheet.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 8, 3), dtype=np.uint8)).save(path)
    words = [str(path), "--output", str(output), "--gpu"]
    with array_module("emulated"):
        small_filters.main(words)
    assert "3 panels from a photograph of 8 x 9 pixels" in capsys.readouterr().out
    with array_module("emulated", absent="driver"), pytest.raises(SystemExit, match="--gpu: there is no CUDA device"):
        small_filters.main(words)
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(SystemExit, match="--gpu: CuPy is not installed"):
        small_filters.main(words)


def test_readme_code_runs() -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    assert blocks
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)


# -- networks
def program(name: str, *packages: str) -> types.ModuleType:
    """An example; the test is skipped where a package that it needs is not there."""
    for package in ("matplotlib", *packages):
        pytest.importorskip(package, reason='needs pip install ".[examples]"')
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_photograph_without_noise(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In a short training; the whole one comes to 29.9 dB."""
    program("denoise", "skimage").main(["--output", str(tmp_path / "sheet.png"), "--steps", "40"])
    found = re.search(
        r"PSNR ([\d.]+) dB with noise, [\d.]+ dB by total variation, ([\d.]+) dB by the network",
        capsys.readouterr().out,
    )
    assert found is not None
    assert 19 < float(found[1]) < float(found[2]) - 1.5
    assert (tmp_path / "sheet.png").stat().st_size > 100_000


def test_tissues_of_a_volume(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In a short training."""
    program("volume", "skimage", "nilearn", "nibabel").main(["--output", str(tmp_path / "cuts.png"), "--steps", "20"])
    scores = [float(score) for score in re.findall(r"([\d.]+) by the network", capsys.readouterr().out)]
    assert len(scores) == 2
    assert min(scores) > 0.5
    assert (tmp_path / "cuts.png").stat().st_size > 50_000
