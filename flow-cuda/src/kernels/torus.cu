// Certified norms of convolutions, with their derivatives, as flow-core's lipschitz/convolution.rs and
// lipschitz/hermitian.rs have them: the greatest norm of the matrices M(θ) = Σ Wₜ·e^(iθ·t) at the
// frequencies of a torus. See torus.rs. All numbers are in f64.
//
// A Hermitian Q = R + iS has a symmetric R and an antisymmetric S, so that QQ = QᴴQ, and the Gram matrix
// of any M = A + iB is AᵀA + BᵀB + i(AᵀB − BᵀA): the same sums down the columns in either case, of
// which those above the diagonal are enough. Rounding adds at most γ·(|A|ᵀ|A| + |B|ᵀ|B|) to an entry's
// real part and γ·(|A|ᵀ|B| + |B|ᵀ|A|) to its imaginary one, which is 2γ‖M‖_F² at most for the norm.

// What the index list says of a convolution; places count numbers of f32 from the start of the work.
enum TorusPlaces {
    OUTPUT_COUNT,
    INPUT_COUNT,
    TAP_COUNT,
    MET_COUNT,        // taps that meet the image
    SQUARE_COUNT,     // Gram matrices
    FREQUENCY_COUNT,
    BLOCK_COUNT,      // blocks that search
    FACTORS,          // where its twiddle factors begin among those of all, two indices each
    MET_TAPS,         // where it says of each tap which of those that meet the image it is, or −1
    MATRICES,         // of the taps that meet the image, `tall × side` each
    ROOMS,            // for each block that searches: two matrices in turns
    TORUS_STATE,
    POWERS,           // two complex matrices in turns
    SLOPES,           // the derivative
    OWN_BOUND,        // which of the bounds is its own
    TORUS_PLACES
};

// What is known of a convolution.
enum TorusState {
    TORUS_KIND,    // −1 where it is zero, 1 where a number is not finite, 0 otherwise
    TORUS_SLACK,   // what rounding may have added to the norm of an M(θ), relative to nothing
    FREQUENCIES    // a lower bound for each, for comparing, then an upper one for each
};

#define MOST_SQUARES 20
// What is left out must be smaller by more than rounding does to the lower bounds.
#define CLEARLY (1.0 - 1e-6)

__device__ __forceinline__ const int* torus_of(const Arguments& a, int which) {
    return a.table[0] + which * TORUS_PLACES;
}
__device__ __forceinline__ double* known_of(float* work, const int* m) {
    return (double*)(work + m[TORUS_STATE]);
}
__device__ __forceinline__ int torus_side(const int* m) {
    return min(m[OUTPUT_COUNT], m[INPUT_COUNT]);
}
__device__ __forceinline__ int torus_tall(const int* m) {
    return m[OUTPUT_COUNT] + m[INPUT_COUNT] - torus_side(m);
}

// Where an entry of the weight stands: which of the taps that meet the image, or −1, and where in that
// tap's matrix.
__device__ __forceinline__ int met_tap(const Arguments& a, const int* m, int entry, int* place) {
    int inputs = m[INPUT_COUNT], outputs = m[OUTPUT_COUNT], taps = m[TAP_COUNT];
    int input = entry % inputs, tap = entry / inputs % taps, output = entry / inputs / taps;
    *place = outputs >= inputs ? output * inputs + input : input * outputs + output;
    return a.table[1][m[MET_TAPS] + tap];
}

