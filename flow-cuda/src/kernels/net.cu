// Whole nets of narrow layers: a few rows' activations stay in shared memory. See net.rs.

// Rows of a block, its threads, which are the widest layer, and the distance of rows in shared memory.
#define ROWS 8
#define BREADTH 128
#define PITCH (BREADTH + 4)
// Numbers of a layer in the table: its inputs and outputs, where its weight and bias lie among the
// parameters, and where what it reads and writes lies among what is kept, -1 where it is the net's.
#define LAYER 6

// sums[r] = Σ_l rows[r][l] * weight of (thread, l) for one output a thread, or one input where the
// weight is read turned: sides × depths numbers at those distances.
__device__ __forceinline__ void multiply_rows(float sums[ROWS], const float rows[ROWS][PITCH],
                                              float strip[DEPTH][BREADTH + 4], const float* weight,
                                              int sides, int depths, int to_side, int to_depth) {
    Strip<BREADTH, BREADTH> next;
    next.load(weight, to_side, to_depth, 0, sides, 0, depths);
#pragma unroll
    for (int r = 0; r < ROWS; r++) sums[r] = 0.0f;
    for (int start = 0; start < depths; start += DEPTH) {
        next.store(strip, to_depth);
        __syncthreads();
        if (start + DEPTH < depths) {
            next.load(weight, to_side, to_depth, 0, sides, start + DEPTH, depths);
        }
#pragma unroll
        for (int l = 0; l < DEPTH; l += 4) {
            float w[4];
#pragma unroll
            for (int e = 0; e < 4; e++) w[e] = strip[l + e][threadIdx.x];
#pragma unroll
            for (int r = 0; r < ROWS; r++) {
                float4 four = *(const float4*)&rows[r][start + l];
                sums[r] += four.x * w[0];
                sums[r] += four.y * w[1];
                sums[r] += four.z * w[2];
                sums[r] += four.w * w[3];
            }
        }
        __syncthreads();
    }
}

// Brings a block's rows to shared memory, with zeros after them.
__device__ __forceinline__ void read_rows(float to[ROWS][PITCH], const float* from, int first,
                                          int rows, int width) {
    for (int t = threadIdx.x; t < ROWS * PITCH; t += BREADTH) {
        int r = t / PITCH, k = t % PITCH;
        bool inside = first + r < rows && k < width;
        to[r][k] = inside ? from[(first + r) * width + k] : 0.0f;
    }
}

// The net's output, and for a product the hidden layers' values and slopes. A block has ROWS rows.
extern "C" __launch_bounds__(BREADTH) __global__ void net_forward(Arguments a) {
    __shared__ __align__(16) float values[ROWS][PITCH];
    __shared__ __align__(16) float strip[DEPTH][BREADTH + 4];
    const int* layer = a.table[0];
    int rows = a.size[0], layers = a.size[1], kind = a.size[2], saves = a.size[3];
    int first = blockIdx.x * ROWS, column = threadIdx.x;
    read_rows(values, a.at[0], first, rows, layer[0]);
    for (int i = 0; i < layers; i++, layer += LAYER) {
        int inputs = layer[0], outputs = layer[1];
        float sums[ROWS];
        multiply_rows(sums, values, strip, a.at[2] + layer[2], outputs, inputs, inputs, 1);
        bool last = i + 1 == layers, mine = column < outputs;
        float bias = mine ? a.at[2][layer[3] + column] : 0.0f;
        float* to = last ? a.at[1] : a.at[3] + layer[5];
        for (int r = 0; r < ROWS; r++) {
            float v = sums[r] + bias, slope = 0.0f;
            if (!last) v = activation(kind, v, &slope);
            values[r][column] = mine ? v : 0.0f;
            if (!mine || first + r >= rows) continue;
            int at = (first + r) * outputs + column;
            if (last || saves) to[at] = v;
            if (!last && saves) a.at[4][layer[5] + at] = slope;
        }
        __syncthreads();
    }
}

// From the gradient by the output to that by the input, and those by what the hidden layers bent.
extern "C" __launch_bounds__(BREADTH) __global__ void net_backward(Arguments a) {
    __shared__ __align__(16) float by[ROWS][PITCH];
    __shared__ __align__(16) float strip[DEPTH][BREADTH + 4];
    int rows = a.size[0], layers = a.size[1];
    const int* layer = a.table[0] + LAYER * (layers - 1);
    int first = blockIdx.x * ROWS, column = threadIdx.x;
    read_rows(by, a.at[0], first, rows, layer[1]);
    for (int i = layers - 1; i >= 0; i--, layer -= LAYER) {
        int inputs = layer[0], outputs = layer[1];
        float sums[ROWS];
        multiply_rows(sums, by, strip, a.at[2] + layer[2], inputs, outputs, 1, inputs);
        bool mine = column < inputs;
        for (int r = 0; r < ROWS; r++) {
            bool inside = mine && first + r < rows;
            int at = (first + r) * inputs + column;
            float v = sums[r];
            if (inside && i > 0) v *= a.at[3][layer[4] + at];
            by[r][column] = inside ? v : 0.0f;
            if (inside) (i > 0 ? a.at[4] + layer[4] : a.at[1])[at] = v;
        }
        __syncthreads();
    }
}

// Adds the gradients by weights and biases. A block makes 32 × 32 of one weight's over all rows, and
// the first of a weight's row of blocks the biases'. Tiles: layer, first output, first input.
extern "C" __launch_bounds__(64) __global__ void net_weights(Arguments a) {
    __shared__ __align__(16) float lefts[DEPTH][36];
    __shared__ __align__(16) float rights[DEPTH][36];
    const int* tile = a.table[1] + 3 * blockIdx.x;
    const int* layer = a.table[0] + LAYER * tile[0];
    int rows = a.size[0], inputs = layer[0], outputs = layer[1];
    const float* by = layer[5] < 0 ? a.at[2] : a.at[3] + layer[5];
    const float* below = layer[4] < 0 ? a.at[0] : a.at[1] + layer[4];
    int down = threadIdx.x / 8 * 4, across = threadIdx.x % 8 * 4;
    float sums[4][4] = {}, bias = 0.0f;
    Strip<32, 64> left, right;
    for (int start = 0; start < rows; start += DEPTH) {
        left.load(by, 1, outputs, tile[1], outputs, start, rows);
        right.load(below, 1, inputs, tile[2], inputs, start, rows);
        left.store(lefts, outputs);
        right.store(rights, inputs);
        __syncthreads();
#pragma unroll
        for (int l = 0; l < DEPTH; l++) {
            float4 x = *(const float4*)&lefts[l][down], y = *(const float4*)&rights[l][across];
            float four[4] = {x.x, x.y, x.z, x.w};
#pragma unroll
            for (int i = 0; i < 4; i++) {
                sums[i][0] += four[i] * y.x;
                sums[i][1] += four[i] * y.y;
                sums[i][2] += four[i] * y.z;
                sums[i][3] += four[i] * y.w;
            }
            if (threadIdx.x < 32) bias += lefts[l][threadIdx.x];
        }
        __syncthreads();
    }
    for (int i = 0; i < 4; i++) {
        for (int j = 0; j < 4; j++) {
            int row = tile[1] + down + i, column = tile[2] + across + j;
            if (row < outputs && column < inputs) {
                a.at[4][layer[2] + row * inputs + column] += sums[i][j];
            }
        }
    }
    int output = tile[1] + threadIdx.x;
    if (tile[2] == 0 && threadIdx.x < 32 && output < outputs) a.at[4][layer[3] + output] += bias;
}
