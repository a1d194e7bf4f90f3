/* Runs of neighbouring pixels with filters as lanes: the tiles that they are cut into, and their epilogue. */

/* Of `left` taps those that share vectors next. */
static inline int64_t NAMED(taps_together)(int64_t left) { return left == 1 ? 1 : left == 2 || left == 4 ? 2 : 3; }

/* The next tile of a row of which `left` of `pixels` are to do, of the sizes many, some, few and one: its number and,
 * in *taken, its pixels. As few pixels as can be are computed twice. */
static inline int NAMED(next_tile)(const int *sizes, int64_t left, int64_t pixels, int64_t *taken) {
    int size = 0;
    if (left > sizes[0] && left <= 2 * sizes[1]) size = 1;
    if (left < sizes[0]) size = left <= sizes[2] || left == 2 * sizes[2] ? 2 : 1;
    while (sizes[size] > pixels) size++;
    *taken = sizes[size];
    return size;
}

/* Bias, add and activation on `channels` channels from `channel` on of pixels [w, end) of row h of plane d of image n,
 * pixel by pixel. */
static void NAMED(finish_pixels)(const packed_phase_t *phase, REAL *first, int64_t pixel_stride, int64_t channel_stride,
                                 int64_t channel, int64_t channels, int64_t n, int64_t d, int64_t h, int64_t w,
                                 int64_t end) {
    const epilogue_t *e = &phase->epilogue;
    const REAL *add = (const REAL *)e->add, *bias = e->bias == NULL ? NULL : (const REAL *)e->bias + channel;
    if (add != NULL)
        add += n * e->add_stride[0] + channel * e->add_stride[1] + d * e->add_stride[2] + h * e->add_stride[3] +
               w * e->add_stride[4];
    const NAMED(finish_t) pixels = {.rows = end - w,
                                    .count = channels,
                                    .result = first,
                                    .row_stride = pixel_stride,
                                    .stride = channel_stride,
                                    .bias = bias,
                                    .bias_stride = 1,
                                    .add = add,
                                    .add_row_stride = e->add_stride[4],
                                    .add_stride = e->add_stride[1]};
    NAMED(finish_rows)(e, &pixels);
}
