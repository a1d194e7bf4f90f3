"""ONNX's own tests of the operators that fastconv computes: its evaluator runs their models with fastconv in place of
its own implementations; expected values are ONNX's, for the stored models PyTorch's."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx.backend.test.case import node
from onnx.backend.test.loader import DATA_DIR
from onnx.numpy_helper import to_array
from onnx.reference import ReferenceEvaluator

from fastconv.compat import onnx as of_onnx

# One module generates the tests of one operator; generating those of all operators takes longer than running ours.
FUNCTIONS = of_onnx.FUNCTIONS
MODULES = {name: f"{node.__name__}.{name.lower()}" for name in FUNCTIONS if name != "GlobalLpPool"}
MODULES["CausalConvWithState"] = f"{node.__name__}.causal_conv_with_state"

MIN_CASES = {
    **{"Conv": 6, "ConvInteger": 2, "ConvTranspose": 9, "MaxPool": 17, "AveragePool": 16, "Col2Im": 5},
    **{"GlobalAveragePool": 2, "GlobalMaxPool": 2, "GlobalLpPool": 0, "CausalConvWithState": 0},
    **{"DeformConv": 4, "LpPool": 8, "MaxUnpool": 2, "QLinearConv": 1},
}
"""Tests that every release since the one that pyproject.toml asks for generates."""


def generated() -> list[Any]:
    """The tests that ONNX generates for our operators, their operators expanded into others among them."""
    for name in MODULES.values():
        if importlib.util.find_spec(name):
            importlib.import_module(name)
    found = {case.name: case for case in node._NodeTestCases}
    return [found[name] for name in sorted(found) if operators_of(found[name].model)]


def stored() -> list[Path]:
    """Folders with a model that uses our operators, inputs, and what PyTorch computed from them."""
    models = sorted(Path(DATA_DIR).glob("pytorch-*/*/model.onnx"))
    return [model.parent for model in models if operators_of(onnx.load(model))]


def operators_of(model: onnx.ModelProto) -> set[str]:
    """Our operators in a model."""
    return {part.op_type for part in model.graph.node} & set(FUNCTIONS)


def check(
    model: onnx.ModelProto, inputs: Sequence[np.ndarray], expected: Sequence[np.ndarray], rtol: float, atol: float
) -> None:
    """Run the model with fastconv and compare all its outputs."""
    evaluator = ReferenceEvaluator(model, new_ops=of_onnx.OPERATORS)
    ours = {type(part).__name__ for part in evaluator.rt_nodes_ if type(part) in of_onnx.OPERATORS}
    assert ours == operators_of(model), "not computed by fastconv"
    stored = {weight.name for weight in model.graph.initializer}
    given = [name for name in evaluator.input_names if name not in stored]
    results = evaluator.run(None, dict(zip(given, inputs, strict=True)))
    assert len(results) == len(expected)
    for found, wanted in zip(results, expected, strict=True):
        assert found.dtype == wanted.dtype
        assert found.shape == wanted.shape
        np.testing.assert_allclose(found, wanted, rtol=rtol, atol=atol)


GENERATED = generated()
STORED = stored()


@pytest.mark.parametrize("case", GENERATED, ids=lambda case: case.name)
def test_generated(case: Any) -> None:
    for inputs, expected in case.data_sets:
        check(case.model, inputs, expected, case.rtol, case.atol)


@pytest.mark.parametrize("folder", STORED, ids=lambda folder: folder.name)
def test_stored(folder: Path) -> None:
    model = onnx.load(folder / "model.onnx")
    sets = sorted(folder.glob("test_data_set_*"))
    assert sets
    for data in sets:
        check(model, _tensors(data, "input"), _tensors(data, "output"), 1e-3, 1e-6)


def _tensors(data: Path, kind: str) -> list[np.ndarray]:
    count = len(list(data.glob(f"{kind}_*.pb")))
    return [to_array(onnx.load_tensor(data / f"{kind}_{number}.pb")) for number in range(count)]


@pytest.mark.parametrize("operator", FUNCTIONS)
def test_every_operator_is_tested(operator: str) -> None:
    """The lists above are ONNX's; they must not pass for being empty."""
    assert sum(operator in operators_of(case.model) for case in GENERATED) >= MIN_CASES[operator]


def test_the_stored_models_are_there() -> None:
    assert len(STORED) >= 45
