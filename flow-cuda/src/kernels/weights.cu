// What layers and linear maps multiply with, from the numbers that are trained. See weights.rs.

extern "C" __global__ void exponential(Arguments a) {
    unsigned i = THREAD;
    if (i < (unsigned)a.size[0]) a.at[0][i] = (a.size[1] ? a.at[2][i] : 1.0f) * expf(a.at[1][i]);
}

// Entry (r, k) of L and (k, j) of U + D.
__device__ __forceinline__ float lower_entry(const float* lower, int d, int r, int k) {
    return k == r ? 1.0f : k < r ? lower[r * d + k] : 0.0f;
}
__device__ __forceinline__ float upper_entry(const float* upper, const float* diagonal, int d,
                                             int k, int j) {
    return k == j ? diagonal[k] : k < j ? upper[k * d + j] : 0.0f;
}

// Row i of W is row order[i] of L(U + D).
extern "C" __global__ void lu_weight(Arguments a) {
    const float *lower = a.at[1], *upper = a.at[2], *diagonal = a.at[3];
    int d = a.size[0];
    unsigned at = THREAD;
    if (at >= (unsigned)d * d) return;
    int r = a.table[0][at / d], j = at % d;
    float sum = 0.0f;
    for (int k = 0; k <= min(r, j); k++) {
        sum += lower_entry(lower, d, r, k) * upper_entry(upper, diagonal, d, k, j);
    }
    a.at[0][at] = sum;
}

// The gradients by L, U and the logarithms of |D|, each added by the thread of its entry (r, k).
extern "C" __global__ void lu_finish(Arguments a) {
    const float *lower = a.at[1], *upper = a.at[2], *diagonal = a.at[3], *by_weight = a.at[0];
    float *by_lower = a.at[4], *by_upper = a.at[5], *by_log = a.at[6];
    const int *order = a.table[0], *place = a.table[1];
    int d = a.size[0];
    unsigned at = THREAD;
    if (at >= (unsigned)d * d) return;
    int r = at / d, k = at % d;
    float sum = 0.0f;
    if (k < r) {
        for (int j = k; j < d; j++) {
            sum += by_weight[place[r] * d + j] * upper_entry(upper, diagonal, d, k, j);
        }
        by_lower[at] += sum;
        return;
    }
    for (int i = 0; i < d; i++) {
        sum += lower_entry(lower, d, order[i], r) * by_weight[i * d + k];
    }
    if (k == r) {
        by_log[k] += diagonal[k] * sum;
    } else {
        by_upper[at] += sum;
    }
}

// x[r, k] = data[order[r], k]; the order stands in the bits of numbers, and one
// that is too large counts as 0.
extern "C" __global__ void take_rows(Arguments a) {
    int rows = a.size[0], width = a.size[1];
    unsigned i = THREAD;
    if (i >= (unsigned)rows * width) return;
    unsigned long long from = __float_as_uint(a.at[2][i / width]);
    if (from >= (unsigned)a.size[2]) from = 0;
    a.at[0][i] = a.at[1][from * width + i % width];
}
