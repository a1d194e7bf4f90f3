"""Stored choices: found again, used as hints, and left out when they are not as they should be."""

from __future__ import annotations

import dataclasses
import random
import warnings

import pytest

import fastconv
from fastconv import ConvProblem
from fastconv._accuracy import error_ratio
from fastconv._backend import algorithm_names, find_algorithm
from fastconv._choose import select, tuning_cache, tuning_file
from fastconv._choose.sample import sample
from fastconv._choose.tuning_record import FORMER_NAMES, FORMER_PARAMS, TuningRecord
from fastconv._cpu import backend, fingerprint
from fastconv._problem import DIRECTIONS
from tuning_cases import PROBLEM, computes, path, record, reread, stored_text, write

pytestmark = pytest.mark.usefixtures("cache_folder")


# What is stored is found again, and used.


def test_stored_choice_is_used_by_the_next_process_and_only_for_its_threads():
    assert select.plan_for(PROBLEM, threads=1).reason == "cost model"
    tuning_cache.current().store([record()])
    reread()
    plan = select.plan_for(PROBLEM, threads=1)
    assert (plan.algorithm.name, plan.reason) == ("reference", "tuned")
    assert select.plan_for(PROBLEM, threads=2).reason == "cost model"
    computes()


def _text_of(choice: TuningRecord) -> str:
    content = tuning_cache.Content(fingerprint.fingerprint())
    content.add([choice])
    return tuning_cache.render(content)


@pytest.mark.parametrize(("former", "name"), FORMER_NAMES.items())
def test_former_names_of_algorithms_are_read(former, name):
    text = _text_of(record(algorithm=name))
    assert f'"{name}"' in text
    assert tuning_cache.parse(text.replace(f'"{name}"', f'"{former}"')).records() == [record(algorithm=name)]


@pytest.mark.parametrize(("algorithm", "former"), FORMER_PARAMS)
def test_former_names_of_parameters_are_read(algorithm, former):
    """From files and from pickled plans."""
    problem, name = ConvProblem.parse("forward 1x8x12x12 16x8x3x3 float32"), FORMER_PARAMS[algorithm, former]
    params = find_algorithm(algorithm).parameters(problem)[-1]
    choice = record(problem, algorithm, params=params)
    text = _text_of(choice)
    assert text.count(f'"{name}"') == 2
    write(text.replace(f'"{name}"', f'"{former}"'))
    assert tuning_cache.current().content.records() == [choice]
    plan = select.plan_for(problem, threads=1)
    assert (plan.algorithm.name, plan.params, plan.reason) == (algorithm, params, "tuned")
    written = {former if key == name else key: value for key, value in params.items()}
    assert select.carried_plan(problem, algorithm, written, 1, "tuned", ()).params == params


def test_choice_without_epilogue_serves_the_problem_with_one():
    tuning_cache.current().store([record()])
    fused = ConvProblem.parse(f"{PROBLEM} +bias+relu")
    assert select.plan_for(fused, threads=1).reason == "tuned"
    tuning_cache.current().store([record(fused, "implicit_gemm", params=_default_params("implicit_gemm"))])
    select.forget_plans()
    assert select.plan_for(fused, threads=1).algorithm.name == "implicit_gemm"


def test_deterministic_mode_ignores_measurements():
    tuning_cache.current().store([record()])
    machine = dataclasses.replace(backend.default_machine(), bytes_per_second=1e8)
    tuning_cache.current().store_machine(machine)
    assert select.machine() == machine
    fastconv.set_deterministic(True)
    try:
        assert select.plan_for(PROBLEM, threads=1).reason == "cost model"
        assert select.machine() == backend.default_machine()
    finally:
        fastconv.set_deterministic(False)
    assert select.plan_for(PROBLEM, threads=1).reason == "tuned"


def test_deterministic_choice_is_that_of_one_thread():
    """On problems that the cost model gives to another algorithm where threads are many."""
    problems = [
        ConvProblem.parse(f"{direction} {shape}")
        for direction in DIRECTIONS
        for shape in ("8x3x40x40 16x3x5x5 s2", "1x1x100x100 1x1x21x21 p10", "1x1x1000 1x1x401")
    ]

    def chosen(problem, threads):
        return select.plan_for(problem, threads=threads).algorithm.name

    alone = [chosen(problem, 1) for problem in problems]
    assert [chosen(problem, 16) for problem in problems] != alone
    fastconv.set_deterministic(True)
    try:
        for threads in (1, 2, 16):
            assert [chosen(problem, threads) for problem in problems] == alone
    finally:
        fastconv.set_deterministic(False)


