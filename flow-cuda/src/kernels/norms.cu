// Certified norms of matrices by Gram iteration, with their derivatives, as flow-core's
// lipschitz/norm.rs and lipschitz/rounding.rs have them, and weights that are scaled by them. See
// norms.rs. Matrices are in f32 or in f64; what is made of a whole one is in f64 in any case.

// What the index list says of a matrix; places count numbers of f32 from the start of the work.
enum Places {
    ROW_COUNT,
    COLUMN_COUNT,
    SQUARINGS,
    TALL,    // the matrix or its transpose, whichever is tall, its largest entry near 1
    FIRST,   // its Gram matrix
    PAIR,    // the squares of that, in turns
    ALONG,   // the tall matrix times the last of them
    STATE,
    BOUND,   // which of the bounds is its own
    PLACES
};

// What is known of a matrix.
enum State {
    EXPONENT,  // of 2, by which it was scaled
    KIND,      // −1 where it is zero, 1 where a number is not finite, 0 otherwise
    SQUARES,   // the sum of squares of the last matrix
    STRETCH,   // ⟨along, matrix⟩
    STEPS      // for each product: what rounding adds, what vanished, the exponent
};

#define LN_OF_2 0.69314718055994530942

__device__ __forceinline__ const int* places_of(const Arguments& a, int matrix) {
    return a.table[0] + matrix * PLACES;
}
__device__ __forceinline__ int side_of(const int* m) { return min(m[ROW_COUNT], m[COLUMN_COUNT]); }
__device__ __forceinline__ int height_of(const int* m) {
    return m[ROW_COUNT] < m[COLUMN_COUNT] ? m[COLUMN_COUNT] : m[ROW_COUNT];
}
__device__ __forceinline__ double* state_of(float* work, const int* m) {
    return (double*)(work + m[STATE]);
}

// The Gram matrix of that number, counted from 0, or for −1 the tall matrix.
template <typename T>
__device__ __forceinline__ T* power_of(float* work, const int* m, int step) {
    if (step < 0) return (T*)(work + m[TALL]);
    if (step == 0) return (T*)(work + m[FIRST]);
    return (T*)(work + m[PAIR]) + (size_t)(step % 2) * side_of(m) * side_of(m);
}

template <typename T>
__device__ __forceinline__ void start(const Arguments& a) {
    __shared__ double room[TEAM];
    const int* m = places_of(a, a.size[0]);
    int rows = m[ROW_COUNT], columns = m[COLUMN_COUNT], count = rows * columns;
    T* tall = power_of<T>(a.at[1], m, -1);
    double lost = 0.0;
    for (int i = threadIdx.x; i < count; i += TEAM) {
        float v = a.at[0][i];
        if (!(fabsf(v) <= 3.4028234663852886e38f)) lost = 1.0;
        tall[columns > rows ? i % columns * rows + i / columns : i] = (T)v;
    }
    lost = team_most(lost, room);
    int exponent;
    double squares = normalize(tall, count, &exponent, room);
    if (threadIdx.x == 0) {
        double* state = state_of(a.at[1], m);
        state[EXPONENT] = exponent;
        state[KIND] = lost > 0.0 ? 1.0 : squares == 0.0 ? -1.0 : 0.0;
        state[SQUARES] = squares;
    }
}

// The numbers of one matrix, of one block.
extern "C" __global__ void norm_start_single(Arguments a) { start<float>(a); }
extern "C" __global__ void norm_start_double(Arguments a) { start<double>(a); }

template <typename T>
__device__ __forceinline__ void gram(const Arguments& a) {
    const int* m = places_of(a, blockIdx.z);
    int step = a.size[0], side = side_of(m);
    unsigned i = THREAD;
    if (step > m[SQUARINGS] || i >= (unsigned)side * side) return;
    int height = step == 0 ? height_of(m) : side, row = i / side, column = i % side;
    const T* q = power_of<T>(a.at[0], m, step - 1);
    T sum = 0;
    for (int l = 0; l < height; l++) sum += q[l * side + row] * q[l * side + column];
    power_of<T>(a.at[0], m, step)[i] = sum;
}

