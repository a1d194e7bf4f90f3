"""The site: code on its pages runs, names that they use are there, and every algorithm has a page with a picture."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

import fastconv
from fastconv import compat
from fastconv._backend import CPU

DOCS = Path(__file__).parent.parent / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if not {"generated", "_build"} & set(path.parts))
CODE = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
NAME = re.compile(r"`(?:fastconv\.|(?=nn\.))((?:\w+\.)*\w+)[`(]")


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


WITH_CODE = [page for page in PAGES if CODE.search(text_of(page))]


@pytest.mark.parametrize("page", WITH_CODE, ids=lambda page: page.stem)
def test_code_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of a page, in its order, as one program; adapters where the other library is installed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FASTCONV_CACHE_DIR", str(tmp_path))
    program = "\n".join(CODE.findall(text_of(page)))
    try:
        exec(compile(program, str(page), "exec"), {"__name__": "page"})
    except ImportError as missing:
        pytest.skip(str(missing))


@pytest.mark.parametrize("page", [page for page in PAGES if page.parent.name != "compat"], ids=lambda page: page.stem)
def test_names_are_there(page: Path) -> None:
    for name in NAME.findall(text_of(page)):
        if name.startswith("compat"):
            continue
        value: object = fastconv
        path = "fastconv"
        for part in name.split("."):
            path = f"{path}.{part}"
            if not hasattr(value, part):
                importlib.import_module(path)
            value = getattr(value, part)


@pytest.mark.parametrize("client", compat.CLIENTS)
def test_every_adapter_has_a_page(client: str) -> None:
    assert f"generated/compat/{client}.md" in text_of(DOCS / "compat" / f"{client}.md")
    assert re.search(rf"^{client}$", text_of(DOCS / "compat" / "index.md"), re.MULTILINE)


@pytest.mark.parametrize("name", [algorithm.name for algorithm in CPU.algorithms])
def test_every_algorithm_has_a_page(name: str) -> None:
    page = text_of(DOCS / "algorithms" / f"{name}.md")
    assert f"pictures/{name}.svg" in page
    assert re.search(rf"^{name}$", text_of(DOCS / "algorithms" / "index.md"), re.MULTILINE)
