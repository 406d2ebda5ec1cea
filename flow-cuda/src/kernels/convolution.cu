// Convolutions as products of patches that stand nowhere: blocks read them from the images while they
// fill their tiles. See convolution.rs and tiles.h.

__device__ __forceinline__ Window window(const Arguments& a) {
    return {a.size[3], a.size[4], a.size[5], a.size[6]};
}

// out[pixel, j] = f(patch · weight[j] + bias[j]) * factor, and its slopes.
template <int TALL, int WIDE, int EACH>
__device__ __forceinline__ void convolve_forward(const Arguments& a) {
    const int THREADS = WIDE / EACH * (TALL / EACH);
    PatchRows<TALL, THREADS> left(a.at[0], window(a), tile_row<WIDE>(a) * TALL, a.size[0]);
    Dense<WIDE, THREADS> right(a.at[1], a.size[2], 1, tile_column<WIDE>(a) * WIDE, a.size[1]);
    multiply_tiles<TALL, WIDE, EACH>(a, left, right);
}

// by_input[pixel, c] = the patch of by_output, turned by half a circle, times the weight's channel c.
template <int TALL, int WIDE, int EACH>
__device__ __forceinline__ void convolve_input(const Arguments& a) {
    const int THREADS = WIDE / EACH * (TALL / EACH);
    PatchRows<TALL, THREADS> left(a.at[0], window(a), tile_row<WIDE>(a) * TALL, a.size[0]);
    TurnedWeight<WIDE, THREADS> right(a.at[1], window(a), a.size[1], tile_column<WIDE>(a) * WIDE);
    multiply_tiles<TALL, WIDE, EACH>(a, left, right);
}

// by_weight[j, entry] += the sum over pixels of by_output[pixel, j] * patch[entry].
template <int TALL, int WIDE, int EACH>
__device__ __forceinline__ void convolve_weight(const Arguments& a) {
    const int THREADS = WIDE / EACH * (TALL / EACH);
    Dense<TALL, THREADS> left(a.at[0], 1, a.size[0], tile_row<WIDE>(a) * TALL, a.size[0]);
    PatchColumns<WIDE, THREADS> right(a.at[1], window(a), tile_column<WIDE>(a) * WIDE);
    multiply_tiles<TALL, WIDE, EACH>(a, left, right);
}

extern "C" __launch_bounds__(64) __global__ void convolution(Arguments a) {
    convolve_forward<32, 32, 4>(a);
}
extern "C" __launch_bounds__(128) __global__ void large_convolution(Arguments a) {
    convolve_forward<128, 64, 8>(a);
}
extern "C" __launch_bounds__(64) __global__ void convolution_by_input(Arguments a) {
    convolve_input<32, 32, 4>(a);
}
extern "C" __launch_bounds__(128) __global__ void large_convolution_by_input(Arguments a) {
    convolve_input<128, 64, 8>(a);
}
extern "C" __launch_bounds__(64) __global__ void convolution_by_weight(Arguments a) {
    convolve_weight<32, 32, 4>(a);
}
extern "C" __launch_bounds__(128) __global__ void large_convolution_by_weight(Arguments a) {
    convolve_weight<128, 64, 8>(a);
}
