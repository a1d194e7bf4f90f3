"""The public face: exports, signatures shared by families, whole docstrings whose examples run."""

from __future__ import annotations

import ast
import doctest
import inspect
import re
import types
from collections.abc import Callable
from typing import Any

import pytest

import fastconv
from fastconv import _docs
from subprocesses import output_of

FUNCTIONS = {
    name: value
    for name, value in vars(fastconv).items()
    if isinstance(value, types.FunctionType) and not name.startswith("_")
}
GRAD_FUNCTIONS = {f"grad.{name}": getattr(fastconv.grad, name) for name in fastconv.grad.__all__}
PUBLIC = {**FUNCTIONS, **GRAD_FUNCTIONS}

FAMILIES = [
    f"{family}{rank}d{end}"
    for family in ("conv", "conv_transpose", "depthwise_conv", "separable_conv")
    for rank in (1, 2, 3)
    for end in ("", "_backward")
] + [f"conv{rank}d_integer" for rank in (1, 2, 3)]
OTHERS = ["causal_conv1d", "causal_conv1d_backward", "plan", "show_runtime", "explain", "autotune"]
SETTINGS = ["set_num_threads", "get_num_threads", "num_threads", "set_precision", "set_deterministic"]
GRADS = [f"{f}{r}d_{w}" for f in ("conv", "conv_transpose") for r in (1, 2, 3) for w in ("input", "weight")]


def test_everything_is_there() -> None:
    assert set(FAMILIES + OTHERS + SETTINGS) <= FUNCTIONS.keys()
    assert {*GRADS, "conv1d_bias", "conv2d_bias", "conv3d_bias"} == set(fastconv.grad.__all__)


def positional(function: Callable[..., Any]) -> list[str]:
    return [p.name for p in inspect.signature(function).parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]


def keywords(function: Callable[..., Any]) -> set[str]:
    return {p.name for p in inspect.signature(function).parameters.values() if p.kind is p.KEYWORD_ONLY}


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_positional_order_is_that_of_torch(rank: int) -> None:
    """torch.nn.functional.conv*, conv_transpose*, and torch.nn.grad, whose names for arrays are longer."""
    conv = ["x", "w", "bias", "stride", "padding", "dilation", "groups"]
    transposed = ["x", "w", "bias", "stride", "padding", "output_padding", "groups", "dilation"]
    for family, order in (("conv", conv), ("conv_transpose", transposed)):
        name = f"{family}{rank}d"
        assert positional(FUNCTIONS[name]) == order
        assert positional(FUNCTIONS[f"{name}_backward"]) == ["dy", *order]
        assert positional(GRAD_FUNCTIONS[f"grad.{name}_input"]) == ["input_shape", "w", "dy", *order[3:]]
        assert positional(GRAD_FUNCTIONS[f"grad.{name}_weight"]) == ["x", "weight_shape", "dy", *order[3:]]


@pytest.mark.parametrize("name", [name for name in FAMILIES + OTHERS[:2] if name.endswith("_backward")])
def test_backward_takes_the_forward_s_arguments(name: str) -> None:
    forward = FUNCTIONS[name.removesuffix("_backward")]
    assert positional(FUNCTIONS[name]) == ["dy", *positional(forward)]
    more = {"needs", "dstate"} if name.startswith("causal") else {"needs"}
    assert keywords(FUNCTIONS[name]) == keywords(forward) | more


@pytest.mark.parametrize("name", FAMILIES)
def test_ranks_share_their_signature(name: str) -> None:
    other = re.sub(r"\dd", "2d", name)
    assert inspect.signature(FUNCTIONS[name]) == inspect.signature(FUNCTIONS[other])


@pytest.mark.parametrize("name", PUBLIC)
def test_docstrings_are_whole(name: str) -> None:
    """A summary, and the sections that the signature asks for; every shared paragraph has been put in."""
    function = PUBLIC[name]
    text = inspect.getdoc(function) or ""
    assert text.partition("\n")[0].strip(), "no summary"
    left = re.search(r"^\{(\w+)\}$", text, re.MULTILINE)
    assert left is None, f"{left} is not a shared paragraph"
    assert len(max(text.splitlines(), key=len)) <= 120
    if "Parameters\n---" in text:
        assert documented_parameters(text) == set(inspect.signature(function).parameters)


def documented_parameters(text: str) -> set[str]:
    """Names before the colons of a numpydoc Parameters section."""
    match = re.search(r"^Parameters\n-+\n(.*?)(?=^\w+[^\n]*\n-+\n|\Z)", text, re.MULTILINE | re.DOTALL)
    if match is None:
        return set()
    heads = [line for line in match[1].splitlines() if line and not line.startswith(" ")]
    return {name.strip(" *") for head in heads for name in head.partition(":")[0].split(",")}


