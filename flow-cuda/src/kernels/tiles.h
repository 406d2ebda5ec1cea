// Blocks that multiply matrices, whatever their operands are read from, with what stands beside a
// product.

// Where a block's tile stands among those of a product. Rows of tiles lie one after the other in the
// grid's first dimension, as the others hold 65,535 blocks at most.
template <int WIDE>
__device__ __forceinline__ int tile_column(const Arguments& a) {
    return blockIdx.x % ((a.size[1] + WIDE - 1) / WIDE);
}
template <int WIDE>
__device__ __forceinline__ int tile_row(const Arguments& a) {
    return blockIdx.x / ((a.size[1] + WIDE - 1) / WIDE);
}

// A matrix as it lies in memory, by the distances of its rows and of its depths.
template <int SIDE, int THREADS>
struct Dense {
    Strip<SIDE, THREADS> strip;
    const float* from;
    int to_row, to_depth, first, rows;

    __device__ __forceinline__ Dense(const float* from, int to_row, int to_depth, int first, int rows)
        : from(from), to_row(to_row), to_depth(to_depth), first(first), rows(rows) {}
    __device__ __forceinline__ void load(int start, int end) {
        strip.load(from, to_row, to_depth, first, rows, start, end);
    }
    __device__ __forceinline__ void store(float into[DEPTH][SIDE + 4]) const {
        strip.store(into, to_depth);
    }
};

// out[i, j] = f(Σ_k left[i, k] * right[k, j] + bias) * factor[i, j], or the sums of a part of k for
// add_chunks: blockIdx.z is the part. A block makes TALL × WIDE sums, a thread EACH × EACH of
// them: quadruples that lie TALL · 4/EACH rows, WIDE · 4/EACH columns apart, so that the threads of a
// warp read neighbouring quadruples. The sizes m, n, k are the first three, and the function, the flags
// and the depth of a part the three from the eighth on.
template <int TALL, int WIDE, int EACH, class Left, class Right>
__device__ __forceinline__ void multiply_tiles(const Arguments& a, Left left, Right right) {
    const int ACROSS = WIDE / EACH, PARTS = EACH / 4;
    __shared__ __align__(16) float lefts[DEPTH][TALL + 4];
    __shared__ __align__(16) float rights[DEPTH][WIDE + 4];
    const float *bias = a.at[3], *factor = a.at[5];
    float *out = a.at[2], *slopes = a.at[4];
    int m = a.size[0], n = a.size[1], k = a.size[2];
    int kind = a.size[7], flags = a.size[8], chunk = a.size[9];
    bool has_bias = flags & 1, has_slopes = flags & 2, has_factor = flags & 4, adds = flags & 8;
    bool bias_by_row = flags & 16;

    int start = blockIdx.z * chunk, end = min(start + chunk, k);
    int down = threadIdx.x / ACROSS * 4, across = threadIdx.x % ACROSS * 4;
    float sums[EACH][EACH] = {};
    left.load(start, end);
    right.load(start, end);
    for (; start < end; start += DEPTH) {
        left.store(lefts);
        right.store(rights);
        __syncthreads();
        if (start + DEPTH < end) {
            left.load(start + DEPTH, end);
            right.load(start + DEPTH, end);
        }
#pragma unroll
        for (int l = 0; l < DEPTH; l++) {
            float x[EACH], y[EACH];
#pragma unroll
            for (int p = 0; p < PARTS; p++) {
                float4 four = *(const float4*)&lefts[l][p * (TALL / PARTS) + down];
                x[4 * p] = four.x, x[4 * p + 1] = four.y;
                x[4 * p + 2] = four.z, x[4 * p + 3] = four.w;
                four = *(const float4*)&rights[l][p * (WIDE / PARTS) + across];
                y[4 * p] = four.x, y[4 * p + 1] = four.y;
                y[4 * p + 2] = four.z, y[4 * p + 3] = four.w;
            }
#pragma unroll
            for (int i = 0; i < EACH; i++) {
#pragma unroll
                for (int j = 0; j < EACH; j++) sums[i][j] += x[i] * y[j];
            }
        }
        __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < EACH; i++) {
        int row = tile_row<WIDE>(a) * TALL + i / 4 * (TALL / PARTS) + down + i % 4;
#pragma unroll
        for (int j = 0; j < EACH; j++) {
            int column = tile_column<WIDE>(a) * WIDE + j / 4 * (WIDE / PARTS) + across + j % 4;
            if (row >= m || column >= n) continue;
            float v = sums[i][j], slope;
            int at = row * n + column;
            if (gridDim.z > 1) {
                out[blockIdx.z * m * n + at] = v;
                continue;
            }
            if (has_bias) v += bias[bias_by_row ? row : column];
            v = activation(kind, v, &slope);
            if (has_slopes) slopes[at] = slope;
            if (has_factor) v *= factor[at];
            out[at] = adds ? out[at] + v : v;
        }
    }
}
