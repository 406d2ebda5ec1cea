// Monotone rational-quadratic splines on some entries of each row. See spline.rs.

// A bin of the spline (Durkan et al. 2019, "Neural Spline Flows", eq. 4 to 8).
struct Bin {
    int index;
    float left, bottom, width, height, slope_left, slope_right;
};

struct Spline {
    int bins;
    float bound, floor, stretch;  // a bin's size is floor + stretch · share
};

#define LEAST 1e-3f

// Numbers that stand `step` apart.
template <typename T>
struct Strided {
    T* first;
    int step;
    __device__ T& operator[](int i) const { return first[i * step]; }
    __device__ Strided from(int start) const { return {first + start * step, step}; }
};
typedef Strided<float> Out;
typedef Strided<const float> In;

__device__ __forceinline__ void to_shares(Out v, int n) {
    float most = v[0], sum = 0.0f;
    for (int i = 1; i < n; i++) most = fmaxf(most, v[i]);
    for (int i = 0; i < n; i++) {
        v[i] = expf(v[i] - most);
        sum += v[i];
    }
    float share = 1.0f / sum;
    for (int i = 0; i < n; i++) v[i] *= share;
}

__device__ __forceinline__ float knot_slope(const Spline& s, In raw, int knot) {
    if (knot == 0 || knot == s.bins) return 1.0f;
    float v = raw[knot - 1];
    return LEAST + (v <= 0.0f ? 0.0f : v) + log1pf(expf(-fabsf(v)));
}

// The bin of v along the widths, or along the heights.
__device__ __forceinline__ Bin find_bin(const Spline& s, In theta, float v, bool up) {
    In widths = theta, heights = theta.from(s.bins), slopes = theta.from(2 * s.bins);
    In searched = up ? heights : widths, other = up ? widths : heights;
    float start = -s.bound, other_start = -s.bound;
    int index = 0;
    while (index + 1 < s.bins) {
        float end = start + s.floor + s.stretch * searched[index];
        if (v < end) break;
        start = end;
        other_start = other_start + s.floor + s.stretch * other[index];
        index++;
    }
    Bin bin;
    bin.index = index;
    bin.left = up ? other_start : start;
    bin.bottom = up ? start : other_start;
    bin.width = s.floor + s.stretch * widths[index];
    bin.height = s.floor + s.stretch * heights[index];
    bin.slope_left = knot_slope(s, slopes, index);
    bin.slope_right = knot_slope(s, slopes, index + 1);
    return bin;
}

// Rounding may carry a position past the end of its bin.
__device__ __forceinline__ float unit(float at) { return at > 1.0f ? 1.0f : at < 0.0f ? 0.0f : at; }

// The logarithm of eq. 5.
__device__ __forceinline__ float log_slope(const Bin& b, float at) {
    float s = b.height / b.width, bend = b.slope_left + b.slope_right - (s + s);
    float rest = 1.0f - at, between = at * rest;
    float top = b.slope_right * at * at + (s + s) * between + b.slope_left * rest * rest;
    float ratio = s / (s + bend * between);
    return logf(top * ratio * ratio);
}

// The value in a bin of v, or of which it is the value, and ±log f' there.
__device__ __forceinline__ float through(const Bin& b, float v, bool inverse, float* log) {
    float mean = b.height / b.width, bend = b.slope_left + b.slope_right - (mean + mean);
    if (inverse) {
        // The root of eq. 6 to 8 that adds numbers of one sign.
        float up = unit((v - b.bottom) / b.height);
        float q = b.slope_left - up * bend, twice = (mean + mean) * up;
        float root = sqrtf((q - twice) * (q - twice) + twice * (mean + mean) * (1.0f - up));
        float at = unit(q < 0.0f ? (root - q) / (mean + mean - q - q) : twice / (q + root));
        *log = -log_slope(b, at);
        return b.left + at * b.width;
    }
    float at = unit((v - b.left) / b.width), between = at * (1.0f - at);
    float rise = (mean * at * at + b.slope_left * between) / (mean + bend * between);
    *log = log_slope(b, at);
    return b.bottom + b.height * rise;
}

// A loss's gradient by what a bin is made of.
struct ByBin {
    float value, x, width, height, left, right;
};

