"""Whatever a file of tuned choices holds: it is used or left out, no call raises, and results stay what they are."""

from __future__ import annotations

import copy
import dataclasses
import functools
import itertools
import json
import math
import os
import random
import warnings
from collections.abc import Callable

import numpy as np
import pytest

import fastconv
from fastconv import ConvProblem, tuning
from fastconv._algorithm import PLAUSIBLE, Machine
from fastconv._choose import calibration, select, tuning_cache
from fastconv._cli import main
from fastconv._cli.verify import PROBLEMS
from fastconv._cpu import backend, fingerprint
from fastconv._cpu import calibration as of_the_cpu
from fastconv._problem import DIRECTIONS
from tuning_cases import computes, forget_memory, record, reread, stored_text, write

pytestmark = pytest.mark.usefixtures("cache_folder")

DEFAULTS = dataclasses.asdict(backend.default_machine())


# The constants of the cost models.


def _machine(numbers: tuple[int, ...]) -> Machine:
    """A machine at one corner of the plausible ranges."""
    rate32, rate64, *others = numbers
    rates, *ranges = PLAUSIBLE.values()
    return Machine(
        {"float32": rates[rate32], "float64": rates[rate64]}, *(r[i] for r, i in zip(ranges, others, strict=True))
    )


CORNERS = [_machine(corner) for corner in itertools.product((0, 1), repeat=5)]


def test_ranges_are_those_of_the_constants_and_a_thousand_times_the_defaults_is_within():
    assert list(PLAUSIBLE) == [field.name for field in dataclasses.fields(Machine)]
    for factor in (1e-3, 1.0, 1e3):
        constants = {name: value * factor for name, value in DEFAULTS.items() if isinstance(value, float)}
        rates = {dtype: rate * factor for dtype, rate in backend.default_machine().multiply_adds_per_second.items()}
        assert (
            Machine.of({"multiply_adds_per_second": rates, **constants}).bytes_per_second
            == backend.default_machine().bytes_per_second * factor
        )
    for machine in CORNERS:
        assert Machine.of(dataclasses.asdict(machine)) == machine


@pytest.mark.parametrize("text", [*PROBLEMS, "forward 64x512x64x64 512x512x3x3 p1", "forward 1x1x1 1x1x1"])
def test_estimates_at_the_ends_of_the_ranges_are_positive_and_finite(text):
    for direction in DIRECTIONS:
        problem = ConvProblem.parse(text).replace(direction=direction)
        for algorithm in backend.algorithms:
            target = backend.target(algorithm, problem)
            if target is None or not algorithm.supports(target):
                continue
            for params in algorithm.parameters(target):
                for machine, threads in itertools.product(CORNERS, (1, 1024)):
                    estimate = algorithm.cost(target, params, threads, machine)
                    assert 0 < estimate < math.inf, (algorithm.name, params, machine)


BAD_CONSTANTS = {
    "bytes_per_second": [5e-324, 0.0, -1.0, 1e300, 10**400, None, "12e9", "\x1b[2J", True, [1.0], {}],
    "multiply_adds_per_second": [None, 4e10, {}, {"float32": 4e10}, {"float32": 4e10, "float64": 5e-324}, []],
    "call_seconds": [5e-324, 0, -0.0, 1e9, "x" * 10_000],
    "numpy_call_seconds": [1e-300, 2.0, {"a": [1] * 1000}],
}


@pytest.mark.parametrize(("name", "value"), [(n, v) for n, values in BAD_CONSTANTS.items() for v in values])
def test_implausible_constants_are_ignored_with_one_warning(name, value):
    write(stored_text(machine=DEFAULTS | {name: value}))
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        computes()
        reread()
        computes()
    assert len(warned) == 1
    message = str(warned[0].message)
    assert name in message
    assert "the default constants of the cost models are used" in message
    assert len(message) < 500
    assert message.isprintable()
    assert select.machine() == backend.default_machine()
    assert select.plan_for(record().problem, threads=1).reason == "tuned"


@pytest.mark.parametrize(
    "machine", [{}, [], 1.0, "fast", {name: v for name, v in DEFAULTS.items() if name != "bytes_per_second"}]
)
def test_what_are_no_constants_is_ignored_with_one_warning(machine):
    write(stored_text(machine=machine))
    with pytest.warns(RuntimeWarning, match="the default constants") as warned:
        computes()
    assert len(warned) == 1