// The Gram matrix of that number for every matrix: a thread for each entry.
extern "C" __global__ void gram_single(Arguments a) { gram<float>(a); }
extern "C" __global__ void gram_double(Arguments a) { gram<double>(a); }

template <typename T>
__device__ __forceinline__ void step(const Arguments& a) {
    __shared__ double room[TEAM];
    const int* m = places_of(a, blockIdx.x);
    int number = a.size[0], side = side_of(m);
    if (number > m[SQUARINGS]) return;
    int height = number == 0 ? height_of(m) : side, exponent;
    double squares = normalize(power_of<T>(a.at[0], m, number), side * side, &exponent, room);
    if (threadIdx.x == 0) {
        double *state = state_of(a.at[0], m), *found = state + STEPS + 3 * number;
        double whole = frobenius(state[SQUARES], height * side);
        double underflow = up((double)side * height * least<T>());
        found[0] = up(up(gamma_of<T>(height) * up(whole * whole)) + underflow);
        found[1] = up(side * least<T>());
        found[2] = exponent;
        state[SQUARES] = squares;
    }
}

// Scales it, and notes what its rounding adds: a block for each matrix.
extern "C" __global__ void norm_step_single(Arguments a) { step<float>(a); }
extern "C" __global__ void norm_step_double(Arguments a) { step<double>(a); }

template <typename T>
__device__ __forceinline__ void along(const Arguments& a) {
    const int* m = places_of(a, blockIdx.z);
    int side = side_of(m);
    unsigned i = THREAD;
    if (i >= (unsigned)m[ROW_COUNT] * m[COLUMN_COUNT]) return;
    const T* row = power_of<T>(a.at[0], m, -1) + i / side * side;
    const T* q = power_of<T>(a.at[0], m, m[SQUARINGS]);
    T sum = 0;
    for (int l = 0; l < side; l++) sum += row[l] * q[l * side + i % side];
    ((T*)(a.at[0] + m[ALONG]))[i] = sum;
}

// Along the derivative: a thread for each entry.
extern "C" __global__ void norm_along_single(Arguments a) { along<float>(a); }
extern "C" __global__ void norm_along_double(Arguments a) { along<double>(a); }

template <typename T>
__device__ __forceinline__ void bound(const Arguments& a) {
    __shared__ double room[TEAM];
    const int* m = places_of(a, blockIdx.x);
    int side = side_of(m), squarings = m[SQUARINGS], count = m[ROW_COUNT] * m[COLUMN_COUNT];
    const T *tall = power_of<T>(a.at[0], m, -1), *first = power_of<T>(a.at[0], m, 0);
    const T *last = power_of<T>(a.at[0], m, squarings), *by = (T*)(a.at[0] + m[ALONG]);
    double inner = 0.0, stretch = 0.0;
    for (int i = threadIdx.x; i < side * side; i += TEAM) inner += (double)first[i] * last[i];
    for (int i = threadIdx.x; i < count; i += TEAM) stretch += (double)by[i] * tall[i];
    inner = team_sum(inner, room);
    stretch = team_sum(stretch, room);
    if (threadIdx.x != 0) return;
    double *state = state_of(a.at[0], m), *found = (double*)a.at[1] + m[BOUND];
    if (state[KIND] != 0.0) {
        *found = state[KIND] > 0.0 ? -log(0.0) : 0.0;
        return;
    }
    double whole = frobenius(state[SQUARES], side * side), scale = state[STEPS + 2];
    double unit = scale, doublings = ldexp(1.0, squarings);
    for (int k = 1; k <= squarings; k++) scale = 2.0 * scale + state[STEPS + 3 * k + 2];
    double certain = back(state + STEPS, squarings + 1, whole);
    double close = exp((log(inner) + (unit + scale) * LN_OF_2) / (2.0 * (doublings + 1.0)));
    double without_rounding = exp((log(whole) + scale * LN_OF_2) / (2.0 * doublings));
    double norm = fmax(certain, close * (certain / without_rounding));
    double vanished = up(sqrt((double)count) * least<T>());
    int exponent = (int)state[EXPONENT];
    *found = up(ldexp(up(norm + vanished), exponent));
    state[STRETCH] = ldexp(stretch, exponent);
}

