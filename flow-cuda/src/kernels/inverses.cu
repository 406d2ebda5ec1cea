// Matrices that are trained themselves, with their inverses, as flow-core's blocks/linear_dense.rs
// and blocks/linear_svd.rs have them. See inverses.rs.

// The inverse of W, log |det W| and ‖ |W⁻¹| |W| ‖∞ in f64, by Gauss and Jordan with partial pivoting.
// The work is room for W beside the identity and for a column. One block.
extern "C" __global__ void invert_matrix(Arguments a) {
    __shared__ double room[TEAM];
    __shared__ int rows[TEAM];
    int d = a.size[0], wide = 2 * d;
    const float* weight = a.at[0];
    double *m = (double*)a.at[4], *column = m + (size_t)d * wide, log_det = 0.0;
    for (int i = threadIdx.x; i < d * wide; i += TEAM) {
        int row = i / wide, at = i % wide;
        m[i] = at < d ? (double)weight[row * d + at] : at - d == row ? 1.0 : 0.0;
    }
    __syncthreads();
    for (int k = 0; k < d; k++) {
        // The row with the largest number, or the last with one that is none, which has to spread.
        int best = k;
        for (int i = k + threadIdx.x; i < d; i += TEAM) {
            double size = fabs(m[i * wide + k]);
            if (!(size <= fabs(m[best * wide + k]))) best = i;
        }
        room[threadIdx.x] = fabs(m[best * wide + k]);
        rows[threadIdx.x] = best;
        __syncthreads();
        double size = room[0];
        best = rows[0];
        for (int i = 1; i < TEAM; i++) {
            if (!(room[i] <= size)) {
                size = room[i];
                best = rows[i];
            }
        }
        __syncthreads();
        if (best != k) {
            for (int j = threadIdx.x; j < wide; j += TEAM) {
                double v = m[k * wide + j];
                m[k * wide + j] = m[best * wide + j];
                m[best * wide + j] = v;
            }
        }
        __syncthreads();
        double pivot = m[k * wide + k];
        log_det += log(fabs(pivot));
        // The largest of its column, so that nothing is left to eliminate below.
        if (pivot == 0.0) continue;
        for (int i = threadIdx.x; i < d; i += TEAM) column[i] = m[i * wide + k] / pivot;
        __syncthreads();
        for (int i = threadIdx.x; i < d * wide; i += TEAM) {
            int row = i / wide, at = i % wide;
            if (row != k && at >= k) m[i] -= column[row] * m[k * wide + at];
        }
        __syncthreads();
    }
    double most = 0.0;
    for (int i = threadIdx.x; i < d; i += TEAM) {
        double size = 0.0;
        for (int j = 0; j < d; j++) size += fabs((double)weight[i * d + j]);
        column[i] = size;
    }
    __syncthreads();
    for (int i = threadIdx.x; i < d; i += TEAM) {
        double sum = 0.0;
        for (int j = 0; j < d; j++) {
            double entry = m[i * wide + d + j] / m[i * wide + i];
            a.at[1][i * d + j] = (float)entry;
            sum += fabs(entry) * column[j];
        }
        most = fmax(most, sum);
    }
    most = team_most(most, room);
    if (threadIdx.x == 0) {
        a.at[2][0] = (float)log_det;
        a.at[3][0] = log_det == log(0.0) ? (float)-log(0.0) : (float)most;
    }
}

// into[i, j] += by · x[j, i], where by is not 0: then x may be no numbers.
extern "C" __global__ void add_turned(Arguments a) {
    int d = a.size[0];
    unsigned i = THREAD;
    float by = a.at[2][0];
    if (i >= (unsigned)d * d || by == 0.0f) return;
    a.at[0][i] += by * a.at[1][i % d * d + i / d];
}

// into[i, j] = from[i, j] · exp(±log[j]).
extern "C" __global__ void scale_columns(Arguments a) {
    unsigned i = THREAD;
    if (i >= (unsigned)a.size[0]) return;
    a.at[0][i] = a.at[1][i] * expf(a.number[0] * a.at[2][i % a.size[1]]);
}
