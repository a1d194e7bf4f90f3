/* Writes gathered lines into panels, [panel][depth][width]: the operands of the register tile. */

/* One panel from `width` lines that run along the depth, `lines` apart by `line_stride`: panel[r][i] = lines[i][r].
 *
 * Lines up to the next multiple of LANES are read, and no more than `depth` elements of any. Rows of the panel are
 * stored in ascending order as whole vectors, each running over into the next row, which then overwrites the excess;
 * nothing behind the panel is touched. */
static void NAMED(pack_transposed)(const REAL *lines, int64_t line_stride, int64_t width, int64_t depth, REAL *panel) {
    const int64_t vectors = div_up(width, LANES), whole = width % LANES == 0 ? depth : depth - vectors * LANES / width;
    NAMED(vector) block[4 * LANES];
    int64_t r = 0;
    for (; width % LANES == 0 && r + LANES <= whole; r += LANES)
        for (int64_t v = 0; v < vectors; v++) {
            NAMED(vector) square[LANES];
#pragma GCC unroll 16
            for (int i = 0; i < LANES; i++)
                square[i] = *(const NAMED(unaligned) *)(lines + (v * LANES + i) * line_stride + r);
            NAMED(transpose)(square);
#pragma GCC unroll 16
            for (int i = 0; i < LANES; i++) *(NAMED(unaligned) *)(panel + (r + i) * width + v * LANES) = square[i];
        }
    for (; r + LANES <= whole; r += LANES) {
        for (int64_t v = 0; v < vectors; v++) {
            NAMED(vector) square[LANES];
#pragma GCC unroll 16
            for (int i = 0; i < LANES; i++)
                square[i] = *(const NAMED(unaligned) *)(lines + (v * LANES + i) * line_stride + r);
            NAMED(transpose)(square);
#pragma GCC unroll 16
            for (int i = 0; i < LANES; i++) block[i * 4 + v] = square[i];
        }
        for (int i = 0; i < LANES; i++)
            for (int64_t v = 0; v < vectors; v++)
                *(NAMED(unaligned) *)(panel + (r + i) * width + v * LANES) = block[i * 4 + v];
    }
    for (; r < depth; r++)
        for (int64_t i = 0; i < width; i++) panel[r * width + i] = lines[i * line_stride + r];
}

/* Addresses that may be read, `low` to `high`. */
typedef struct {
    uintptr_t low;
    uintptr_t high;
} NAMED(room_t);

/* Neighbouring lanes of a vector of pixels that are neighbours in the band. */
typedef struct {
    const REAL *base; /* of lane 0, had it been in the run */
    NAMED(lane_index) mask;
} NAMED(run_t);

/* Lanes of a vector of pixels that are elements of two neighbouring vectors of the band. */
typedef struct {
    const REAL *base;
    NAMED(lane_index) which;
    NAMED(lane_index) mask;
} NAMED(pick_t);

/* Picks the pixels of one vector from `count` such pairs. */
ALWAYS_INLINE void NAMED(pack_picks)(const int count, const NAMED(pick_t) *pick, const int64_t *offset, int64_t depth,
                                     int64_t width, REAL *panel) {
    for (int64_t r = 0; r < depth; r++) {
        NAMED(lane_index) sum = {0};
#pragma GCC unroll 2
        for (int k = 0; k < count; k++) {
            const NAMED(unaligned) *pair = (const NAMED(unaligned) *)(pick[k].base + offset[r]);
            sum |= (NAMED(lane_index))NAMED(shuffle)((NAMED(vector))pair[0], (NAMED(vector))pair[1], pick[k].which) &
                   pick[k].mask;
        }
        *(NAMED(unaligned) *)(panel + r * width) = (NAMED(vector))sum;
    }
}

ALWAYS_INLINE void NAMED(pack_runs)(const int count, const NAMED(run_t) *run, const int64_t *offset, int64_t depth,
                                    int64_t width, REAL *panel) {
    for (int64_t r = 0; r < depth; r++) {
        NAMED(lane_index) sum = {0};
#pragma GCC unroll 4
        for (int k = 0; k < count; k++)
            sum |= (NAMED(lane_index))(*(const NAMED(unaligned) *)(run[k].base + offset[r])) & run[k].mask;
        *(NAMED(unaligned) *)(panel + r * width) = (NAMED(vector))sum;
    }
}

