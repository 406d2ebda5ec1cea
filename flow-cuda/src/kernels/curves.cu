// One fixed function on some entries of each row. See curves.rs and flow-core's blocks/curves.

enum { TANH, SIGMOID, LOGIT, NORMAL_CDF, SOFTPLUS, LEAKY_RELU, SCALE };

#define SMALLEST 1.17549435e-38f
#define LN_2 0.69314718056f

// A function's value with the logarithm of its slope, and its slope with that logarithm's.
struct Curve {
    float value, log_slope, slope, bend;
};

// The number nearest to z inside the open interval (low, 1).
__device__ __forceinline__ float inside(float z, float low) {
    float most = 0.99999994f;
    return z > most ? most : z < low ? low : z;
}

// σ, log σ', σ' and d log σ'/dx.
__device__ __forceinline__ Curve logistic_curve(float x) {
    float small = expf(-fabsf(x)), log = log1pf(small);
    float above = 1.0f / (1.0f + small), below = small * above;
    Curve c = {x < 0.0f ? below : above, -fabsf(x) - log - log, below * above, -tanhf(0.5f * x)};
    return c;
}

__device__ __forceinline__ double cdf(double x) { return 0.5 * erfc(-x * 0.70710678118654752440); }

__device__ __forceinline__ double log_density(double x) {
    return -0.5 * (x * x + 1.8378770664093454836);
}

// The x with Φ(x) = p: Abramowitz and Stegun 1964, 26.2.23, and two of Halley's steps.
__device__ __forceinline__ double quantile(double p) {
    bool upper = p > 0.5;
    if (upper) p = 1.0 - p;
    double t = sqrt(-2.0 * log(p));
    double above = 2.515517 + t * (0.802853 + t * 0.010328);
    double below = 1.0 + t * (1.432788 + t * (0.189269 + t * 0.001308));
    double x = above / below - t;
    for (int i = 0; i < 2; i++) {
        double newton = (cdf(x) - p) / exp(log_density(x));
        x -= newton / (1.0 + 0.5 * x * newton);
    }
    return upper ? -x : x;
}

__device__ __forceinline__ Curve curve_forward(int kind, const float* number, float x) {
    Curve c;
    switch (kind) {
        case TANH: {
            float small = expf(-fabsf(x + x)), whole = 1.0f + small;
            c.value = tanhf(x);
            c.log_slope = 2.0f * (LN_2 - fabsf(x) - log1pf(small));
            c.slope = 4.0f * small / (whole * whole);
            c.bend = -2.0f * c.value;
            return c;
        }
        case SIGMOID:
            return logistic_curve(x);
        case LOGIT: {
            float alpha = number[0], stretch = number[1], p = alpha + stretch * x;
            float rest = alpha + stretch * (1.0f - x);
            if (p <= 0.0f || rest <= 0.0f) {
                // So that nets further on see a number of ordinary size.
                c.value = p <= 0.0f ? -15.942385f : 15.942385f;
                c.log_slope = logf(0.0f);
                c.slope = c.bend = 0.0f;
                return c;
            }
            float log = logf(p), log_rest = logf(rest);
            c.value = log - log_rest;
            c.log_slope = number[2] - log - log_rest;
            c.slope = stretch / p / rest;
            c.bend = (p - rest) * c.slope;
            return c;
        }
        case NORMAL_CDF: {
            double log = log_density(x);
            c.value = (float)cdf(x);
            c.log_slope = (float)log;
            c.slope = (float)exp(log);
            c.bend = -x;
            return c;
        }
        case SOFTPLUS: {
            float small = expf(-fabsf(x)), log = log1pf(small), gate = 1.0f / (1.0f + small);
            c.value = (x > 0.0f ? x : 0.0f) + log;
            c.log_slope = (x < 0.0f ? x : 0.0f) - log;
            c.slope = x < 0.0f ? small * gate : gate;
            c.bend = x < 0.0f ? gate : small * gate;
            return c;
        }
        case LEAKY_RELU:
            c.slope = x < 0.0f ? number[0] : 1.0f;
            c.value = x * c.slope;
            c.log_slope = x < 0.0f ? number[2] : 0.0f;
            c.bend = 0.0f;
            return c;
        default:
            c.slope = number[0];
            c.value = x * c.slope;
            c.log_slope = number[2];
            c.bend = 0.0f;
            return c;
    }
}

