#define STUB(name) static void NAMED(name)(const void *job, int64_t item, void *scratch) { (void)job; (void)item; (void)scratch; }
STUB(direct_correlate) STUB(direct_weight_gradient) STUB(direct_weight_reduce)
#undef STUB
