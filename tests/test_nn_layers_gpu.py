"""Layers compute on CuPy's arrays what they compute on NumPy's, and results, gradients and states stay on the GPU."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from array_modules import DEVICE, ArrayModule, array_module
from fastconv import nn
from nn_layer_cases import CASES, OWN, LayerCase, data, made


@pytest.fixture(params=["emulated", DEVICE])
def arrays(request: pytest.FixtureRequest) -> Iterator[ArrayModule]:
    with array_module(request.param) as module:
        yield module


def small(one: LayerCase) -> LayerCase:
    """With one image, for a machine that runs kernels slowly; batch norms need more than one value."""
    return one if len(one.shape) < 4 else one._replace(shape=(1, *one.shape[1:]))


@pytest.mark.parametrize("one", [small(one) for one in (*CASES, *OWN)], ids=str)
def test_layers(arrays: ArrayModule, one: LayerCase) -> None:
    results: list[list[Any]] = []
    x = data(one).astype(np.float32)
    for place in (lambda array: array, arrays.to):
        nn.seed(4)
        layer = made(nn, one)
        if results:
            layer.to(arrays.module)
        y = layer(place(x))
        dx = layer.backward(place(np.random.default_rng(1).standard_normal(y.shape).astype(np.float32)))
        found = [y, dx, *(parameter.grad for parameter in layer.parameters()), *layer.state_dict().values()]
        if results:
            found = [arrays.host(array) for array in found]
        results.append(found)
    here, there = results
    assert len(here) == len(there)
    for expected, result in zip(here, there, strict=True):
        assert result.dtype == expected.dtype
        np.testing.assert_allclose(result, expected, rtol=2e-5, atol=2e-5)


def test_a_network(arrays: ArrayModule) -> None:
    """To the GPU and back; embeddings, branches, dropout of the same numbers."""
    nn.seed(2)
    words = nn.Sequential(nn.Embedding(9, 4, padding_idx=0), nn.Permute((0, 2, 1)))
    branches = nn.Concatenate(nn.Conv1d(4, 3, 2), nn.Sequential(nn.Conv1d(4, 2, 2), nn.ReLU()))
    model = nn.Sequential(words, branches, nn.Dropout(0.3), nn.GlobalMaxPool(), nn.Linear(5, 2))
    x, dy = np.random.default_rng(0).integers(0, 9, (3, 6)), np.ones((3, 2), np.float32)
    nn.seed(3)
    expected = model(x)
    model.backward(dy.copy(), wants_dx=False)
    gradients = [parameter.grad.copy() for parameter in model.parameters()]
    nn.seed(3)
    there = model.to(arrays.module)(arrays.to(x))
    model.backward(arrays.to(dy), wants_dx=False)
    np.testing.assert_allclose(arrays.host(there), expected, rtol=1e-5, atol=1e-6)
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        np.testing.assert_allclose(arrays.host(parameter.grad), gradient, rtol=1e-5, atol=1e-5)
    model.to(np)
    assert all(isinstance(array, np.ndarray) for array in model.state_dict().values())
