/* forward and backward_input of split_bf16: a block of the source as lines, then every panel of filters on its tiles.
 *
 * Layout, formula and numerics: job.h. An item converts its block chunk by chunk of channels; the sums of a block
 * of more than one chunk are kept, and go on from what the chunk before left. The order of every sum is that of
 * channels and taps, whatever the item's size. */

typedef struct {
    const split_job_t *job;
    split_scratch_t parts;
    char *scratch;
    int64_t group, image, sets, filter, filters; /* the first image; filters of the item */
    int64_t pixel[3];                            /* the block's first */
    int64_t tiles;                               /* of all sets */
    int64_t kept_lines;                          /* of the sums of one panel */
} split_item_t;

static split_item_t split_item(const split_job_t *job, int64_t item, char *scratch) {
    const correlation_t *c = split_shape(job);
    split_item_t i = {.job = job, .parts = split_scratch(job, TILE_LINES), .scratch = scratch};
    const int64_t parts = div_up(c->filters, job->block_filters);
    i.filter = item % parts * job->block_filters;
    i.filters = min64(c->filters - i.filter, job->block_filters);
    item /= parts;
    for (int axis = 2; axis >= 0; axis--) {
        const int64_t blocks = div_up(job->pixels[axis], job->block[axis]);
        i.pixel[axis] = item % blocks * job->block[axis];
        item /= blocks;
    }
    const int64_t of_sets = job->images * job->image_sets, sets = div_up(c->batch, of_sets);
    i.image = item % sets * of_sets;
    i.sets = min64(job->image_sets, div_up(c->batch - i.image, job->images));
    i.group = item / sets;
    i.kept_lines = split_kept_lines(job, TILE_LINES);
    return i;
}

/* The pixels of one phase in the item's block, its tiles, and where pixels are found and stored. Returns the number of
 * pixels of one image; `set_lines`: the lines of the sums of one set. */
static int64_t lay_tiles(split_item_t *i, const split_phase_t *phase, int64_t *set_lines) {
    const split_job_t *job = i->job;
    const correlation_t *c = &phase->correlation;
    int64_t *tiles = (int64_t *)(i->scratch + i->parts.tiles), *lines = (int64_t *)(i->scratch + i->parts.lines);
    int64_t *places = (int64_t *)(i->scratch + i->parts.places), *added = (int64_t *)(i->scratch + i->parts.added);
    int64_t pixels[3], count = 0;
    for (int axis = 0; axis < 3; axis++)
        pixels[axis] = max64(min64(c->pixels[axis] - i->pixel[axis], job->block[axis]), 0);
    if (pixels[0] * pixels[1] * pixels[2] == 0) return 0;
    const split_tiling_t tiling = split_tiling(job, pixels, TILE_LINES);
    const int64_t row_slots = split_slots(job, 2), plane_slots = row_slots * split_slots(job, 1);
    i->tiles = i->sets * tiling.set_tiles;
    for (int64_t tile = 0; tile < i->tiles; tile++)
        tiles[tile] = split_tile_line(job, &tiling, pixels, tile, TILE_LINES);
    tiles[i->tiles] = tiles[i->tiles - 1];
    *set_lines = tiling.set_tiles * TILE_LINES;
    for (int64_t d = 0; d < pixels[0]; d++)
        for (int64_t h = 0; h < pixels[1]; h++) {
            const int64_t at_d = i->pixel[0] + d, at_h = i->pixel[1] + h, at_w = i->pixel[2];
            const int64_t line = tiling.is_flat ? (d * plane_slots + h * row_slots) * job->images
                                                : (d * pixels[1] + h) * tiling.row_tiles * TILE_LINES;
            const int64_t *result = c->result_stride, *add = phase->epilogue.add_stride;
            const int64_t place = at_d * result[2] + at_h * result[3] + at_w * result[4];
            const int64_t addend = at_d * add[2] + at_h * add[3] + at_w * add[4];
            for (int64_t w = 0; w < pixels[2]; w++, count++) {
                lines[count] = line + w * job->images;
                places[count] = place + w * result[4];
                added[count] = addend + w * add[4];
            }
        }
    return count;
}

