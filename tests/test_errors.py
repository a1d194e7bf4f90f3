"""Bad input: refused with a ValueError or TypeError that names the argument, before anything is computed.

Every function is called with one argument wrong at a time. While it is refused, a call of the backend fails the test,
``out`` must keep its contents and the other arrays theirs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastconv
from fastconv._cpu import backend
from odd_calls import block_targets, plan_call_targets, pool_targets
from subprocesses import HERE, output_of, python
from wrong_calls import TARGETS, Target, ones, wrong_calls


@pytest.fixture
def nothing_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The backend must not be reached."""

    def reached(*_: Any, **__: Any) -> None:
        raise AssertionError("something was computed")

    for name in ("execute", "channel_sums", "activation_gradient"):
        monkeypatch.setattr(backend, name, reached)


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_right_calls_are_accepted(target: Target) -> None:
    """What the wrong calls differ from in one argument is right."""
    target.function(**target.arguments)


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
@pytest.mark.usefixtures("nothing_computed")
def test_one_wrong_argument(target: Target) -> None:
    before = {name: np.copy(value) for name, value in target.arguments.items() if isinstance(value, np.ndarray)}
    out = None if target.out_shape is None else np.full(target.out_shape, 77, target.out_dtype)
    complaints, count = [], 0
    for argument, value, exception in wrong_calls(target):
        call = {**target.arguments, argument: value}
        if out is not None and argument != "out":
            call["out"] = out
        complaint = complaint_about(target, call, argument, exception)
        if complaint is not None:
            shown = f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else repr(value)
            complaints.append(f"{argument}={shown}: {complaint}")
        count += 1
    assert not complaints, "\n".join([f"{target.name}: {len(complaints)} of {count}", *complaints])
    assert count > 3
    assert out is None or (out == 77).all()
    for name, value in before.items():
        np.testing.assert_array_equal(target.arguments[name], value)


def complaint_about(target: Target, call: dict[str, Any], argument: str, exception: Any) -> str | None:
    """What is wrong with how the call is refused; None: nothing."""
    try:
        target.function(**call)
    except (ValueError, TypeError) as error:
        raised = error
    except AssertionError as error:
        return str(error)
    else:
        return "accepted"
    named = str(raised).partition(":")[0]
    if named != argument and (named, argument) not in RELATED:
        return f"another argument is named: {raised!r}"
    if not isinstance(raised, exception) or ": got " not in str(raised) or "; allowed: " not in str(raised):
        return f"another exception: {raised!r}"
    return None


RELATED = {
    # Two arguments that do not fit each other: either may be named.
    ("x", "groups"),
    ("input_shape", "groups"),
    ("x_shape", "groups"),
    ("w", "dilation"),
    ("w", "padding"),
    ("w_depthwise", "padding"),
    ("weight_shape", "padding"),
    ("w_shape", "padding"),
}


def refused(argument: str, exception: Any, function: Callable[..., Any], *arguments: Any, **keywords: Any) -> None:
    """``function`` raises ``exception`` about ``argument``."""
    with pytest.raises(exception, match=rf"^{argument}: got .*; allowed: "):
        function(*arguments, **keywords)


