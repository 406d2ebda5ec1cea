// What nets do beside their layers: gates of channels, and bounded factors. See gates.rs.

// mean[row, c] = share · Σ over the row's pixels.
extern "C" __global__ void channel_sums(Arguments a) {
    int channels = a.size[1], pixels = a.size[2];
    unsigned i = THREAD;
    if (i >= (unsigned)a.size[0] * channels) return;
    const float* image = a.at[1] + (size_t)(i / channels) * pixels * channels + i % channels;
    float sum = 0.0f;
    for (int p = 0; p < pixels; p++) sum += image[p * channels];
    a.at[0][i] = a.number[0] * sum;
}

// values[row, p, c] *= σ(gate[row, c]); the gate's input becomes the gate, and kept what came in.
extern "C" __global__ void gate_channels(Arguments a) {
    int channels = a.size[1], pixels = a.size[2];
    unsigned i = THREAD;
    if (i >= (unsigned)a.size[0] * channels) return;
    size_t start = (size_t)(i / channels) * pixels * channels + i % channels;
    float gate = logistic(a.at[1][i]);
    a.at[1][i] = gate;
    for (int p = 0; p < pixels; p++) {
        size_t at = start + p * channels;
        if (a.size[3]) a.at[2][at] = a.at[0][at];
        a.at[0][at] *= gate;
    }
}

// by_gate[row, c] = gate (1 − gate) · Σ gradient · value, and gradient *= gate.
extern "C" __global__ void gate_product(Arguments a) {
    int channels = a.size[1], pixels = a.size[2];
    unsigned i = THREAD;
    if (i >= (unsigned)a.size[0] * channels) return;
    size_t start = (size_t)(i / channels) * pixels * channels + i % channels;
    float gate = a.at[1][i], sum = 0.0f;
    for (int p = 0; p < pixels; p++) {
        size_t at = start + p * channels;
        sum += a.at[0][at] * a.at[2][at];
        a.at[0][at] *= gate;
    }
    a.at[3][i] = gate * (1.0f - gate) * sum;
}

// values[row, p, c] += share · by[row, c].
extern "C" __global__ void spread_channels(Arguments a) {
    int channels = a.size[1], image = a.size[2];
    unsigned i = THREAD;
    if (i >= (unsigned)a.size[0]) return;
    a.at[0][i] += a.number[0] * a.at[1][i / image * channels + i % channels];
}

// (1 − φ²)·exp(−φ²/2) and its slope.
__device__ __forceinline__ float hat(float phi, float* slope) {
    float square = phi * phi, bell = expf(-0.5f * square);
    // Far out the bell is 0 before the square overflows.
    if (bell == 0.0f) return *slope = 0.0f;
    *slope = phi * (square - 3.0f) * bell;
    return (1.0f - square) * bell;
}

// The first of each pair of numbers becomes the mean of its hats; kept gets what it was.
extern "C" __global__ void mean_of_hats(Arguments a) {
    int features = a.size[1], hats = a.size[2];
    unsigned i = THREAD;
    if (i >= (unsigned)a.size[0]) return;
    int start = i % features * hats;
    float raw = a.at[0][2 * (size_t)i], sum = 0.0f, slope;
    for (int k = 0; k < hats; k++) sum += hat(a.at[2][start + k] * raw + a.at[3][start + k], &slope);
    if (a.size[3]) a.at[1][i] = raw;
    a.at[0][2 * (size_t)i] = sum / hats;
}

// From the gradient by the mean to that by what it was; by_phi gets that by each hat.
extern "C" __global__ void hats_product(Arguments a) {
    int features = a.size[1], hats = a.size[2];
    unsigned i = THREAD;
    if (i >= (unsigned)a.size[0]) return;
    int start = i % features * hats;
    float raw = a.at[1][i], by_mean = a.at[0][2 * (size_t)i] / hats, sum = 0.0f;
    for (int k = 0; k < hats; k++) {
        float slope;
        hat(a.at[2][start + k] * raw + a.at[3][start + k], &slope);
        float by_phi = by_mean * slope;
        a.at[4][(size_t)i * hats + k] = by_phi;
        a.at[5][(size_t)i * hats + k] = by_phi * raw;
        sum += by_phi * a.at[2][start + k];
    }
    a.at[0][2 * (size_t)i] = sum;
}
