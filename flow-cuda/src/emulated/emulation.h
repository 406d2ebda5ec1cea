// CUDA's built-in names, so that kernels compile as C++ and run on one CPU thread: blocks one after
// the other, threads of a block one after the other or, where they meet at barriers, as fibers.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#define __global__
#define __device__
#define __forceinline__ inline
#define __restrict__
#define __launch_bounds__(...)
#define __shared__ static thread_local
#define __align__(bytes) __attribute__((aligned(bytes)))

struct alignas(16) float4 {
    float x, y, z, w;
};
static inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

struct Place {
    unsigned x, y, z;
};
static thread_local Place threadIdx, blockIdx, blockDim, gridDim;

static void reach_barrier();
#define __syncthreads() reach_barrier()

static inline unsigned __float_as_uint(float v) {
    unsigned bits;
    std::memcpy(&bits, &v, sizeof bits);
    return bits;
}
static inline double __hiloint2double(int high, int low) {
    uint64_t bits = (uint64_t)(uint32_t)high << 32 | (uint32_t)low;
    double v;
    std::memcpy(&v, &bits, sizeof v);
    return v;
}
static inline int min(int a, int b) { return a < b ? a : b; }

struct Arguments;
struct Kernel {
    const char* name;
    void (*run)(Arguments);
};
