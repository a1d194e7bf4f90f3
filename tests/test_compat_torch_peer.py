"""torch's own samples of its convolutions and pooling (OpInfo), with fastconv in their place.

As many pass as did before: values and gradients like torch's own, errors that are torch's, gradcheck and gradgradcheck.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("expecttest")  # torch's own tests want it
compat = pytest.importorskip("fastconv.compat.torch")

pytestmark = pytest.mark.full

OPERATORS = re.compile(r"nn\.functional\.(conv(_transpose)?\dd|(adaptive_)?(max|avg)_pool\dd)|convolution")
MOST, SAMPLES = 12, 3
"""Of each operator and dtype: for values and gradients, and for what takes many evaluations."""


LOW = (torch.float16, torch.bfloat16, torch.complex32)


def assert_near(found: list[Any], expected: list[Any], tolerance: float, name: str) -> None:
    """Each tensor within ``tolerance`` of its largest element, as convolutions promise it."""
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape, name
        assert one.dtype is other.dtype, name
        if one.numel():
            one, other = (each.to(torch.complex128) for each in (one, other))
            is_finite = other.isfinite()
            assert torch.equal(one.isfinite(), is_finite), name
            one, other = one[is_finite], other[is_finite]
            if one.numel():
                assert float((one - other).abs().max()) <= tolerance * max(1, float(other.abs().max())), name


@pytest.fixture(scope="module")
def operators() -> list[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch.testing._internal.common_methods_invocations import op_db
    return [each for each in op_db if OPERATORS.fullmatch(each.name)]


def tensors(value: Any) -> list[Any]:
    return [value] if torch.is_tensor(value) else list(value)


def value_and_gradients(operator: Any, sample: Any) -> list[Any]:
    inputs = [each for each in (sample.input, *sample.args) if torch.is_tensor(each) and each.requires_grad]
    found = tensors(operator(sample.input, *sample.args, **sample.kwargs))
    differentiable = [each for each in found if each.requires_grad]
    if differentiable and inputs:
        total = sum((each * each.conj()).real.sum() for each in differentiable)
        found += [each for each in torch.autograd.grad(total, inputs, allow_unused=True) if each is not None]
    return [each.detach() for each in found]


def samples(operator: Any, dtype: Any, noncontiguous: bool = False) -> Iterator[Any]:
    needs_gradient = dtype.is_floating_point or dtype.is_complex
    for sample in operator.sample_inputs("cpu", dtype, requires_grad=needs_gradient):
        yield sample.noncontiguous() if noncontiguous else sample


def seeded(run: Callable[[], Any]) -> Any:
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return run()


def test_values_and_gradients_are_torchs(operators: list[Any]) -> None:
    count = 0
    for operator in operators:
        for dtype in sorted(operator.supported_dtypes("cpu"), key=str):
            for noncontiguous in (False, True)[: 2 if dtype is torch.float32 else 1]:

                def run(operator: Any = operator, dtype: Any = dtype, is_strided: bool = noncontiguous) -> list[Any]:
                    return [
                        value_and_gradients(operator, each)
                        for each in islice(samples(operator, dtype, is_strided), MOST)
                    ]

                expected = seeded(run)
                with compat.installed():
                    found = seeded(run)
                for one, other in zip(expected, found, strict=True):
                    count += 1
                    assert_near(other, one, 2e-2 if dtype in LOW else 5e-5, operator.name)
    assert count > 500


def test_errors_are_torchs(operators: list[Any]) -> None:
    def errors() -> list[tuple[str, str]]:
        found = []
        for operator in operators:
            if operator.error_inputs_func is None:
                continue
            for each in operator.error_inputs("cpu"):
                sample = each.sample_input
                with pytest.raises(each.error_type, match=each.error_regex) as raised:
                    operator(sample.input, *sample.args, **sample.kwargs)
                found.append((raised.type.__name__, str(raised.value)))
        return found

    expected = seeded(errors)
    with compat.installed():
        assert seeded(errors) == expected
    assert len(expected) > 50


@pytest.mark.parametrize("check", ["gradcheck", "gradgradcheck"])
def test_numerical_gradients(operators: list[Any], check: str) -> None:
    def passed(around: AbstractContextManager[None]) -> int:
        count = 0
        with around:
            for operator in operators:
                for dtype in (torch.float64, torch.complex128):
                    if not operator.supports_dtype(dtype, "cpu"):
                        continue
                    for sample, _ in zip(
                        seeded(lambda o=operator, d=dtype: samples(o, d)), range(SAMPLES), strict=False
                    ):
                        count += checks(operator, sample, check)
        return count

    expected, found = passed(nullcontext()), passed(compat.installed())
    assert found == expected >= 60


def checks(operator: Any, sample: Any, check: str) -> bool:
    at = [number for number, each in enumerate((sample.input, *sample.args)) if torch.is_tensor(each)]
    arguments = [sample.input, *sample.args]

    def function(*inputs: Any) -> Any:
        full = list(arguments)
        for number, each in zip(at, inputs, strict=True):
            full[number] = each
        return tuple(
            each for each in tensors(operator(*full, **sample.kwargs)) if each.is_floating_point() or each.is_complex()
        )

    inputs = tuple(arguments[number] for number in at)
    return bool(getattr(torch.autograd, check)(function, inputs, fast_mode=True, raise_exception=False))
