// Where the reduction of a product of matrices is split: adds the sums of the splits in a fixed order.
//
// partial: (split, group, row, column), in the precision of sums. A block has 256 / LINES columns and LINES threads for
// each, rows in steps of the grid's height: a line adds every LINES-th split, in ascending order, then the lines' sums
// are added in ascending order. Then the epilogue, or the weight's place where OF_GRADIENT. The result is of elements or, where OF_SUMS, of sums.
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
    const int width = 256 / LINES, n = blockIdx.x * width + threadIdx.x % width, line = threadIdx.x / width;
    const int rows = c.groups * gemm.rows;
    bool there = n < gemm.columns;
#if OF_GRADIENT
    const fc_column at = fc_column_of(there ? n : 0, gemm);
    there &= at.channel < c.channels; // not those that fill up a tap
    result += c.weight_at + FC_WEIGHT_AT(at);
#else
    const fc_pixel at = fc_decode(there ? n : 0, gemm);
    result += c.result_at + fc_offset(at, c.result_stride);
    if (HAS_ADD) add += c.add_at + fc_offset(at, c.add_stride);
#endif
    const long long matrix = (long long)rows * gemm.columns, down = (long long)gridDim.y * gemm.columns;
    const fc_sum *first = partial + (line * matrix + (long long)blockIdx.y * gemm.columns + n);
    for (int row = blockIdx.y; row < rows; row += gridDim.y, first += down) {
        const fc_sum *from = first;
        fc_sum z = there && line < gemm.splits ? *from : fc_sum(0);
        if (there)
#pragma unroll 8
            for (int s = line + LINES; s < gemm.splits; s += LINES) {
                from += LINES * matrix;
                z = fc_plus(z, *from);
            }
#if LINES > 1
        __shared__ fc_sum of_line[LINES][256 / LINES];
        of_line[line][threadIdx.x % width] = z;
        __syncthreads(); // of all lines
        if (line == 0)
            for (int i = 1; i < LINES; i++) z = fc_plus(z, of_line[i][threadIdx.x]);
        __syncthreads(); // nobody reads what the next row overwrites
#endif
        if (!there || line > 0) continue;
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