@pytest.mark.usefixtures("nothing_computed")
class TestArgumentsThatDoNotFitEachOther:
    def test_a_kernel_larger_than_the_padded_input(self) -> None:
        x, w = ones(1, 2, 4, 5), ones(3, 2, 3, 3)
        refused("w", ValueError, fastconv.conv2d, x[:, :, :2], w)
        refused("w", ValueError, fastconv.conv2d, x, w, dilation=(2, 1))
        refused("w", ValueError, fastconv.conv2d, x, w, padding=[(0, 0), (-2, -1)])
        refused("w", ValueError, fastconv.conv2d, x[:, :, :0], w)
        refused("w", ValueError, fastconv.conv2d_backward, ones(1, 3, 1, 1), x, w, dilation=3)
        refused("w_shape", ValueError, fastconv.plan, "conv2d", x.shape, w.shape, dilation=3)
        refused("w_depthwise", ValueError, fastconv.separable_conv2d, x, ones(2, 1, 5, 1), ones(3, 2, 1, 1))

    def test_channels(self) -> None:
        x, w = ones(1, 4, 6, 6), ones(6, 2, 3, 3)
        refused("x", ValueError, fastconv.conv2d, x, w)
        refused("x", ValueError, fastconv.conv2d, x, w, groups=3)
        refused("x", ValueError, fastconv.conv2d, x, w, groups=2, layout="NHWC")
        refused("x", ValueError, fastconv.conv_transpose2d, x, w)
        refused("groups", ValueError, fastconv.conv2d, x, w, groups=4)
        refused("groups", ValueError, fastconv.conv_transpose2d, ones(1, 6, 5, 5), w, groups=4)
        refused("w", ValueError, fastconv.depthwise_conv2d, x, ones(6, 1, 3, 3))
        refused("input_shape", ValueError, fastconv.grad.conv2d_input, (1, 3, 6, 6), w, ones(1, 6, 4, 4))
        refused("x", ValueError, fastconv.conv2d_integer, x.astype(np.int8), w.astype(np.int8))

    def test_mixed_dtypes(self) -> None:
        x, w, bias, dy = ones(1, 2, 4, 4), ones(3, 2, 3, 3), ones(3), ones(1, 3, 2, 2)
        for argument in ("w", "bias", "add", "dy"):
            arrays = {"dy": dy, "x": x, "w": w, "bias": bias, "add": dy}
            for dtype in ("float64", "float16", "complex64"):
                wrong = {**arrays, argument: arrays[argument].astype(dtype)}
                refused(argument, TypeError, fastconv.conv2d_backward, **wrong)
                if argument != "dy":
                    del wrong["dy"]
                    refused(argument, TypeError, fastconv.conv2d, **wrong)
        refused(
            "w_pointwise", TypeError, fastconv.separable_conv2d, x, ones(2, 1, 3, 3), ones(3, 2, 1, 1, dtype="float64")
        )
        refused(
            "state",
            TypeError,
            fastconv.causal_conv1d,
            x[0, :, 0],
            ones(2, 3),
            state=ones(2, 2, dtype="float64"),
        )

    def test_padding_modes(self) -> None:
        x, w = ones(1, 1, 4, 4), ones(1, 1, 3, 3)
        for mode in ("replicate", "reflect", "circular", "symmetric"):
            refused("padding", ValueError, fastconv.conv2d, x[:, :, :0], w, padding=4, padding_mode=mode)
            refused("padding", ValueError, fastconv.conv2d, x[:, :, :0], w, padding=4, padding_mode=(mode, "zeros"))
        refused("padding_mode", ValueError, fastconv.conv2d, x, w, padding_mode=("reflect",))
        refused("padding_mode", ValueError, fastconv.plan, "conv_transpose2d", x.shape, w.shape, padding_mode="reflect")

    def test_activations_of_complex_numbers(self) -> None:
        x, w = ones(1, 1, 4, dtype="complex64"), ones(1, 1, 3, dtype="complex64")
        refused("activation", ValueError, fastconv.conv1d, x, w, activation="relu")
        refused("activation", ValueError, fastconv.conv1d_backward, x[:, :, 2:], x, w, activation="relu")
        refused("activation", ValueError, fastconv.plan, "conv1d", x.shape, w.shape, "complex64", activation="relu")
        refused("activation", ValueError, fastconv.causal_conv1d, x, w[0], activation="silu")

    def test_plans_of_gradients_take_no_activation(self) -> None:
        for direction in ("backward_input", "backward_weight"):
            shapes = (1, 2, 6), (3, 2, 3)
            refused("activation", ValueError, fastconv.plan, "conv1d", *shapes, activation="relu", direction=direction)

    def test_output_size_and_output_padding(self) -> None:
        x, w = ones(1, 2, 4, 4), ones(2, 3, 3, 3)
        arguments = {"stride": 2, "output_size": (10, 10)}
        refused("output_padding", ValueError, fastconv.conv_transpose2d, x, w, output_padding=1, **arguments)
        refused("output_padding", ValueError, fastconv.conv_transpose2d, x, w, stride=2, output_padding=-1)

    def test_empty_results(self) -> None:
        refused("padding", ValueError, fastconv.conv_transpose2d, ones(1, 1, 1, 4), ones(1, 1, 2, 2), padding=1)
        refused("x", ValueError, fastconv.conv_transpose2d, ones(1, 1, 0, 4), ones(1, 1, 2, 2))
        refused("x", ValueError, fastconv.causal_conv1d, ones(1, 1, 0), ones(1, 2))

    def test_arrays_beyond_any_memory(self) -> None:
        refused("x", ValueError, fastconv.conv1d, ones(1, 1, 4), ones(1, 1, 3), padding=2**61)
        refused("x", ValueError, fastconv.conv_transpose1d, ones(1, 1, 4), ones(1, 1, 3), stride=2**60)
        refused("x_shape", ValueError, fastconv.plan, "conv2d", (2**40, 1, 2**20, 2**20), (1, 1, 3, 3))

    def test_forced_algorithms_that_do_not_support_the_problem(self) -> None:
        """The direct kernels are for few channels; nothing is computed before the refusal of a later step."""
        x, w, dy = ones(1, 64, 6, 6), ones(64, 64, 3, 3), ones(1, 64, 4, 4)
        refused("algorithm", ValueError, fastconv.conv2d, x, w, algorithm="direct")
        refused("algorithm", ValueError, fastconv.conv2d_backward, dy, x, w, algorithm="direct")
        separable = (x, ones(64, 1, 3, 3), ones(64, 64, 1, 1))
        refused("algorithm", ValueError, fastconv.separable_conv2d, *separable, algorithm="direct")