/* One panel of one phase on all tiles. `blocks` of channels from number `block` on. */
static void compute_panel(split_item_t *i, const split_phase_t *phase, int64_t panel, int64_t block, int64_t blocks,
                          float *sums, split_store_t *store) {
    const split_job_t *job = i->job;
    const correlation_t *c = &phase->correlation;
    const int64_t *tiles = (const int64_t *)(i->scratch + i->parts.tiles);
    const int64_t panels = split_panels(job), taps = tap_count(c), panel_bytes = split_packed_panel_bytes(job, c);
    tiles_t t = {.block_bytes = split_block_bytes(job), .blocks = blocks, .taps = taps};
    t.piece_bytes = split_piece_bytes(job);
    t.tap_bytes = (const int64_t *)(i->scratch + i->parts.steps);
    t.weights = phase->packed + (i->group * panels + panel) * panel_bytes;
    t.weights += block * taps * job->pieces * (PANEL_FILTERS * LINE_CHANNELS * 2);
    t.half_floats = i->kept_lines * 16;
    t.goes_on = block > 0;
    for (int64_t tile = 0; tile < i->tiles; tile += 2) {
        t.lines[0] = i->scratch + tiles[tile] * 64;
        t.lines[1] = i->scratch + tiles[tile + 1] * 64;
        t.sums = sums + tile * TILE_LINES % i->kept_lines * 16;
        while (unit_is_due(store, 2 * TILE_LINES)) store_unit(store);
        BY_PRODUCTS(job->products, multiply_tiles_by, &t, store);
        store->ready = (tile + 2) * TILE_LINES;
#ifndef STORES_BETWEEN_STEPS
        while (unit_is_ready(store)) store_unit(store);
#endif
    }
}

static void compute_phase(split_item_t *i, int64_t number, int64_t block, int64_t blocks) {
    const split_job_t *job = i->job;
    const split_phase_t *phase = &job->phases[number];
    const int is_last = block + blocks == split_channel_blocks(job);
    const int64_t first = i->filter / PANEL_FILTERS, panels = div_up(i->filters, PANEL_FILTERS);
    int64_t *steps = (int64_t *)(i->scratch + i->parts.steps);
    split_store_t store = {.job = job, .phase = phase, .image = i->image, .sets = i->sets, .group = i->group};
    store.pixels = lay_tiles(i, phase, &store.set_lines);
    if (store.pixels == 0) return;
    store.lines = (const int64_t *)(i->scratch + i->parts.lines);
    store.places = (const int64_t *)(i->scratch + i->parts.places);
    store.added = (const int64_t *)(i->scratch + i->parts.added);
    store.kept_lines = i->kept_lines;
    if (is_last) store.units = i->sets * div_up(store.pixels, 16) * job->images;
    for (int64_t tap = 0; tap < tap_count(&phase->correlation); tap++) steps[tap] = phase->tap_lines[tap] * 64;
    for (int64_t panel = 0; panel < panels; panel++) {
        float *sums = (float *)(i->scratch + i->parts.sums);
        if (split_is_chunked(job))
            sums += (number * div_up(job->block_filters, PANEL_FILTERS) + panel) * i->kept_lines * PANEL_FILTERS;
        store.sums = sums;
        store.filter = i->filter + panel * PANEL_FILTERS;
        store.filters = min64(phase->correlation.filters - store.filter, PANEL_FILTERS);
        store.next = store.ready = 0;
        compute_panel(i, phase, first + panel, block, blocks, sums, &store);
        while (store.next < store.units) store_unit(&store);
    }
}

static void split_correlate(const void *job_, int64_t item, void *scratch) {
    const split_job_t *job = job_;
    const int64_t blocks = split_channel_blocks(job);
    split_item_t i = split_item(job, item, scratch);
    magnitude_t magnitude = NO_MAGNITUDE;
    begin_tiles();
    for (int64_t block = 0; block < blocks; block += job->chunk) {
        const int64_t count = min64(job->chunk, blocks - block);
        split_source(job, &magnitude, i.group, block, block + count, i.image, i.pixel, i.scratch);
        for (int64_t number = 0; number < job->phase_count; number++) compute_phase(&i, number, block, count);
    }
    end_tiles();
    tell_magnitude(&job->largest[0], &magnitude);
}
