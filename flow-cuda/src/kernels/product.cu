// Matrix products with what stands beside them. See product.rs.

// out[i, j] = f(Σ_k left[i, k] * right[k, j] + bias[j]) * factor[i, j], or the sums of a part of k
// for add_chunks: blockIdx.z is the part. A block makes TALL × WIDE sums, a thread EACH × EACH of
// them: quadruples that lie TALL · 4/EACH rows, WIDE · 4/EACH columns apart, so that the threads of a
// warp read neighbouring quadruples.
template <int TALL, int WIDE, int EACH>
__device__ __forceinline__ void multiply_tiles(const Arguments& a) {
    const int ACROSS = WIDE / EACH, THREADS = ACROSS * (TALL / EACH), PARTS = EACH / 4;
    __shared__ __align__(16) float lefts[DEPTH][TALL + 4];
    __shared__ __align__(16) float rights[DEPTH][WIDE + 4];
    const float *left = a.at[0], *right = a.at[1], *bias = a.at[3], *factor = a.at[5];
    float *out = a.at[2], *slopes = a.at[4];
    int m = a.size[0], n = a.size[1], k = a.size[2];
    int left_row = a.size[3], left_column = a.size[4];
    int right_row = a.size[5], right_column = a.size[6];
    int kind = a.size[7], flags = a.size[8], chunk = a.size[9];
    bool has_bias = flags & 1, has_slopes = flags & 2, has_factor = flags & 4, adds = flags & 8;
    bool bias_by_row = flags & 16;

    int first_row = blockIdx.y * TALL, first_column = blockIdx.x * WIDE;
    int start = blockIdx.z * chunk, end = min(start + chunk, k);
    int down = threadIdx.x / ACROSS * 4, across = threadIdx.x % ACROSS * 4;
    float sums[EACH][EACH] = {};
    Strip<TALL, THREADS> from_left;
    Strip<WIDE, THREADS> from_right;
    from_left.load(left, left_row, left_column, first_row, m, start, end);
    from_right.load(right, right_column, right_row, first_column, n, start, end);
    for (; start < end; start += DEPTH) {
        from_left.store(lefts, left_column);
        from_right.store(rights, right_row);
        __syncthreads();
        if (start + DEPTH < end) {
            from_left.load(left, left_row, left_column, first_row, m, start + DEPTH, end);
            from_right.load(right, right_column, right_row, first_column, n, start + DEPTH, end);
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
        int row = first_row + i / 4 * (TALL / PARTS) + down + i % 4;
#pragma unroll
        for (int j = 0; j < EACH; j++) {
            int column = first_column + j / 4 * (WIDE / PARTS) + across + j % 4;
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

// 64 threads: many blocks for small products.
extern "C" __launch_bounds__(64) __global__ void product(Arguments a) {
    multiply_tiles<32, 32, 4>(a);
}

// 128 threads with 64 sums each: for products that fill a card with such blocks.
extern "C" __launch_bounds__(128) __global__ void large_product(Arguments a) {
    multiply_tiles<128, 64, 8>(a);
}

// What stands beside a product that lies in `out`, without its sums. See gemm.rs.
extern "C" __global__ void finish_product(Arguments a) {
    int m = a.size[0], n = a.size[1], flags = a.size[8];
    unsigned at = THREAD;
    if (at >= (unsigned)m * n) return;
    float v = a.at[2][at], slope;
    if (flags & 1) v += a.at[3][flags & 16 ? at / n : at % n];
    v = activation(a.size[7], v, &slope);
    if (flags & 2) a.at[4][at] = slope;
    if (flags & 4) v *= a.at[5][at];
    a.at[2][at] = v;
}