// Writes the bound of each matrix: a block for each.
extern "C" __global__ void norm_bound_single(Arguments a) { bound<float>(a); }
extern "C" __global__ void norm_bound_double(Arguments a) { bound<double>(a); }

// From the bounds of a net's weights to the factor that keeps its constant, and for each weight its
// part in the derivative and its own factor. See flow-core's lipschitz/limit.rs. One thread.
extern "C" __global__ void limit_factor(Arguments a) {
    const double* bounds = (double*)a.at[1];
    double* roles = (double*)a.at[2];
    const int* list = a.table[0];
    int parts = a.size[0], weights = a.size[1], passed = a.size[2];
    double constant = __hiloint2double(list[0], list[1]);
    double slack = __hiloint2double(list[2], list[3]), product = 1.0;
    if (THREAD != 0) return;
    for (int part = 0, at = 4; part < parts; part++) {
        double gain = __hiloint2double(list[at + 1], list[at + 2]);
        bool skips = list[at] != 0;
        double inner = gain;
        int count = list[at + 3];
        for (int i = 0; i < count; i++) inner *= bounds[list[at + 4 + i]];
        for (int i = 0; i < count; i++) {
            double* role = roles + 2 * list[at + 4 + i];
            role[0] = skips ? inner / (1.0 + inner) : 1.0;
            role[1] = skips ? 1.0 : 0.0;
        }
        product *= skips ? 1.0 + inner : inner;
        at += 4 + count;
    }
    product *= 1.0 + 4.0 * DOUBLE_EPSILON * (1 + weights);
    double factor = 1.0;
    if (!(product <= constant)) factor = pow(constant / product, 1.0 / passed) * (1.0 - slack);
    a.at[0][0] = (float)factor;
    for (int i = 0; i < weights; i++) {
        if (roles[2 * i + 1] == 0.0) roles[2 * i + 1] = factor;
    }
}

template <typename T>
__device__ __forceinline__ void scale_weight(const Arguments& a) {
    const int* m = places_of(a, a.size[0]);
    int rows = m[ROW_COUNT], columns = m[COLUMN_COUNT];
    unsigned i = THREAD;
    if (i >= (unsigned)rows * columns) return;
    const double *state = state_of(a.at[3], m), *role = (double*)a.at[4] + 2 * a.size[1];
    const T* by = (T*)(a.at[3] + m[ALONG]);
    int at = columns > rows ? i % columns * rows + i / columns : i;
    a.at[0][i] = (float)((double)a.at[2][i] * role[1]);
    a.at[1][i] = state[KIND] == 0.0 ? (float)(role[0] * ((double)by[at] / state[STRETCH])) : 0.0f;
}

// The weight times its factor, and its part in the derivative of the product of norms.
extern "C" __global__ void limit_scale_single(Arguments a) { scale_weight<float>(a); }
extern "C" __global__ void limit_scale_double(Arguments a) { scale_weight<double>(a); }

// The sum of a weight's numbers times the gradient by it as it is used. One block.
extern "C" __global__ void limit_inner(Arguments a) {
    __shared__ double room[TEAM];
    double sum = 0.0;
    for (int i = threadIdx.x; i < a.size[0]; i += TEAM) sum += (double)a.at[0][i] * a.at[1][i];
    sum = team_sum(sum, room);
    if (threadIdx.x == 0) ((double*)a.at[2])[a.size[1]] = sum;
}

// From the gradient by a weight as it is used to that by its numbers.
extern "C" __global__ void limit_spread(Arguments a) {
    int passed = a.size[2];
    unsigned i = THREAD;
    if (i >= (unsigned)a.size[0]) return;
    float factor = a.at[3][0], by = a.at[1][i], own = a.size[1] ? factor : 1.0f;
    double sum = 0.0;
    for (int k = 0; k < passed; k++) sum += ((double*)a.at[4])[a.table[0][k]];
    float along = factor * (float)(sum / passed);
    a.at[0][i] = factor < 1.0f ? own * by - along * a.at[2][i] : by;
}
