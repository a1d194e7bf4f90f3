// Where the reduction of a product of matrices is split: adds the sums of the splits in ascending order.
//
// partial: (split, group, row, column), in the precision of sums. A thread per column, rows in steps of the grid's
// height. Then the epilogue, or the weight's place where OF_GRADIENT. The result is of elements or, where OF_SUMS, of sums.
#if OF_SUMS
typedef fc_sum fc_result;
static __device__ __forceinline__ fc_sum fc_stored(fc_sum z) { return z; }
#else
typedef fc_element fc_result;
static __device__ __forceinline__ fc_element fc_stored(fc_sum z) { return fc_narrow(z); }
#endif
extern "C" __global__ void __launch_bounds__(256)
    add_partials(const fc_sum *__restrict__ partial, fc_result *result, const fc_element *__restrict__ bias,
                 const fc_element *add, const __grid_constant__ fc_correlation c,
                 const __grid_constant__ fc_gemm gemm) {
    const int n = blockIdx.x * 256 + threadIdx.x, rows = c.groups * gemm.rows;
    if (n >= gemm.columns) return;
#if OF_GRADIENT
    const fc_column at = fc_column_of(n, gemm);
    if (at.channel >= c.channels) return; // columns that fill up a tap
    result += c.weight_at + FC_WEIGHT_AT(at);
#else
    const fc_pixel at = fc_decode(n, gemm);
    result += c.result_at + fc_offset(at, c.result_stride);
    if (HAS_ADD) add += c.add_at + fc_offset(at, c.add_stride);
#endif
    for (int row = blockIdx.y; row < rows; row += gridDim.y) {
        fc_sum z = partial[(long long)row * gemm.columns + n];
        for (int s = 1; s < gemm.splits; s++) z = fc_plus(z, partial[((long long)s * rows + row) * gemm.columns + n]);
#if OF_GRADIENT
        const int group = fc_quotient(row, gemm.group_rows);
        result[group * c.weight_group_stride + (row - group * gemm.rows) * c.weight_stride[0]] = fc_stored(z);
#else
        if (HAS_BIAS) z = fc_plus(z, fc_widen(bias[row]));
        if (HAS_ADD) z = fc_plus(z, fc_widen(add[row * c.add_stride[1]]));
        result[row * c.result_stride[1]] = fc_stored(fc_activate(z, (fc_sum)c.slope));
#endif
    }
}