/* Whether `length` elements can be loaded from `base` at all of `count` offsets. */
static inline int NAMED(has_room)(const REAL *base, int64_t length, const int64_t *offset, int64_t count,
                                  NAMED(room_t) room) {
    int64_t least = count > 0 ? offset[0] : 0, most = least;
    if (room.high == UINTPTR_MAX) return 1;
    for (int64_t r = 1; r < count; r++) {
        least = min64(least, offset[r]);
        most = max64(most, offset[r]);
    }
    return (uintptr_t)(base + least) >= room.low && (uintptr_t)(base + most + length) <= room.high;
}

/* Packs the columns from one or two pairs of vectors, if these hold all of them: rows of a small image, or every other
 * pixel. */
static int NAMED(pack_near)(const REAL *band, const int64_t *pixel, int64_t count, const int64_t *offset, int64_t depth,
                            NAMED(room_t) room, int64_t width, REAL *panel) {
    NAMED(pick_t) pick[2];
    int64_t picks = 0;
    for (int64_t i = 0, lane; i < count; i = lane, picks++) {
        const int64_t first = pixel[i];
        if (picks == 2 || !NAMED(has_room)(band + first, 2 * LANES, offset, depth, room)) return 0;
        pick[picks] = (NAMED(pick_t)){.base = band + first};
        for (lane = i; lane < count && pixel[lane] >= first && pixel[lane] < first + 2 * LANES; lane++) {
            pick[picks].which[lane] = pixel[lane] - first;
            pick[picks].mask[lane] = -1;
        }
    }
    if (picks == 1)
        NAMED(pack_picks)(1, pick, offset, depth, width, panel);
    else
        NAMED(pack_picks)(2, pick, offset, depth, width, panel);
    return 1;
}

/* LANES columns of a panel of `width`: `count` pixels of a band, zeros behind them. Up to a vector before and behind
 * the pixels is read, where there is room. */
static void NAMED(pack_pixels)(const REAL *band, const int64_t *pixel, int64_t count, const int64_t *offset,
                               int64_t depth, NAMED(room_t) room, int64_t width, REAL *panel) {
    NAMED(run_t) run[4];
    int64_t runs = 0;
    for (int64_t i = 0; i < count; runs++) {
        int64_t end = i + 1;
        while (end < count && pixel[end] == pixel[end - 1] + 1) end++;
        if (runs < 4) {
            run[runs] = (NAMED(run_t)){.base = band + pixel[i] - i};
            for (int64_t lane = i; lane < end; lane++) run[runs].mask[lane] = -1;
            if ((i > 0 || end < LANES) && !NAMED(has_room)(run[runs].base, LANES, offset, depth, room))
                runs = 4; /* one by one */
        }
        i = end;
    }
    if (runs > 1 && NAMED(pack_near)(band, pixel, count, offset, depth, room, width, panel)) return;
    if (runs == 1 && count == LANES) {
        const REAL *base = run[0].base;
        for (int64_t r = 0; r < depth; r++)
            *(NAMED(unaligned) *)(panel + r * width) = *(const NAMED(unaligned) *)(base + offset[r]);
    } else if (runs == 0) {
        NAMED(pack_runs)(0, run, offset, depth, width, panel);
    } else if (runs == 1) {
        NAMED(pack_runs)(1, run, offset, depth, width, panel);
    } else if (runs == 2) {
        NAMED(pack_runs)(2, run, offset, depth, width, panel);
    } else if (runs == 3) {
        NAMED(pack_runs)(3, run, offset, depth, width, panel);
    } else if (runs == 4) {
        NAMED(pack_runs)(4, run, offset, depth, width, panel);
    } else {
        for (int64_t r = 0; r < depth; r++)
            for (int64_t i = 0; i < LANES; i++) panel[r * width + i] = i < count ? band[pixel[i] + offset[r]] : 0;
    }
}

/* A column panel of `width`, `count` pixels of a band: whole vectors, or [pixel][depth] where it is narrower than one.
 */
static void NAMED(pack_columns)(const REAL *band, const int64_t *pixel, int64_t count, const int64_t *offset,
                                int64_t depth, NAMED(room_t) room, int64_t width, REAL *panel) {
    for (int64_t i = 0; i < width && width < LANES; i++)
        for (int64_t r = 0; r < depth; r++) panel[i * depth + r] = band[pixel[i] + offset[r]];
    for (int64_t i = 0; i + LANES <= width; i += LANES)
        NAMED(pack_pixels)(band, pixel + i, max64(min64(count - i, LANES), 0), offset, depth, room, width, panel + i);
}