def test_implausible_constants_of_an_imported_file_are_warned_of(tmp_path):
    file = tmp_path / "exported.json"
    file.write_text(stored_text(machine=DEFAULTS | {"bytes_per_second": 5e-324}))
    with pytest.warns(RuntimeWarning, match="bytes_per_second is 5e-324") as warned:
        assert tuning.import_tuning(str(file)) == 1
    assert len(warned) == 1
    assert select.machine() == backend.default_machine()


def test_calibration_that_measures_nonsense_is_refused(monkeypatch, capsys):
    for module in (calibration, of_the_cpu):
        monkeypatch.setattr(module, "median_seconds", lambda *how: 0.0)
    with pytest.raises(ArithmeticError, match="measured bytes_per_second is"):
        calibration.measure_machine()
    assert main(["autotune", "--calibrate"]) == 1
    assert capsys.readouterr().err.startswith("fastconv autotune: measured bytes_per_second is")
    assert tuning_cache.current().content.machine is None


# Files with any damage, used.

ODD_VALUES = [
    *(None, True, False, 0, 1, -1, 2, 0.5, -0.0, 5e-324, 1e-300, 1e9, 1e300, 2**31, 2**63, 2**64, 10**400),
    *("", "x", "x" * 100, "\x1b[2J", "\r", "\u202e", "\x00", "\n", "\ud800", "1", "im2col", "reference", "winograd"),
    *([], {}, [[]], {"a": 1}, [{}], {"": ""}, [0] * 300),
]
ODD_TEXTS = ["1e999", "-1e999", "NaN", "-Infinity", "9" * 5000, "01", "[" * 2000, '"\\ud800"', "", "}"]
"""Texts of values that ``json.dumps`` does not write."""
GOOD_FILES = 500
MUTATED = int(os.environ.get("FASTCONV_TEST_MUTATED", "20000"))
"""Damaged files that --full makes."""
RAW = "put a text here"


def _calls() -> list[tuple[ConvProblem, Callable[[], np.ndarray]]]:
    """Calls of small integers, and their problems."""
    rng = np.random.default_rng(0)

    def integers(*shape: int) -> np.ndarray:
        return rng.integers(-3, 4, shape).astype(np.float32)

    x, w, grouped, kernel, dy = (
        integers(*shape) for shape in ((1, 4, 9, 10), (6, 4, 3, 3), (4, 1, 3, 3), (4, 3, 5), (2, 6, 9))
    )
    signal = integers(2, 4, 9)
    return [
        (
            ConvProblem.parse("forward 1x4x9x10 6x4x3x3 p1 float32"),
            lambda: fastconv.conv2d(x, w, padding=1, threads=1),
        ),
        (
            ConvProblem.parse("forward 1x4x9x10 4x1x3x3 s2 g4 float32"),
            lambda: fastconv.conv2d(x, grouped, stride=2, groups=4, threads=1),
        ),
        (
            ConvProblem.parse("backward_input 2x3x18 4x3x5 s2 p2 float32"),
            lambda: fastconv.conv_transpose1d(signal, kernel, stride=2, padding=2, output_padding=1, threads=1),
        ),
        (
            ConvProblem.parse("backward_weight 2x4x9 6x4x3 p1 float32"),
            lambda: fastconv.grad.conv1d_weight(signal, (6, 4, 3), dy, padding=1, threads=1),
        ),
    ]


CALLS = _calls()


@functools.cache
def _good_file(seed: int) -> str:
    """A file that knows every problem of the calls, each by one of the algorithms that compute it."""
    rng, content = random.Random(seed), tuning_cache.Content(fingerprint.fingerprint())
    content.machine = rng.choice([None, backend.default_machine(), *CORNERS])
    for problem, _ in CALLS:
        able = [a for a in backend.algorithms if a.supports(problem) and select.admitted(a, problem)]
        algorithm = rng.choice(able)
        params = dict(rng.choice(algorithm.parameters(problem)))
        content.add([dataclasses.replace(record(problem, algorithm.name, params=params), noise=0.1, default_params={})])
    return tuning_cache.render(content)


