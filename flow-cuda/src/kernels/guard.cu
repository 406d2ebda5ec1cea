// Whether an inverse brought the rows of a block's input back. See guard.rs.

#define PROJECTIONS 4

// Of each row its norm, then its products with four directions whose entries have signs of their own.
// 32 lanes a row.
extern "C" __global__ void project(Arguments a) {
    __shared__ float sums[4][1 + PROJECTIONS][33];
    int rows = a.size[0], size = a.size[1], longest = a.size[2];
    int lane = threadIdx.x, local = threadIdx.y, row = blockIdx.x * 4 + local;
    float sum[1 + PROJECTIONS];
    for (int j = 0; j <= PROJECTIONS; j++) sum[j] = 0.0f;
    if (row < rows) {
        const float *x = a.at[1] + (size_t)row * size, *directions = a.at[2], *signs = a.at[3];
        for (int k = lane; k < size; k += 32) {
            float v = x[k], turned = v * signs[k];
            sum[0] += v * v;
            for (int j = 0; j < PROJECTIONS; j++) sum[1 + j] += turned * directions[j * longest + k];
        }
    }
    for (int j = 0; j <= PROJECTIONS; j++) sums[local][j][lane] = sum[j];
    __syncthreads();
    if (row < rows && lane <= PROJECTIONS) {
        float all = 0.0f;
        for (int k = 0; k < 32; k++) all += sums[local][lane][k];
        a.at[0][row * (1 + PROJECTIONS) + lane] = lane == 0 ? sqrtf(all) : all;
    }
}

// The norm of each row from its fingerprint of `width` numbers: they are the row itself, or begin with it.
extern "C" __global__ void norms(Arguments a) {
    int width = a.size[1], whole = a.size[2];
    unsigned row = THREAD;
    if (row >= (unsigned)a.size[0]) return;
    const float* kept = a.at[1] + row * width;
    float sum = 0.0f;
    for (int k = 0; k < width; k++) sum += kept[k] * kept[k];
    a.at[0][row] = whole ? sqrtf(sum) : kept[0];
}

// The number in the middle, the upper one of two. What is no number counts as the largest.
extern "C" __global__ void middle(Arguments a) {
    int count = a.size[0];
    unsigned i = THREAD;
    if (i >= (unsigned)count) return;
    float own = a.at[1][i];
    int below = 0;
    for (int j = 0; j < count; j++) {
        float other = a.at[1][j];
        bool less = own == own ? other < own : other == other;
        bool equal = own == own ? other == own : other != other;
        below += less || (equal && j < (int)i);
    }
    if (below == count / 2) a.at[0][0] = own;
}

// The largest error of a row relative to the larger of its norm and the middle one, that row, and how
// many rows have one above the threshold. One block.
extern "C" __global__ void compare(Arguments a) {
    __shared__ float worsts[128];
    __shared__ int places[128], counts[128];
    int rows = a.size[0], width = a.size[1], whole = a.size[2], count = 0, place = 0;
    float worst = 0.0f, threshold = a.number[0], middle = a.at[4][0];
    for (int row = threadIdx.x; row < rows; row += 128) {
        const float *kept = a.at[1] + row * width, *found = a.at[2] + row * width;
        float norm = a.at[3][row], off = 0.0f;
        for (int k = whole ? 0 : 1; k < width; k++) off += (kept[k] - found[k]) * (kept[k] - found[k]);
        off = sqrtf(whole ? off : off / PROJECTIONS);
        // A norm that is no number is not the larger one.
        double scale = norm > middle || !(middle == middle) ? norm : middle;
        scale = scale > 2.2250738585072014e-308 ? scale : 2.2250738585072014e-308;
        bool known = off <= 3.4028234e38f && scale <= 3.4028234e38;
        double relative = known ? off / scale : 1e300;
        // As a float that is infinite.
        float error = (float)relative;
        count += error > threshold;
        if (error > worst) {
            worst = error;
            place = row;
        }
    }
    worsts[threadIdx.x] = worst;
    places[threadIdx.x] = place;
    counts[threadIdx.x] = count;
    __syncthreads();
    if (threadIdx.x != 0) return;
    for (int i = 1; i < 128; i++) {
        count += counts[i];
        if (worsts[i] > worst || (worsts[i] == worst && worst > 0.0f && places[i] < place)) {
            worst = worsts[i];
            place = places[i];
        }
    }
    a.at[0][0] = worst;
    a.at[0][1] = (float)place;
    a.at[0][2] = (float)count;
}
