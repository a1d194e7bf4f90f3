"""Builds what pyproject.toml cannot say: the C kernels, every room's unit once per ISA level with its own flags."""

import os
import re
import shlex
import subprocess
import tempfile
from concurrent.futures import Future, ThreadPoolExecutor
from glob import glob

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.modified import newer_group

CPU = os.path.join("fastconv", "_cpu")
CSRC = os.path.join(CPU, "csrc")
LEVELS = os.path.join(CSRC, "isa", "levels.h")


def isa_levels(compiler: list[str]) -> dict[str, list[str]]:
    """The flags by ISA level of the CPU that ``compiler`` compiles for, from the one list of levels."""
    command = [*compiler, "-E", "-P", "-x", "c", LEVELS]
    text = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout
    rows = re.findall(r'^LEVEL\((\w+),\s*"[^"]*",\s*((?:"[^"]*"\s*)+),', text, re.MULTILINE)
    return {identifier: shlex.split("".join(re.findall(r'"([^"]*)"', strings))) for identifier, strings in rows}


def baseline(levels: dict[str, list[str]]) -> list[str]:
    """The flags of what is not a kernel: on x86-64 those of NumPy's own wheels."""
    return ["-march=x86-64-v2"] if "x86_64_v2" in levels else []


# No -ffast-math: at link time it would change the floating-point mode of the whole process.
C_FLAGS = [
    "-O3",
    "-g0",
    "-std=gnu11",
    "-fvisibility=hidden",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-Wall",
    "-Wextra",
    "-Werror=implicit-function-declaration",
]
CYTHON_FLAGS = ["-O2", "-g0", "-fvisibility=hidden", "-Wno-unused-function"]
# For modules without C of their own outside of the engine, which run a few microseconds of a call at most.
LOOPS_FLAG = "-O1"
# Threads are fastconv's own (threads.c); of OpenMP it only asks how many it may start.
OPENMP_FLAG = "-fopenmp"
# FASTCONV_SANITIZE=address,undefined builds with these sanitizers, for .ci/sanitize.
SANITIZERS = os.environ.get("FASTCONV_SANITIZE", "")
SANITIZE_FLAGS = [
    f"-fsanitize={SANITIZERS}",
    "-fno-sanitize-recover=all",
    "-fno-omit-frame-pointer",
    # Python's own flags have -fwrapv, with which no overflow is one.
    "-fno-wrapv",
    "-O1",
    "-g",
]
if SANITIZERS:
    C_FLAGS += SANITIZE_FLAGS
    CYTHON_FLAGS += SANITIZE_FLAGS

# FASTCONV_PORTABLE=1 builds the portable level on x86-64, too, for its tests.
PORTABLE_FLAGS = ["-DWITH_PORTABLE"] if os.environ.get("FASTCONV_PORTABLE") else []
C_FLAGS += PORTABLE_FLAGS
CYTHON_FLAGS += PORTABLE_FLAGS

DIRECTIVES = {
    "language_level": 3,
    "boundscheck": False,
    "wraparound": False,
    "embedsignature": True,
    "initializedcheck": False,
    # What threads share is behind locks of its own, or does not change. Read through for that; not run without the GIL.
    "freethreading_compatible": True,
}


def sources_of(folder: str) -> list[str]:
    """All C of a room, and what rooms share: what its objects depend on."""
    shared = glob(os.path.join(CSRC, "**", "*.h"), recursive=True)
    return [
        "setup.py",
        *shared,
        *(file for kind in ("c", "h", "inc") for file in glob(os.path.join(folder, f"*.{kind}"))),
    ]


def extension(module: str) -> Extension:
    """The Cython module of the file ``module``. Its folder's C belongs to the module of the loops, in the engine to the
    runtime."""
    folder = os.path.dirname(module)
    sources = [module]
    if owns_c(module):
        sources += sorted(set(glob(os.path.join(folder, "*.c"))) - {os.path.join(folder, "unit.c")})
    return Extension(
        os.path.splitext(module)[0].replace(os.sep, "."),
        sources,
        include_dirs=[folder, CSRC],
        depends=sources_of(folder),
    )