def test_values_that_look_odd_and_are_right() -> None:
    """NumPy's ints, 0-d arrays, lists, arrays and ranges where ints are allowed; lists of numbers as arrays."""
    x, w = ones(1, 2, 7, 7), ones(3, 2, 3, 3)
    expected = fastconv.conv2d(x, w, stride=2, padding=1)
    for two in (np.int8(2), np.array(2), [2], (2, 2), np.array([2, 2]), range(2, 3)):
        for one in (np.uint64(1), np.array(1), [1], [(1, 1)], np.array([[1, 1], [1, 1]]), [1, (1, 1)]):
            np.testing.assert_array_equal(fastconv.conv2d(x, w, stride=two, padding=one), expected)
    lists = fastconv.conv1d([[1.0, 2.0, 3.0]], [[[1.0, 1.0]]], [1.0])
    np.testing.assert_array_equal(lists, [[4.0, 6.0]])


@pytest.mark.parametrize(
    ("function", "argument", "values", "exception"),
    [
        (fastconv.set_num_threads, "threads", (0, -1), ValueError),
        (fastconv.set_num_threads, "threads", (1.5, "2", None, True, np.array([1, 2])), TypeError),
        (fastconv.set_precision, "level", ("low", None, 1), ValueError),
        (fastconv.set_deterministic, "deterministic", (1, "yes", None), TypeError),
        (fastconv.set_workspace_limit, "limit_bytes", (0, -1), ValueError),
        (fastconv.set_workspace_limit, "limit_bytes", (1.5, "1G"), TypeError),
    ],
)
def test_settings(function: Callable[..., Any], argument: str, values: tuple[Any, ...], exception: Any) -> None:
    getters = (
        fastconv.get_num_threads,
        fastconv.get_precision,
        fastconv.get_deterministic,
        fastconv.get_workspace_limit,
    )
    before = [get() for get in getters]
    for value in values:
        refused(argument, exception, function, value)
    assert [get() for get in getters] == before


def test_odd_values_of_every_argument_of_every_function() -> None:
    """In a process whose memory is limited, by processor time: see odd_calls.py."""
    run = python(str(HERE / "odd_calls.py"), timeout=300, FASTCONV_NUM_THREADS="1")
    *complaints, count = run.stdout.splitlines() or [""]
    assert run.returncode == 0, run.stderr[-3000:]
    assert not complaints, "\n".join(complaints)
    assert int(count.split()[2]) > 30_000


