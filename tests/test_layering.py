"""The structure holds: imports go downward, one module knows threads, one place refuses input, kernels are pure."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import fastconv

PACKAGE = Path(fastconv.__file__).parent
ROOT = PACKAGE.parent
CSRC = PACKAGE / "_cpu" / "csrc"
THREADS = {*(PACKAGE / "_cpu" / "engine").glob("threads.[ch]")}

pytestmark = pytest.mark.skipif(not CSRC.is_dir(), reason="installed without sources")

CUPY = ("cupy", "cupyx", "cupy_backends")
PUBLIC = ("functional", "grad", "pooling")

# Lowest first. A module may import from its own layer and from those before it.
LAYERS = (
    (
        "_errors",
        "_interrupt",
        "_late",
        "_once",
        "_scoped",
        "_version",
        "_docs",
        "_windows",
        "_blocks",
        "_sets",
        "_problem",
        "_correlation",
        "_border",
        "_minimal_filtering",
        "_algorithm",
        "_plan",
        "_arrays",
        "_config",
        "suites",
        "_timing",
    ),
    ("_cpu", "_gpu"),
    ("_backend",),
    ("_accuracy",),
    ("_choose",),
    ("_normalize",),
    ("_execute",),
    (*PUBLIC, "planning", "tiling", "tuning", "runtime"),
    ("compat", "nn"),
    ("_cli", "__main__", ""),
)
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


def modules() -> Iterator[tuple[str, ast.Module, bool]]:
    """Every module of the package: its name below fastconv, its syntax tree, whether it is a package."""
    for file in sorted(PACKAGE.rglob("*.py")):
        parts = file.relative_to(PACKAGE).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        yield ".".join(parts[:-1] if is_package else parts), ast.parse(file.read_text()), is_package


def imports(name: str, tree: ast.AST, is_package: bool) -> Iterator[str]:
    """Modules of the package that a syntax tree imports, by their names below fastconv."""
    package = name.split(".") if is_package else name.split(".")[:-1]
    known = {module for module, _, _ in MODULES}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1] + (node.module.split(".") if node.module else [])
            base = [part for part in base if part]
            for alias in node.names:
                full = ".".join([*base, alias.name])
                # ``from . import _x`` may name a compiled module, which has no syntax tree.
                yield full if full in known or not node.module else ".".join(base)
        elif isinstance(node, ast.Import):
            assert not any(alias.name.split(".")[0] == "fastconv" for alias in node.names), f"{name}: absolute import"


MODULES = list(modules())


def test_every_module_has_a_layer() -> None:
    assert {name.split(".")[0] for name, _, _ in MODULES} <= set(LEVEL)


@pytest.mark.parametrize("name", [name for name, _, _ in MODULES])
def test_imports_go_downward(name: str) -> None:
    tree, is_package = next((tree, package) for module, tree, package in MODULES if module == name)
    for imported in imports(name, tree, is_package):
        assert LEVEL[imported.split(".")[0]] <= LEVEL[name.split(".")[0]], f"{name} imports {imported}"


@pytest.mark.parametrize("name", [name for name, _, _ in MODULES if name.split(".")[0] in PUBLIC])
def test_public_functions_only_normalise_and_execute(name: str) -> None:
    tree, is_package = next((tree, package) for module, tree, package in MODULES if module == name)
    own = name.split(".")[0]
    for imported in imports(name, tree, is_package):
        first = imported.split(".")[0]
        assert first in ("_docs", "_execute", "_normalize", own), f"{name} imports {imported}"


def test_only_the_seam_imports_a_backend() -> None:
    for name, tree, is_package in MODULES:
        if name != "_backend":
            others = {"_cpu", "_gpu"} - {name.split(".")[0]}
            backends = [imported for imported in imports(name, tree, is_package) if imported.split(".")[0] in others]
            assert not backends, f"{name} imports {backends}"


def test_one_module_imports_cupy() -> None:
    """And that one inside its functions: ``import fastconv`` never does."""
    importers = {
        name
        for name, tree, _ in MODULES
        for node in ast.walk(tree)
        if (isinstance(node, ast.Import) and any(alias.name.split(".")[0] in CUPY for alias in node.names))
        or (isinstance(node, ast.ImportFrom) and not node.level and (node.module or "").split(".")[0] in CUPY)
    }
    assert importers <= {"_gpu.cupy"}
    at_import = [node for name, tree, _ in MODULES if name == "_gpu.cupy" for node in tree.body]
    assert not any(isinstance(node, ast.Import) and node.names[0].name in CUPY for node in at_import)


def test_modules_do_not_import_each_other_in_circles() -> None:
    graph = {
        name: {i for node in tree.body if isinstance(node, ast.ImportFrom) for i in imports(name, node, is_package)}
        for name, tree, is_package in MODULES
    }
    done: set[str] = set()

    def visit(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, " -> ".join((*above, name))
        if name in done or name not in graph:
            return
        for imported in graph[name] - {name}:
            # A package's modules may import one another through its name.
            if not name.startswith(imported + "."):
                visit(imported, (*above, name))
        done.add(name)

    for name in graph:
        visit(name, ())


def _source(file: Path) -> str:
    """The text without comments and docstrings."""
    text = file.read_text()
    if file.suffix in (".c", ".h"):
        return re.sub(r"/\*.*?\*/|//[^\n]*", "", text, flags=re.DOTALL)
    return re.sub(r'""".*?"""|#[^\n]*', "", text, flags=re.DOTALL)


def test_one_file_starts_threads() -> None:
    """No other knows of them, but for C text inside of runtime.pyx that asks OpenMP for its limit."""
    threads = re.compile(r"\b(prange|parallel|openmp|omp_\w+|_OPENMP|pthread\w*)\b|#\s*pragma\s+omp")
    users = [
        file.name
        for pattern in ("*.pyx", "*.pxd", "*.c", "*.h")
        for file in (PACKAGE / "_cpu").rglob(pattern)
        if threads.search(_source(file))
    ]
    assert users == ["threads.c"]


@pytest.mark.parametrize("file", sorted({*(PACKAGE / "_cpu").rglob("*.[ch]")} - THREADS), ids=lambda file: file.name)
def test_kernels_are_pure(file: Path) -> None:
    """No allocation, no input or output, no Python, no mutable data that outlives a call."""
    text = _source(file)
    forbidden = re.search(r"\b(malloc|calloc|realloc|free|alloca|printf|fopen|Py\w+|abort|exit|assert)\s*\(", text)
    assert forbidden is None, forbidden
    includes = set(re.findall(r"#\s*include\s*<([^>]+)>", text))
    allowed = {
        "stdint.h",
        "stddef.h",
        "string.h",
        "math.h",
        "complex.h",
        "float.h",
        "limits.h",
        "stdlib.h",
        "immintrin.h",
    }
    if file.name == "tile_permission.h":  # asks the system, when levels are looked at and not while computing
        allowed |= {"cpuid.h", "sys/syscall.h", "unistd.h"}
    assert includes <= allowed
    for line in text.splitlines():
        # A static object, as opposed to a static function: no parenthesis before its end or its initialiser.
        found = re.match(r"\s*static\s+(?!inline)([^()=;]*)(=|;|\[)", line)
        assert found is None or "const" in found[1], line


OF_PACKED_WEIGHTS = re.compile(r"raise (MemoryError|ValueError\(.w: got packed weights)")
REFUSES = re.compile(r"\b(bad_value|bad_type)\(")
MAY_REFUSE = ("_normalize/", "_config.py", "_errors.py", "_problem.py", "_arrays.py", "_choose/select.py")
"""The last two: what can be converted to an array at all, and whether an algorithm of that name exists."""


def test_one_place_refuses_input() -> None:
    for file in PACKAGE.rglob("*.py"):
        path = file.relative_to(PACKAGE).as_posix()
        if not path.startswith(MAY_REFUSE):
            assert not REFUSES.search(_source(file)), f"{path} refuses input"


def test_public_functions_and_algorithms_raise_nothing_of_their_own() -> None:
    for name, tree, _ in MODULES:
        if name.split(".")[0] in (*PUBLIC, "_execute") or name.startswith("_cpu.algorithms"):
            raises = [node for node in ast.walk(tree) if isinstance(node, ast.Raise) and node.exc is not None]
            raised = [node.lineno for node in raises if not OF_PACKED_WEIGHTS.search(ast.unparse(node))]
            assert not raised, f"{name}, lines {raised}"


@pytest.mark.parametrize(("patterns", "most"), [(("*.py", "*.pyx"), 400), (("*.c", "*.h"), 600)])
def test_files_stay_short(patterns: tuple[str, ...], most: int) -> None:
    long = {
        file.relative_to(ROOT).as_posix(): lines
        for pattern in patterns
        for file in PACKAGE.rglob(pattern)
        if (lines := len(file.read_text().splitlines())) > most
    }
    assert not long