def owns_c(module: str) -> bool:
    """Whether the Cython module is the one of its folder that C sources and kernels are linked into."""
    return os.path.basename(module) in ("loops.pyx", "runtime.pyx")


EXTENSIONS = [extension(module) for module in sorted(glob(os.path.join(CPU, "**", "*.pyx"), recursive=True))]
UNITS = sorted(glob(os.path.join(CPU, "**", "unit.c"), recursive=True))


class BuildKernels(build_ext):
    """build_ext that also compiles every unit once per ISA level, all side by side."""

    def build_extensions(self) -> None:
        levels = isa_levels([*self.compiler.compiler_so, *PORTABLE_FLAGS])
        program = "#include <omp.h>\nint main(void) { return omp_get_max_threads() < 1; }\n"
        openmp = [OPENMP_FLAG] if self.builds(program, [OPENMP_FLAG]) else []
        if not openmp:
            print("fastconv: the compiler has no OpenMP; what limits its threads from outside will not be seen")
        for identifier, flags in levels.items():
            if not self.builds("int main(void) { return 0; }\n", flags):
                print(
                    f"fastconv: the compiler does not know {' '.join(flags)}; building without the level {identifier}"
                )
                levels[identifier] = [*baseline(levels), "-DNOT_COMPILED"]
        with ThreadPoolExecutor(self.parallel if self.parallel not in (None, True) else os.cpu_count()) as pool:
            # The largest first, so that no core waits for one at the end; modules wait for the objects they link.
            units: dict[str, list[Future[str]]] = {os.path.dirname(unit): [] for unit in UNITS}
            for unit in sorted(UNITS, key=lambda unit: -sum(map(os.path.getsize, sources_of(os.path.dirname(unit))))):
                for identifier, flags in reversed(levels.items()):
                    units[os.path.dirname(unit)].append(pool.submit(self.compile_unit, unit, identifier, flags))
            modules = []
            for extension in self.extensions:
                extension.extra_compile_args = [*baseline(levels), *CYTHON_FLAGS]
                if len(extension.sources) == 1 and ".engine." not in extension.name:
                    extension.extra_compile_args.append(LOOPS_FLAG)
                extension.extra_link_args = list(SANITIZE_FLAGS if SANITIZERS else [])
                if extension.name.endswith(".runtime"):
                    extension.extra_compile_args += openmp
                    extension.extra_link_args += openmp
                source = extension.name.replace(".", os.sep) + ".pyx"
                objects = units.get(os.path.dirname(source), []) if owns_c(source) else []
                modules.append(pool.submit(self.build_module, extension, objects))
            for module in modules:
                module.result()

    def build_module(self, extension: Extension, objects: list[Future[str]]) -> None:
        """The module of ``extension`` with the objects of its room's unit."""
        extension.extra_objects = [each.result() for each in objects]
        extension.depends += extension.extra_objects
        self.build_extension(extension)

    def compile_unit(self, unit: str, identifier: str, flags: list[str]) -> str:
        """The object of one room at one level."""
        folder = os.path.join(self.build_temp, "isa", identifier)
        room = os.path.dirname(unit)
        (made,) = self.compiler.object_filenames([unit], output_dir=folder)
        if not newer_group(sources_of(room), made):
            return made
        return self.compiler.compile(
            [unit],
            output_dir=folder,
            include_dirs=[room, CSRC],
            macros=[("ISA_LEVEL", identifier)],
            extra_preargs=[*C_FLAGS, *flags],
        )[0]

    def builds(self, program: str, flags: list[str]) -> bool:
        """Whether the compiler accepts ``flags`` and links the C program with them."""
        with tempfile.TemporaryDirectory() as folder:
            source = os.path.join(folder, "probe.c")
            with open(source, "w") as file:
                file.write(program)
            try:
                objects = self.compiler.compile([source], output_dir=folder, extra_preargs=flags)
                self.compiler.link_executable(objects, os.path.join(folder, "probe"), extra_postargs=flags)
            except Exception:
                return False
        return True


setup(
    ext_modules=cythonize(
        EXTENSIONS, compiler_directives=DIRECTIVES, build_dir="build/cython", nthreads=os.cpu_count() or 1
    ),
    cmdclass={"build_ext": BuildKernels},
)
