// Steps of optimisers on a run of parameters. See optimizer.rs.

// The limit of a gradient's norm: factor = min(1, limit/(√Σ + 1e-6)).
extern "C" __global__ void clip_factor(Arguments a) {
    if (THREAD == 0) {
        float factor = a.number[0] / (sqrtf(a.at[1][0]) + 1e-6f);
        a.at[0][0] = factor < 1.0f ? factor : 1.0f;
    }
}

// Adam and AdamW as in flow-core's train/update.rs. What changes from step to step stands in
// memory: rate/(1 − β₁ᵗ), √(1 − β₂ᵗ), and what is kept of a weight.
extern "C" __global__ void adam(Arguments a) {
    unsigned i = THREAD;
    if (i >= (unsigned)a.size[0]) return;
    const float* step = a.at[4];
    float toward = a.number[0], stay = a.number[1], join = a.number[2];
    float epsilon = a.number[3], decay = a.number[4];
    float weight = step[2] * a.at[0][i];
    float factor = a.size[1] ? a.at[5][0] : 1.0f;
    float g = factor * a.at[1][i] + decay * weight;
    float m = a.at[2][i], v = a.at[3][i];
    m += toward * (g - m);
    v = stay * v + join * g * g;
    a.at[2][i] = m;
    a.at[3][i] = v;
    a.at[0][i] = weight - step[0] * m / (sqrtf(v) / step[1] + epsilon);
}
