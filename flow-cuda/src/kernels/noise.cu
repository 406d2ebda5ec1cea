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
