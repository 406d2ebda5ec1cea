// Small square matrices, row-major: a thread for each, or from some size on a block of threads, which does
// the same sums. See square.rs.

__device__ __forceinline__ int pivot_of(const float* m, int d, int k) {
    int best = k;
    for (int i = k + 1; i < d; i++) {
        if (fabsf(m[i * d + k]) > fabsf(m[best * d + k])) best = i;
    }
    return best;
}

__device__ __forceinline__ void swap_numbers(float* a, float* b) {
    float v = *a;
    *a = *b;
    *b = v;
}

// log_det[row] += sign · log |det(I + M)| by elimination with partial pivoting; M is used up.
extern "C" __global__ void log_det_shifted(Arguments a) {
    unsigned row = THREAD;
    if (row >= (unsigned)a.size[0]) return;
    int d = a.size[1];
    float* m = a.at[0] + (size_t)row * d * d;
    double sum = 0.0;
    for (int k = 0; k < d; k++) m[k * d + k] += 1.0f;
    for (int k = 0; k < d; k++) {
        int pivot = pivot_of(m, d, k);
        if (pivot != k) {
            for (int j = 0; j < d; j++) swap_numbers(m + k * d + j, m + pivot * d + j);
        }
        sum += log(fabs((double)m[k * d + k]));
        for (int i = k + 1; i < d; i++) {
            float factor = m[i * d + k] / m[k * d + k];
            for (int j = k + 1; j < d; j++) m[i * d + j] -= factor * m[k * d + j];
        }
    }
    a.at[1][row] += a.number[0] * (float)sum;
}

// M becomes (I + M)⁻¹ by Gauss and Jordan with partial pivoting, and log_det as above; the order of
// rows takes d numbers a matrix.
extern "C" __global__ void invert_shifted(Arguments a) {
    unsigned row = THREAD;
    if (row >= (unsigned)a.size[0]) return;
    int d = a.size[1];
    float *m = a.at[0] + (size_t)row * d * d, *order = a.at[2] + row * d;
    double sum = 0.0;
    for (int k = 0; k < d; k++) m[k * d + k] += 1.0f;
    for (int k = 0; k < d; k++) {
        int pivot = pivot_of(m, d, k);
        if (pivot != k) {
            for (int j = 0; j < d; j++) swap_numbers(m + k * d + j, m + pivot * d + j);
        }
        order[k] = (float)pivot;
        float scale = 1.0f / m[k * d + k];
        sum -= log(fabs((double)scale));
        m[k * d + k] = 1.0f;
        for (int j = 0; j < d; j++) m[k * d + j] *= scale;
        for (int i = 0; i < d; i++) {
            if (i == k) continue;
            float factor = m[i * d + k];
            m[i * d + k] = 0.0f;
            for (int j = 0; j < d; j++) m[i * d + j] -= factor * m[k * d + j];
        }
    }
    // Rows were swapped before the inversion, so columns are after it, the last swap first.
    for (int k = d - 1; k >= 0; k--) {
        int pivot = (int)order[k];
        if (pivot == k) continue;
        for (int i = 0; i < d; i++) swap_numbers(m + i * d + k, m + i * d + pivot);
    }
    a.at[1][row] += a.number[0] * (float)sum;
}

#define SHARED_SIDE 64     // larger matrices stay where they are
#define LONGEST_SIDE 1024  // for a block

// Brings a matrix to shared memory where it fits there, and adds 1 to its diagonal.
__device__ __forceinline__ float* shifted(float* m, float* tile, int d) {
    int t = threadIdx.y * 32 + threadIdx.x, threads = 32 * blockDim.y;
    float* here = d <= SHARED_SIDE ? tile : m;
    for (int i = t; i < d * d; i += threads) here[i] = i % (d + 1) == 0 ? m[i] + 1.0f : m[i];
    __syncthreads();
    return here;
}