// From that by f and by log f' at x; of the inverse, that by its output and its logarithm.
__device__ __forceinline__ ByBin bin_product(const Bin& b, float x, bool inverse, float given,
                                             float by_log) {
    float mean = b.height / b.width, bend = b.slope_left + b.slope_right - (mean + mean);
    float at = unit((x - b.left) / b.width), rest = 1.0f - at, between = at * rest;
    float below = mean + bend * between, above = mean * at * at + b.slope_left * between;
    float top =
        b.slope_right * at * at + 2.0f * mean * between + b.slope_left * rest * rest;
    float inverse_below = 1.0f / below, inverse_top = 1.0f / top;
    float square = inverse_below * inverse_below;

    // Partial derivatives of f and of log f' by the place in the bin, the mean slope and the two
    // slopes, others fixed.
    float f_at = b.height * mean * top * square;
    float f_s = b.height * (at * at * below - above * (1.0f - 2.0f * between)) * square;
    float f_left = b.height * between * (below - above) * square;
    float f_right = -b.height * above * between * square;
    float top_at = 2.0f * (b.slope_right * at + mean * (rest - at) - b.slope_left * rest);
    float l_at = top_at * inverse_top - 2.0f * bend * (rest - at) * inverse_below;
    float l_s = 2.0f / mean + 2.0f * between * inverse_top -
                2.0f * (1.0f - 2.0f * between) * inverse_below;
    float l_left = rest * rest * inverse_top - 2.0f * between * inverse_below;
    float l_right = at * at * inverse_top - 2.0f * between * inverse_below;

    float inverse_width = 1.0f / b.width, by_f = given, by_l = by_log;
    if (inverse) {
        // By the implicit function theorem at the solution x.
        by_f = (by_log * l_at * inverse_width - given) / (f_at * inverse_width);
        by_l = -by_log;
    }
    float by_x = (by_f * f_at + by_l * l_at) * inverse_width;
    float by_s = (by_f * f_s + by_l * l_s) * inverse_width;
    ByBin by;
    by.value = by_f;
    by.x = by_x;
    by.width = -by_x * at - by_s * mean;
    by.height = by_s + by_f * above * inverse_below;
    by.left = by_f * f_left + by_l * l_left;
    by.right = by_f * f_right + by_l * l_right;
    return by;
}

__device__ __forceinline__ Spline spline_of(const Arguments& a) {
    Spline s = {a.size[4], a.number[0], a.number[1], a.number[2]};
    return s;
}

// Leaves shares in the place of logits, the data side in kept and ±log f' in logs.
extern "C" __global__ void spline(Arguments a) {
    const int *entries = a.table[0], *places = a.table[1];
    int rows = a.size[0], n = a.size[1], width = a.size[2], parameters_width = a.size[3];
    bool inverse = a.size[5], saves = a.size[6], alone = a.size[7];
    unsigned i = THREAD;
    if (i >= (unsigned)rows * n) return;
    Spline s = spline_of(a);
    int row = i / n, k = i % n;
    float* v = a.at[0] + row * width + entries[k];
    Out theta = {a.at[1] + row * parameters_width + (3 * s.bins - 1) * places[k], a.size[8]};
    float before = *v, after = before, log = 0.0f;
    if (before > -s.bound && before < s.bound) {
        to_shares(theta, s.bins);
        to_shares(theta.from(s.bins), s.bins);
        Bin b = find_bin(s, In{theta.first, theta.step}, before, inverse);
        after = through(b, before, inverse, &log);
        *v = after;
    }
    if (saves) a.at[2][i] = inverse ? after : before;
    if (alone) {
        a.at[3][row] += log;
    } else {
        a.at[3][i] = log;
    }
}

// Turns shares into the gradient by logits, where the loss depends on the bins before `index` by
// `before` each and on that of `index` by `own`.
__device__ __forceinline__ void by_logits(In shares, Out by, int bins, int index,
                                          float stretch, float before, float own) {
    float sum = 0.0f;
    for (int i = 0; i < index; i++) sum += shares[i];
    float mean = sum * before + shares[index] * own;
    for (int i = 0; i < bins; i++) {
        float by_size = i < index ? before : i == index ? own : 0.0f;
        by[i] = shares[i] * stretch * (by_size - mean);
    }
}

