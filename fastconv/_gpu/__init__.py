"""The GPU backend: CUDA kernels on CuPy arrays, through RawModule."""
