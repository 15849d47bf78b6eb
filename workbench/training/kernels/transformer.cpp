// What a training step of the small transformer does besides matrix products, forward and backward.
//
// Compiled for one model: WIDTH, HEAD (head size), CONTEXT, VOCAB and LANES (8 or 16, which divides
// WIDTH, CONTEXT and VOCAB) are given on the command line. Operand is float, or bfloat16 for
// whatever is an operand of a product; arithmetic and the residual stream are always float. Loops
// never mix two rows (runs), so a row's numbers do not depend on the others.
#include <cmath>
#include <cstdint>
#include <cstring>

constexpr int HEADS = WIDTH / HEAD;
constexpr float NORM_EPSILON = 1e-5f;
constexpr int UNCOUNTED = 1;  // the first target of a sequence has too little context

typedef float Lanes __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef uint32_t Bits __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef uint16_t Halves __attribute__((vector_size(2 * LANES), aligned(2), may_alias));
struct bfloat16 {
    uint16_t bits;
};
typedef OPERAND Operand;

static inline Lanes all(float x) { return x - Lanes{}; }
static inline Lanes load(const float* from) { return *(const Lanes*)from; }
static inline Lanes load(const bfloat16* from) {
    return (Lanes)(__builtin_convertvector(*(const Halves*)from, Bits) << 16);
}
static inline void store(float* to, Lanes x) { *(Lanes*)to = x; }
static inline void store(bfloat16* to, Lanes x) {
    Bits bits = (Bits)x;
    Bits rounded = bits + 0x7fff + ((bits >> 16) & 1);  // to nearest, ties to even
    *(Halves*)to = __builtin_convertvector(rounded >> 16, Halves);
}
static inline float value(float x) { return x; }
static inline float value(bfloat16 x) {
    uint32_t bits = (uint32_t)x.bits << 16;
    float result;
    memcpy(&result, &bits, 4);
    return result;
}
static inline void put(float* to, float x) { *to = x; }
static inline void put(bfloat16* to, float x) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    to->bits = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
}
static inline Lanes larger(Lanes a, Lanes b) { return a > b ? a : b; }
static inline Lanes relu(Lanes x) { return x < 0 ? all(0) : x; }  // NaN stays NaN
static inline float sum(Lanes x) {
    float part[LANES];
    memcpy(part, &x, sizeof part);
    for (int half = LANES / 2; half; half /= 2)
        for (int i = 0; i < half; i++) part[i] += part[i + half];
    return part[0];
}
static inline Lanes pick(Lanes x, Bits lane) {
#ifdef __clang__
    Lanes result;
    for (int i = 0; i < LANES; i++) result[i] = x[lane[i]];
    return result;
#else
    return __builtin_shuffle(x, lane);
#endif
}
static inline float largest(Lanes x) {
    float result = x[0];
    for (int i = 1; i < LANES; i++) result = x[i] > result ? x[i] : result;
    return result;
}
// e^x to 2e-7 for x <= 0; 0 below -87, NaN stays NaN. Cephes' polynomial after a reduction by ln 2.
static inline Lanes exponential(Lanes x) {
    const float to_integer = 12582912.f;  // 1.5 * 2^23: adding it rounds to a whole number
    Lanes shifted = x * 1.44269504f + to_integer;
    Lanes whole = shifted - to_integer;
    Lanes r = (x - whole * 0.693359375f) + whole * 2.12194440e-4f;
    Lanes p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + (r + 1.f);
    Lanes power = (Lanes)(((Bits)shifted + 127) << 23);
    return x < -87.f ? all(0) : p * power;
}

// ---------------------------------------------------------------- embedding and norms
constexpr int PARTS = WIDTH / LANES;

// Centre and scale one token in place; return 1/standard deviation.
static inline float normalise(Lanes* token) {
    Lanes total = token[0];
    for (int i = 1; i < PARTS; i++) total += token[i];
    Lanes mean = all(sum(total) / WIDTH), squares = all(0);
    for (int i = 0; i < PARTS; i++) {
        token[i] -= mean;
        squares += token[i] * token[i];
    }
    float scale = 1.f / std::sqrt(sum(squares) / WIDTH + NORM_EPSILON);
    for (int i = 0; i < PARTS; i++) token[i] *= scale;
    return scale;
}

extern "C" void embed(const Operand* tables, long stride, const int64_t* inputs, float* residual,
                      Operand* normed, float* scales, long rows, long tokens) {
    for (long at = 0; at < rows * tokens; at++) {
        const Operand* from = tables + at / tokens * stride + inputs[at] * WIDTH;
        Lanes token[PARTS];
        for (int i = 0; i < PARTS; i++) {
            token[i] = load(from + i * LANES);
            store(residual + at * WIDTH + i * LANES, token[i]);
        }
        scales[at] = normalise(token);
        for (int i = 0; i < PARTS; i++) store(normed + at * WIDTH + i * LANES, token[i]);
    }
}