def test_machine_constants_come_back():
    machine = dataclasses.replace(backend.default_machine(), bytes_per_second=3e9)
    tuning_cache.current().store_machine(machine)
    tuning_cache.current().store([record()])
    reread()
    assert select.machine() == machine


def test_records_of_a_later_measurement_win():
    content = tuning_cache.Content({})
    content.add([record(measured_at="2026-01-02T00:00:00Z"), record(algorithm="x", measured_at="2026-01-01T00:00:00Z")])
    assert content.records()[0].algorithm == "reference"
    content.add([record(algorithm="x", measured_at="2026-01-03T00:00:00Z")])
    assert content.records()[0].algorithm == "x"


def test_directory_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert tuning_cache.directory() == tmp_path / "cache"
    monkeypatch.delenv("FASTCONV_CACHE_DIR")
    assert tuning_cache.directory() == tmp_path / "xdg" / "fastconv"
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")
    assert tuning_cache.directory() == tmp_path / "home" / ".cache" / "fastconv"


# A choice is a hint.


def _default_params(algorithm: str):
    return dict(find_algorithm(algorithm).parameters(PROBLEM)[0])


@pytest.mark.parametrize(
    ("algorithm", "params"),
    [("no_such_algorithm", {}), ("reference", {"depth": 3}), ("implicit_gemm", {"depth": -1}), ("auto", {})],
)
def test_unknown_algorithms_and_parameters_are_not_used(algorithm, params):
    tuning_cache.current().store([record(algorithm=algorithm, params=params)])
    assert select.plan_for(PROBLEM, threads=1).reason == "cost model"
    computes()


def test_choice_over_the_workspace_limit_is_not_used():
    tuning_cache.current().store([record(algorithm="implicit_gemm", params=_default_params("implicit_gemm"))])
    assert select.plan_for(PROBLEM, threads=1).reason == "tuned"
    fastconv.set_workspace_limit(1)
    try:
        plan = select.plan_for(PROBLEM, threads=1)
        assert (plan.reason, plan.workspace_bytes) == ("cost model", 0)
    finally:
        fastconv.set_workspace_limit(None)


@pytest.mark.parametrize("algorithm", algorithm_names())
def test_every_algorithm_as_the_choice_of_every_problem_gives_right_results(algorithm):
    """A file that gives each problem to each algorithm changes times at most."""
    for text in (
        "forward 1x4x5x5 6x2x3x3 p1 g2",
        "backward_input 2x3x7 4x3x3 s2",
        "backward_weight 1x1x9x9 1x1x3x3 d2",
    ):
        problem = ConvProblem.parse(text)
        able = find_algorithm(algorithm)
        target = backend.target(able, problem)
        if target is None or not able.supports(target):
            continue
        params = dict(able.parameters(target)[0])
        tuning_cache.current().store([record(problem, algorithm, params=params)])
        plan = select.plan_for(problem, threads=1)
        assert plan.reason == ("tuned" if select.admitted(able, problem) else "cost model")
        operands = sample(problem)
        backend.execute(plan, operands)
        assert error_ratio(plan.algorithm, problem, operands) <= 1


# Files that are not as they should be.


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"\xff\xfe\x00",
        b"null",
        b"[]",
        b"[" * 100_000,
        b'{"format": 1}',
        b'{"format": 1, "fingerprint": {}, "choices": []}',
        b'{"format": 1, "fingerprint": {}, "choices": {}, "x": NaN}',
        b'{"format": 1' + b"0" * 10_000 + b"}",
    ],
)
def test_damaged_file_is_set_aside_with_one_warning(text):
    target = write(text)
    with pytest.warns(RuntimeWarning, match="is damaged"):
        computes()
    assert not target.exists()
    assert target.with_name(target.name + ".bad").read_bytes() == text
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        reread()
        computes()
        tuning_cache.current().store([record()])
    assert tuning_cache.parse(target.read_text()).records() == [record()]


@pytest.mark.parametrize("format_number", [0, 2, "1", None])
def test_another_format_is_not_read(format_number):
    write(stored_text(format=format_number))
    with pytest.warns(RuntimeWarning, match="is damaged"):
        assert select.plan_for(PROBLEM, threads=1).reason == "cost model"


