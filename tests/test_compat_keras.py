"""``fastconv.compat.keras``: in a process of its own, for Keras keeps the backend that it was first imported with."""

from __future__ import annotations

import importlib.util
import re

import pytest

from subprocesses import output_of, python

pytestmark = pytest.mark.skipif(importlib.util.find_spec("keras") is None, reason="no Keras")

OPERATIONS = """
import sys
import numpy as np
from fastconv.compat import keras as of_keras
of_keras.install()
import keras
from keras import ops
assert "jax" not in sys.modules or {jax}
rng = np.random.default_rng(3)
x, w = (rng.standard_normal(size).astype("float32") for size in ((2, 9, 8, 4), (3, 2, 4, 6)))

def same(a, b, **tolerance):
    np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5, **tolerance)

def definition(x, w, stride=(1, 1)):
    windows = np.lib.stride_tricks.sliding_window_view(x, w.shape[:2], axis=(1, 2))[:, :: stride[0], :: stride[1]]
    return np.einsum("nhwcij,ijck->nhwk", windows, w)

# Convolutions, in both layouts, with and without a batch of results; integers are exact, whoever computes them.
same(ops.conv(x, w, (2, 1)), definition(x, w, (2, 1)))
first = np.moveaxis(x, -1, 1)
same(ops.conv(first, w, data_format="channels_first"), np.moveaxis(definition(x, w), -1, 1))
assert ops.conv(x[:0], w).shape == (0, 7, 7, 6)
whole = ops.conv((9 * x).astype("int32"), (9 * w).astype("int32"))
np.testing.assert_array_equal(whole, definition((9 * x).astype("int32"), (9 * w).astype("int32")))
assert whole.dtype == np.int32
same(ops.conv(x.astype("float16"), w), definition(x.astype("float16").astype("float32"), w))
for sizes in ((2, 3, 8, 4), (2, 12, 8, 4)):
    try:
        ops.conv(np.ones(sizes, "float32"), np.ones((9, 9, 4, 2), "float32"))
    except ValueError as error:
        assert "empty output" in str(error), error
    else:
        raise AssertionError("an empty result")
try:
    ops.conv(x, w[:, :, :3])
except ValueError as error:
    assert "evenly divisible" in str(error), error

# Pooling: what lies around the image is not counted.
same(ops.max_pool(x, 2), x[:, :8].reshape(2, 4, 2, 4, 2, 4).max((2, 4)))
same(ops.average_pool(np.ones((1, 5, 5, 1), "float32"), 3, 2, "same"), 1)
try:
    ops.max_pool(x, 2, padding="full")
except ValueError as error:
    assert "must be 'same' or 'valid'" in str(error), error
real, imaginary = ops.fft((x, 0 * x))
same(real + 1j * imaginary, np.fft.fft(x))
assert real.dtype == np.float32

# Only there while it is asked for.
import importlib
of_numpy = importlib.import_module("keras.src.backend.numpy.nn")
replaced = of_numpy.conv
with of_keras.installed():
    assert of_numpy.conv is replaced
assert of_numpy.conv is replaced
of_keras.uninstall()
assert of_numpy.conv is not replaced
of_keras.uninstall()
same(ops.conv(x, w), definition(x, w))
with of_keras.installed():
    assert of_numpy.conv is replaced
assert of_numpy.conv is not replaced
print("all")
"""

NETWORK = """
import numpy as np
from fastconv.compat import keras as of_keras
of_keras.install()
import keras
layers = keras.layers
network = keras.Sequential([
    keras.Input((16, 16, 3)), layers.Conv2D(8, 3, activation="relu", padding="same"), layers.MaxPooling2D(),
    layers.DepthwiseConv2D(3), layers.SeparableConv2D(5, 3), layers.Conv2DTranspose(4, 3, strides=2),
    layers.GlobalAveragePooling2D(), layers.Dense(2),
])
print(network.predict(np.ones((3, 16, 16, 3), "float32"), verbose=0).shape)
"""

PEER = """
import sys
import pytest
from fastconv.compat import keras as of_keras
of_keras.install()

class Marks:
    def pytest_configure(self, config):
        config.addinivalue_line("markers", "requires_trainable_backend: fits")

    def pytest_collection_modifyitems(self, items):
        for item in items:
            if item.get_closest_marker("requires_trainable_backend"):
                item.add_marker(pytest.mark.skip(reason="Keras' NumPy backend does not fit"))

parts = ("layers.convolutional", "layers.pooling", "ops.nn_test")
options = ["-q", "-c", "/dev/null", "-p", "no:cacheprovider", "-p", "no:xdist", "--pyargs"]
sys.exit(pytest.main([*options, *(f"keras.src.{part}" for part in parts)], plugins=[Marks()]))
"""


def test_operations() -> None:
    jax = importlib.util.find_spec("jax") is not None
    assert output_of(OPERATIONS.replace("{jax}", str(jax)), KERAS_BACKEND="numpy").strip() == "all"


def test_a_network_without_jax() -> None:
    assert output_of(NETWORK, KERAS_BACKEND="numpy").strip() == "(3, 2)"


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="no other backend's library")
def test_another_backend_is_refused() -> None:
    code = (
        "import fastconv.compat.keras\ntry:\n    fastconv.compat.keras.install()\n"
        "except RuntimeError as error:\n    print(error)"
    )
    assert "Keras runs on 'torch'; allowed: 'numpy'" in output_of(code, KERAS_BACKEND="torch")


PASSED = {(True, True): 775, (False, False): 697}
"""Of Keras 3.15's, by whether JAX and PyTorch are there, which some tests compare dtypes with; without, these fail."""


@pytest.mark.full
def test_keras_s_own_tests() -> None:
    """Of convolution, pooling, and functions of networks: as many pass as with JAX, and nothing but imports fails."""
    have = tuple(importlib.util.find_spec(name) is not None for name in ("jax", "torch"))
    result = python("-c", PEER, timeout=300, KERAS_BACKEND="numpy")
    counted = re.search(r"(\d+) passed", result.stdout)
    assert counted, result.stdout + result.stderr
    # Errors of pytest's report: every failing test of these suites is one whose oracle is not installed.
    errors = {line for line in result.stdout.splitlines() if line.startswith("E  ")}
    assert all("No module named 'jax" in line or "No module named 'torch" in line for line in errors), errors
    assert int(counted[1]) >= PASSED.get(have, 697), result.stdout[-2000:]  # type: ignore[arg-type]
