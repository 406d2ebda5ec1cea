// z = x·g(s) + t and z = x + t on some entries of each row. See affine.rs.

// A row's parameters of one entry stand `step` numbers apart.

// g, log g and d log g/ds.
__device__ __forceinline__ void affine_scale(const Arguments& a, float s, float* g, float* log_g,
                                             float* slope) {
    switch (a.size[4]) {
        case 1: {  // exp(limit·tanh(s/limit))
            float limit = a.number[0], bent = tanhf(s * a.number[1]);
            *g = expf(limit * bent);
            *log_g = limit * bent;
            *slope = 1.0f - bent * bent;
            break;
        }
        case 2: {  // low + range·σ(s + shift)
            float low = a.number[0], range = a.number[1], shift = a.number[2];
            float up = 1.0f / (1.0f + expf(-s - shift)), down = 1.0f / (1.0f + expf(s + shift));
            *g = low + range * up;
            *log_g = logf(*g);
            *slope = range * up * down / *g;
            break;
        }
        default:
            *g = expf(s);
            *log_g = s;
            *slope = 1.0f;
    }
}

// Leaves (g, slope) in the parameters, the data side in kept and ±log g in logs.
extern "C" __global__ void affine(Arguments a) {
    const int *entries = a.table[0], *places = a.table[1];
    int rows = a.size[0], n = a.size[1], width = a.size[2], parameters_width = a.size[3];
    int inverse = a.size[5], saves = a.size[6], alone = a.size[7];
    unsigned i = THREAD;
    if (i >= (unsigned)rows * n) return;
    int row = i / n, k = i % n;
    float* v = a.at[0] + row * width + entries[k];
    float* theta = a.at[1] + row * parameters_width + 2 * places[k];
    int step = a.size[8];
    float g, log_g, slope, before = *v;
    affine_scale(a, theta[0], &g, &log_g, &slope);
    float after = inverse ? (before - theta[step]) / g : before * g + theta[step];
    *v = after;
    if (saves) {
        a.at[2][i] = inverse ? after : before;
        theta[0] = g;
        theta[step] = slope;
    }
    if (inverse) log_g = -log_g;
    if (alone) {
        a.at[3][row] += log_g;
    } else {
        a.at[3][i] = log_g;
    }
}

extern "C" __global__ void affine_product(Arguments a) {
    const int *entries = a.table[0], *places = a.table[1];
    int rows = a.size[0], n = a.size[1], width = a.size[2], parameters_width = a.size[3];
    int inverse = a.size[5];
    unsigned i = THREAD;
    if (i >= (unsigned)rows * n) return;
    int row = i / n, k = i % n;
    float* by = a.at[0] + row * width + entries[k];
    int at = row * parameters_width + 2 * places[k], step = a.size[8];
    float x = a.at[1][i], g = a.at[2][at], slope = a.at[2][at + step], by_log = a.at[4][row];
    float* by_theta = a.at[3] + at;
    if (inverse) {
        by_theta[0] = -(*by * x + by_log) * slope;
        *by /= g;
        by_theta[step] = -*by;
    } else {
        by_theta[0] = (*by * x * g + by_log) * slope;
        by_theta[step] = *by;
        *by *= g;
    }
}

extern "C" __global__ void additive(Arguments a) {
    const int *entries = a.table[0], *places = a.table[1];
    int rows = a.size[0], n = a.size[1], width = a.size[2], parameters_width = a.size[3];
    unsigned i = THREAD;
    if (i >= (unsigned)rows * n) return;
    int row = i / n, k = i % n;
    float t = a.at[1][row * parameters_width + places[k]];
    a.at[0][row * width + entries[k]] += a.size[5] ? -t : t;
}

extern "C" __global__ void additive_product(Arguments a) {
    const int *entries = a.table[0], *places = a.table[1];
    int rows = a.size[0], n = a.size[1], width = a.size[2], parameters_width = a.size[3];
    unsigned i = THREAD;
    if (i >= (unsigned)rows * n) return;
    int row = i / n, k = i % n;
    float by = a.at[0][row * width + entries[k]];
    a.at[3][row * parameters_width + places[k]] = a.size[5] ? -by : by;
}
