// Distributions of latents other than the normal one. See bases.rs.

// out[row] = −∞ where a number lies outside of [0, 1], NaN where it is none.
extern "C" __global__ void uniform_log_prob(Arguments a) {
    int width = a.size[1];
    unsigned row = THREAD;
    if (row >= (unsigned)a.size[0]) return;
    const float* z = a.at[1] + row * width;
    for (int i = 0; i < width; i++) {
        if (!(z[i] >= 0.0f && z[i] <= 1.0f)) a.at[0][row] += z[i] != z[i] ? z[i] : logf(0.0f);
    }
}

// out[row] −= Σ |z| + 2 ln(1 + e^−|z|).
extern "C" __global__ void logistic_log_prob(Arguments a) {
    int width = a.size[1];
    unsigned row = THREAD;
    if (row >= (unsigned)a.size[0]) return;
    const float* z = a.at[1] + row * width;
    float sum = 0.0f;
    for (int i = 0; i < width; i++) sum += fabsf(z[i]) + 2.0f * log1pf(expf(-fabsf(z[i])));
    a.at[0][row] -= sum;
}

// gradient[row, i] −= weight[row] · tanh(z/2).
extern "C" __global__ void logistic_product(Arguments a) {
    unsigned i = THREAD;
    if (i >= (unsigned)a.size[0]) return;
    a.at[0][i] -= a.at[1][i / a.size[1]] * tanhf(0.5f * a.at[2][i]);
}

// joint[row, k] = the log-density of a row and component k, less ln Σ exp(logits).
extern "C" __global__ void mixture_joint(Arguments a) {
    int count = a.size[1], width = a.size[2];
    unsigned i = THREAD;
    if (i >= (unsigned)a.size[0] * count) return;
    int row = i / count, k = i % count;
    const float *z = a.at[1] + row * width, *mean = a.at[3] + k * width, *log = a.at[4] + k * width;
    float sum = a.at[2][k] - a.number[0];
    for (int j = 0; j < width; j++) {
        float standard = (z[j] - mean[j]) * expf(-log[j]);
        sum = sum - log[j] - 0.5f * standard * standard;
    }
    a.at[0][i] = sum;
}

__device__ __forceinline__ float log_sum_exp(const float* v, int count) {
    float most = v[0], sum = 0.0f;
    for (int k = 1; k < count; k++) most = fmaxf(most, v[k]);
    if (most == logf(0.0f)) {
        // The same, or what fmaxf passes over: NaN.
        for (int k = 0; k < count; k++) sum += v[k];
        return sum;
    }
    for (int k = 0; k < count; k++) sum += expf(v[k] - most);
    return most + logf(sum);
}

// out[row] += ln Σ exp(joint) − ln Σ exp(logits); joint becomes each component's share.
extern "C" __global__ void mixture_log_prob(Arguments a) {
    int count = a.size[1];
    unsigned row = THREAD;
    if (row >= (unsigned)a.size[0]) return;
    float* joint = a.at[1] + row * count;
    float total = log_sum_exp(joint, count);
    a.at[0][row] += total - log_sum_exp(a.at[2], count);
    for (int k = 0; k < count; k++) joint[k] = expf(joint[k] - total);
}

// The gradient by z, times weight[row].
extern "C" __global__ void mixture_product(Arguments a) {
    int width = a.size[1], count = a.size[2];
    unsigned i = THREAD;
    if (i >= (unsigned)a.size[0]) return;
    int row = i / width, j = i % width;
    float sum = 0.0f;
    for (int k = 0; k < count; k++) {
        float inverse = expf(-a.at[5][k * width + j]);
        sum += a.at[3][row * count + k] * (a.at[2][i] - a.at[4][k * width + j]) * inverse * inverse;
    }
    a.at[0][i] -= a.at[1][row] * sum;
}

// Adds the gradients by means and log-scales: a thread for each of their numbers.
extern "C" __global__ void mixture_parameters(Arguments a) {
    int rows = a.size[0], width = a.size[1], count = a.size[2];
    unsigned i = THREAD;
    if (i >= (unsigned)width * count) return;
    int k = i / width, j = i % width;
    float inverse = expf(-a.at[5][i]), by_mean = 0.0f, by_log = 0.0f;
    for (int row = 0; row < rows; row++) {
        float share = a.at[1][row] * a.at[3][row * count + k];
        float standard = (a.at[2][row * width + j] - a.at[4][i]) * inverse;
        by_mean += share * standard * inverse;
        by_log += share * (standard * standard - 1.0f);
    }
    a.at[6][i] += by_mean;
    a.at[7][i] += by_log;
}

// Adds the gradient by the logits.
extern "C" __global__ void mixture_logits(Arguments a) {
    int rows = a.size[0], count = a.size[1];
    unsigned k = THREAD;
    if (k >= (unsigned)count) return;
    float prior = expf(a.at[3][k] - log_sum_exp(a.at[3], count)), sum = 0.0f;
    for (int row = 0; row < rows; row++) {
        sum += a.at[1][row] * (a.at[2][row * count + k] - prior);
    }
    a.at[0][k] += sum;
}