// The matrices of one convolution's taps, and what rounding may do to an M(θ). One block.
extern "C" __global__ void torus_start(Arguments a) {
    __shared__ double room[TEAM];
    const int* m = torus_of(a, a.size[0]);
    int size = m[OUTPUT_COUNT] * m[INPUT_COUNT], count = m[MET_COUNT];
    double *matrices = (double*)(a.at[1] + m[MATRICES]), lost = 0.0, most = 0.0, squares = 0.0;
    for (int i = threadIdx.x; i < size * m[TAP_COUNT]; i += TEAM) {
        float v = a.at[0][i];
        int place, tap = met_tap(a, m, i, &place);
        if (!(fabsf(v) <= 3.4028234663852886e38f)) lost = 1.0;
        if (tap < 0) continue;
        matrices[tap * size + place] = v;
        squares += (double)v * v;
        most = fmax(most, fabs((double)v));
    }
    lost = team_most(lost, room);
    most = team_most(most, room);
    squares = team_sum(squares, room);
    double* known = known_of(a.at[1], m);
    for (int i = threadIdx.x; i < m[FREQUENCY_COUNT]; i += TEAM) known[FREQUENCIES + i] = 0.0;
    if (threadIdx.x == 0) {
        double sums = up(up(sqrt((double)count)) * frobenius(squares, size * count));
        double share = up(gamma_of<double>(count + 1) + 8.0 * DOUBLE_EPSILON);
        double underflow = up(count * up(sqrt(2.0 * size)) * LEAST_DOUBLE);
        known[TORUS_KIND] = lost > 0.0 ? 1.0 : most == 0.0 ? -1.0 : 0.0;
        known[TORUS_SLACK] = up(up(share * sums) + underflow);
    }
}

__device__ __forceinline__ double twiddle(const int* factors, int i) {
    return __hiloint2double(factors[2 * i], factors[2 * i + 1]);
}
__device__ __forceinline__ const int* factors_of(const Arguments& a, const int* m, int frequency) {
    return a.table[2] + m[FACTORS] + 4 * m[MET_COUNT] * frequency;
}

// M(θ), its real part and then its imaginary one.
__device__ __forceinline__ void symbol(const Arguments& a, const int* m, int frequency, double* to) {
    int size = m[OUTPUT_COUNT] * m[INPUT_COUNT], count = m[MET_COUNT];
    const double* matrices = (double*)(a.at[0] + m[MATRICES]);
    const int* factors = factors_of(a, m, frequency);
    for (int i = threadIdx.x; i < size; i += TEAM) {
        double real = 0.0, imaginary = 0.0;
        for (int k = 0; k < count; k++) {
            double w = matrices[k * size + i];
            real += twiddle(factors, k) * w;
            imaginary += twiddle(factors, count + k) * w;
        }
        to[i] = real;
        to[size + i] = imaginary;
    }
    __syncthreads();
}

__device__ __forceinline__ void write_pair(double* to, int side, int i, int j, double r, double s) {
    if (i > j || j >= side) return;
    double* imaginary = to + (size_t)side * side;
    to[i * side + j] = to[j * side + i] = r;
    imaginary[i * side + j] = i == j ? 0.0 : s;
    imaginary[j * side + i] = i == j ? 0.0 : -s;
}

// The Gram matrix of `height × side`: a thread makes squares of four entries.
__device__ __forceinline__ void complex_gram(const double* from, int height, int side, double* to) {
    const double* other = from + (size_t)height * side;
    int half = (side + 1) / 2;
    for (int u = threadIdx.x; u < half * (half + 1) / 2; u += TEAM) {
        int column = (int)((sqrt(8.0 * u + 1.0) - 1.0) / 2.0);
        if (column * (column + 1) / 2 > u) column--;
        if ((column + 1) * (column + 2) / 2 <= u) column++;
        int i = 2 * (u - column * (column + 1) / 2), j = 2 * column;
        int next_i = min(i + 1, side - 1), next_j = min(j + 1, side - 1);
        double r[4] = {}, s[4] = {};
        for (int l = 0; l < height; l++) {
            const double *real = from + l * side, *imaginary = other + l * side;
            double a0 = real[i], a1 = real[next_i], b0 = imaginary[i], b1 = imaginary[next_i];
            double c0 = real[j], c1 = real[next_j], d0 = imaginary[j], d1 = imaginary[next_j];
            r[0] += a0 * c0 + b0 * d0;
            s[0] += a0 * d0 - b0 * c0;
            r[1] += a0 * c1 + b0 * d1;
            s[1] += a0 * d1 - b0 * c1;
            r[2] += a1 * c0 + b1 * d0;
            s[2] += a1 * d0 - b1 * c0;
            r[3] += a1 * c1 + b1 * d1;
            s[3] += a1 * d1 - b1 * c1;
        }
        for (int k = 0; k < 4; k++) write_pair(to, side, i + k / 2, j + k % 2, r[k], s[k]);
    }
    __syncthreads();
}

