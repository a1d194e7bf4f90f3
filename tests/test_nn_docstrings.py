"""The examples in the docstrings of fastconv.nn run, and give what they say."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

from fastconv import nn

MODULES = sorted(module.name for module in pkgutil.walk_packages(nn.__path__, "fastconv.nn."))


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    nn.seed(0)
    results = doctest.testmod(importlib.import_module(name))
    assert not results.failed, capsys.readouterr().out
