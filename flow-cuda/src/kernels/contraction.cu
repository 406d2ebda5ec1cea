// Fixed points of contractions, row by row. See contraction.rs.

// What is known of a row.
enum Known {
    PHASE,       // 0 while it is open, 1 when it is done, 2 when it is stuck
    TURNS,       // iterations so far
    STEP,        // a step's length, and the iteration that took it: the last one that was at most
    SINCE,       // half as long as the one that stood here before
    LIMIT,       // the iteration by which the row must be done
    LENGTH,      // of the residual at the last point
    LAST,        // how the last point was left
    RADIUS,      // what is known of the answer
    KNOWN
};

#define NO_STEP 0.0f
#define PLAIN_STEP 1.0f
#define LEARNED_STEP 2.0f
#define BROKEN_STEP 3.0f

#define WIDEST 8

__device__ __forceinline__ bool is_finite(double v) { return fabs(v) <= 1.7976931348623157e308; }

// With s = x − point and y = r − residual: H += (s − H·y)·sᵀH/(sᵀH·y).
__device__ __forceinline__ void learn(float* h, const float* x, const double* r, const float* point,
                                      const float* residual, int d) {
    double rest[WIDEST], left[WIDEST], divisor = 0.0;
    for (int j = 0; j < d; j++) left[j] = 0.0;
    for (int i = 0; i < d; i++) {
        double s = (double)x[i] - (double)point[i], along = 0.0;
        for (int j = 0; j < d; j++) along += h[i * d + j] * (r[j] - residual[j]);
        rest[i] = s - along;
        divisor += s * along;
        for (int j = 0; j < d; j++) left[j] += s * h[i * d + j];
    }
    // A step of nothing teaches nothing.
    if (fabs(divisor) > 2.2250738585072014e-308) {
        for (int i = 0; i < d; i++) {
            for (int j = 0; j < d; j++) h[i * d + j] += (float)(rest[i] * left[j] / divisor);
        }
    }
}

// Moves a row by a step of Broyden's or a plain one, as flow-core's broyden.rs does; true where the
// step to x was taken back. The memory holds the last point, its residual and H.
__device__ __forceinline__ bool broyden_step(float* known, float* memory, float* x, double* r,
                                             int d, double coefficient) {
    float *point = memory, *residual = memory + d, *h = memory + 2 * d;
    double length = 0.0;
    for (int i = 0; i < d; i++) length += r[i] * r[i];
    length = sqrt(length);
    bool worse = !(length <= coefficient * known[LENGTH]);
    bool back = known[LAST] == LEARNED_STEP && worse;
    if (back) {
        // Back, and on from there by the plain step.
        for (int i = 0; i < d; i++) {
            x[i] = point[i];
            r[i] = residual[i];
        }
        known[LAST] = NO_STEP;
    } else if (known[LAST] == BROKEN_STEP || (known[LAST] == PLAIN_STEP && worse)) {
        known[LAST] = BROKEN_STEP;
    } else {
        if (known[LAST] == NO_STEP) {
            for (int i = 0; i < d * d; i++) h[i] = i % (d + 1) == 0 ? 1.0f : 0.0f;
        } else {
            learn(h, x, r, point, residual, d);
        }
        for (int i = 0; i < d; i++) {
            point[i] = x[i];
            residual[i] = (float)r[i];
        }
        known[LENGTH] = (float)length;
        known[LAST] = known[LAST] == NO_STEP ? PLAIN_STEP : LEARNED_STEP;
    }
    if (known[LAST] == LEARNED_STEP) {
        float moved[WIDEST];
        bool finite = true;
        for (int i = 0; i < d; i++) {
            double by = 0.0;
            for (int j = 0; j < d; j++) by += h[i * d + j] * r[j];
            moved[i] = (float)(x[i] - by);
            finite = finite && fabsf(moved[i]) <= 3.4028234e38f;
        }
        if (finite) {
            for (int i = 0; i < d; i++) x[i] = moved[i];
            return back;
        }
        known[LAST] = PLAIN_STEP;
    }
    for (int i = 0; i < d; i++) x[i] = (float)(x[i] - r[i]);
    return back;
}