// residual += multiplier * branch, and its norm.
extern "C" void add_norm(float* residual, const Operand* branch, float multiplier, Operand* normed,
                         float* scales, long tokens) {
    for (long at = 0; at < tokens; at++) {
        Lanes token[PARTS];
        for (int i = 0; i < PARTS; i++) {
            long place = at * WIDTH + i * LANES;
            token[i] = load(residual + place) + multiplier * load(branch + place);
            store(residual + place, token[i]);
        }
        scales[at] = normalise(token);
        for (int i = 0; i < PARTS; i++) store(normed + at * WIDTH + i * LANES, token[i]);
    }
}

// Gradient of the residual: what the norm passes down, added to what is there unless `first`; and
// what the branch below is given, multiplier * gradient.
extern "C" void norm_backward(float* gradient, const Operand* from_normed, const Operand* normed,
                              const float* scales, float multiplier, Operand* to_branch,
                              long tokens, long first) {
    for (long at = 0; at < tokens; at++) {
        Lanes given[PARTS], unit[PARTS], total = all(0), along = all(0);
        for (int i = 0; i < PARTS; i++) {
            given[i] = load(from_normed + at * WIDTH + i * LANES);
            unit[i] = load(normed + at * WIDTH + i * LANES);
            total += given[i];
            along += given[i] * unit[i];
        }
        float mean = sum(total) / WIDTH, slope = sum(along) / WIDTH;
        for (int i = 0; i < PARTS; i++) {
            long place = at * WIDTH + i * LANES;
            Lanes passed = scales[at] * (given[i] - unit[i] * slope - mean);
            if (!first) passed += load(gradient + place);
            store(gradient + place, passed);
            store(to_branch + place, multiplier * passed);
        }
    }
}

// Gradient of the embedding tables: sums over the tokens of each row, in float.
extern "C" void embed_backward(Operand* tables, long stride, const int64_t* inputs,
                               const float* gradient, float* sums, long rows, long tokens) {
    for (long row = 0; row < rows; row++) {
        memset(sums, 0, sizeof(float) * VOCAB * WIDTH);
        for (long at = row * tokens; at < (row + 1) * tokens; at++) {
            float* to = sums + inputs[at] * WIDTH;
            for (int i = 0; i < WIDTH; i += LANES)
                store(to + i, load(to + i) + load(gradient + at * WIDTH + i));
        }
        for (long i = 0; i < VOCAB * WIDTH; i += LANES)
            store(tables + row * stride + i, load(sums + i));
    }
}

// ---------------------------------------------------------------- squared ReLU
extern "C" void squared_relu(const Operand* hidden, Operand* squared, long count) {
    for (long i = 0; i < count; i += LANES) {
        Lanes positive = relu(load(hidden + i));
        store(squared + i, positive * positive);
    }
}

extern "C" void squared_relu_backward(const Operand* hidden, Operand* gradient, long count) {
    for (long i = 0; i < count; i += LANES) {
        Lanes positive = relu(load(hidden + i));
        store(gradient + i, 2.f * positive * load(gradient + i));
    }
}

// ---------------------------------------------------------------- cross-entropy
// Mean loss of every row; the logits become their gradient in place.
extern "C" void cross_entropy(Operand* logits, const int64_t* targets, float* losses, long rows,
                              long tokens) {
    constexpr int PIECES = VOCAB / LANES;
    const float share = 1.f / (tokens / CONTEXT * (CONTEXT - UNCOUNTED));
    for (long row = 0; row < rows; row++) {
        double total = 0;
        for (long at = row * tokens; at < (row + 1) * tokens; at++) {
            Operand* here = logits + at * VOCAB;
            if (at % CONTEXT < UNCOUNTED) {
                memset(here, 0, VOCAB * sizeof(Operand));
                continue;
            }
            Lanes piece[PIECES];
            for (int i = 0; i < PIECES; i++) piece[i] = load(here + i * LANES);
            Lanes peaks = piece[0], sums = all(0);
            for (int i = 1; i < PIECES; i++) peaks = larger(peaks, piece[i]);
            const float peak = largest(peaks), chosen = value(here[targets[at]]);
            for (int i = 0; i < PIECES; i++) sums += piece[i] = exponential(piece[i] - peak);
            const float mass = sum(sums), scale = share / mass;
            total += std::log(mass) + peak - chosen;
            const float right = value(piece[targets[at] / LANES][targets[at] % LANES]);
            for (int i = 0; i < PIECES; i++) store(here + i * LANES, piece[i] * scale);
            put(here + targets[at], right * scale - share);
        }
        losses[row] = total * share;
    }
}

