// The knots of learned splines, as flow-core's blocks/spline_activation.rs has them. See knots.rs.

// v[i] is at least a number.
extern "C" __global__ void raise_to(Arguments a) {
    unsigned i = THREAD;
    if (i < (unsigned)a.size[0] && a.at[0][i] < a.number[0]) a.at[0][i] = a.number[0];
}

__device__ __forceinline__ float limited(const Arguments& a, float raw) {
    return a.number[0] + a.number[1] * logistic(raw);
}
__device__ __forceinline__ float limited_slope(const Arguments& a, float raw) {
    return a.number[1] * logistic(raw) * logistic(-raw);
}

// The largest of some numbers, and the inverse of the sum of exponentials relative to it.
__device__ __forceinline__ float inverse_sum(const float* v, int count, float* most) {
    float sum = 0.0f;
    *most = v[0];
    for (int i = 1; i < count; i++) *most = fmaxf(*most, v[i]);
    for (int i = 0; i < count; i++) sum += expf(v[i] - *most);
    return 1.0f / sum;
}

// All x, all y and all slopes of a feature: a thread for each.
extern "C" __global__ void make_knots(Arguments a) {
    int count = a.size[1];
    unsigned feature = THREAD;
    if (feature >= (unsigned)a.size[0]) return;
    const float *widths = a.at[1] + feature * count, *heights = a.at[2] + feature * count;
    const float* slopes = a.at[3] + feature * count;
    float *x = a.at[0] + 3 * feature * count, *y = x + count, *out = y + count;
    float extent = a.at[4][feature], least = a.number[2], least_rise = a.number[3], most;
    float inverse = inverse_sum(widths, count, &most), across = 0.0f, rise = 0.0f;
    for (int i = 0; i < count; i++) {
        float share = expf(widths[i] - most) * inverse;
        share = share < least ? least : share;
        float up = share * limited(a, heights[i]);
        across += share;
        rise += up < least_rise ? least_rise : up;
        x[i] = (2.0f * across - 1.0f) * extent;
        y[i] = 2.0f * rise * extent;
        out[i] = limited(a, slopes[i]);
    }
    for (int i = 0; i < count; i++) y[i] -= rise * extent;
}

// Adds the gradients by widths, heights and extent: a thread for each feature.
extern "C" __global__ void knots_finish(Arguments a) {
    int count = a.size[1];
    unsigned feature = THREAD;
    if (feature >= (unsigned)a.size[0]) return;
    float *by_widths = a.at[0] + feature * count, *by_heights = a.at[1] + feature * count;
    const float *by_x = a.at[3] + 3 * feature * count, *by_y = by_x + count;
    const float *x = a.at[4] + 3 * feature * count, *y = x + count;
    const float *widths = a.at[5] + feature * count, *heights = a.at[6] + feature * count;
    float extent = a.at[7][feature], along = 0.0f, whole = 0.0f, mean = 0.0f, most;
    float inverse = inverse_sum(widths, count, &most);
    // All knots grow with the extent.
    for (int i = 0; i < count; i++) {
        along += by_x[i] * x[i] + by_y[i] * y[i];
        whole += by_y[i];
    }
    a.at[2][feature] += along / extent;
    // Knot i holds twice the sums up to i, and of y the whole sum once less. First the mean, by
    // which the second turn goes.
    for (int turn = 0; turn < 2; turn++) {
        float across = 0.0f, rise = 0.0f;
        for (int i = count - 1; i >= 0; i--) {
            across += 2.0f * by_x[i];
            rise += 2.0f * by_y[i];
            float by_height = (rise - whole) * extent, share = expf(widths[i] - most) * inverse;
            float by_share = across * extent + by_height * limited(a, heights[i]);
            if (turn == 0) {
                mean += by_share * share;
                continue;
            }
            by_heights[i] += by_height * share * limited_slope(a, heights[i]);
            by_widths[i] += share * (by_share - mean);
        }
    }
}

// Adds the gradient by what the slopes are made of: a thread for each.
extern "C" __global__ void knot_slopes_finish(Arguments a) {
    int count = a.size[1];
    unsigned i = THREAD;
    if (i >= (unsigned)a.size[0] * count) return;
    a.at[0][i] += a.at[1][3 * (i / count) * count + 2 * count + i % count] *
                  limited_slope(a, a.at[2][i]);
}