// What is made of an M(θ) step by step.
struct Squaring {
    double* q;        // the last matrix, `height × side`
    double* spare;
    int height, side;
    double whole;     // bounds its Frobenius norm
};

__device__ __forceinline__ Squaring squaring(const Arguments& a, const int* m, int block, int frequency,
                                             int* exponent, double* room) {
    int side = torus_side(m), tall = torus_tall(m);
    size_t size = (size_t)2 * tall * side + 2 * side * side;
    double* q = (double*)(a.at[0] + m[ROOMS]) + block * size;
    symbol(a, m, frequency, q);
    double squares = normalize(q, 2 * tall * side, exponent, room);
    return {q, q + 2 * tall * side, tall, side, frobenius(squares, 2 * tall * side)};
}

// From a matrix to its Gram matrix, scaled; what rounding adds, what vanished, and the exponent.
__device__ __forceinline__ void square(Squaring& at, double* step, double* room) {
    int exponent, products = 2 * at.height, entries = 2 * at.side * at.side;
    complex_gram(at.q, at.height, at.side, at.spare);
    double squares = normalize(at.spare, entries, &exponent, room);
    if (threadIdx.x == 0) {
        double lost = up(2.0 * gamma_of<double>(products + 4));
        double underflow = up(2.0 * at.side * products * LEAST_DOUBLE);
        step[0] = up(up(lost * up(at.whole * at.whole)) + underflow);
        step[1] = up(at.side * LEAST_DOUBLE);
        step[2] = exponent;
    }
    __syncthreads();
    double* q = at.q;
    at = {at.spare, q, at.side, at.side, frobenius(squares, entries)};
}

// A bound on the norm of every M(θ), within 0.5 % for those that could be the greatest; for the
// others whatever first told that they are not.
extern "C" __global__ void torus_search(Arguments a) {
    __shared__ double room[TEAM], steps[3 * MOST_SQUARES];
    const int* m = torus_of(a, blockIdx.z);
    int side = torus_side(m), tall = torus_tall(m), all = m[FREQUENCY_COUNT];
    double* known = known_of(a.at[0], m);
    // Other blocks write there meanwhile. Which of their numbers are seen decides what is left out,
    // and nothing of what is left out is the greatest.
    volatile double* least_of = known + FREQUENCIES;
    for (int frequency = blockIdx.x; frequency < all; frequency += m[BLOCK_COUNT]) {
        if ((int)blockIdx.x >= m[BLOCK_COUNT] || known[TORUS_KIND] != 0.0) return;
        int exponent;
        Squaring at = squaring(a, m, blockIdx.x, frequency, &exponent, room);
        double bound = at.whole, root = 0.5;
        for (int k = 0;; k++, root *= 0.5) {
            // ‖Q‖_F ≤ √n·‖Q‖; what follows from that never falls from step to step.
            double least_here = ldexp(bound, exponent) * pow((double)side, -root), least = 0.0;
            if (threadIdx.x == 0) least_of[frequency] = fmax(least_of[frequency], least_here);
            for (int i = threadIdx.x; i < all; i += TEAM) least = fmax(least, least_of[i]);
            least = team_most(least, room);
            if (k == m[SQUARE_COUNT] || ldexp(bound, exponent) < CLEARLY * least) break;
            square(at, steps + 3 * k, room);
            bound = back(steps, k + 1, at.whole);
        }
        double vanished = up(sqrt(2.0 * tall * side) * LEAST_DOUBLE);
        double slack = known[TORUS_SLACK];
        if (threadIdx.x == 0) {
            known[FREQUENCIES + all + frequency] =
                up(up(ldexp(up(bound + vanished), exponent)) + slack);
        }
        __syncthreads();
    }
}

