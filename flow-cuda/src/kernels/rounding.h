// What Gram iterations need to carry their rounding along, as flow-core's lipschitz/rounding.rs has it.

#define LEAST_DOUBLE 5e-324
#define DOUBLE_EPSILON 2.220446049250313e-16

template <typename T>
__device__ __forceinline__ double epsilon() {
    return sizeof(T) == 4 ? 1.1920928955078125e-07 : DOUBLE_EPSILON;
}
template <typename T>
__device__ __forceinline__ double least() {
    return sizeof(T) == 4 ? 1.401298464324817e-45 : LEAST_DOUBLE;
}

// At least the exact result of one operation on numbers ≥ 0 that gave v.
__device__ __forceinline__ double up(double v) { return v * (1.0 + DOUBLE_EPSILON) + LEAST_DOUBLE; }

// What so many roundings may do to a product.
template <typename T>
__device__ __forceinline__ double gamma_of(int count) {
    double k = count * (epsilon<T>() / 2.0);
    return k < 1.0 ? up(k / (1.0 - k)) : -log(0.0);
}

// An upper bound on the Frobenius norm, from the sum of so many squares.
__device__ __forceinline__ double frobenius(double squares, int count) {
    double lost = 1.0 + up(count * DOUBLE_EPSILON);
    return up(sqrt(up(up(squares + up(count * LEAST_DOUBLE)) * up(lost))));
}

// From a bound on the norm of the last of so many Gram matrices to one on that of the first one's
// factor: of each step what rounding adds, what vanished, and the exponent.
__device__ __forceinline__ double back(const double* steps, int count, double bound) {
    for (int k = count - 1; k >= 0; k--) {
        double whole = ldexp(up(bound + steps[3 * k + 1]), (int)steps[3 * k + 2]);
        bound = up(sqrt(up(whole + steps[3 * k])));
    }
    return bound;
}

// Scales numbers so that the largest lies in [1/2, 1), in place; the sum of their squares.
template <typename T>
__device__ __forceinline__ double normalize(T* v, int count, int* exponent, double* room) {
    double most = 0.0, squares = 0.0;
    for (int i = threadIdx.x; i < count; i += TEAM) most = fmax(most, fabs((double)v[i]));
    most = team_most(most, room);
    *exponent = 0;
    if (most > 0.0) frexp(most, exponent);
    for (int i = threadIdx.x; i < count; i += TEAM) {
        v[i] = (T)ldexp((double)v[i], -*exponent);
        squares += (double)v[i] * (double)v[i];
    }
    return team_sum(squares, room);
}