// ---------------------------------------------------------------- attention
// Lanes run over queries, so that maxima, sums and exponentials stay within a lane. Blocks of keys
// that lie after all queries of a block are skipped. Scores are q.k/sqrt(HEAD) - slope * distance.
struct Queries {
    Lanes place;
    float slope;
    // Score of key `at` given its product with the queries; the future gets a very low one.
    Lanes score(Lanes product, int at) const {
        Lanes ahead = (float)at - place;
        return ahead > 0 ? all(-1e30f) : product + ahead * slope;
    }
};

static inline Queries queries(int first, float slope) {
    Queries found{all(0), slope};
    for (int i = 0; i < LANES; i++) found.place[i] = first + i;
    return found;
}

// Copy one head's rows out of a matrix of any width, as they are or transposed.
static inline void gather(const Operand* from, long width, float (*rows)[HEAD]) {
    for (int i = 0; i < CONTEXT; i++)
        for (int c = 0; c < HEAD; c++) rows[i][c] = value(from[i * width + c]);
}
static inline void transpose(const float (*rows)[HEAD], float (*columns)[CONTEXT], float scale) {
    for (int c = 0; c < HEAD; c++)
        for (int i = 0; i < CONTEXT; i++) columns[c][i] = rows[i][c] * scale;
}
static inline void scatter(const float* row, Operand* to) {
    for (int c = 0; c < HEAD; c++) put(to + c, row[c]);
}
static inline Lanes product(const Lanes* columns, const float* row) {
    Lanes even = columns[0] * row[0], odd = columns[1] * row[1];
    for (int c = 2; c < HEAD; c += 2) {
        even += columns[c] * row[c];
        odd += columns[c + 1] * row[c + 1];
    }
    return even + odd;
}

static void attend_head(const Operand* qkv, float slope, Operand* mixed, float* peaks,
                        float* inverses) {
    float q[CONTEXT][HEAD], k[CONTEXT][HEAD], v[CONTEXT][HEAD], columns[HEAD][CONTEXT];
    gather(qkv, 3 * WIDTH, q);
    gather(qkv + WIDTH, 3 * WIDTH, k);
    gather(qkv + 2 * WIDTH, 3 * WIDTH, v);
    transpose(q, columns, 1.f / std::sqrt((float)HEAD));
    for (int first = 0; first < CONTEXT; first += LANES) {
        const int keys = first + LANES;
        const Queries block = queries(first, slope);
        Lanes query[HEAD], scores[CONTEXT], peak = all(-1e30f), mass = all(0), sums[HEAD];
        for (int c = 0; c < HEAD; c++) {
            query[c] = load(&columns[c][first]);
            sums[c] = all(0);
        }
        for (int j = 0; j < keys; j++) {
            scores[j] = block.score(product(query, k[j]), j);
            peak = larger(peak, scores[j]);
        }
        for (int j = 0; j < keys; j++) {
            Lanes weight = exponential(scores[j] - peak);
            mass += weight;
            for (int c = 0; c < HEAD; c++) sums[c] += weight * v[j][c];
        }
        const Lanes inverse = 1.f / mass;
        for (int c = 0; c < HEAD; c++) sums[c] *= inverse;
        store(peaks + first, peak);
        store(inverses + first, inverse);
        for (int i = 0; i < LANES; i++) {
            float row[HEAD];
            for (int c = 0; c < HEAD; c++) row[c] = sums[c][i];
            scatter(row, mixed + (first + i) * WIDTH);
        }
    }
}

// total += sum over the queries of a block of weight * row, several rows to a vector.
static inline void accumulate(Lanes weight, const float (*rows)[HEAD], float* total) {
    constexpr int TOGETHER = HEAD < LANES ? LANES / HEAD : 1, STRIDE = LANES < HEAD ? LANES : HEAD;
    for (int from = 0; from < HEAD; from += LANES) {
        Lanes sums[2] = {};  // two, to hide the latency
#pragma GCC unroll 16
        for (int i = 0; i < LANES; i += TOGETHER) {
            Bits lane;
            for (int at = 0; at < LANES; at++) lane[at] = i + at / STRIDE % TOGETHER;
            sums[i / TOGETHER % 2] += pick(weight, lane) * load(&rows[i][from]);
        }
        Lanes both = sums[0] + sums[1];
        if (TOGETHER == 1)
            store(total + from, load(total + from) + both);
        else
            for (int at = 0; at < LANES; at++) total[at % HEAD] += both[at];
    }
}

