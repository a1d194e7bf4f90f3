// Adds the sums of a weight gradient's splits in ascending order, where the weights of a filter are one piece in memory,
// (channel, tap), while its sums are (tap, channel): a block turns those of CHANNELS channels in shared memory.
//
// partial: (split, group, filter, column), in float. Grid: (blocks of channels, filters of all groups).
extern "C" __global__ void __launch_bounds__(THREADS)
    add_partials(const float *__restrict__ partial, fc_element *weight, const void *, const void *,
                 const __grid_constant__ fc_correlation c, const __grid_constant__ fc_gemm gemm) {
    __shared__ fc_element turned[CHANNELS * TAPS];
    const int first = blockIdx.x * CHANNELS, row = blockIdx.y, group = fc_quotient(row, gemm.group_rows);
    const int channels = min(CHANNELS, c.channels - first);
    const long long apart = (long long)c.groups * gemm.rows * gemm.columns; // from a split to the next
    partial += (long long)row * gemm.columns + first;
    for (int i = threadIdx.x; i < TAPS * CHANNELS / 4; i += THREADS) {
        const int tap = i / (CHANNELS / 4), channel = i % (CHANNELS / 4) * 4;
        if (channel >= channels) continue;
        const float *from = partial + (tap * (int)gemm.inner.d + channel);
        float4 z = *(const float4 *)from;
#pragma unroll 8
        for (int s = 1; s < gemm.splits; s++) {
            const float4 x = *(const float4 *)(from + s * apart);
            z.x = fc_plus(z.x, x.x), z.y = fc_plus(z.y, x.y), z.z = fc_plus(z.z, x.z), z.w = fc_plus(z.w, x.w);
        }
        const float of_four[4] = {z.x, z.y, z.z, z.w};
#pragma unroll
        for (int e = 0; e < 4; e++) turned[(channel + e) * TAPS + tap] = fc_narrow(of_four[e]);
    }
    __syncthreads(); // all taps
    weight += c.weight_at + group * c.weight_group_stride + (row - group * gemm.rows) * c.weight_stride[0] + first * TAPS;
    for (int i = threadIdx.x; i < channels * TAPS; i += THREADS) weight[i] = turned[i];
}
