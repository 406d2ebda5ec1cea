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

// The norm of what counts of each row, in f64: 32 lanes a row. A row without a direction has the
// smallest number, whatever its length.
extern "C" __global__ void row_norms(Arguments a) {
    __shared__ double sums[4][32];
    int rows = a.size[0], columns = a.size[1], lane = threadIdx.x;
    int row = blockIdx.x * 4 + threadIdx.y;
    bool inside = row < rows;
    double most = 0.0, squares = 0.0;
    for (int i = lane; inside && i < columns; i += 32) {
        int at = row * columns + i;
        double size = fabs((double)a.at[1][at]);
        if (a.table[0][at] >= 0 && !(size <= most)) most = size;
    }
    sums[threadIdx.y][lane] = most;
    __syncthreads();
    for (int i = 0; i < 32; i++) {
        if (!(sums[threadIdx.y][i] <= most)) most = sums[threadIdx.y][i];
    }
    __syncthreads();
    for (int i = lane; inside && i < columns; i += 32) {
        int at = row * columns + i;
        double share = (double)a.at[1][at] / most;
        if (a.table[0][at] >= 0) squares += share * share;
    }
    sums[threadIdx.y][lane] = squares;
    __syncthreads();
    if (!inside || lane != 0) return;
    for (int i = 1; i < 32; i++) squares += sums[threadIdx.y][i];
    ((double*)a.at[0])[row] = most == 0.0 ? 1.17549435e-38 : most * sqrt(squares);
}

// Entry p of the matrix is g·v/‖v‖ of entry from[p] of the parameter, or 0.
extern "C" __global__ void normalised_weight(Arguments a) {
    int columns = a.size[1];
    unsigned p = THREAD;
    if (p >= (unsigned)a.size[0]) return;
    int i = a.table[0][p];
    const double* norms = (double*)a.at[3];
    double length = i < 0 ? 0.0 : a.at[2][i / columns];
    a.at[0][p] = i < 0 ? 0.0f : (float)(length * ((double)a.at[1][i] / norms[i / columns]));
}

// With the gradient G by the matrix that by g is ⟨G, v⟩/‖v‖, and that by v is
// g/‖v‖·(G − v·⟨G, v⟩/‖v‖²): 32 lanes a row.
extern "C" __global__ void normalised_finish(Arguments a) {
    __shared__ double sums[4][32];
    int rows = a.size[0], columns = a.size[1], lane = threadIdx.x;
    int row = blockIdx.x * 4 + threadIdx.y;
    bool inside = row < rows;
    const int* place = a.table[0];
    double along = 0.0, norm = inside ? ((double*)a.at[5])[row] : 1.0;
    for (int i = lane; inside && i < columns; i += 32) {
        int at = row * columns + i;
        if (place[at] >= 0) along += (double)a.at[2][place[at]] * a.at[3][at];
    }
    sums[threadIdx.y][lane] = along;
    __syncthreads();
    if (!inside) return;
    along = 0.0;
    for (int i = 0; i < 32; i++) along += sums[threadIdx.y][i];
    along /= norm;
    if (lane == 0) a.at[1][row] += (float)along;
    float stretch = (float)(a.at[4][row] / norm), share = (float)(along / norm);
    for (int i = lane; i < columns; i += 32) {
        int at = row * columns + i;
        if (place[at] >= 0) a.at[0][at] += stretch * (a.at[2][place[at]] - share * a.at[3][at]);
    }
}