static void attend_head_backward(const Operand* qkv, const Operand* mixed, const Operand* given,
                                 float slope, const float* peaks, const float* inverses,
                                 Operand* gradient) {
    const float scale = 1.f / std::sqrt((float)HEAD);
    float q[CONTEXT][HEAD], k[CONTEXT][HEAD], v[CONTEXT][HEAD], out[CONTEXT][HEAD];
    float g[CONTEXT][HEAD], q_columns[HEAD][CONTEXT], g_columns[HEAD][CONTEXT];
    float along[CONTEXT], dq[HEAD][CONTEXT];
    float dk[CONTEXT][HEAD] = {}, dv[CONTEXT][HEAD] = {};
    gather(qkv, 3 * WIDTH, q);
    gather(qkv + WIDTH, 3 * WIDTH, k);
    gather(qkv + 2 * WIDTH, 3 * WIDTH, v);
    gather(mixed, WIDTH, out);
    gather(given, WIDTH, g);
    transpose(q, q_columns, scale);
    transpose(g, g_columns, 1.f);
    for (int i = 0; i < CONTEXT; i++) {
        along[i] = 0;
        for (int c = 0; c < HEAD; c++) along[i] += out[i][c] * g[i][c];
    }
    for (int first = 0; first < CONTEXT; first += LANES) {
        const Queries block = queries(first, slope);
        const Lanes peak = load(peaks + first), inverse = load(inverses + first);
        const Lanes alongs = load(along + first);
        Lanes query[HEAD], up[HEAD], down[HEAD];
        for (int c = 0; c < HEAD; c++) {
            query[c] = load(&q_columns[c][first]);
            up[c] = load(&g_columns[c][first]);
            down[c] = all(0);
        }
        for (int j = 0; j < first + LANES; j++) {
            Lanes weight = exponential(block.score(product(query, k[j]), j) - peak) * inverse;
            Lanes slant = weight * (product(up, v[j]) - alongs) * scale;
            for (int c = 0; c < HEAD; c++) down[c] += slant * k[j][c];
            accumulate(weight, g + first, dv[j]);
            accumulate(slant, q + first, dk[j]);
        }
        for (int c = 0; c < HEAD; c++) store(&dq[c][first], down[c]);
    }
    for (int i = 0; i < CONTEXT; i++) {
        float row[HEAD];
        for (int c = 0; c < HEAD; c++) row[c] = dq[c][i];
        Operand* to = gradient + i * 3 * WIDTH;
        scatter(row, to);
        scatter(dk[i], to + WIDTH);
        scatter(dv[i], to + 2 * WIDTH);
    }
}

// What softmax divided by, for the way back: per sequence and head, the highest score of every
// query and 1/sum of the exponentials below it.
extern "C" void attend(const Operand* qkv, const float* slopes, Operand* mixed, float* softmax,
                       long sequences) {
    for (long at = 0; at < sequences; at++)
        for (int head = 0; head < HEADS; head++) {
            float* peaks = softmax + (at * HEADS + head) * 2 * CONTEXT;
            attend_head(qkv + at * CONTEXT * 3 * WIDTH + head * HEAD, slopes[head],
                        mixed + at * CONTEXT * WIDTH + head * HEAD, peaks, peaks + CONTEXT);
        }
}

extern "C" void attend_backward(const Operand* qkv, const Operand* mixed, const Operand* given,
                                const float* slopes, const float* softmax, Operand* gradient,
                                long sequences) {
    for (long at = 0; at < sequences; at++)
        for (int head = 0; head < HEADS; head++) {
            const float* peaks = softmax + (at * HEADS + head) * 2 * CONTEXT;
            const long place = at * CONTEXT * WIDTH + head * HEAD;
            const long wide = at * CONTEXT * 3 * WIDTH + head * HEAD;
            attend_head_backward(qkv + wide, mixed + place, given + place, slopes[head], peaks,
                                 peaks + CONTEXT, gradient + wide);
        }
}

// ---------------------------------------------------------------- AdamW
// One pass over [rows, columns]; every row its own rate and decay, every column its own multiplier.
extern "C" void adamw(float* weights, float* mean, float* square, const float* gradient,
                      const float* rate, const float* epsilon, const float* decays,
                      const float* row_rate, const float* row_decay, float beta1, float beta2,
                      float unbias, long rows, long columns) {
    for (long row = 0; row < rows; row++) {
        for (long i = 0; i < columns; i += LANES) {
            const long at = row * columns + i;
            Lanes g = load(gradient + at), w = load(weights + at);
            Lanes m = load(mean + at), s = load(square + at), root;
            m += (1.f - beta1) * (g - m);
            s = beta2 * s + (1.f - beta2) * (g * g);
            for (int lane = 0; lane < LANES; lane++) root[lane] = std::sqrt(s[lane]);
            Lanes update = m / (root * unbias + load(epsilon + i)) * load(rate + i);
            w -= w * load(decays + i) * row_decay[row] + update * row_rate[row];
            store(weights + at, w);
            store(mean + at, m);
            store(square + at, s);
        }
    }
}
