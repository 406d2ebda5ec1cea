// Steps of a Runge-Kutta method, with a length for each row. See steps.rs.

// What is known of a row's way through time, WAY numbers of each.
#define WAY_PHASE 0     // 0 while it is under way, 1 when it is there, 2 when it is stuck
#define WAY_TRIED 1     // steps so far
#define WAY_STEP 2      // the length to try next
#define WAY_LEFT 3      // what is left, in two parts
#define WAY_LEFT_LOW 4
#define WAY_COUNT 5     // steps that were taken
#define WAY_REACHED 6   // the time
#define WAY 8

// What a net reads at a stage: x + h·Σ weight·slope at entry from[i] of a row, the stage's time for −1,
// and the context's entry −2 − from[i]. Weights of 0 read nothing: their slopes are not there yet.
extern "C" __global__ void stage(Arguments a) {
    int rows = a.size[0], width = a.size[1], size = a.size[2], context_width = a.size[3];
    int count = a.size[4], stride = a.size[5];
    unsigned i = THREAD;
    if (i >= (unsigned)rows * width) return;
    int row = i / width, at = a.table[0][i % width];
    const float *now = a.at[4], *slopes = a.at[2];
    float h = now[rows + row], v;
    if (at >= 0) {
        int place = row * size + at;
        v = a.at[1][place];
        for (int j = 0; j < count; j++) {
            float weight = a.number[j];
            if (weight != 0.0f) v += h * weight * slopes[(size_t)j * stride + place];
        }
    } else if (at == -1) {
        v = now[row] + a.number[7] * h;
    } else {
        v = a.at[3][row * context_width - 2 - at];
    }
    a.at[0][i] = v;
}

// into = from + h·Σ weight·vector, where `from` may be nothing and h 1.
extern "C" __global__ void combine(Arguments a) {
    int width = a.size[1], count = a.size[2], stride = a.size[3];
    unsigned i = THREAD;
    if (i >= (unsigned)a.size[0]) return;
    float sum = a.size[4] ? a.at[1][i] : 0.0f, h = a.size[5] ? a.at[2][i / width] : 1.0f;
    for (int j = 0; j < count; j++) {
        float weight = a.number[j];
        if (weight != 0.0f) sum += h * weight * a.at[3][(size_t)j * stride + i];
    }
    a.at[0][i] = sum;
}

// Every row at the start of its way.
extern "C" __global__ void set_out(Arguments a) {
    int rows = a.size[0];
    unsigned row = THREAD;
    if (row >= (unsigned)rows) return;
    float start = a.number[0], span = a.number[1], first = a.number[2], total = fabsf(span);
    float* way = a.at[0] + row * WAY;
    for (int k = 0; k < WAY; k++) way[k] = 0.0f;
    way[WAY_STEP] = first;
    way[WAY_LEFT] = total;
    way[WAY_REACHED] = start;
    float step = first < total ? first : total;
    a.at[1][row] = start;
    a.at[1][rows + row] = span < 0.0f ? -step : step;
}