@pytest.mark.parametrize("name", FAMILIES + OTHERS[:2] + ["plan"])
def test_every_parameter_is_documented(name: str) -> None:
    text = inspect.getdoc(FUNCTIONS[name]) or ""
    assert documented_parameters(text) == set(inspect.signature(FUNCTIONS[name]).parameters)
    for section in ("Parameters", "Returns", "Raises", "Examples"):
        assert f"{section}\n{'-' * len(section)}\n" in text


@pytest.mark.parametrize("name", [name for name in PUBLIC if re.search(r"\dd", name)])
def test_docstrings_name_the_axes_of_their_rank(name: str) -> None:
    """Those of 1-D and 3-D functions are made from the 2-D ones: shapes, layouts and the functions referred to."""
    rank = int(re.findall(r"(\d)d", name)[0])
    text = inspect.getdoc(PUBLIC[name]) or ""
    shapes = re.findall(r"((?:[ok]?[A-Z], )*)[ok]?W\)", text)
    assert all(len(re.findall("[DH], ", shape)) == rank - 1 for shape in shapes), shapes
    layouts = set(re.findall(r'"([NOIDHWC]{3,5})"', text))
    assert {len(layout) for layout in layouts} <= {rank + 2}, layouts
    assert set(re.findall(r"(\d)(?:d\b|d_|-D)", text.replace("for 1-D", ""))) <= {str(rank)}


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("conv1d", "w : array, (K, C / groups, kW)"),
        ("conv3d", "w : array, (K, C / groups, kD, kH, kW)"),
        ("conv3d", "array, (N, K, oD, oH, oW) or (K, oD, oH, oW)"),
        ("separable_conv1d", "w_pointwise : array, (K, C * m, 1)"),
        ("separable_conv3d", "w_pointwise : array, (K, C * m, 1, 1, 1)"),
    ],
)
def test_shapes_in_docstrings(name: str, line: str) -> None:
    assert line in (inspect.getdoc(FUNCTIONS[name]) or "").splitlines()


def test_shared_paragraphs_are_all_used() -> None:
    sources = [inspect.getsource(inspect.getmodule(function)) for function in PUBLIC.values()]
    used = set(re.findall(r"^ *\{(\w+)\}$", "\n".join({*sources, inspect.getsource(_docs)}), re.MULTILINE))
    assert used == set(_docs.PARAGRAPHS)


@pytest.mark.parametrize("name", [name for name, function in PUBLIC.items() if ">>>" in (function.__doc__ or "")])
def test_examples_run(name: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = doctest.DocTestFinder(recurse=False).find(PUBLIC[name], name, globs={})
    runner = doctest.DocTestRunner(verbose=False)
    report: list[str] = []
    for example in found:
        runner.run(example, out=report.append)
    assert runner.tries > 0
    assert runner.failures == 0, "".join(report)


@pytest.mark.parametrize("name", PUBLIC)
def test_numpydoc_sections(name: str) -> None:
    """Parameters where there are any, Returns where something is returned, and an example."""
    function = PUBLIC[name]
    text = inspect.getdoc(function) or ""
    if inspect.signature(function).parameters:
        assert "Parameters\n-" in text
    is_context = inspect.isgeneratorfunction(inspect.unwrap(function))
    if inspect.signature(function).return_annotation not in ("None", None) and not is_context:
        assert "Returns\n-" in text
    assert ">>>" in text


def test_show_runtime(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from fastconv._cpu import backend

    monkeypatch.setenv("FASTCONV_NUM_THREADS", "7")
    fastconv.show_runtime()
    facts = dict(re.split(r"\s{2,}", line, maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert facts["fastconv"] == fastconv.__version__
    assert facts["isa"].startswith(f"{backend.ISA} (built: ")
    assert facts["threads"] == str(fastconv.get_num_threads())
    assert facts["precision"] == fastconv.get_precision()
    assert "FASTCONV_NUM_THREADS=7" in facts["environment"]
    assert {"numpy", "scipy", "python", "caches", "openmp", "algorithms", "workspace limit"} <= facts.keys()


def test_environment_variables_are_in_force() -> None:
    code = "import fastconv; print(fastconv.get_num_threads(), fastconv.get_precision())"
    assert output_of(code, FASTCONV_NUM_THREADS="3", FASTCONV_PRECISION="ieee").split() == ["3", "ieee"]
    assert output_of(code, FASTCONV_NUM_THREADS="", OMP_NUM_THREADS="5", FASTCONV_PRECISION="").split() == ["5", "high"]


def test_import_is_light() -> None:
    """Neither scipy nor cupy, nor the tuner, is imported before it is needed."""
    code = "import sys, fastconv; print(sorted({name.partition('.')[0] for name in sys.modules}))"
    assert not {"scipy", "cupy", "torch", "onnx", "ml_dtypes"} & set(ast.literal_eval(output_of(code)))