// P·Q, for a Hermitian Q.
__device__ __forceinline__ void times_hermitian(const double* p, const Squaring& at, int tall,
                                                double* to) {
    int side = at.side, size = tall * side;
    const double *real = at.q, *imaginary = at.q + (size_t)side * side;
    for (int i = threadIdx.x; i < size; i += TEAM) {
        const double *row = p + i / side * side, *other = row + size;
        double r = 0.0, s = 0.0;
        for (int l = 0; l < side; l++) {
            double u = real[l * side + i % side], v = imaginary[l * side + i % side];
            r += row[l] * u - other[l] * v;
            s += row[l] * v + other[l] * u;
        }
        to[i] = r;
        to[size + i] = s;
    }
    __syncthreads();
}

// The greatest bound of each convolution, and the derivative of its logarithm by every entry of the
// weight, which is along Re(conj(P)·e^(iθ·t)) with P = M(MᴴM)ᵖ⁻¹: a block for each.
extern "C" __global__ void torus_slopes(Arguments a) {
    __shared__ double room[TEAM], step[3];
    const int* m = torus_of(a, blockIdx.x);
    int size = m[OUTPUT_COUNT] * m[INPUT_COUNT], len = size * m[TAP_COUNT], count = m[MET_COUNT];
    int all = m[FREQUENCY_COUNT], exponent, place;
    double *known = known_of(a.at[0], m), *slopes = (double*)(a.at[0] + m[SLOPES]);
    const double* matrices = (double*)(a.at[0] + m[MATRICES]);
    double* own = (double*)a.at[1] + m[OWN_BOUND];
    if (known[TORUS_KIND] != 0.0) {
        for (int i = threadIdx.x; i < len; i += TEAM) slopes[i] = 0.0;
        if (threadIdx.x == 0) *own = known[TORUS_KIND] > 0.0 ? -log(0.0) : 0.0;
        return;
    }
    const double* bounds = known + FREQUENCIES + all;
    double most = 0.0, last = 0.0;
    for (int i = threadIdx.x; i < all; i += TEAM) most = fmax(most, bounds[i]);
    most = team_most(most, room);
    // The first of the greatest.
    for (int i = threadIdx.x; i < all; i += TEAM) {
        if (bounds[i] == most) last = fmax(last, (double)(all - i));
    }
    int frequency = all - (int)team_most(last, room);
    Squaring at = squaring(a, m, 0, frequency, &exponent, room);
    double *power = (double*)(a.at[0] + m[POWERS]), *spare = power + 2 * size;
    for (int i = threadIdx.x; i < 2 * size; i += TEAM) power[i] = at.q[i];
    __syncthreads();
    // Norms of squares are between 1/2 and the side: nothing over- or underflows.
    for (int k = 0; k < m[SQUARE_COUNT]; k++) {
        square(at, step, room);
        times_hermitian(power, at, torus_tall(m), spare);
        double* old = power;
        power = spare;
        spare = old;
    }
    const int* factors = factors_of(a, m, frequency);
    double stretch = 0.0;
    for (int i = threadIdx.x; i < len; i += TEAM) {
        int tap = met_tap(a, m, i, &place);
        double by = 0.0;
        if (tap >= 0) {
            by = twiddle(factors, tap) * power[place] +
                 twiddle(factors, count + tap) * power[size + place];
            stretch += by * matrices[tap * size + place];
        }
        slopes[i] = by;
    }
    stretch = team_sum(stretch, room);
    for (int i = threadIdx.x; i < len; i += TEAM) slopes[i] /= stretch;
    if (threadIdx.x == 0) *own = most;
}

// The weight times its factor, and its part in the derivative of the product of norms.
extern "C" __global__ void torus_scale(Arguments a) {
    const int* m = torus_of(a, a.size[0]);
    unsigned i = THREAD;
    if (i >= (unsigned)m[OUTPUT_COUNT] * m[INPUT_COUNT] * m[TAP_COUNT]) return;
    const double* role = (double*)a.at[4] + 2 * a.size[1];
    bool has_norm = known_of(a.at[3], m)[TORUS_KIND] == 0.0;
    a.at[0][i] = (float)((double)a.at[2][i] * role[1]);
    a.at[1][i] = has_norm ? (float)(role[0] * ((double*)(a.at[3] + m[SLOPES]))[i]) : 0.0f;
}
