// Random numbers: the stream of flow-core's Noise, word for word. See noise.rs.

// Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3").
__device__ __forceinline__ void philox(unsigned counter[4], unsigned key[2]) {
    for (int round = 0; round < 10; round++) {
        unsigned long long first = (unsigned long long)counter[0] * 0xD2511F53u;
        unsigned long long second = (unsigned long long)counter[2] * 0xCD9E8D57u;
        unsigned a = (unsigned)(second >> 32) ^ counter[1] ^ key[0];
        unsigned c = (unsigned)(first >> 32) ^ counter[3] ^ key[1];
        counter[0] = a;
        counter[1] = (unsigned)second;
        counter[2] = c;
        counter[3] = (unsigned)first;
        key[0] += 0x9E3779B9u;
        key[1] += 0xBB67AE85u;
    }
}

__device__ __forceinline__ double to_unit(unsigned high, unsigned low) {
    unsigned long long bits = ((unsigned long long)high << 32 | low) >> 11;
    return ((double)bits + 0.5) * (1.0 / 9007199254740992.0);
}

// out[i] = factor · number start + i of a stream of standard normals. A thread makes one pair by Box
// and Muller. The stream stands in four floats' bits: key low, key high, start low, start high.
extern "C" __global__ void normals(Arguments a) {
    const float* stream = a.at[1];
    unsigned long long start =
        (unsigned long long)__float_as_uint(stream[3]) << 32 | __float_as_uint(stream[2]);
    unsigned long long pair = start / 2 + THREAD;
    unsigned counter[4] = {(unsigned)pair, (unsigned)(pair >> 32), 0, 0};
    unsigned key[2] = {__float_as_uint(stream[0]), __float_as_uint(stream[1])};
    philox(counter, key);
    double radius = sqrt(-2.0 * log(to_unit(counter[0], counter[1])));
    double sine, cosine;
    sincos(6.283185307179586 * to_unit(counter[2], counter[3]), &sine, &cosine);
    double both[2] = {radius * cosine, radius * sine};
    for (int half = 0; half < 2; half++) {
        unsigned long long at = 2 * pair + half;
        if (at >= start && at - start < (unsigned long long)a.size[0]) {
            a.at[0][at - start] = a.number[0] * (float)both[half];
        }
    }
}

// The stream of a number under another, as flow-core's Noise derives it.
__device__ __forceinline__ unsigned long long mix_key(unsigned long long key, unsigned long long v) {
    unsigned counter[4] = {(unsigned)v, (unsigned)(v >> 32), 1, 0};
    unsigned halves[2] = {(unsigned)key, (unsigned)(key >> 32)};
    philox(counter, halves);
    return (unsigned long long)counter[0] << 32 | counter[1];
}

// The stream of a row in a block: that of the pass, of the block's number and the row's.
__device__ __forceinline__ unsigned long long row_key(const float* stream, int leaf, int row) {
    unsigned long long key =
        (unsigned long long)__float_as_uint(stream[1]) << 32 | __float_as_uint(stream[0]);
    key = mix_key(mix_key(key, 0x6174), leaf);
    return mix_key(mix_key(key, 0x6174), row);
}

__device__ __forceinline__ unsigned long long named_key(unsigned long long key, const char* name) {
    key = mix_key(key, 0x6e61);
    for (; *name; name++) key = mix_key(key, (unsigned char)*name);
    return key;
}

// Signs for each row of a block. A thread makes 128 of them.
extern "C" __global__ void signs(Arguments a) {
    int rows = a.size[0], width = a.size[1], leaf = a.size[2], parts = (width + 127) / 128;
    unsigned i = THREAD;
    if (i >= (unsigned)rows * parts) return;
    int row = i / parts, part = i % parts;
    unsigned long long key = named_key(row_key(a.at[1], leaf, row), "probe");
    unsigned words[4] = {(unsigned)part, 0, 0, 0};
    unsigned halves[2] = {(unsigned)key, (unsigned)(key >> 32)};
    philox(words, halves);
    for (int j = 0; j < min(128, width - 128 * part); j++) {
        unsigned bit = words[j / 32] >> (j % 32) & 1u;
        a.at[0][(size_t)row * width + 128 * part + j] = bit ? -1.0f : 1.0f;
    }
}

// How many terms of a series each row of a block has: `exact`, and a geometric number more.
extern "C" __global__ void term_counts(Arguments a) {
    int rows = a.size[0], leaf = a.size[1], exact = a.size[2];
    unsigned row = THREAD;
    if (row >= (unsigned)rows) return;
    unsigned long long key = named_key(row_key(a.at[1], leaf, row), "terms");
    unsigned words[4] = {0, 0, 0, 0}, halves[2] = {(unsigned)key, (unsigned)(key >> 32)};
    philox(words, halves);
    double further = floor(log(to_unit(words[0], words[1])) / (double)a.number[0]);
    a.at[0][row] = (float)(exact + further);
}

// out[i] = number start + i of a stream: uniform on (0, 1) or, with size[1], standard logistic.
extern "C" __global__ void uniforms(Arguments a) {
    unsigned i = THREAD;
    if (i >= (unsigned)a.size[0]) return;
    const float* stream = a.at[1];
    unsigned long long at =
        ((unsigned long long)__float_as_uint(stream[3]) << 32 | __float_as_uint(stream[2])) + i;
    unsigned words[4] = {(unsigned)at, (unsigned)(at >> 32), 0, 0};
    unsigned halves[2] = {__float_as_uint(stream[0]), __float_as_uint(stream[1])};
    philox(words, halves);
    double u = to_unit(words[0], words[1]);
    a.at[0][i] = (float)(a.size[1] ? log(u) - log1p(-u) : u);
}