__device__ __forceinline__ Curve curve_inverse(int kind, const float* number, float z) {
    Curve c;
    switch (kind) {
        case TANH: {
            float size = inside(fabsf(z), 0.0f);
            c.value = copysignf(0.5f * log1pf((size + size) / (1.0f - size)), z);
            c.log_slope = -log1pf(-size) - log1pf(size);
            c.slope = 1.0f / ((1.0f - size) * (1.0f + size));
            c.bend = 2.0f * z * c.slope;
            return c;
        }
        case SIGMOID: {
            z = inside(z, SMALLEST);
            float log = logf(z), log_rest = log1pf(-z);
            c.value = log - log_rest;
            c.log_slope = -log - log_rest;
            c.slope = 1.0f / (z * (1.0f - z));
            c.bend = (z + z - 1.0f) * c.slope;
            return c;
        }
        case LOGIT:
            c = logistic_curve(z);
            c.value = (c.value - number[0]) / number[1];
            c.log_slope -= number[2];
            c.slope /= number[1];
            return c;
        case NORMAL_CDF: {
            double x = quantile(inside(z, SMALLEST)), slope = exp(-log_density(x));
            c.value = (float)x;
            c.log_slope = (float)-log_density(x);
            c.slope = (float)slope;
            c.bend = (float)(x * slope);
            return c;
        }
        case SOFTPLUS: {
            z = z < SMALLEST ? SMALLEST : z;
            float small = expf(-z), share = -expm1f(-z);
            // Near 1 the slope has lost what its distance from 1 still has.
            float log = z > 1.0f ? log1pf(-small) : logf(share);
            c.value = z + log;
            c.log_slope = -log;
            c.slope = 1.0f / share;
            c.bend = -small / share;
            return c;
        }
        case LEAKY_RELU:
            c.slope = z < 0.0f ? 1.0f / number[0] : 1.0f;
            c.value = z < 0.0f ? z / number[0] : z;
            c.log_slope = z < 0.0f ? -number[2] : 0.0f;
            c.bend = 0.0f;
            return c;
        default:
            c.slope = 1.0f / number[0];
            c.value = z / number[0];
            c.log_slope = -number[2];
            c.bend = 0.0f;
            return c;
    }
}

__device__ __forceinline__ Curve curve_at(const Arguments& a, float v) {
    return a.size[4] ? curve_inverse(a.size[3], a.number, v) : curve_forward(a.size[3], a.number, v);
}

// Keeps the input, and leaves log |f'| in logs.
extern "C" __global__ void curve(Arguments a) {
    int rows = a.size[0], n = a.size[1], width = a.size[2], alone = a.size[6];
    unsigned i = THREAD;
    if (i >= (unsigned)rows * n) return;
    int row = i / n;
    float* v = a.at[0] + row * width + a.table[0][i % n];
    if (a.size[5]) a.at[1][i] = *v;
    Curve c = curve_at(a, *v);
    *v = c.value;
    if (alone) {
        a.at[2][row] += c.log_slope;
    } else {
        a.at[2][i] = c.log_slope;
    }
}

// gradient = gradient · f' + by_log · (log f')'.
extern "C" __global__ void curve_product(Arguments a) {
    int rows = a.size[0], n = a.size[1], width = a.size[2];
    unsigned i = THREAD;
    if (i >= (unsigned)rows * n) return;
    int row = i / n;
    float* by = a.at[0] + row * width + a.table[0][i % n];
    Curve c = curve_at(a, a.at[1][i]);
    *by = *by * c.slope + a.at[3][row] * c.bend;
}

// The first entry outside of [low, high]: its row, its place and its value, or −1. One block.
extern "C" __global__ void find_outside(Arguments a) {
    __shared__ int found[128];
    int rows = a.size[0], n = a.size[1], width = a.size[2], first = rows * n;
    for (int i = threadIdx.x; i < rows * n; i += 128) {
        float v = a.at[0][i / n * width + a.table[0][i % n]];
        if (v < a.number[0] || v > a.number[1]) {
            first = i;
            break;
        }
    }
    found[threadIdx.x] = first;
    __syncthreads();
    if (threadIdx.x == 0) {
        for (int i = 1; i < 128; i++) first = min(first, found[i]);
        bool none = first >= rows * n;
        float* status = a.at[1];
        status[0] = 0.0f;
        status[1] = none ? -1.0f : (float)(first / n);
        status[2] = none ? 0.0f : (float)(first % n);
        status[3] = none ? 0.0f : a.at[0][first / n * width + a.table[0][first % n]];
    }
}
