// Weight gradients of depthwise problems whose sums are split: adds the splits' partial sums in a fixed order.
//
// partial: [split][count], counted along (filter, tap), or along (tap, filter) where FILTERS_LAST. A block has 32 of
// them beside each other and LINES threads for each: a line adds every LINES-th split, in ascending order, then the
// lines' sums are added in ascending order. `inner` divides by the taps, or by the filters.
#define TOGETHER 8

extern "C" __global__ void __launch_bounds__(32 * LINES)
    sum_splits(const fc_sum *__restrict__ partial, fc_element *__restrict__ result,
               const __grid_constant__ fc_correlation c, const __grid_constant__ fc_divider inner, fc_u32 count,
               fc_u32 splits) {
    __shared__ fc_sum of_line[LINES][32];
    const fc_u32 lane = threadIdx.x % 32, line = threadIdx.x / 32, index = blockIdx.x * 32 + lane;
    fc_sum sum = 0;
    for (fc_u32 first = line; first < splits; first += LINES * TOGETHER) { // loads that do not wait for each other
        fc_sum part[TOGETHER];
#pragma unroll
        for (int i = 0; i < TOGETHER; i++) {
            const fc_u32 split = first + i * LINES;
            part[i] = split < splits && index < count ? partial[(long long)split * count + index] : fc_sum(0);
        }
#pragma unroll
        for (int i = 0; i < TOGETHER; i++) sum = fc_plus(sum, part[i]);
    }
    of_line[line][lane] = sum;
    __syncthreads(); // of all lines
    if (line > 0 || index >= count) return;
#pragma unroll
    for (int i = 1; i < LINES; i++) sum = fc_plus(sum, of_line[i][lane]);
    const int outer = fc_quotient(index, inner), rest = index - outer * inner.d;
    const int filter = FILTERS_LAST ? rest : outer, tap = FILTERS_LAST ? outer : rest;
    result[c.weight_at + filter * c.weight_stride[0] + tap / (KW * KH) * c.weight_stride[2] +
           tap / KW % KH * c.weight_stride[3] + tap % KW * c.weight_stride[4]] = fc_narrow(sum); // by constants
}
