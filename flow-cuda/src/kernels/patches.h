// Operands of products that are read from images, with zeros around them, where a convolution would
// multiply patches: around each pixel a square of `side × side` pixels, whose entries are those of the
// tap first, then the channel. Channels of a pixel lie side by side, pixels row after row, images one
// after the other.

struct Window {
    int channels, side, height, width;
};

// Where an entry of no pixel stands: outside of every image.
#define NOWHERE (-(1 << 24))

// A matrix with a row for each pixel and a depth for each entry of its patch.
template <int SIDE, int THREADS>
struct PatchRows {
    Strip<SIDE, THREADS> strip;
    const float* from;
    Window window;
    int pixel[Strip<SIDE, THREADS>::COUNT], y[Strip<SIDE, THREADS>::COUNT],
        x[Strip<SIDE, THREADS>::COUNT];

    __device__ __forceinline__ PatchRows(const float* from, Window window, int first, int pixels)
        : from(from), window(window) {
#pragma unroll
        for (int q = 0; q < strip.COUNT; q++) {
            int i, l;
            strip.place(q, true, &i, &l);
            pixel[q] = first + i;
            int inside = pixel[q] % (window.height * window.width);
            y[q] = pixel[q] < pixels ? inside / window.width : NOWHERE;
            x[q] = inside % window.width;
        }
    }

    __device__ __forceinline__ bool holds(int q, int dy, int dx) const {
        return (unsigned)(y[q] + dy) < (unsigned)window.height &&
               (unsigned)(x[q] + dx) < (unsigned)window.width;
    }

    __device__ __forceinline__ const float* at(int q, int dy, int dx, int channel) const {
        return from + (long long)(pixel[q] + dy * window.width + dx) * window.channels + channel;
    }

    __device__ __forceinline__ void load(int start, int end) {
        int reach = window.side / 2;
        int l = start + threadIdx.x % (DEPTH / 4) * 4;
        int tap = l / window.channels, channel = l % window.channels;
        int dy = tap / window.side - reach, dx = tap % window.side - reach;
        // Four entries of one tap.
        if (window.channels % 4 == 0 && ((unsigned long long)from & 15) == 0) {
#pragma unroll
            for (int q = 0; q < strip.COUNT; q++) {
                float4 all = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
                if (l < end && holds(q, dy, dx)) all = *(const float4*)at(q, dy, dx, channel);
                strip.v[q][0] = all.x, strip.v[q][1] = all.y;
                strip.v[q][2] = all.z, strip.v[q][3] = all.w;
            }
            return;
        }
#pragma unroll
        for (int e = 0; e < 4; e++) {
#pragma unroll
            for (int q = 0; q < strip.COUNT; q++) {
                bool inside = l + e < end && holds(q, dy, dx);
                strip.v[q][e] = inside ? *at(q, dy, dx, channel) : 0.0f;
            }
            if (++channel < window.channels) continue;
            channel = 0;
            if (++dx <= reach) continue;
            dx = -reach;
            dy++;
        }
    }

    __device__ __forceinline__ void store(float into[DEPTH][SIDE + 4]) const {
        strip.store(into, 1);
    }
};

// The same turned: a row for each entry of a patch, and a depth for each pixel.
template <int SIDE, int THREADS>
struct PatchColumns {
    Strip<SIDE, THREADS> strip;
    const float* from;
    Window window;
    int dy[4], dx[4], shift[4];

    __device__ __forceinline__ PatchColumns(const float* from, Window window, int first)
        : from(from), window(window) {
        int reach = window.side / 2, entries = window.side * window.side * window.channels;
        // The same for all of a thread's quadruples: THREADS is a multiple of SIDE / 4.
        int i = first + threadIdx.x % (SIDE / 4) * 4;
#pragma unroll
        for (int e = 0; e < 4; e++) {
            int tap = (i + e) / window.channels;
            dy[e] = i + e < entries ? tap / window.side - reach : NOWHERE;
            dx[e] = tap % window.side - reach;
            shift[e] = (tap / window.side - reach) * window.width + dx[e];
            shift[e] = shift[e] * window.channels + (i + e) % window.channels;
        }
    }

    __device__ __forceinline__ bool holds(int e, int y, int x) const {
        return (unsigned)(y + dy[e]) < (unsigned)window.height &&
               (unsigned)(x + dx[e]) < (unsigned)window.width;
    }

    __device__ __forceinline__ void load(int start, int end) {
        bool four = window.channels % 4 == 0 && ((unsigned long long)from & 15) == 0;
#pragma unroll
        for (int q = 0; q < strip.COUNT; q++) {
            int i, l;
            strip.place(q, false, &i, &l);
            int pixel = start + l, inside = pixel % (window.height * window.width);
            int y = pixel < end ? inside / window.width : NOWHERE, x = inside % window.width;
            const float* at = from + (long long)pixel * window.channels;
            if (four) {
                float4 all = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
                if (holds(0, y, x)) all = *(const float4*)(at + shift[0]);
                strip.v[q][0] = all.x, strip.v[q][1] = all.y;
                strip.v[q][2] = all.z, strip.v[q][3] = all.w;
                continue;
            }
#pragma unroll
            for (int e = 0; e < 4; e++) strip.v[q][e] = holds(e, y, x) ? at[shift[e]] : 0.0f;
        }
    }

    __device__ __forceinline__ void store(float into[DEPTH][SIDE + 4]) const {
        strip.store(into, 0);
    }
};

// The weight of a convolution as its transpose needs it: a row for each channel that the convolution
// reads, and a depth for each entry of a patch of what it wrote, the last tap first. In memory it is
// [outputs, taps, inputs].
template <int SIDE, int THREADS>
struct TurnedWeight {
    Strip<SIDE, THREADS> strip;
    const float* from;
    int outputs, taps, inputs, first;

    __device__ __forceinline__ TurnedWeight(const float* from, Window out, int inputs, int first)
        : from(from), outputs(out.channels), taps(out.side * out.side), inputs(inputs), first(first) {}

    __device__ __forceinline__ void load(int start, int end) {
        bool four = inputs % 4 == 0 && ((unsigned long long)from & 15) == 0;
#pragma unroll
        for (int q = 0; q < strip.COUNT; q++) {
            int i, l;
            strip.place(q, false, &i, &l);
            i += first;
            l += start;
            int tap = taps - 1 - l / outputs, output = l % outputs;
            const float* at = from + ((long long)output * taps + tap) * inputs + i;
            if (four) {
                float4 all = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
                if (l < end && i < inputs) all = *(const float4*)at;
                strip.v[q][0] = all.x, strip.v[q][1] = all.y;
                strip.v[q][2] = all.z, strip.v[q][3] = all.w;
                continue;
            }
#pragma unroll
            for (int e = 0; e < 4; e++) {
                strip.v[q][e] = l < end && i + e < inputs ? at[e] : 0.0f;
            }
        }
    }

    __device__ __forceinline__ void store(float into[DEPTH][SIDE + 4]) const {
        strip.store(into, 0);
    }
};
