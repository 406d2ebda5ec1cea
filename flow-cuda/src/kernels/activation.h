// The functions between the layers of a net, with their slopes.

__device__ __forceinline__ float logistic(float v) { return 1.0f / (1.0f + expf(-v)); }

__device__ __forceinline__ float activation(int kind, float v, float* slope) {
    switch (kind) {
        case 1:  // relu
        case 3:  // leaky relu
        {
            float below = kind == 1 ? 0.0f : 0.01f;
            bool negative = v <= 0.0f;
            *slope = negative ? below : 1.0f;
            return negative ? v * below : v;
        }
        case 2:  // elu
            if (v <= 0.0f) {
                float value = expm1f(v);
                *slope = value > -0.5f ? value + 1.0f : expf(v);
                return value;
            }
            *slope = 1.0f;
            return v;
        case 4: {  // tanh
            float value = tanhf(v);
            float small = expf(-2.0f * fabsf(v)), whole = 1.0f + small;
            *slope = fabsf(value) < 0.5f ? 1.0f - value * value : 4.0f * small / (whole * whole);
            return value;
        }
        case 5: {  // swish
            float gate = logistic(v), value = v * gate;
            *slope = gate + value * (1.0f - gate);
            return value;
        }
        case 6: {  // gelu
            float share = 0.5f * erfcf(-v * 0.70710678118654752f);
            float density = 0.39894228040143268f * expf(-0.5f * v * v);
            *slope = share + v * density;
            return v * share;
        }
        case 7: {  // softplus
            *slope = logistic(v);
            return (v <= 0.0f ? 0.0f : v) + log1pf(expf(-fabsf(v)));
        }
        default:
            *slope = 1.0f;
            return v;
    }
}
