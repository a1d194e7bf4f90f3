// All sliding blocks of an image as columns, and their sums: one thread per element of what is computed.
//
// Block o of an axis has the elements o*stride + k*dilation - before of the image, k < kernel; those outside are zeros.
// Columns have a row for each (channel, k) and a column for each block.
// Numerics: sums run over the kernel in its order, in double, integers modulo 2^64; each is rounded once.
// ELEMENT: the arrays' type.
struct unfold_problem {
    long long image_stride[5], columns_stride[3];
    long long batch, channels;
    long long sizes[3], kernel[3], dilation[3], stride[3], before[3], counts[3];
};

extern "C" __global__ void unfold(const ELEMENT *image, ELEMENT *columns, const __grid_constant__ unfold_problem c) {
    const long long rows = c.channels * c.kernel[0] * c.kernel[1] * c.kernel[2];
    const long long blocks = c.counts[0] * c.counts[1] * c.counts[2];
    FC_EACH(i, c.batch * rows * blocks) {
        long long block = i % blocks, row = i / blocks % rows, channel = row;
        const long long n = i / blocks / rows,
                        to = n * c.columns_stride[0] + row * c.columns_stride[1] + block * c.columns_stride[2];
        long long from = n * c.image_stride[0];
        bool inside = true;
        for (int axis = 2; axis >= 0; axis--) {
            const long long at =
                block % c.counts[axis] * c.stride[axis] + channel % c.kernel[axis] * c.dilation[axis] - c.before[axis];
            block /= c.counts[axis];
            channel /= c.kernel[axis];
            inside &= at >= 0 && at < c.sizes[axis];
            from += at * c.image_stride[2 + axis];
        }
        columns[to] = inside ? image[from + channel * c.image_stride[1]] : ELEMENT();
    }
}

#ifdef IS_SUMMED
extern "C" __global__ void fold(const ELEMENT *columns, ELEMENT *image, const __grid_constant__ unfold_problem c) {
    const long long size[5] = {c.batch, c.channels, c.sizes[0], c.sizes[1], c.sizes[2]};
    FC_EACH(i, size[0] * size[1] * size[2] * size[3] * size[4]) {
        long long at[5], k[3];
        fc_split(i, size, at);
        fc_wide<ELEMENT> sum = fc_wide<ELEMENT>();
        for (k[0] = 0; k[0] < c.kernel[0]; k[0]++)
            for (k[1] = 0; k[1] < c.kernel[1]; k[1]++)
                for (k[2] = 0; k[2] < c.kernel[2]; k[2]++) {
                    long long row = at[1], block = 0;
                    bool inside = true;
                    for (int axis = 0; axis < 3; axis++) {
                        const long long there = at[2 + axis] + c.before[axis] - k[axis] * c.dilation[axis];
                        inside &= there >= 0 && there % c.stride[axis] == 0 && there / c.stride[axis] < c.counts[axis];
                        row = row * c.kernel[axis] + k[axis];
                        block = block * c.counts[axis] + there / c.stride[axis];
                    }
                    if (inside)
                        fc_add(sum, fc_widen(columns[at[0] * c.columns_stride[0] + row * c.columns_stride[1] +
                                                     block * c.columns_stride[2]]));
                }
        fc_narrow(sum, image[fc_dot(at, c.image_stride)]);
    }
}
#endif
