// Numbers of all threads of a block, brought together in a fixed order. `room` is shared memory for
// TEAM numbers, which is free again afterwards.

#define TEAM 256

__device__ __forceinline__ double team_sum(double v, double* room) {
    room[threadIdx.x] = v;
    for (int step = TEAM / 2; step > 0; step /= 2) {
        __syncthreads();
        if (threadIdx.x < (unsigned)step) room[threadIdx.x] += room[threadIdx.x + step];
    }
    __syncthreads();
    double sum = room[0];
    __syncthreads();
    return sum;
}

__device__ __forceinline__ double team_most(double v, double* room) {
    room[threadIdx.x] = v;
    for (int step = TEAM / 2; step > 0; step /= 2) {
        __syncthreads();
        if (threadIdx.x < (unsigned)step) {
            room[threadIdx.x] = fmax(room[threadIdx.x], room[threadIdx.x + step]);
        }
    }
    __syncthreads();
    double most = room[0];
    __syncthreads();
    return most;
}