// The row with the largest entry in column k from row k on, brought to row k.
__device__ __forceinline__ int bring_pivot(float* m, int d, int k, float* most, int* place) {
    int t = threadIdx.y * 32 + threadIdx.x, threads = 32 * blockDim.y, best = k;
    for (int i = k + t; i < d; i += threads) {
        if (fabsf(m[i * d + k]) > fabsf(m[best * d + k])) best = i;
    }
    most[t] = fabsf(m[best * d + k]);
    place[t] = best;
    for (int half = threads / 2; half > 0; half /= 2) {
        __syncthreads();
        if (t < half && (most[t + half] > most[t] ||
                         (most[t + half] == most[t] && place[t + half] < place[t]))) {
            most[t] = most[t + half];
            place[t] = place[t + half];
        }
    }
    __syncthreads();
    int pivot = place[0];
    if (pivot != k) {
        for (int j = t; j < d; j += threads) swap_numbers(m + k * d + j, m + pivot * d + j);
    }
    __syncthreads();
    return pivot;
}

// As log_det_shifted. A block of 32 × 1 or 32 × 4 threads for a matrix.
extern "C" __global__ void log_det_shifted_together(Arguments a) {
    __shared__ float tile[SHARED_SIDE * SHARED_SIDE], most[128];
    __shared__ int place[128];
    int d = a.size[1], row = blockIdx.x;
    float* m = shifted(a.at[0] + (size_t)row * d * d, tile, d);
    double sum = 0.0;
    for (int k = 0; k < d; k++) {
        bring_pivot(m, d, k, most, place);
        float pivot = m[k * d + k];
        sum += log(fabs((double)pivot));
        for (int i = k + 1 + threadIdx.y; i < d; i += blockDim.y) {
            float factor = m[i * d + k] / pivot;
            for (int j = k + 1 + threadIdx.x; j < d; j += 32) m[i * d + j] -= factor * m[k * d + j];
        }
        __syncthreads();
    }
    if (threadIdx.x == 0 && threadIdx.y == 0) a.at[1][row] += a.number[0] * (float)sum;
}

// As invert_shifted, in such a block.
extern "C" __global__ void invert_shifted_together(Arguments a) {
    __shared__ float tile[SHARED_SIDE * SHARED_SIDE], most[128], factors[LONGEST_SIDE];
    __shared__ int place[128], order[LONGEST_SIDE];
    int d = a.size[1], row = blockIdx.x;
    int t = threadIdx.y * 32 + threadIdx.x, threads = 32 * blockDim.y;
    float *there = a.at[0] + (size_t)row * d * d, *m = shifted(there, tile, d);
    double sum = 0.0;
    for (int k = 0; k < d; k++) {
        int pivot = bring_pivot(m, d, k, most, place);
        if (t == 0) order[k] = pivot;
        float scale = 1.0f / m[k * d + k];
        sum -= log(fabs((double)scale));
        for (int i = t; i < d; i += threads) factors[i] = m[i * d + k];
        __syncthreads();
        for (int j = t; j < d; j += threads) m[k * d + j] = (j == k ? 1.0f : m[k * d + j]) * scale;
        __syncthreads();
        for (int i = threadIdx.y; i < d; i += blockDim.y) {
            if (i == k) continue;
            float factor = factors[i];
            for (int j = threadIdx.x; j < d; j += 32) {
                m[i * d + j] = (j == k ? 0.0f : m[i * d + j]) - factor * m[k * d + j];
            }
        }
        __syncthreads();
    }
    // Each thread swaps in rows of its own, so that none has to wait.
    for (int k = d - 1; k >= 0; k--) {
        int pivot = order[k];
        if (pivot == k) continue;
        for (int i = t; i < d; i += threads) swap_numbers(m + i * d + k, m + i * d + pivot);
    }
    __syncthreads();
    if (d <= SHARED_SIDE) {
        for (int i = t; i < d * d; i += threads) there[i] = m[i];
    }
    if (t == 0) a.at[1][row] += a.number[0] * (float)sum;
}

// out[row, j] = Σ_i v[row, i] · M[row, i, j].
extern "C" __global__ void times_own_matrix(Arguments a) {
    int rows = a.size[0], d = a.size[1];
    unsigned i = THREAD;
    if (i >= (unsigned)rows * d) return;
    int row = i / d, j = i % d;
    const float *v = a.at[1] + row * d, *m = a.at[2] + (size_t)row * d * d;
    float sum = 0.0f;
    for (int k = 0; k < d; k++) sum += v[k] * m[k * d + j];
    a.at[0][i] = sum;
}
