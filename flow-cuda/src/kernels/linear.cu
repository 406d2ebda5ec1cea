// Linear maps of the vectors at each pixel, where they are not a product. See linear.rs.

// x = (L(U + D))⁻¹ x, a thread for each vector. Only the strict triangles are read.
extern "C" __global__ void solve_lu(Arguments a) {
    unsigned i = THREAD;
    if (i >= (unsigned)a.size[0]) return;
    int d = a.size[1];
    const float *lower = a.at[1], *upper = a.at[2], *diagonal = a.at[3];
    float* x = a.at[0] + i * d;
    for (int r = 1; r < d; r++) {
        float sum = 0.0f;
        for (int k = 0; k < r; k++) sum += lower[r * d + k] * x[k];
        x[r] -= sum;
    }
    for (int r = d - 1; r >= 0; r--) {
        float sum = 0.0f;
        for (int k = r + 1; k < d; k++) sum += upper[r * d + k] * x[k];
        x[r] = (x[r] - sum) / diagonal[r];
    }
}

// x = (L(U + D))⁻ᵀ x.
extern "C" __global__ void solve_lu_transposed(Arguments a) {
    unsigned i = THREAD;
    if (i >= (unsigned)a.size[0]) return;
    int d = a.size[1];
    const float *lower = a.at[1], *upper = a.at[2], *diagonal = a.at[3];
    float* x = a.at[0] + i * d;
    for (int r = 0; r < d; r++) {
        x[r] /= diagonal[r];
        for (int k = r + 1; k < d; k++) x[k] -= upper[r * d + k] * x[r];
    }
    for (int r = d - 1; r > 0; r--) {
        for (int k = 0; k < r; k++) x[k] -= lower[r * d + k] * x[r];
    }
}

// The four pixels of a square become the bands of the Haar transform, or back: it is symmetric.
extern "C" __global__ void haar(Arguments a) {
    const int* entries = a.table[0];
    int rows = a.size[0], squares = a.size[1], width = a.size[2];
    unsigned i = THREAD;
    if (i >= (unsigned)rows * squares) return;
    float* row = a.at[0] + i / squares * width;
    const int* at = entries + i % squares * 4;
    float p = row[at[0]], q = row[at[1]], r = row[at[2]], s = row[at[3]];
    float top = p + q, bottom = r + s, left = p - q, right = r - s;
    row[at[0]] = 0.5f * (top + bottom);
    row[at[1]] = 0.5f * (left + right);
    row[at[2]] = 0.5f * (top - bottom);
    row[at[3]] = 0.5f * (left - right);
}
