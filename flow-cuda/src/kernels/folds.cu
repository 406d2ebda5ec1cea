// Maps that fold space along a few directions, or around a center. See folds.rs.

// 1 + (1 − t²)·(κ − 1), without the difference that would lose it near 0.
__device__ __forceinline__ float stretch_at(float t, float kappa) {
    return t * t + (1.0f - t * t) * kappa;
}

// log_det[row] += Σ ln(1 + (1 − t²)·(κ − 1)).
extern "C" __global__ void add_stretches(Arguments a) {
    int count = a.size[1];
    unsigned row = THREAD;
    if (row >= (unsigned)a.size[0]) return;
    float sum = 0.0f;
    for (int i = 0; i < count; i++) sum += logf(stretch_at(a.at[1][row * count + i], a.at[2][i]));
    a.at[0][row] += sum;
}

// From the gradient by t = tanh(v) to that by v, with that of the log-determinants; by_kappa gets that
// by κ, row by row.
extern "C" __global__ void stretch_product(Arguments a) {
    int count = a.size[1];
    unsigned i = THREAD;
    if (i >= (unsigned)a.size[0]) return;
    float t = a.at[1][i], kappa = a.at[2][i % count], slope = 1.0f - t * t;
    float share = a.at[3][i / count] / stretch_at(t, kappa);
    a.at[4][i] = share * slope;
    a.at[0][i] = (a.at[0][i] + share * 2.0f * t * (1.0f - kappa)) * slope;
}

// The distance of a row from the center, relative to the largest entry, so that no square over- or
// underflows.
__device__ __forceinline__ float distance_from(const float* x, const float* center, int d) {
    float most = 0.0f, sum = 0.0f;
    for (int i = 0; i < d; i++) {
        float size = fabsf(x[i] - center[i]);
        most = size <= most ? most : size;
    }
    if (most == 0.0f) return most;
    for (int i = 0; i < d; i++) {
        float share = (x[i] - center[i]) / most;
        sum += share * share;
    }
    return most * sqrtf(sum);
}

// x += (κ − α)/(α + r)·(x − center), r = ‖x − center‖.
extern "C" __global__ void radial(Arguments a) {
    int d = a.size[1];
    unsigned row = THREAD;
    if (row >= (unsigned)a.size[0]) return;
    float *x = a.at[0] + row * d, alpha = a.at[2][0], kappa = a.at[2][1];
    const float* center = a.at[1];
    float r = distance_from(x, center, d), near = 1.0f / (alpha + r);
    float growth = (kappa - alpha) * near;
    float along = r * near * (r + alpha + alpha) * near + alpha * near * kappa * near;
    for (int i = 0; i < d; i++) x[i] += growth * (x[i] - center[i]);
    a.at[3][row] += (float)(d - 1) * logf((r + kappa) * near) + logf(along);
}

// Its product; the gradients by the center and by (α, κ) come row by row.
extern "C" __global__ void radial_product(Arguments a) {
    int d = a.size[1];
    unsigned row = THREAD;
    if (row >= (unsigned)a.size[0]) return;
    float *by = a.at[0] + row * d, alpha = a.at[3][0], kappa = a.at[3][1];
    const float *x = a.at[1] + row * d, *center = a.at[2];
    float others = (float)(d - 1), by_log = a.at[4][row];
    float r = distance_from(x, center, d), near = 1.0f / (alpha + r);
    float growth = (kappa - alpha) * near;
    float along = r * near * (r + alpha + alpha) * near + alpha * near * kappa * near;
    float far = 1.0f / (r + kappa), share = near / along, by_growth = 0.0f;
    for (int i = 0; i < d; i++) by_growth += by[i] * (x[i] - center[i]);
    float by_r = by_log * (others * (far - near) + 2.0f * share - 2.0f * near) -
                 by_growth * growth * near;
    a.at[6][2 * row] =
        by_log * ((2.0f * r + kappa) * near * share - (others + 2.0f) * near) -
        by_growth * near * ((r + kappa) * near);
    a.at[6][2 * row + 1] = by_log * (others * far + alpha * near * share) + by_growth * near;
    // At the center itself the length has no slope, and nothing depends on its direction.
    float by_unit = r == 0.0f ? 0.0f : by_r / r;
    for (int i = 0; i < d; i++) {
        float by_difference = by[i] * growth + by_unit * (x[i] - center[i]);
        a.at[5][row * d + i] = -by_difference;
        by[i] += by_difference;
    }
}