def _places(value: object) -> list[tuple[dict | list, str | int]]:
    """Every place of a JSON value: what holds it, and its key there."""
    if not isinstance(value, (dict, list)):
        return []
    keys = list(value) if isinstance(value, dict) else range(len(value))
    return [place for key in keys for place in [(value, key), *_places(value[key])]]


def _with_odd_values(rng: random.Random, text: str) -> bytes:
    """Valid JSON, mostly, in which a few values and keys are others."""
    tree = json.loads(text)
    odd_texts = []
    for _ in range(rng.randint(1, 3)):
        holder, key = rng.choice(_places(tree))
        match rng.randrange(6):
            case 0:
                del holder[key]
            case 1 if isinstance(holder, dict):
                holder[str(rng.choice(ODD_VALUES))] = holder.pop(key)
            case 2:
                other, place = rng.choice(_places(tree))
                holder[key] = json.loads(json.dumps(other[place]))
            case 3 if type(holder[key]) in (int, float) and abs(holder[key]) < 1e300:
                holder[key] *= rng.choice([-1, 0, 1e-30, 1e30, 2**40])
            case 4:
                holder[key] = RAW
                odd_texts.append(rng.choice(ODD_TEXTS) if rng.random() < 0.5 else "1e999")
            case _:
                holder[key] = copy.deepcopy(rng.choice(ODD_VALUES))
        if not _places(tree):
            break
    text = json.dumps(tree)
    for odd_text in odd_texts:
        text = text.replace(f'"{RAW}"', odd_text, 1)
    return text.encode()


def _with_damage(rng: random.Random, text: str) -> bytes:
    """Bits flipped, bytes lost, or parts of two files joined."""
    damaged = bytearray(text.encode())
    match rng.randrange(4):
        case 0:
            for _ in range(rng.randint(1, 8)):
                damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        case 1:
            del damaged[rng.randrange(len(damaged)) :]
        case 2:
            start = rng.randrange(len(damaged))
            del damaged[start : start + rng.randint(1, 40)]
        case 3:
            other = _good_file(rng.randrange(GOOD_FILES)).encode()
            damaged[rng.randrange(len(damaged)) :] = other[rng.randrange(len(other)) :]
    return bytes(damaged)


@pytest.mark.parametrize(
    "numbers",
    [range(300), *(pytest.param(range(n, n + 5000), marks=pytest.mark.full) for n in range(0, MUTATED, 5000))],
    ids=str,
)
def test_mutated_files_change_no_result_and_raise_nothing(numbers, capsys):
    """Integers, so that the result of every algorithm is known exactly up to rounding far below 1."""
    reread()
    expected, target = [call() for _, call in CALLS], write("")
    used = {"damaged": 0, "machine": 0, "tuned": 0, "records": 0}
    for number in numbers:
        rng = random.Random(number)
        mutate = _with_odd_values if rng.random() < 0.7 else _with_damage
        target.write_bytes(mutate(rng, _good_file(rng.randrange(GOOD_FILES))))
        forget_memory()
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            for (problem, call), right in zip(CALLS, expected, strict=True):
                result = call()
                assert np.array_equal(np.rint(result), right), (number, problem)
                assert np.abs(result - right).max() < 1e-3, (number, problem)
                used["tuned"] += select.plan_for(problem, threads=1).reason == "tuned"
        assert len(warned) <= 1, (number, [str(warning.message) for warning in warned])
        assert all(warning.category is RuntimeWarning for warning in warned)
        content = tuning_cache.current().content
        records = content.records()
        again = tuning_cache.parse(tuning_cache.render(content))
        assert (again.records(), again.machine) == (sorted(records, key=_written_order), content.machine), number
        used["damaged"] += not target.exists()
        used["machine"] += content.machine is not None
        used["records"] += len(records)
        if number % 10 == 0:
            assert main(["cache", "show"]) == 0
            assert main(["explain", str(CALLS[0][0]), "--threads", "1"]) == 0
            shown = capsys.readouterr().out
            assert all(line.isascii() and line.isprintable() for line in shown.split("\n")), number
    print(numbers, used)
    assert min(used.values()) > len(numbers) // 20


def _written_order(found):
    return str(found.problem)