// Takes the step of every open row, or refuses it, and chooses the next. `next` holds where it would
// lead and behind that its estimated error, for x and for the integral. 32 lanes a row.
extern "C" __global__ void advance(Arguments a) {
    __shared__ double sums[4][32];
    __shared__ int taken[4];
    int rows = a.size[0], d = a.size[1], room = a.size[2], most = a.size[3];
    double start = a.number[0], span = a.number[1], tolerance = a.number[2], least = a.number[3];
    double total = fabs(span), sign = span < 0.0 ? -1.0 : 1.0;
    int lane = threadIdx.x, local = threadIdx.y, row = blockIdx.x * 4 + local;
    bool inside = row < rows;
    size_t at = inside ? (size_t)row * d : 0, len = (size_t)rows * d;
    float *x = a.at[0] + at, *way = a.at[4] + (inside ? row * WAY : 0);
    const float *next = a.at[2] + at, *errors = next + len;
    bool open = inside && way[WAY_PHASE] == 0.0f;
    double sum = 0.0;
    if (open) {
        for (int k = lane; k < d; k += 32) {
            double size = fmax(fabs((double)x[k]), fabs((double)next[k]));
            double relative = errors[k] / (1.0 + size);
            sum += relative * relative;
        }
    }
    sums[local][lane] = sum;
    if (lane == 0) taken[local] = -1;
    __syncthreads();
    size_t record = 0;
    if (open && lane == 0) {
        for (int k = 1; k < 32; k++) sum += sums[local][k];
        float *integral = a.at[1] + row, *now = a.at[5] + row;
        double before = *integral, after = a.at[3][row], off = a.at[3][rows + row];
        double of_x = sqrt(sum / d);
        double of_integral = fabs(off / (1.0 + fmax(fabs(before), fabs(after))));
        // Also where the error is no number the step is refused.
        double worst = of_x > of_integral || of_x != of_x ? of_x : of_integral;
        double error = worst / tolerance, step = way[WAY_STEP];
        double left = (double)way[WAY_LEFT] + way[WAY_LEFT_LOW], length = fmin(step, left);
        // The error of a step of order 5 with its estimate of order 4 grows as h⁵.
        double better = 0.9 * pow(error, -0.2);
        float tried = way[WAY_TRIED] + 1.0f;
        if (error <= 1.0) {
            int count = (int)way[WAY_COUNT];
            taken[local] = count;
            if (count < room) {
                record = ((size_t)count * rows + row) * (d + 2);
                a.at[6][record + d] = now[0];
                a.at[6][record + d + 1] = now[rows];
            }
            way[WAY_COUNT] = (float)(count + 1);
            *integral = (float)after;
            left = step >= left ? 0.0 : left - length;
            step = length * fmin(fmax(better, 0.2), 5.0);
        } else {
            step = length * (better > 0.2 ? fmin(better, 0.9) : 0.2);
        }
        double reached = start + sign * (total - left);
        way[WAY_TRIED] = tried;
        way[WAY_STEP] = (float)step;
        way[WAY_LEFT] = (float)left;
        way[WAY_LEFT_LOW] = (float)(left - (float)left);
        way[WAY_REACHED] = (float)reached;
        bool under_way = left > 0.0;
        if (!under_way) {
            way[WAY_PHASE] = 1.0f;
        } else if (tried >= (float)most || step < least) {
            way[WAY_PHASE] = 2.0f;
            under_way = false;
        }
        now[0] = (float)reached;
        // A row that rests takes steps of length 0.
        now[rows] = under_way ? (float)(sign * fmin((double)way[WAY_STEP], left)) : 0.0f;
    }
    __syncthreads();
    int count = taken[local];
    if (count < 0) return;
    record = ((size_t)count * rows + row) * (d + 2);
    for (int k = lane; k < d; k += 32) {
        if (count < room) a.at[6][record + k] = x[k];
        x[k] = next[k];
    }
}

// How many rows are under way; the first that is stuck, with its steps and the time it reached; −1 for
// none, or −2 where a row took more steps than there was room for, with the most that one took. One
// block.
extern "C" __global__ void count_ways(Arguments a) {
    __shared__ int counts[128], firsts[128], mosts[128];
    int rows = a.size[0], room = a.size[1], open = 0, first = rows, most = 0;
    for (int row = threadIdx.x; row < rows; row += 128) {
        const float* way = a.at[1] + row * WAY;
        if (way[WAY_PHASE] == 0.0f) open++;
        if (way[WAY_PHASE] == 2.0f) first = min(first, row);
        int count = (int)way[WAY_COUNT];
        most = count > most ? count : most;
    }
    counts[threadIdx.x] = open;
    firsts[threadIdx.x] = first;
    mosts[threadIdx.x] = most;
    __syncthreads();
    if (threadIdx.x != 0) return;
    for (int i = 1; i < 128; i++) {
        open += counts[i];
        first = min(first, firsts[i]);
        most = mosts[i] > most ? mosts[i] : most;
    }
    bool stuck = first < rows, outgrown = !stuck && room > 0 && most > room;
    const float* way = a.at[1] + (stuck ? first : 0) * WAY;
    a.at[0][0] = (float)open;
    a.at[0][1] = stuck ? (float)first : outgrown ? -2.0f : -1.0f;
    a.at[0][2] = stuck ? way[WAY_TRIED] : (float)most;
    a.at[0][3] = way[WAY_REACHED];
}

// Where the last step of each row that is not undone began: x, its time, and its length; 0 for a row
// that has none left.
extern "C" __global__ void recall(Arguments a) {
    int rows = a.size[0], d = a.size[1];
    unsigned i = THREAD;
    if (i >= (unsigned)rows * d) return;
    int row = i / d, k = i % d, last = (int)a.at[3][row] - 1;
    const float* record = a.at[2] + ((size_t)(last < 0 ? 0 : last) * rows + row) * (d + 2);
    a.at[0][i] = record[k];
    if (k == 0) {
        a.at[1][row] = record[d];
        a.at[1][rows + row] = last < 0 ? 0.0f : record[d + 1];
    }
}

// One step fewer is left of each row; in the status how many rows have any. One block.
extern "C" __global__ void count_back(Arguments a) {
    __shared__ int counts[128];
    int rows = a.size[0], open = 0;
    for (int row = threadIdx.x; row < rows; row += 128) {
        float left = a.at[1][row] - 1.0f;
        a.at[1][row] = left < 0.0f ? 0.0f : left;
        if (left > 0.0f) open++;
    }
    counts[threadIdx.x] = open;
    __syncthreads();
    if (threadIdx.x == 0) {
        for (int i = 1; i < 128; i++) open += counts[i];
        a.at[0][0] = (float)open;
        a.at[0][1] = -1.0f;
    }
}
