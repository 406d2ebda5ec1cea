// y = x·scale + shift, a feature at each pixel of a row. See diagonal.rs.

// With forward: y = x·scale + shift, kept = x·scale. Else: y = kept = (x − shift)/scale.
extern "C" __global__ void scale_and_shift(Arguments a) {
    const int* entries = a.table[0];
    int rows = a.size[0], n = a.size[1], width = a.size[2], features = a.size[3];
    int inverse = a.size[4], has_shift = a.size[5], saves = a.size[6];
    unsigned i = THREAD;
    if (i >= (unsigned)rows * n) return;
    int f = i % n % features;
    float* v = a.at[0] + i / n * width + entries[i % n];
    float scale = a.at[1][f], shift = has_shift ? a.at[2][f] : 0.0f;
    float scaled = inverse ? (*v - shift) / scale : *v * scale;
    *v = inverse ? scaled : scaled + shift;
    if (saves) a.at[3][i] = scaled;
}

// gradient *= scale, or /= scale.
extern "C" __global__ void scale_gradient(Arguments a) {
    const int* entries = a.table[0];
    int rows = a.size[0], n = a.size[1], width = a.size[2], features = a.size[3];
    unsigned i = THREAD;
    if (i >= (unsigned)rows * n) return;
    float* by = a.at[0] + i / n * width + entries[i % n];
    float scale = a.at[1][i % n % features];
    *by = a.size[4] ? *by / scale : *by * scale;
}
