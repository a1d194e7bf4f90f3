// The functions of libcublas that are called past CuPy, with the types of cublas_api.h; Python's functions compute.
#include <stddef.h>

typedef int (*set_stream_fn)(void *, void *);
typedef int (*set_workspace_fn)(void *, void *, size_t);
typedef int (*set_math_mode_fn)(void *, int);
typedef int (*gemm_fn)(void *, int, int, int, int, int, const void *, const void *, int, int, long long, const void *,
                       int, int, long long, const void *, void *, int, int, long long, int, int, int);
static set_stream_fn set_stream;
static set_workspace_fn set_workspace;
static set_math_mode_fn set_math_mode;
static gemm_fn gemm;

void emulated_cublas(set_stream_fn stream, set_workspace_fn workspace, set_math_mode_fn mode, gemm_fn multiply) {
    set_stream = stream;
    set_workspace = workspace;
    set_math_mode = mode;
    gemm = multiply;
}

int cublasSetStream_v2(void *handle, void *stream) { return set_stream(handle, stream); }
int cublasSetWorkspace_v2(void *handle, void *workspace, size_t size) { return set_workspace(handle, workspace, size); }
int cublasSetMathMode(void *handle, int mode) { return set_math_mode(handle, mode); }
int cublasGemmStridedBatchedEx(void *handle, int transa, int transb, int m, int n, int k, const void *alpha,
                               const void *a, int a_type, int lda, long long a_step, const void *b, int b_type, int ldb,
                               long long b_step, const void *beta, void *c, int c_type, int ldc, long long c_step,
                               int count, int compute, int algorithm) {
    return gemm(handle, transa, transb, m, n, k, alpha, a, a_type, lda, a_step, b, b_type, ldb, b_step, beta, c, c_type,
                ldc, c_step, count, compute, algorithm);
}