// One iteration of x + g(x) = z for every open row, from the g at x. 32 lanes a row.
extern "C" __global__ void contract(Arguments a) {
    __shared__ double sums[4][3][32];
    __shared__ int plain[4];
    int rows = a.size[0], d = a.size[1], learns = a.size[2];
    double c = a.number[0], tolerance = a.number[1], unit = a.number[2];
    double floor = a.number[3], spare = a.number[4], slack = a.number[5], per = a.number[6];
    double half_life = a.number[7];
    int lane = threadIdx.x, local = threadIdx.y, row = blockIdx.x * 4 + local;
    bool inside = row < rows;
    float *x = a.at[0] + (inside ? row * d : 0), *known = a.at[3] + (inside ? row * KNOWN : 0);
    const float *g = a.at[1] + (inside ? row * d : 0), *z = a.at[2] + (inside ? row * d : 0);
    bool open = inside && known[PHASE] == 0.0f;
    double moved = 0.0, length = 0.0, aim = 0.0;
    if (open) {
        for (int k = lane; k < d; k += 32) {
            float next = z[k] - g[k], by = x[k] - next;
            moved += (double)by * by;
            length += (double)next * next;
            aim += (double)z[k] * z[k];
        }
    }
    sums[local][0][lane] = moved;
    sums[local][1][lane] = length;
    sums[local][2][lane] = aim;
    if (lane == 0) plain[local] = 0;
    __syncthreads();
    if (open && lane == 0) {
        for (int k = 1; k < 32; k++) {
            moved += sums[local][0][k];
            length += sums[local][1][k];
            aim += sums[local][2][k];
        }
        moved = sqrt(moved);
        length = fmax(sqrt(length), unit);
        aim = sqrt(aim);
        double reached = c / (1.0 - c) * moved, longest = fmax(length, aim);
        double rounding = floor * longest, wanted = fmax(rounding, tolerance * length);
        float turn = known[TURNS];
        if (turn == 0.0f) {
            // The answer may turn out shorter than x is now.
            double shortest = fmax(unit, 2.2250738585072014e-308);
            double least = fmax(rounding / longest * aim, tolerance * shortest);
            double needed = ceil(per * log(reached / least));
            known[LIMIT] = (float)(slack + (is_finite(needed) && needed > 0.0 ? needed : 0.0));
        }
        bool rounded = turn > known[SINCE] + half_life && moved > 0.5 * known[STEP];
        if (moved <= 0.5 * known[STEP] || turn == 0.0f) {
            known[STEP] = (float)moved;
            known[SINCE] = turn;
        }
        bool done = reached <= wanted || (rounded && reached <= spare * rounding), back = false;
        if (learns && !done) {
            double r[WIDEST];
            for (int k = 0; k < d; k++) {
                float next = z[k] - g[k];
                r[k] = x[k] - next;
            }
            back = broyden_step(known, a.at[4] + row * d * (d + 2), x, r, d, c);
        } else {
            plain[local] = 1;
        }
        known[TURNS] = turn + 1.0f;
        known[RADIUS] = (float)(done ? reached + rounding : reached / length);
        if (done) {
            known[PHASE] = 1.0f;
        } else if (turn >= known[LIMIT] || !(back || is_finite(moved))) {
            known[PHASE] = 2.0f;
        }
    }
    __syncthreads();
    if (plain[local]) {
        for (int k = lane; k < d; k += 32) x[k] = z[k] - g[k];
    }
}

// How many rows are open, and the first that is stuck with its turns and its radius: −1 for none.
// One block.
extern "C" __global__ void count_open(Arguments a) {
    __shared__ int counts[128], firsts[128];
    int rows = a.size[0], open = 0, first = rows;
    for (int row = threadIdx.x; row < rows; row += 128) {
        float phase = a.at[1][row * KNOWN + PHASE];
        if (phase == 0.0f) open++;
        if (phase == 2.0f) first = min(first, row);
    }
    counts[threadIdx.x] = open;
    firsts[threadIdx.x] = first;
    __syncthreads();
    if (threadIdx.x == 0) {
        for (int i = 1; i < 128; i++) {
            open += counts[i];
            first = min(first, firsts[i]);
        }
        const float* known = a.at[1] + (first < rows ? first : 0) * KNOWN;
        a.at[0][0] = (float)open;
        a.at[0][1] = first < rows ? (float)first : -1.0f;
        a.at[0][2] = known[TURNS];
        a.at[0][3] = known[RADIUS];
    }
}
