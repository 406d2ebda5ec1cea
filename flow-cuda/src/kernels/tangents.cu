// Vectors that go through a net's Jacobian, `count` for each row, and traces. See tangents.rs.

// The second derivative of an activation; at a kink, 0.
__device__ __forceinline__ float curvature(int kind, float v) {
    switch (kind) {
        case 2:  // elu
            return v <= 0.0f ? expf(v) : 0.0f;
        case 4: {  // tanh
            float slope, value = activation(4, v, &slope);
            return -2.0f * value * slope;
        }
        case 5: {  // swish
            float gate = logistic(v), rest = logistic(-v), bent = gate * rest;
            // Far out the gate is 0 before v times it is no number.
            return bent == 0.0f ? 0.0f : bent * (2.0f + v * (rest - gate));
        }
        case 6: {  // gelu
            float density = 0.39894228040143268f * expf(-0.5f * v * v);
            return density == 0.0f ? 0.0f : density * (2.0f - v * v);
        }
        case 7:  // softplus
            return logistic(v) * logistic(-v);
        default:
            return 0.0f;
    }
}

// into[i] = f(from[i]), with its slope and its second derivative.
extern "C" __global__ void bend_twice(Arguments a) {
    unsigned i = THREAD;
    if (i >= (unsigned)a.size[0]) return;
    float slope, v = a.at[1][i];
    a.at[0][i] = activation(a.size[1], v, &slope);
    a.at[2][i] = slope;
    a.at[3][i] = curvature(a.size[1], v);
}

// into[row, k, j] = from[row, k, j] · by[row, j].
extern "C" __global__ void multiply_each(Arguments a) {
    int width = a.size[1], count = a.size[2];
    unsigned i = THREAD;
    if (i >= (unsigned)a.size[0]) return;
    a.at[0][i] = a.at[1][i] * a.at[2][i / (count * width) * width + i % width];
}

// into[row, j] += by[row, j] · Σ_k left[row, k, j] · right[row, k, j].
extern "C" __global__ void add_bent(Arguments a) {
    int width = a.size[1], count = a.size[2];
    unsigned i = THREAD;
    if (i >= (unsigned)a.size[0]) return;
    size_t start = (size_t)(i / width) * count * width + i % width;
    float sum = 0.0f;
    for (int k = 0; k < count; k++) sum += a.at[2][start + k * width] * a.at[3][start + k * width];
    a.at[0][i] += a.at[1][i] * sum;
}

// The unit vectors from `first` on, for each row.
extern "C" __global__ void unit_vectors(Arguments a) {
    int width = a.size[1], count = a.size[2], first = a.size[3];
    unsigned i = THREAD;
    if (i >= (unsigned)a.size[0]) return;
    a.at[0][i] = (int)(i / width % count) + first == (int)(i % width) ? 1.0f : 0.0f;
}

// into[row, k] = from[row, k] · by[row].
extern "C" __global__ void scale_rows(Arguments a) {
    unsigned i = THREAD;
    if (i < (unsigned)a.size[0]) a.at[0][i] = a.at[1][i] * a.at[2][i / a.size[1]];
}

// What term k of a series counts: (−1)^(k+1), times 1/P(a row has k terms) beyond `exact` of them.
__device__ __forceinline__ float term_weight(int k, int exact, float per_term) {
    float weight = k > exact ? powf(per_term, (float)(k - exact)) : 1.0f;
    return k % 2 == 1 ? weight : -weight;
}

// into[row] += factor · weight/k · Σ left · right, where the row has k terms. 32 lanes a row.
extern "C" __global__ void add_trace(Arguments a) {
    __shared__ float sums[4][33];
    int rows = a.size[0], width = a.size[1], k = (int)a.at[3][0];
    int lane = threadIdx.x, row = blockIdx.x * 4 + threadIdx.y;
    bool counts = row < rows && (float)k <= a.at[4][row];
    float sum = 0.0f;
    if (counts) {
        const float *left = a.at[1] + (size_t)row * width, *right = a.at[2] + (size_t)row * width;
        for (int i = lane; i < width; i += 32) sum += left[i] * right[i];
    }
    sums[threadIdx.y][lane] = sum;
    __syncthreads();
    if (counts && lane == 0) {
        for (int i = 1; i < 32; i++) sum += sums[threadIdx.y][i];
        a.at[0][row] += a.number[0] * term_weight(k, a.size[2], a.number[1]) / (float)k * sum;
    }
}

// into[row, i] += weight · power[row, i], where the row has k terms.
extern "C" __global__ void add_power(Arguments a) {
    int width = a.size[1], k = (int)a.at[2][0];
    unsigned i = THREAD;
    if (i >= (unsigned)a.size[0] || !((float)k <= a.at[3][i / width])) return;
    a.at[0][i] += term_weight(k, a.size[2], a.number[0]) * a.at[1][i];
}

// The next term: its number, and in the status how many rows have it. One block.
extern "C" __global__ void next_term(Arguments a) {
    __shared__ int counts[128];
    int rows = a.size[0], open = 0;
    float k = a.at[0][0] + 1.0f;
    for (int row = threadIdx.x; row < rows; row += 128) open += k <= a.at[1][row];
    counts[threadIdx.x] = open;
    __syncthreads();
    if (threadIdx.x == 0) {
        for (int i = 1; i < 128; i++) open += counts[i];
        a.at[0][0] = k;
        a.at[2][0] = (float)open;
        a.at[2][1] = -1.0f;
    }
}
