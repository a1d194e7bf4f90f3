STUB(direct_correlate) STUB(direct_weight_gradient) STUB(direct_weight_reduce)
#undef STUB