extern "C" __global__ void spline_product(Arguments a) {
    const int *entries = a.table[0], *places = a.table[1];
    int rows = a.size[0], n = a.size[1], width = a.size[2], parameters_width = a.size[3];
    bool inverse = a.size[5];
    unsigned i = THREAD;
    if (i >= (unsigned)rows * n) return;
    Spline s = spline_of(a);
    int row = i / n, k = i % n, count = 3 * s.bins - 1;
    float* gradient = a.at[0] + row * width + entries[k];
    int start = row * parameters_width + count * places[k];
    In theta = {a.at[2] + start, a.size[8]};
    Out by_theta = {a.at[3] + start, a.size[8]};
    float x = a.at[1][i], given = *gradient, by_log = a.at[4][row];
    if (!(x > -s.bound && x < s.bound)) {
        for (int j = 0; j < count; j++) by_theta[j] = 0.0f;
        return;
    }
    Bin b = find_bin(s, theta, x, false);
    ByBin by = bin_product(b, x, inverse, given, by_log);
    by_logits(theta, by_theta, s.bins, b.index, s.stretch, -by.x, by.width);
    by_logits(theta.from(s.bins), by_theta.from(s.bins), s.bins, b.index, s.stretch, by.value, by.height);
    for (int inner = 0; inner + 1 < s.bins; inner++) {
        float by_slope = 0.0f;
        if (inner + 1 == b.index) by_slope = by.left;
        if (inner == b.index) by_slope = by.right;
        float raw = theta[2 * s.bins + inner];
        by_theta[2 * s.bins + inner] = by_slope == 0.0f ? 0.0f : by_slope / (1.0f + expf(-raw));
    }
    *gradient = inverse ? -by.value : by.x;
}

// The piece of v between knots that stand in memory: x, y and slopes of `count` knots. An index
// outside of the bins tells of the straight lines beyond the first and the last.
__device__ __forceinline__ int knot_bin(const float* knots, int count, float v, bool up, Bin* b) {
    const float *x = knots, *y = knots + count, *slopes = knots + 2 * count;
    const float* axis = up ? y : x;
    if (v < axis[0]) return -1;
    int next = 0;
    while (next < count && axis[next] <= v) next++;
    if (next == count || next == 0) return count - 1;
    int at = next - 1;
    b->left = x[at];
    b->bottom = y[at];
    b->width = x[next] - x[at];
    b->height = y[next] - y[at];
    b->slope_left = slopes[at];
    b->slope_right = slopes[next];
    return at;
}

// A spline through knots of each feature, straight beyond them. Leaves the data side in kept and
// ±log f' in logs.
extern "C" __global__ void knot_spline(Arguments a) {
    int rows = a.size[0], n = a.size[1], width = a.size[2], features = a.size[3], count = a.size[4];
    bool inverse = a.size[5], saves = a.size[6], alone = a.size[7];
    unsigned i = THREAD;
    if (i >= (unsigned)rows * n) return;
    int row = i / n, k = i % n;
    const float* knots = a.at[1] + k % features * 3 * count;
    float* v = a.at[0] + row * width + a.table[0][k];
    float before = *v, after, log;
    Bin b;
    int at = knot_bin(knots, count, before, inverse, &b);
    if (at < 0 || at == count - 1) {
        int end = at < 0 ? 0 : at;
        float x = knots[end], y = knots[count + end], slope = knots[2 * count + end];
        after = inverse ? x + (before - y) / slope : y + slope * (before - x);
        log = inverse ? -logf(slope) : logf(slope);
    } else {
        after = through(b, before, inverse, &log);
    }
    *v = after;
    if (saves) a.at[2][i] = inverse ? after : before;
    if (alone) {
        a.at[3][row] += log;
    } else {
        a.at[3][i] = log;
    }
}

// Its product; by_knots gets the gradient by the knots, number by number.
extern "C" __global__ void knot_spline_product(Arguments a) {
    int rows = a.size[0], n = a.size[1], width = a.size[2], features = a.size[3], count = a.size[4];
    bool inverse = a.size[5];
    unsigned i = THREAD;
    if (i >= (unsigned)rows * n) return;
    int row = i / n, k = i % n;
    const float* knots = a.at[1] + k % features * 3 * count;
    float* gradient = a.at[0] + row * width + a.table[0][k];
    float* by_knots = a.at[3] + (size_t)i * 3 * count;
    float x = a.at[2][i], given = *gradient, by_log = a.at[4][row];
    for (int j = 0; j < 3 * count; j++) by_knots[j] = 0.0f;
    Bin b;
    int at = knot_bin(knots, count, x, false, &b);
    if (at < 0 || at == count - 1) {
        int end = at < 0 ? 0 : at;
        float slope = knots[2 * count + end], by_f = inverse ? -given / slope : given;
        by_knots[end] -= by_f * slope;
        by_knots[count + end] += by_f;
        by_knots[2 * count + end] +=
            by_f * (x - knots[end]) + (inverse ? -by_log : by_log) / slope;
        *gradient = inverse ? -by_f : by_f * slope;
        return;
    }
    ByBin by = bin_product(b, x, inverse, given, by_log);
    by_knots[at] -= by.x + by.width;
    by_knots[at + 1] += by.width;
    by_knots[count + at] += by.value - by.height;
    by_knots[count + at + 1] += by.height;
    by_knots[2 * count + at] += by.left;
    by_knots[2 * count + at + 1] += by.right;
    *gradient = inverse ? -by.value : by.x;
}