def test_every_truncation_of_a_good_file_is_survived():
    text = stored_text()
    for length in range(0, len(text), 7):
        with pytest.raises(ValueError, match=r".*"):
            tuning_cache.parse(text[:length])


@pytest.mark.parametrize("name", sorted(fingerprint.fingerprint()))
def test_another_fingerprint_is_another_file_and_its_content_is_not_used(name):
    fields = fingerprint.fingerprint()
    other = fields | {name: fields[name] + "x"}
    assert tuning_cache.file_name(other) != tuning_cache.file_name(fields)
    write(stored_text(fingerprint=other))
    with pytest.warns(RuntimeWarning, match="another machine"):
        assert select.plan_for(PROBLEM, threads=1).reason == "cost model"


def test_file_over_the_size_limit_is_not_read():
    write(stored_text() + " " * tuning_file.LIMIT_BYTES)
    with pytest.warns(RuntimeWarning, match="larger than"):
        computes()


def test_written_file_stays_below_the_size_limit_and_keeps_the_newest(monkeypatch):
    monkeypatch.setattr(tuning_file, "LIMIT_BYTES", 20_000)
    problems = [PROBLEM.replace(batch=batch) for batch in range(1, 201)]
    stamps = [f"2026-01-01T00:{number // 60:02}:{number % 60:02}Z" for number in range(200)]
    tuning_cache.current().store(record(p, measured_at=at) for p, at in zip(problems, stamps, strict=True))
    assert path().stat().st_size <= 20_000
    reread()
    kept = {r.problem.batch for r in tuning_cache.current().content.records()}
    assert kept == set(range(201 - len(kept), 201))
    assert len(kept) > 20


def test_fuzzed_files_never_stop_a_plan():
    """Random damage to a good file: parsing says ValueError or gives content, and every choice is valid or left out."""
    rng = random.Random(0)
    good = stored_text().encode()
    alphabet = b'{}[]":,0123456789.-eE truefalsnlxp\xff\x00'
    accepted = 0
    for _ in range(3000):
        text = bytearray(good)
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(text))
            match rng.randrange(3):
                case 0:
                    text[at] = rng.choice(alphabet)
                case 1:
                    del text[at : at + rng.randint(1, 20)]
                case 2:
                    text[at:at] = bytes(rng.choices(alphabet, k=rng.randint(1, 8)))
        try:
            content = tuning_cache.parse(text.decode())
        except ValueError:
            continue
        accepted += 1
        for found in content.records():
            choice = select.usable_params(found.algorithm, found.params, PROBLEM)
            assert choice is None or choice[0].name == found.algorithm
        assert tuning_cache.parse(tuning_cache.render(content)).records() == content.records()
    assert accepted > 100


@pytest.mark.parametrize(
    "change",
    [
        {"algorithm": 3},
        {"algorithm": "x" * 1000},
        {"params": [1]},
        {"params": {"depth": [1]}},
        {"params": {"depth": {"x": 1}}},
        {"seconds": "1"},
        {"seconds": -1.0},
        {"seconds": True},
        {"seconds": 1e300},
        {"seconds": None},
        {"effort": "none"},
        {"timings": {}},
        {"timings": [1]},
        {"measured_at": 5},
        {"measured_at": "yesterday"},
        {"measured_at": "2026-01-01T00:00:00Z\n"},
        {"algorithm": "\x1b[2J"},
        {"default": "im2col\r"},
        {"params": {"\u202e": 1}},
        {"params": {"tile": "\x00"}},
        {"params": {"tile": float("inf")}},
        {"params": {"tile": 2**63}},
        {"backend": "tpu"},
        {"backend": 1},
        {"backend": []},
        {"backend": None},
        {"noise": "1"},
        {"noise": -0.1},
        {"noise": True},
        {"noise": [1.0]},
    ],
)
def test_choice_that_breaks_the_schema_is_left_out(change):
    good = record().to_json()
    assert TuningRecord.from_json(str(PROBLEM), 1, good) == record()
    assert TuningRecord.from_json(str(PROBLEM), 1, good | change) is None
    assert TuningRecord.from_json(str(PROBLEM), 1, good | {"unknown": 1}) == record()


@pytest.mark.parametrize("text", ["", "forward", f" {PROBLEM}", "forward 1x2x6x6 3x2x3x3 p1", "forward 1x1x1 1x1x1 s0"])
def test_choice_for_what_is_no_problem_text_is_left_out(text):
    assert TuningRecord.from_json(text, 1, record().to_json()) is None
