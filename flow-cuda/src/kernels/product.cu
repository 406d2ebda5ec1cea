// Matrix products with what stands beside them. See product.rs.

#define TILE 32
#define DEPTH 16

// out[i, j] = f(Σ_k left[i, k] * right[k, j] + bias[j]) * factor[i, j], or the sums of a part of k
// for add_chunks. Block: 8 × 8 threads, each with 4 × 4 sums; blockIdx.z is the part of k.
extern "C" __global__ void product(Arguments a) {
    __shared__ float lefts[DEPTH][TILE + 4];
    __shared__ float rights[DEPTH][TILE + 4];
    const float *left = a.at[0], *right = a.at[1], *bias = a.at[3], *factor = a.at[5];
    float *out = a.at[2], *slopes = a.at[4];
    int m = a.size[0], n = a.size[1], k = a.size[2];
    int left_row = a.size[3], left_column = a.size[4];
    int right_row = a.size[5], right_column = a.size[6];
    int kind = a.size[7], flags = a.size[8], chunk = a.size[9];
    bool has_bias = flags & 1, has_slopes = flags & 2, has_factor = flags & 4, adds = flags & 8;
    bool bias_by_row = flags & 16;

    int first_row = blockIdx.y * TILE, first_column = blockIdx.x * TILE;
    int from = blockIdx.z * chunk, to = min(from + chunk, k);
    int thread = threadIdx.y * 8 + threadIdx.x;
    float sums[4][4] = {};
    for (int start = from; start < to; start += DEPTH) {
        for (int t = thread; t < TILE * DEPTH; t += 64) {
            // Neighbouring threads read neighbouring numbers.
            int i = left_column == 1 ? t / DEPTH : t % TILE;
            int l = left_column == 1 ? t % DEPTH : t / TILE;
            bool inside = first_row + i < m && start + l < to;
            lefts[l][i] =
                inside ? left[(first_row + i) * left_row + (start + l) * left_column] : 0.0f;
            int j = right_row == 1 ? t / DEPTH : t % TILE;
            l = right_row == 1 ? t % DEPTH : t / TILE;
            inside = first_column + j < n && start + l < to;
            rights[l][j] =
                inside ? right[(start + l) * right_row + (first_column + j) * right_column] : 0.0f;
        }
        __syncthreads();
        for (int l = 0; l < DEPTH; l++) {
            for (int i = 0; i < 4; i++) {
                for (int j = 0; j < 4; j++) {
                    sums[i][j] += lefts[l][threadIdx.y * 4 + i] * rights[l][threadIdx.x * 4 + j];
                }
            }
        }
        __syncthreads();
    }
    for (int i = 0; i < 4; i++) {
        int row = first_row + threadIdx.y * 4 + i;
        for (int j = 0; j < 4; j++) {
            int column = first_column + threadIdx.x * 4 + j;
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
