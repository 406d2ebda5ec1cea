// Patches in memory, and a weight turned for them. See gathered.rs.

// patches[p, entry] = the entry of the patch around pixel `first + p`, the tap first, then the channel;
// zero outside of the image. A thread gathers four entries.
extern "C" __global__ void gather_patches(Arguments a) {
    int first = a.size[0], count = a.size[1];
    Window window = {a.size[2], a.size[3], a.size[4], a.size[5]};
    const float* images = a.at[0];
    float* patches = a.at[1];
    int entries = window.side * window.side * window.channels, quadruples = (entries + 3) / 4;
    unsigned at = THREAD;
    if (at >= (unsigned)count * quadruples) return;
    int row = at / quadruples, entry = at % quadruples * 4, pixel = first + row;
    int inside = pixel % (window.height * window.width), reach = window.side / 2;
    int y = inside / window.width - reach, x = inside % window.width - reach;
    float* to = patches + (long long)row * entries + entry;
    bool four = window.channels % 4 == 0 &&
                (((unsigned long long)images | (unsigned long long)patches) & 15) == 0;
    for (int e = 0; e < 4 && entry + e < entries; e++) {
        int tap = (entry + e) / window.channels, channel = (entry + e) % window.channels;
        int dy = tap / window.side, dx = tap % window.side;
        bool holds = (unsigned)(y + dy) < (unsigned)window.height &&
                     (unsigned)(x + dx) < (unsigned)window.width;
        int shift = (dy - reach) * window.width + dx - reach;
        const float* from = images + (long long)(pixel + shift) * window.channels + channel;
        if (four) {
            // Four entries of one tap.
            *(float4*)to = holds ? *(const float4*)from : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
            return;
        }
        to[e] = holds ? *from : 0.0f;
    }
}

// turned[entry, c] = the weight's channel c for an entry of a patch of what the convolution wrote, the
// last tap first. In memory the weight is [outputs, taps, inputs].
extern "C" __global__ void turn_weight(Arguments a) {
    int outputs = a.size[0], taps = a.size[1], inputs = a.size[2];
    unsigned at = THREAD;
    if (at >= (unsigned)outputs * taps * inputs) return;
    int entry = at / inputs, c = at % inputs;
    int tap = taps - 1 - entry / outputs, output = entry % outputs;
    a.at[1][at] = a.at[0][((long long)output * taps + tap) * inputs + c];
}
