// What kernels that multiply matrices read from memory.

#define DEPTH 16

// SIDE rows of DEPTH numbers each, brought from memory to the registers of THREADS threads and on to
// shared memory, where numbers of one depth stand side by side: the next strip is under way while the
// last one is used. Four numbers at once where they lie so in memory.
template <int SIDE, int THREADS>
struct Strip {
    static const int COUNT = SIDE * DEPTH / (4 * THREADS);
    float v[COUNT][4];

    // Where quadruple q of a thread begins: its row, and its depth.
    __device__ __forceinline__ static void place(int q, bool along_depth, int* i, int* l) {
        int t = q * THREADS + threadIdx.x;
        *i = along_depth ? t / (DEPTH / 4) : t % (SIDE / 4) * 4;
        *l = along_depth ? t % (DEPTH / 4) * 4 : t / (SIDE / 4);
    }

    __device__ __forceinline__ void load(const float* from, int to_row, int to_depth, int first,
                                         int rows, int start, int end) {
        bool along_depth = to_depth == 1;
        int step = along_depth ? to_row : to_depth;
        bool aligned = ((unsigned long long)from & 15) == 0 && step % 4 == 0 &&
                       (along_depth || to_row == 1);
#pragma unroll
        for (int q = 0; q < COUNT; q++) {
            int i, l;
            place(q, along_depth, &i, &l);
            i += first;
            l += start;
            bool inside = along_depth ? i < rows && l + 4 <= end : i + 4 <= rows && l < end;
            if (aligned && inside) {
                float4 all = *(const float4*)(from + (long long)i * to_row + (long long)l * to_depth);
                v[q][0] = all.x, v[q][1] = all.y, v[q][2] = all.z, v[q][3] = all.w;
                continue;
            }
#pragma unroll
            for (int e = 0; e < 4; e++) {
                int row = along_depth ? i : i + e, depth = along_depth ? l + e : l;
                v[q][e] = row < rows && depth < end
                              ? from[(long long)row * to_row + (long long)depth * to_depth]
                              : 0.0f;
            }
        }
    }

    __device__ __forceinline__ void store(float into[DEPTH][SIDE + 4], int to_depth) const {
        bool along_depth = to_depth == 1;
#pragma unroll
        for (int q = 0; q < COUNT; q++) {
            int i, l;
            place(q, along_depth, &i, &l);
            if (along_depth) {
#pragma unroll
                for (int e = 0; e < 4; e++) into[l + e][i] = v[q][e];
            } else {
                *(float4*)&into[l][i] = make_float4(v[q][0], v[q][1], v[q][2], v[q][3]);
            }
        }
    }
};
