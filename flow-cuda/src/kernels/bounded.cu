// Weights of maps without an inverse, held to where one exists, as flow-core's blocks/planar.rs,
// blocks/radial.rs and blocks/sylvester.rs have them. See bounded.rs.

__device__ __forceinline__ float softplus(float v) {
    float slope;
    return activation(7, v, &slope);
}

// wᵀu and wᵀw. By a whole block.
__device__ __forceinline__ void products_with(const float* w, const float* u, int d, double* room,
                                              float* along, float* square) {
    double both[2] = {0.0, 0.0};
    for (int i = threadIdx.x; i < d; i += TEAM) {
        both[0] += (double)w[i] * u[i];
        both[1] += (double)w[i] * w[i];
    }
    *along = (float)team_sum(both[0], room);
    *square = (float)team_sum(both[1], room);
}

// By which multiple of w a planar map's u is moved. Where w is 0 there is nothing to guard.
__device__ __forceinline__ float moved_by(float along, float square) {
    return square == 0.0f ? 0.0f : (softplus(along) - 1.0f - along) / square;
}

// û, then 1 + wᵀû. One block.
extern "C" __global__ void planar_weights(Arguments a) {
    __shared__ double room[TEAM];
    int d = a.size[0];
    const float *u = a.at[1], *w = a.at[2];
    float along, square;
    products_with(w, u, d, room, &along, &square);
    float by = moved_by(along, square);
    for (int i = threadIdx.x; i < d; i += TEAM) a.at[0][i] = u[i] + by * w[i];
    if (threadIdx.x == 0) a.at[0][d] = square == 0.0f ? 1.0f : softplus(along);
}

// Adds the gradients by u and w. One block.
extern "C" __global__ void planar_finish(Arguments a) {
    __shared__ double room[TEAM];
    int d = a.size[0];
    float *by_u = a.at[0], *by_w = a.at[1];
    const float *by_moved = a.at[2], *u = a.at[3], *w = a.at[4];
    float along, square, per_square, unused;
    products_with(w, u, d, room, &along, &square);
    products_with(w, by_moved, d, room, &per_square, &unused);
    float by = moved_by(along, square), slope = logistic(along), by_along = 0.0f;
    if (square != 0.0f) {
        per_square /= square;
        by_along = by_moved[d] * slope + per_square * (slope - 1.0f);
    }
    for (int i = threadIdx.x; i < d; i += TEAM) {
        by_u[i] += by_moved[i] + by_along * w[i];
        if (square != 0.0f) {
            by_w[i] += by * by_moved[i] + by_along * u[i] - 2.0f * per_square * by * w[i];
        }
    }
}

// α and κ of a radial map. One thread.
extern "C" __global__ void radial_weights(Arguments a) {
    if (THREAD != 0) return;
    a.at[0][0] = expf(a.at[1][0]);
    a.at[0][1] = softplus(a.at[2][0]);
}

// Adds the gradients by what they are made of. One thread.
extern "C" __global__ void radial_finish(Arguments a) {
    if (THREAD != 0) return;
    a.at[0][0] += a.at[2][0] * a.at[3][0];
    a.at[1][0] += a.at[2][1] * logistic(a.at[4][0]);
}

// An upper triangle with tanh of its diagonal.
extern "C" __global__ void bounded_triangle(Arguments a) {
    int m = a.size[0];
    unsigned i = THREAD;
    if (i >= (unsigned)m * m) return;
    int row = i / m, column = i % m;
    float raw = a.at[1][i];
    a.at[0][i] = column < row ? 0.0f : column == row ? tanhf(raw) : raw;
}

// ln cosh v + ln 2.
__device__ __forceinline__ float log_cosh_twice(float v) {
    return fabsf(v) + log1pf(expf(-2.0f * fabsf(v)));
}

// 1 + tanh(a)·tanh(b) of two diagonals, which stays above 0.
extern "C" __global__ void bounded_stretches(Arguments a) {
    int m = a.size[0];
    unsigned i = THREAD;
    if (i >= (unsigned)m) return;
    float x = a.at[1][i * (m + 1)], y = a.at[2][i * (m + 1)];
    a.at[0][i] = expf(0.69314718056f + log_cosh_twice(x + y) - log_cosh_twice(x) - log_cosh_twice(y));
}

// Adds the gradient by what a triangle is made of, with its part in that by the stretches.
extern "C" __global__ void triangle_finish(Arguments a) {
    int m = a.size[0];
    unsigned i = THREAD;
    if (i >= (unsigned)m * m) return;
    int row = i / m, column = i % m;
    float by = a.at[1][i];
    if (column > row) a.at[0][i] += by;
    if (column != row) return;
    float raw = a.at[2][i], t = tanhf(raw), by_stretch = a.at[4][row] * a.at[5][row];
    a.at[0][i] += by * (1.0f - t * t) + by_stretch * (tanhf(raw + a.at[3][i]) - t);
}