@pytest.mark.parametrize("target", [*pool_targets(), *block_targets(), *plan_call_targets()], ids=lambda t: t.name)
def test_masked_arrays(target: Target) -> None:
    """What has lost its mask would be summed up with the rest; ``wrong_calls`` has the other functions."""
    out = {} if target.out_shape is None else {"out": ones(*target.out_shape)}
    call = {**target.arguments, **out}
    tried = 0
    for argument, value in call.items():
        if isinstance(value, np.ndarray):
            wrong = {**call, argument: np.ma.masked_array(value, mask=value > 0)}
            name = r"(x|w|dy)" if argument in ("first", "second") else argument
            with pytest.raises(TypeError, match=rf"^{name}: got a masked array; allowed: .*\.filled\(value\)"):
                target.function(**wrong)
            tried += 1
    assert tried


@pytest.mark.parametrize(
    ("name", "text", "asks"),
    [
        *[
            ("FASTCONV_NUM_THREADS", text, "get_num_threads()")
            for text in ("many", "0", "-1", "1.5", "2,4", "9" * 5000)
        ],
        ("FASTCONV_PRECISION", "low", "get_precision()"),
    ],
)
def test_variables_of_the_environment(name: str, text: str, asks: str) -> None:
    """Refused when they are first asked for, every time."""
    code = (
        "import fastconv\n"
        "for _ in range(2):\n"
        f"    try: print(fastconv.{asks})\n"
        "    except ValueError as error: print(error)\n"
    )
    for line in output_of(code, **{name: text}).splitlines():
        assert line.startswith(f"{name}: got '{text[:100]}")
        assert "; allowed: " in line


def test_a_variable_that_openmp_would_ignore_is_ignored() -> None:
    code = "import fastconv; print(fastconv.get_num_threads() >= 1)"
    assert output_of(code, OMP_NUM_THREADS="many", FASTCONV_NUM_THREADS="").strip() == "True"


def test_no_stride_is_the_kernel_size() -> None:
    """As in torch, for None and an empty tuple; convolutions have no such default."""
    x = np.arange(24.0).reshape(1, 1, 4, 6)
    for stride in (None, (), []):
        np.testing.assert_array_equal(fastconv.avg_pool2d(x, 2, stride), fastconv.avg_pool2d(x, 2, 2))
        np.testing.assert_array_equal(fastconv.max_pool2d(x, (2, 3), stride), fastconv.max_pool2d(x, (2, 3), (2, 3)))
    refused("stride", ValueError, fastconv.conv2d, x, np.ones((1, 1, 2, 2)), stride=())
    refused("stride", ValueError, fastconv.unfold, x, 2, stride=())


def test_files_that_are_no_files() -> None:
    for path, exception in (
        (None, TypeError),
        (b"a", TypeError),
        (3, TypeError),
        ("", ValueError),
        ("a\0b", ValueError),
    ):
        refused("path", exception, fastconv.export_tuning, path)
        refused("path", exception, fastconv.import_tuning, path)


def test_values_that_cannot_be_shown() -> None:
    class Unshowable:
        def __repr__(self) -> str:
            raise RuntimeError("not to be shown")

    x, w = ones(1, 1, 4), ones(1, 1, 3)
    refused("stride", TypeError, fastconv.conv1d, x, w, stride=Unshowable())
    refused("stride", ValueError, fastconv.conv1d, x, w, stride=10**5000)


def test_sizes_of_pooling_and_blocks() -> None:
    refused("x", TypeError, fastconv.global_max_pool_backward, ones(1, 2, 1), (1, 2, 3))
    for argument, value in (("output_size", ()), ("output_size", [1] * 4), ("kernel_size", ())):
        call = {"output_size": 4, "kernel_size": 2, argument: value}
        refused(argument, ValueError, fastconv.fold, ones(1, 4, 9), **call)
        refused(argument, ValueError, fastconv.fold_backward, ones(1, 1, 4, 4), **call)
    refused("output_size", ValueError, fastconv.adaptive_avg_pool2d, ones(1, 1, 4, 4), 2**31)
    refused("padding", ValueError, fastconv.unfold, ones(1, 1, 4, 4), 2, padding=2**31)
