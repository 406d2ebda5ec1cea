// Rows of numbers: brought together, put back, added up. See rows.rs.

// out[row, k] = x[row, from[k]]; the context's entry c is named by -2 - c, nothing by -1.
extern "C" __global__ void gather(Arguments a) {
    const float* x = a.at[0];
    const float* context = a.at[1];
    const int* from = a.table[0];
    int rows = a.size[0], width = a.size[1], x_width = a.size[2], context_width = a.size[3];
    unsigned i = THREAD;
    if (i >= (unsigned)rows * width) return;
    int row = i / width, at = from[i % width];
    float v = 0.0f;
    if (at >= 0) {
        v = x[row * x_width + at];
    } else if (at < -1) {
        v = context[row * context_width - 2 - at];
    }
    a.at[2][i] = v;
}

// x[row, to[k]] = in[row, k].
extern "C" __global__ void scatter(Arguments a) {
    const int* to = a.table[0];
    int rows = a.size[0], width = a.size[1], x_width = a.size[2];
    unsigned i = THREAD;
    if (i >= (unsigned)rows * width) return;
    a.at[0][i / width * x_width + to[i % width]] = a.at[1][i];
}

// into[row, to[j]] += the sum of in[row, places[p]] for the p from starts[j] to starts[j + 1].
extern "C" __global__ void accumulate(Arguments a) {
    const float* in = a.at[1];
    const int *to = a.table[0], *starts = a.table[1], *places = a.table[2];
    int rows = a.size[0], count = a.size[1], into_width = a.size[2], width = a.size[3];
    unsigned i = THREAD;
    if (i >= (unsigned)rows * count) return;
    int row = i / count, j = i % count;
    float sum = 0.0f;
    for (int p = starts[j]; p < starts[j + 1]; p++) {
        sum += in[row * width + places[p]];
    }
    a.at[0][row * into_width + to[j]] += sum;
}

// out[k, row] = x[row, from[k]]: as gather, unit by unit.
extern "C" __global__ void gather_units(Arguments a) {
    int rows = a.size[0], width = a.size[1], x_width = a.size[2], context_width = a.size[3];
    unsigned i = THREAD;
    if (i >= (unsigned)rows * width) return;
    int row = i % rows, at = a.table[0][i / rows];
    float v = 0.0f;
    if (at >= 0) {
        v = a.at[0][row * x_width + at];
    } else if (at < -1) {
        v = a.at[1][row * context_width - 2 - at];
    }
    a.at[2][i] = v;
}

// x[row, to[k]] = units[k, row].
extern "C" __global__ void scatter_units(Arguments a) {
    int rows = a.size[0], width = a.size[1], x_width = a.size[2];
    unsigned i = THREAD;
    if (i >= (unsigned)rows * width) return;
    a.at[0][i % rows * x_width + a.table[0][i / rows]] = a.at[1][i];
}

// into[row, k] += units[k, row].
extern "C" __global__ void add_units(Arguments a) {
    int rows = a.size[0], width = a.size[1];
    unsigned i = THREAD;
    if (i >= (unsigned)rows * width) return;
    a.at[0][i] += a.at[1][i % width * rows + i / width];
}

extern "C" __global__ void fill(Arguments a) {
    unsigned i = THREAD;
    if (i < (unsigned)a.size[0]) a.at[0][i] = a.number[0];
}

// into[i] = factor * from[i].
extern "C" __global__ void scaled_copy(Arguments a) {
    unsigned i = THREAD;
    if (i < (unsigned)a.size[0]) a.at[0][i] = a.number[0] * a.at[1][i];
}

// into[i] += factor * by[i % period].
extern "C" __global__ void add_repeated(Arguments a) {
    unsigned i = THREAD;
    if (i < (unsigned)a.size[0]) a.at[0][i] += a.number[0] * a.at[1][i % a.size[1]];
}

// into[i] = f(from[i]), and the slopes.
extern "C" __global__ void bend(Arguments a) {
    unsigned i = THREAD;
    if (i >= (unsigned)a.size[0]) return;
    float slope;
    a.at[0][i] = activation(a.size[1], a.at[1][i], &slope);
    if (a.size[2]) a.at[2][i] = slope;
}

// into[i] *= by[i].
extern "C" __global__ void multiply(Arguments a) {
    unsigned i = THREAD;
    if (i < (unsigned)a.size[0]) a.at[0][i] *= a.at[1][i];
}

// into[row] += constant + factor * the sum of v or v * v over the row, 32 lanes a row.
extern "C" __global__ void add_row_sums(Arguments a) {
    __shared__ float sums[4][33];
    const float* in = a.at[1];
    int rows = a.size[0], width = a.size[1], square = a.size[2];
    int lane = threadIdx.x, row = blockIdx.x * 4 + threadIdx.y;
    float sum = 0.0f;
    if (row < rows) {
        for (int k = lane; k < width; k += 32) {
            float v = in[row * width + k];
            sum += square ? v * v : v;
        }
    }
    sums[threadIdx.y][lane] = sum;
    __syncthreads();
    if (row < rows && lane == 0) {
        for (int k = 1; k < 32; k++) sum += sums[threadIdx.y][k];
        a.at[0][row] += a.number[1] + a.number[0] * sum;
    }
}

// into[row] += factor * the sum of v.
extern "C" __global__ void add_total(Arguments a) {
    unsigned row = THREAD;
    if (row >= (unsigned)a.size[0]) return;
    float sum = 0.0f;
    for (int k = 0; k < a.size[1]; k++) sum += a.at[1][k];
    a.at[0][row] += a.number[0] * sum;
}

// gradient[row, k] -= weight[row] * z[row, k].
extern "C" __global__ void normal_product(Arguments a) {
    unsigned i = THREAD;
    if (i >= (unsigned)a.size[0] * a.size[1]) return;
    a.at[0][i] -= a.at[1][i / a.size[1]] * a.at[2][i];
}

// partial[chunk, f] = the sum over the chunk's vectors v of left[v, f] * right[v, f]. A vector of
// `features` numbers stands at each of `pixels` places of a row; `entries` tells where those of the
// left lie in a row of `left_width`. Block: 32 features × 8 vectors.
extern "C" __global__ void column_products(Arguments a) {
    __shared__ float sums[8][33];
    const float *left = a.at[0], *right = a.at[1];
    const int* entries = a.table[0];
    int vectors = a.size[0], features = a.size[1], pixels = a.size[2], left_width = a.size[3];
    int chunk = a.size[4], has_right = a.size[5], has_entries = a.size[6];
    int f = blockIdx.x * 32 + threadIdx.x;
    int start = blockIdx.y * chunk, end = min(start + chunk, vectors);
    float sum = 0.0f;
    if (f < features) {
        for (int v = start + threadIdx.y; v < end; v += 8) {
            int place = v % pixels * features + f;
            int at = v / pixels * left_width + (has_entries ? entries[place] : place);
            float by = has_right ? right[v * features + f] : 1.0f;
            sum += left[at] * by;
        }
    }
    sums[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y == 0 && f < features) {
        for (int k = 1; k < 8; k++) sum += sums[k][threadIdx.x];
        a.at[2][blockIdx.y * features + f] = sum;
    }
}

// into[i] += factor * the sum over chunks of partial[chunk, i].
extern "C" __global__ void add_chunks(Arguments a) {
    unsigned i = THREAD, count = a.size[0];
    if (i >= count) return;
    float sum = 0.0f;
    for (int chunk = 0; chunk < a.size[1]; chunk++) sum += a.at[1][chunk * count + i];
    a.at[0][i] += a.number[0] * sum;
}
