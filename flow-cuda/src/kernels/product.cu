// Matrix products with what stands beside them. See product.rs.

// Both operands are matrices in memory.
template <int TALL, int WIDE, int EACH>
__device__ __forceinline__ void multiply_matrices(const Arguments& a) {
    const int THREADS = WIDE / EACH * (TALL / EACH);
    Dense<TALL, THREADS> left(a.at[0], a.size[3], a.size[4], tile_row<WIDE>(a) * TALL, a.size[0]);
    Dense<WIDE, THREADS> right(a.at[1], a.size[6], a.size[5], tile_column<WIDE>(a) * WIDE, a.size[1]);
    multiply_tiles<TALL, WIDE, EACH>(a, left, right);
}

// 64 threads: many blocks for small products.
extern "C" __launch_bounds__(64) __global__ void product(Arguments a) {
    multiply_matrices<32, 32, 4>(a);
}

// 128 threads with 64 sums each: for products that fill a card with such blocks.
extern "C" __launch_bounds__(128) __global__ void large_product(Arguments a) {
    multiply_matrices<128, 64, 8>(a);
}

// What stands beside a product that lies in `out`, without its sums. See gemm.rs.
extern "C" __global__ void finish_product(Arguments a) {
    int m = a.size[0], n = a.size[1], flags = a.size[8];
    unsigned at = THREAD;
    if (at >= (unsigned)m * n) return;
    float v = a.at[2][at], slope;
    if (flags & 1) v += a.at[3][flags & 16 ? at / n : at % n];
    v = activation(a.size[7], v, &slope);
    if (flags & 2) a.at[4][at] = slope;
    if (flags & 4) v *= a.at[5][at];
    a.at[2][at] = v;
}
