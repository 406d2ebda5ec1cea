// What every kernel takes: places in memory, index lists, sizes and numbers. The order of each is
// that of the function in the Rust file of the same name that records the kernel.
struct Arguments {
    float* at[8];
    const int* table[4];
    int size[12];
    float number[8];
};

// The place of a thread among all of a one-dimensional launch.
#define THREAD (blockIdx.x * blockDim.x + threadIdx.x)
