"""Builds what pyproject.toml cannot say: the C kernels, one object per ISA level with its own flags, and OpenMP."""

import os
import platform
import tempfile
from concurrent.futures import ThreadPoolExecutor
from glob import glob

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.modified import newer_group

CPU = os.path.join("fastconv", "_cpu")
CSRC = os.path.join(CPU, "csrc")
KERNEL_SOURCES = sorted(glob(os.path.join(CPU, "**", "*.[ch]"), recursive=True))

# One row per ISA level; its tile sizes are in csrc/isa/<identifier>.h and its CPUID test in csrc/isa/levels.h.
BASELINE = ["-march=x86-64-v2"]
ISA_LEVELS = {
    "x86_64_v2": BASELINE,
    "x86_64_v3": ["-march=x86-64-v3"],
    "x86_64_v4": ["-march=x86-64-v4", "-mprefer-vector-width=512"],
    "avx512_bf16": ["-march=x86-64-v4", "-mprefer-vector-width=512", "-mavx512bf16"],
    "amx": ["-march=x86-64-v4", "-mprefer-vector-width=512", "-mamx-tile", "-mamx-bf16"],
}

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
]
CYTHON_FLAGS = ["-O2", "-g0", "-fvisibility=hidden", "-Wno-unused-function"]
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

DIRECTIVES = {
    "language_level": 3,
    "boundscheck": False,
    "wraparound": False,
    "embedsignature": True,
    "initializedcheck": False,
}


def extension(module: str) -> Extension:
    """The Cython module of the file ``module``; the C sources of its folder belong to its loops or, of the engine, to
    its runtime."""
    folder, file = os.path.split(module)
    owns = file in ("loops.pyx", "runtime.pyx")
    return Extension(
        os.path.splitext(module)[0].replace(os.sep, "."),
        [module, *(sorted(glob(os.path.join(folder, "*.c"))) if owns else [])],
        include_dirs=[folder, CPU, CSRC],
        depends=KERNEL_SOURCES,
    )


EXTENSIONS = [extension(module) for module in sorted(glob(os.path.join(CPU, "**", "*.pyx"), recursive=True))]


class BuildKernels(build_ext):
    """build_ext that also compiles ``isa_unit.c`` once per ISA level and links the objects into the engine's ``runtime``."""

    def build_extensions(self) -> None:
        if platform.machine().lower() not in ("x86_64", "amd64"):
            raise SystemExit(f"fastconv: no kernels for {platform.machine()} yet; x86-64 is supported")
        program = "#include <omp.h>\nint main(void) { return omp_get_max_threads() < 1; }\n"
        openmp = [OPENMP_FLAG] if self.builds(program, [OPENMP_FLAG]) else []
        if not openmp:
            print("fastconv: the compiler has no OpenMP; what limits its threads from outside will not be seen")
        for extension in self.extensions:
            extension.extra_compile_args = [*BASELINE, *CYTHON_FLAGS]
            extension.extra_link_args = list(SANITIZE_FLAGS if SANITIZERS else [])
            if extension.name.endswith(".runtime"):
                extension.extra_compile_args += openmp
                extension.extra_link_args += openmp
                with ThreadPoolExecutor(os.cpu_count()) as pool:
                    extension.extra_objects = list(pool.map(self.compile_level, *zip(*ISA_LEVELS.items(), strict=True)))
        super().build_extensions()

    def compile_level(self, identifier: str, flags: list[str]) -> str:
        """The object of one level; one without kernels if the compiler does not know its instructions."""
        folder = os.path.join(self.build_temp, "isa", identifier)
        source = os.path.join(CSRC, "isa_unit.c")
        (made,) = self.compiler.object_filenames([source], output_dir=folder)
        if not newer_group(["setup.py", *KERNEL_SOURCES], made):
            return made
        if not self.builds("int main(void) { return 0; }\n", flags):
            print(f"fastconv: the compiler does not know {' '.join(flags)}; building without the level {identifier}")
            flags = [*BASELINE, "-DNOT_COMPILED"]
        return self.compiler.compile(
            [source],
            output_dir=folder,
            include_dirs=[CPU, CSRC],
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
    ext_modules=cythonize(EXTENSIONS, compiler_directives=DIRECTIVES, build_dir="build/cython"),
    cmdclass={"build_ext": BuildKernels},
)
