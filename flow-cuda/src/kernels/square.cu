// Small square matrices, row-major, a thread for each. See square.rs.

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
