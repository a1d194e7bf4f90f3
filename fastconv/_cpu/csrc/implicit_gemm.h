#define STUB(name) static void NAMED(name)(const void *job, int64_t item, void *scratch) { (void)job; (void)item; (void)scratch; }
STUB(gemm_pack_weight) STUB(gemm_correlate) STUB(gemm_weight_gradient) STUB(gemm_weight_reduce)
