// Products of reflections H = I − 2uuᵀ, with their gradients, as flow-core's blocks/reflections.rs
// has them. See reflections.rs.

// The unit vector of each reflection, and the length that it had: 0 for one without a direction,
// which counts as the identity. A block for each.
extern "C" __global__ void reflection_units(Arguments a) {
    __shared__ double room[TEAM];
    int d = a.size[0];
    const float* v = a.at[2] + (size_t)blockIdx.x * d;
    float* unit = a.at[0] + (size_t)blockIdx.x * d;
    double most = 0.0, any = 0.0, squares = 0.0;
    for (int i = threadIdx.x; i < d; i += TEAM) {
        most = fmax(most, (double)fabsf(v[i]));
        // So written that NaN is not zero: it has to spread.
        if (!(fabsf(v[i]) < 1.17549435e-38f)) any = 1.0;
    }
    most = team_most(most, room);
    any = team_most(any, room);
    for (int i = threadIdx.x; i < d; i += TEAM) squares += (v[i] / most) * (v[i] / most);
    double length = any > 0.0 ? most * sqrt(team_sum(squares, room)) : 0.0;
    for (int i = threadIdx.x; i < d; i += TEAM) unit[i] = any > 0.0 ? (float)(v[i] / length) : 0.0f;
    if (threadIdx.x == 0) a.at[1][blockIdx.x] = (float)length;
}

// Rows of the identity times each reflection in turn: 32 lanes a row.
extern "C" __global__ void multiply_reflections(Arguments a) {
    __shared__ float sums[4][33];
    int count = a.size[0], d = a.size[1], lane = threadIdx.x, row = blockIdx.x * 4 + threadIdx.y;
    bool inside = row < d;
    float* q = a.at[0] + (inside ? (size_t)row * d : 0);
    for (int j = lane; inside && j < d; j += 32) q[j] = j == row ? 1.0f : 0.0f;
    for (int k = 0; k < count; k++) {
        const float* unit = a.at[1] + (size_t)k * d;
        float along = 0.0f;
        for (int j = lane; inside && j < d; j += 32) along += q[j] * unit[j];
        sums[threadIdx.y][lane] = along;
        __syncthreads();
        along = 0.0f;
        for (int i = 0; i < 32; i++) along += sums[threadIdx.y][i];
        __syncthreads();
        for (int j = lane; inside && j < d; j += 32) q[j] -= 2.0f * along * unit[j];
    }
}

// From K = G·Qᵀ, whose transpose is given and used up, to the gradients by the vectors, which are
// added. The work is room for two numbers a feature. One block.
extern "C" __global__ void reflections_finish(Arguments a) {
    __shared__ double room[TEAM];
    int count = a.size[0], d = a.size[1];
    float *k = a.at[0], *left = a.at[4], *both = a.at[4] + d;
    for (int number = 0; number < count; number++) {
        const float* unit = a.at[1] + (size_t)number * d;
        float *by = a.at[3] + (size_t)number * d, length = a.at[2][number];
        if (length == 0.0f) continue;
        // K ← K·H, a row of it for each thread, and K·u.
        for (int r = threadIdx.x; r < d; r += TEAM) {
            float along = 0.0f, sum = 0.0f;
            for (int j = 0; j < d; j++) along += k[(size_t)j * d + r] * unit[j];
            for (int j = 0; j < d; j++) {
                float* entry = k + (size_t)j * d + r;
                *entry -= 2.0f * along * unit[j];
                sum += *entry * unit[j];
            }
            both[r] = sum;
        }
        __syncthreads();
        for (int j = threadIdx.x; j < d; j += TEAM) {
            float sum = 0.0f;
            for (int r = 0; r < d; r++) sum += k[(size_t)j * d + r] * unit[r];
            left[j] = sum;
        }
        __syncthreads();
        // K ← H·K.
        for (int i = threadIdx.x; i < d * d; i += TEAM) k[i] -= 2.0f * unit[i % d] * left[i / d];
        double along = 0.0;
        for (int j = threadIdx.x; j < d; j += TEAM) {
            both[j] += left[j];
            along += (double)both[j] * unit[j];
        }
        along = team_sum(along, room);
        for (int j = threadIdx.x; j < d; j += TEAM) {
            by[j] -= 2.0f / length * (both[j] - (float)along * unit[j]);
        }
        __syncthreads();
    }
}
