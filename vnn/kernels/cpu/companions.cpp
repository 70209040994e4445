// What a network needs beside its products: normalisation, activation, dropout, loss, optimiser.
//
// Reductions over the batch run in virtual lanes as those of the product do.
#include <cmath>
#include <vector>

#include "simd.h"

namespace VNN_SIMD {
namespace {

template <class S>
void row_sum(const RowSum<S>& p, int threads) {
  using T = sum_t<S>;
  using vec = typename Simd<T>::vec;
  constexpr int64_t REGISTERS = LANES / N<T>;
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
  for (int64_t row = 0; row < p.rows; ++row) {
    const S* x = p.x + row * p.batch;
    vec sum[REGISTERS] = {};
    int64_t b = 0;
    for (; b + LANES <= p.batch; b += LANES)
      for (int64_t k = 0; k < REGISTERS; ++k) sum[k] += load(x + b + k * N<T>);
    if (b < p.batch) add_tail<S>(sum, nullptr, x + b, p.batch - b);
    p.y[row] = fold<T>(sum);
  }
}

// Finaliser of MurmurHash3 (Austin Appleby, public domain).
inline uint32_t mix(uint32_t h) {
  h ^= h >> 16;
  h *= 0x85ebca6bu;
  h ^= h >> 13;
  h *= 0xc2b2ae35u;
  return h ^ (h >> 16);
}

constexpr uint32_t GOLDEN = 0x9e3779b9u;
constexpr int64_t CHUNK = 64;  // samples whose hashes are taken at once

// Calls `one(b, keep)` for every sample of a row: `keep` unless the hash of (key of the replicate, node, sample) is
// below the threshold.
template <class One>
inline void kept_of(uint32_t key, int32_t node, uint32_t threshold, const int64_t* samples, int64_t batch, One one) {
  const uint32_t own = mix(key ^ (uint32_t(node) * GOLDEN));
  for (int64_t b = 0; b < batch; b += CHUNK) {
    const int64_t n = batch - b < CHUNK ? batch - b : CHUNK;
    uint32_t hash[CHUNK];
    for (int64_t j = 0; j < n; ++j) hash[j] = mix(own ^ (uint32_t(samples[b + j]) * GOLDEN));
#pragma GCC ivdep
    for (int64_t j = 0; j < n; ++j) one(b + j, hash[j] >= threshold);
  }
}

template <class T>
void dropout(const Dropout<T>& p, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
  for (int64_t item = 0; item < p.rows * p.replicates; ++item) {
    const int64_t row = item / p.replicates, r = item % p.replicates;
    const int64_t rate = row * p.rates + (p.rates > 1 ? r : 0);
    const T scale = p.scale[rate];
    const T* x = p.x + item * p.batch;
    T* y = p.y + item * p.batch;
    kept_of(p.keys[r], p.node[row], p.threshold[rate], p.samples, p.batch,
            [&](int64_t b, bool keep) { y[b] = keep ? x[b] * scale : T(0); });
  }
}

template <class T>
void entrance(const Entrance<T>& p, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
  for (int64_t row = 0; row < p.rows; ++row) {
    const T *x = p.x + row * p.batch, *missing = p.missing ? p.missing + row * p.batch : nullptr;
    for (int64_t r = 0; r < p.replicates; ++r) {
      const int64_t item = row * p.replicates + r, rate = row * p.rates + (p.rates > 1 ? r : 0);
      const T scale = p.scale[item], shift = p.shift[item], fill = p.fill[item], kept = p.kept[rate];
      T* y = p.y + item * p.batch;
      const auto value = [&](int64_t b) { return (missing ? x[b] + missing[b] * fill : x[b]) * scale + shift; };
      kept_of(p.keys[r], p.node[row], p.threshold[rate], p.samples, p.batch,
              [&](int64_t b, bool keep) { y[b] = keep ? value(b) * kept : T(0); });
    }
  }
}

template <class T>
inline T root(T x);
template <>
inline float root(float x) { return __builtin_sqrtf(x); }
template <>
inline double root(double x) { return __builtin_sqrt(x); }

template <class T>
inline typename Simd<T>::vec load_some(const T* p, int64_t n) {
  if (n == N<T>) return load(p);
  T held[N<T>] = {};
  for (int64_t j = 0; j < n; ++j) held[j] = p[j];
  return load(held);
}
template <class T>
inline void store_some(T* p, typename Simd<T>::vec v, int64_t n) {
  if (n == N<T>) return store(p, v);
  for (int64_t j = 0; j < n; ++j) p[j] = v[j];
}

template <class T>
inline typename Simd<T>::vec roots(typename Simd<T>::vec x) {
  for (int64_t i = 0; i < N<T>; ++i) x[i] = root(T(x[i]));
  return x;
}
#if defined(__AVX512F__)
template <>
inline Simd<float>::vec roots<float>(Simd<float>::vec x) { return (Simd<float>::vec)_mm512_sqrt_ps((__m512)x); }
template <>
inline Simd<double>::vec roots<double>(Simd<double>::vec x) { return (Simd<double>::vec)_mm512_sqrt_pd((__m512d)x); }
#elif defined(__AVX2__)
template <>
inline Simd<float>::vec roots<float>(Simd<float>::vec x) { return (Simd<float>::vec)_mm256_sqrt_ps((__m256)x); }
template <>
inline Simd<double>::vec roots<double>(Simd<double>::vec x) { return (Simd<double>::vec)_mm256_sqrt_pd((__m256d)x); }
#endif

constexpr int64_t STRETCH = 256;   // values of a parameter walked at once

// Values of every replicate, repeated so that parameters are walked in long even stretches.
template <class T>
class Repeated {
 public:
  Repeated(int64_t replicates, int64_t rows)
      : length(replicates * ((STRETCH + replicates - 1) / replicates)), n(replicates), total(rows * replicates) {}
  template <class Of>
  std::vector<T> of(Of value) const {
    std::vector<T> found(static_cast<std::size_t>(length));
    for (int64_t i = 0; i < length; ++i) found[std::size_t(i)] = T(value(i % n));
    return found;
  }
  // Calls `one(first, n)` for every stretch of `length` values, the last shorter.
  template <class One>
  void walk(int threads, One one) const {
    const int64_t stretches = (total + length - 1) / length;
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
    for (int64_t i = 0; i < stretches; ++i) one(i * length, total - i * length < length ? total - i * length : length);
  }
  const int64_t length, n, total;
};

template <class T>
void adam(const Adam<T>& p, int threads) {
  if (!p.replicates) return;
  const Repeated<T> each(p.replicates, p.rows);
  const std::vector<T> all_acting = each.of([&](int64_t r) { return p.active[r]; });
  const T* __restrict acting = all_acting.data();
  const std::vector<T> all_factor = each.of([&](int64_t r) { return p.factor ? p.factor[r] : T(1); });
  const T* __restrict factor = all_factor.data();
  const std::vector<T> all_shrunk = each.of([&](int64_t r) { return p.decoupled ? T(1) - p.lr[r] * p.decay[r] : T(1); });
  const T* __restrict shrunk = all_shrunk.data();
  const std::vector<T> all_decay = each.of([&](int64_t r) { return p.decoupled ? T(0) : p.decay[r]; });
  const T* __restrict decay = all_decay.data();
  const std::vector<T> all_step = each.of([&](int64_t r) { return p.lr[r] / p.correction1[r]; });
  const T* __restrict step = all_step.data();
  const std::vector<T> all_spread = each.of([&](int64_t r) { return T(1) / root(p.correction2[r]); });
  const T* __restrict spread = all_spread.data();
  const T beta1 = p.beta1, beta2 = p.beta2, eps = p.eps;
  each.walk(threads, [&](int64_t first, int64_t n) {
    using vec = typename Simd<T>::vec;
    for (int64_t i = 0; i < n; i += N<T>) {
      const int64_t at = first + i, some = n - i < N<T> ? n - i : N<T>;
      const vec w = load_some(p.parameter + at, some), mean = load_some(p.mean + at, some), square = load_some(p.square + at, some);
      const vec g = load_some(p.grad + at, some) * load_some(factor + i, some) + load_some(decay + i, some) * w;
      const vec m = beta1 * mean + (T(1) - beta1) * g;
      const vec v = beta2 * square + (T(1) - beta2) * (g * g);
      const vec moved = w * load_some(shrunk + i, some) - load_some(step + i, some) * m / (roots<T>(v) * load_some(spread + i, some) + eps);
      const auto acts = load_some(acting + i, some) != T(0);
      store_some(p.mean + at, acts ? m : mean, some);
      store_some(p.square + at, acts ? v : square, some);
      store_some(p.parameter + at, acts ? moved : w, some);
    }
  });
}

template <class T>
void descent(const Descent<T>& p, int threads) {
  if (!p.replicates) return;
  const Repeated<T> each(p.replicates, p.rows);
  const std::vector<T> all_acting = each.of([&](int64_t r) { return p.active[r]; });
  const T* __restrict acting = all_acting.data();
  const std::vector<T> all_factor = each.of([&](int64_t r) { return p.factor ? p.factor[r] : T(1); });
  const T* __restrict factor = all_factor.data();
  const std::vector<T> all_decay = each.of([&](int64_t r) { return p.decay[r]; });
  const T* __restrict decay = all_decay.data();
  const std::vector<T> all_lr = each.of([&](int64_t r) { return p.lr[r]; });
  const T* __restrict lr = all_lr.data();
  each.walk(threads, [&](int64_t first, int64_t n) {
    const T* __restrict grad = p.grad + first;
    T* __restrict parameter = p.parameter + first;
    T* __restrict velocity = p.velocity + first;
    for (int64_t i = 0; i < n; ++i) {
      const T w = parameter[i], v = p.momentum * velocity[i] + (grad[i] * factor[i] + decay[i] * w);
      const bool acts = acting[i] != T(0);
      velocity[i] = acts ? v : velocity[i];
      parameter[i] = acts ? w - lr[i] * v : w;
    }
  });
}

// Who takes this step, by how much gradients shrink, and the corrections of Adam's means for a start from 0.
template <class T>
void judge(const Judge<T>& p, int) {
  for (int64_t r = 0; r < p.replicates; ++r) {
    const double norm = root(p.squares[r]), loss = double(p.loss[r]);
    const bool sound = loss - loss == 0 && norm - norm == 0;
    p.sound[r] = sound;
    p.active[r] = sound && p.alive[r] && p.counted[r] > 0;
    p.steps[r] += p.active[r];
    const double taken = double(p.steps[r] > 1 ? p.steps[r] : 1);
    p.factor[r] = p.most > 0 && norm > p.most ? T(p.most / norm) : T(1);
    p.correction1[r] = T(1 - std::pow(p.beta1, taken));
    p.correction2[r] = T(1 - std::pow(p.beta2, taken));
    p.squares[r] = 0;
  }
}

// Sums over one row of the batch of COUNT functions of the samples, each in the virtual lanes. `term(b, whole)` gives
// the terms of one register of samples, `one(b)` those of one sample.
template <class T, int64_t COUNT, class Term, class One>
inline void sums_of(int64_t batch, Term term, One one, T* out) {
  using vec = typename Simd<T>::vec;
  constexpr int64_t REGISTERS = LANES / N<T>;
  vec sum[COUNT][REGISTERS] = {};
  int64_t b = 0;
  for (; b + LANES <= batch; b += LANES)
    for (int64_t k = 0; k < REGISTERS; ++k) {
      vec terms[COUNT];
      term(b + k * N<T>, terms);
      for (int64_t c = 0; c < COUNT; ++c) sum[c][k] += terms[c];
    }
  if (b < batch) {
    T tail[COUNT][LANES] = {};
    for (int64_t j = 0; b + j < batch; ++j) {
      T terms[COUNT];
      one(b + j, terms);
      for (int64_t c = 0; c < COUNT; ++c) tail[c][j] = terms[c];
    }
    for (int64_t c = 0; c < COUNT; ++c)
      for (int64_t k = 0; k < REGISTERS; ++k) sum[c][k] += load(tail[c] + k * N<T>);
  }
  for (int64_t c = 0; c < COUNT; ++c) out[c] = fold<T>(sum[c]);
}

template <class T>
struct Exponential;
template <>
struct Exponential<float> {
  typedef int32_t whole __attribute__((vector_size(WIDTH)));
  static constexpr int DEGREE = 7, SHIFT = 23, BIAS = 127;
  static constexpr float LARGEST = 87, MAGIC = 12582912;  // 1.5 * 2^23: adding it rounds to a whole number
  static constexpr float HIGH = 0.693145751953125f, LOW = 1.42860682030941723e-6f;  // ln 2 in two parts
};
template <>
struct Exponential<double> {
  typedef int64_t whole __attribute__((vector_size(WIDTH)));
  static constexpr int DEGREE = 14, SHIFT = 52, BIAS = 1023;
  static constexpr double LARGEST = 700, MAGIC = 6755399441055744;
  static constexpr double HIGH = 0.693147180369123816490, LOW = 1.90821492927058770002e-10;
};

constexpr double factorial(int k) { return k ? k * factorial(k - 1) : 1; }

// e^x, or e^x - 1 without loss where x is near 0, for |x| up to LARGEST: 2^n (e^s - 1) + 2^n with x = n ln 2 + s.
template <class T, bool LESS_ONE>
inline typename Simd<T>::vec exponential(typename Simd<T>::vec x) {
  using vec = typename Simd<T>::vec;
  using E = Exponential<T>;
  const vec shifted = fused(x, filled(T(1.44269504088896340736)), filled(E::MAGIC)), n = shifted - E::MAGIC;
  const vec s = fused(n, filled(-E::LOW), fused(n, filled(-E::HIGH), x));
  vec sum = filled(T(1 / factorial(E::DEGREE)));
  for (int k = E::DEGREE - 1; k > 0; --k) sum = fused(sum, s, filled(T(1 / factorial(k))));
  const auto bits = (typename E::whole)shifted - (typename E::whole)filled(E::MAGIC) + E::BIAS;
  const vec power = (vec)(bits << E::SHIFT);
  return fused(power, sum * s, LESS_ONE ? power - T(1) : power);
}

template <class T>
inline typename Simd<T>::vec size_of(typename Simd<T>::vec x) { return x < 0 ? -x : x; }

// |x|, at most `most`; what is not a number stays so.
template <class T>
inline typename Simd<T>::vec bounded(typename Simd<T>::vec x, T most) {
  const auto size = size_of<T>(x);
  return size > most ? filled(most) : size;
}

template <class T, Shape SHAPE>
inline typename Simd<T>::vec activated(typename Simd<T>::vec x) {
  using vec = typename Simd<T>::vec;
  const vec none = {}, one = filled(T(1));
  if (SHAPE == TANH) {
    const vec e = exponential<T, true>(bounded<T>(x + x, T(64)));
    const vec y = e / (e + T(2));
    return x < 0 ? -y : y;
  }
  if (SHAPE == SIGMOID) {
    const vec e = exponential<T, false>(-bounded<T>(x, Exponential<T>::LARGEST));
    return (x < 0 ? e : one) / (e + T(1));
  }
  if (SHAPE == RELU) return x < 0 ? none : x;
  if (SHAPE == LINEAR) return x;
  return x / (size_of<T>(x) + T(1));  // SOFTSIGN
}

// The slope of an activation, from its value y.
template <class T, Shape SHAPE>
inline typename Simd<T>::vec slope(typename Simd<T>::vec y) {
  using vec = typename Simd<T>::vec;
  const vec none = {}, one = filled(T(1));
  if (SHAPE == TANH) return one - y * y;
  if (SHAPE == SIGMOID) return y * (one - y);
  if (SHAPE == RELU) return y > 0 ? one : none;
  if (SHAPE == LINEAR) return one;
  const vec left = one - size_of<T>(y);  // SOFTSIGN
  return left * left;
}

template <class T, Shape SHAPE>
void normalise_as(const Normalise<T>& p, int threads) {
  using vec = typename Simd<T>::vec;
  std::vector<T> spread(std::size_t(p.replicates), T(0));  // 1 - sum of squared shares, or 0 where nothing is counted
  for (int64_t r = 0; r < p.replicates; ++r) {
    T total = 0, squares = 0;
    for (int64_t b = 0; b < p.batch; ++b) {
      const T s = p.share[r * p.batch + b];
      total += s;
      squares += s * s;
    }
    if (total > 0 && T(1) - squares > T(1e-6)) spread[std::size_t(r)] = T(1) - squares;
  }
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
  for (int64_t item = 0; item < p.rows * p.replicates; ++item) {
    const int64_t r = item % p.replicates;
    const T *x = p.x + item * p.batch, *share = p.share + r * p.batch;
    T mean, variance;
    sums_of<T, 1>(
        p.batch, [&](int64_t b, vec* t) { t[0] = load(x + b) * load(share + b); },
        [&](int64_t b, T* t) { t[0] = x[b] * share[b]; }, &mean);
    sums_of<T, 1>(
        p.batch,
        [&](int64_t b, vec* t) {
          const vec centred = load(x + b) - mean;
          t[0] = centred * centred * load(share + b);
        },
        [&](int64_t b, T* t) { t[0] = (x[b] - mean) * (x[b] - mean) * share[b]; }, &variance);
    const T factor = p.gain[item] / root(variance + p.eps), bias = p.bias[item];
    T* y = p.y + item * p.batch;
    for (int64_t b = 0; b < p.batch; b += N<T>) {
      const int64_t n = p.batch - b < N<T> ? p.batch - b : N<T>;
      store_some(y + b, activated<T, SHAPE>((load_some(x + b, n) - mean) * factor + bias), n);
    }
    p.mean[item] = mean;
    p.variance[item] = variance;
    const T unbiased = spread[std::size_t(r)];
    if (unbiased > 0) {
      p.running_mean[item] += p.momentum * (mean - p.running_mean[item]);
      p.running_variance[item] += p.momentum * (variance / unbiased - p.running_variance[item]);
    }
  }
}

template <class T, Shape SHAPE>
void normalise_backward_as(const NormaliseBackward<T>& p, int threads) {
  using vec = typename Simd<T>::vec;
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
  for (int64_t item = 0; item < p.rows * p.replicates; ++item) {
    const T *x = p.x + item * p.batch, *y = SHAPE == LINEAR ? x : p.y + item * p.batch, *of_y = p.g + item * p.batch;
    const T* share = p.share + item % p.replicates * p.batch;
    const T mean = p.mean[item], scale = T(1) / root(p.variance[item] + p.eps);
    const auto g = [&](int64_t b, int64_t n) { return load_some(of_y + b, n) * slope<T, SHAPE>(load_some(y + b, n)); };
    T sums[2];  // of g, and of g times the standardised x
    sums_of<T, 2>(
        p.batch,
        [&](int64_t b, vec* t) {
          t[0] = g(b, N<T>);
          t[1] = t[0] * ((load(x + b) - mean) * scale);
        },
        [&](int64_t b, T* t) {
          t[0] = g(b, 1)[0];
          t[1] = t[0] * ((x[b] - mean) * scale);
        },
        sums);
    p.dbias[item] = sums[0];
    p.dgain[item] = sums[1];
    const T factor = p.gain[item] * scale;
    T* dx = p.dx + item * p.batch;
    for (int64_t b = 0; b < p.batch; b += N<T>) {
      const int64_t n = p.batch - b < N<T> ? p.batch - b : N<T>;
      const vec standard = (load_some(x + b, n) - mean) * scale;
      store_some(dx + b, factor * (g(b, n) - load_some(share + b, n) * (sums[0] + standard * sums[1])), n);
    }
  }
}

// `function` for the shape that the arguments name.
#define VNN_BY_SHAPE(function)                                     \
  switch (p.shape) {                                               \
    case TANH: return function<T, TANH>(p, threads);               \
    case SIGMOID: return function<T, SIGMOID>(p, threads);         \
    case RELU: return function<T, RELU>(p, threads);               \
    case SOFTSIGN: return function<T, SOFTSIGN>(p, threads);       \
    default: return function<T, LINEAR>(p, threads);               \
  }
template <class T>
void normalise(const Normalise<T>& p, int threads) { VNN_BY_SHAPE(normalise_as) }
template <class T>
void normalise_backward(const NormaliseBackward<T>& p, int threads) { VNN_BY_SHAPE(normalise_backward_as) }

template <class T>
void shrink(const Shrink<T>& p, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
  for (int64_t row = 0; row < p.rows; ++row)
    for (int64_t r = 0; r < p.replicates; ++r) {
      T& x = p.x[row * p.replicates + r];
      const T by = p.active[r] ? p.lr[r] * p.rate : T(0), left = (x < 0 ? -x : x) - by;
      x = left > 0 ? (x < 0 ? -left : left) : T(0);
    }
}

template <class T>
void lean(const Lean<T>& p, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
  for (int64_t item = 0; item < p.rows * p.replicates; ++item) {
    const T *x = p.x + item * p.batch, *share = p.share + item % p.replicates * p.batch;
    T* dx = p.dx + item * p.batch;
    for (int64_t b = 0; b < p.batch; ++b) {
      const T by = p.rate * share[b];
      dx[b] += x[b] > 0 ? by : (x[b] < 0 ? -by : T(0));
    }
  }
}

constexpr int64_t BLOCK = 4096;  // rows whose squares are summed before they join the rest
constexpr int64_t SUMS = 8;      // sums of a block, row i joining the sum i % SUMS

template <class T>
void squares(const Squares<T>& p, int threads) {
  const int64_t blocks = (p.rows + BLOCK - 1) / BLOCK, n = p.replicates, wide = SUMS * n;
  std::vector<double> sums(std::size_t(blocks * wide), 0.0);
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
  for (int64_t block = 0; block < blocks; ++block) {
    const int64_t begin = block * BLOCK * n, end = ((block + 1) * BLOCK < p.rows ? (block + 1) * BLOCK : p.rows) * n;
    double* __restrict sum = sums.data() + block * wide;
    for (int64_t at = begin; at < end; at += wide) {
      const T* __restrict x = p.x + at;
      const int64_t length = end - at < wide ? end - at : wide;
      for (int64_t k = 0; k < length; ++k) sum[k] += double(x[k]) * double(x[k]);
    }
  }
  for (int64_t part = 0; part < blocks * SUMS; ++part)
    for (int64_t r = 0; r < n; ++r) p.sums[r] += sums[std::size_t(part * n + r)];
}

template <class T>
void columns(const Columns<T>& p, int threads) {
  std::vector<int32_t> at(p.at, p.at + p.batch);
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
  for (int64_t row = 0; row < p.rows; ++row) {
    const T *x = p.x + row * p.stride, *later = x + (row + 2 < p.rows ? 2 * p.stride : 0);
    T* y = p.y + row * p.width;
    for (int64_t b = 0; b < p.batch; ++b) {
      y[b] = x[at[std::size_t(b)]];
      __builtin_prefetch(later + at[std::size_t(b)]);
    }
    for (int64_t b = p.batch; b < p.width; ++b) y[b] = T(0);
    if (!p.missing) continue;
    T* missing = p.missing + row * p.width;
    for (int64_t b = 0; b < p.width; ++b) {
      missing[b] = T(y[b] != y[b]);
      if (y[b] != y[b]) y[b] = T(0);
    }
  }
}

// y = of(x) register by register, the last one filled up.
template <class T, class Of>
inline void map_of(int64_t count, int threads, Of of) {
  const int64_t whole = count / N<T>;
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
  for (int64_t i = 0; i < whole; ++i) of(i * N<T>, N<T>);
  if (whole * N<T> < count) of(whole * N<T>, count - whole * N<T>);
}

template <class T, Shape SHAPE>
void activate_as(const Activate<T>& p, int threads) {
  map_of<T>(p.count, threads, [&](int64_t i, int64_t n) { store_some(p.y + i, activated<T, SHAPE>(load_some(p.x + i, n)), n); });
}
template <class T, Shape SHAPE>
void activate_backward_as(const ActivateBackward<T>& p, int threads) {
  map_of<T>(p.count, threads, [&](int64_t i, int64_t n) {
    store_some(p.dx + i, load_some(p.g + i, n) * slope<T, SHAPE>(load_some(p.y + i, n)), n);
  });
}

template <class T>
void activate(const Activate<T>& p, int threads) { VNN_BY_SHAPE(activate_as) }
template <class T>
void activate_backward(const ActivateBackward<T>& p, int threads) { VNN_BY_SHAPE(activate_backward_as) }

template <class T>
void affine(const Affine<T>& p, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
  for (int64_t item = 0; item < p.items; ++item) {
    const T factor = p.gain[item] * (T(1) / root(p.variance[item] + p.eps)), start = p.bias[item] - p.mean[item] * factor;
    const T* x = p.x + item * p.batch;
    T* y = p.y + item * p.batch;
#pragma GCC ivdep
    for (int64_t b = 0; b < p.batch; ++b) y[b] = x[b] * factor + start;
  }
}

template <class T, bool ALONE>
void fold_scaling_of(const FoldScaling<T>& p, int threads) {
  const int64_t n = ALONE ? 1 : p.replicates, own = ALONE ? 1 : p.wirings;
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
  for (int64_t i = 0; i < p.rows; ++i)
    for (int64_t r = 0; r < n; ++r) {
      const int64_t at = p.source[i * own + (own > 1 ? r : 0)] * n + r;
      const T folded = p.weight[i * n + r] * p.scale[at];
      p.folded[i * n + r] = folded;
      if (p.filled) p.filled[i * n + r] = folded * p.fill[at];
    }
  for (int64_t i = 0; i < p.outs * n; ++i) p.bias[i] = p.own_bias ? p.own_bias[i] : T(0);
  for (int64_t i = 0; i < p.rows; ++i)
    for (int64_t r = 0; r < n; ++r)
      p.bias[p.target[i] * n + r] += p.weight[i * n + r] * p.shift[p.source[i * own + (own > 1 ? r : 0)] * n + r];
}

template <class T>
void fold_scaling(const FoldScaling<T>& p, int threads) {
  if (p.replicates == 1) return fold_scaling_of<T, true>(p, threads);
  fold_scaling_of<T, false>(p, threads);
}

template <class T>
void fold_scaling_backward(const FoldScalingBackward<T>& p, int threads) {
  const int64_t n = p.replicates;
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
  for (int64_t i = 0; i < p.rows; ++i)
    for (int64_t r = 0; r < n; ++r) {
      const int64_t at = p.source[i * p.wirings + (p.wirings > 1 ? r : 0)] * n + r;
      const T folded = p.filled ? p.folded[i * n + r] + p.filled[i * n + r] * p.fill[at] : p.folded[i * n + r];
      p.weight[i * n + r] = folded * p.scale[at] + p.bias[p.target[i] * n + r] * p.shift[at];
    }
}

// The loss of one sample whose logits lie `stride` apart, and its gradient added to `slopes` times `by`.
template <class T>
inline double loss_of(Task task, int64_t n, const T* logits, double target, double by, double* slopes) {
  if (task == BINARY) {
    const double x = double(logits[0]), e = std::exp(-(x < 0 ? -x : x));
    slopes[0] += by * ((x < 0 ? e : 1.0) / (1 + e) - target);
    return (x > 0 ? x : 0) - x * target + std::log1p(e);
  }
  if (task == REGRESSION) {
    const double left = double(logits[0]) - target;
    slopes[0] += by * 2 * left;
    return left * left;
  }
  double top = double(logits[0]), sum = 0;
  for (int64_t t = 1; t < n; ++t) top = double(logits[t]) > top ? double(logits[t]) : top;
  for (int64_t t = 0; t < n; ++t) sum += std::exp(double(logits[t]) - top);
  const int64_t wanted = int64_t(target);
  for (int64_t t = 0; t < n; ++t) slopes[t] += by * (std::exp(double(logits[t]) - top) / sum - (t == wanted));
  return top + std::log(sum) - double(logits[wanted]);
}

// The logits of a replicate's samples, read from where the heads left them, and the loss of their mean and of each.
template <class T>
void loss(const Loss<T>& p, int threads) {
  const int64_t n = p.targets, plane = p.replicates * p.batch, head = n * plane;
  const double single = p.heads > 1 ? p.head_weight / double(p.heads) : 0;
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
  for (int64_t r = 0; r < p.replicates; ++r) {
    std::vector<T> one(static_cast<std::size_t>(n));
    std::vector<double> shared(static_cast<std::size_t>(n)), own(static_cast<std::size_t>(n));
    double total = 0;
    for (int64_t b = 0; b < p.batch; ++b) {
      const int64_t at = r * p.batch + b;
      const double share = double(p.share[at]), target = double(p.target[at]);
      for (int64_t t = 0; t < n; ++t) {
        T sum = 0;
        for (int64_t h = 0; h < p.heads; ++h) sum += p.logits[h * head + t * plane + at];
        one[std::size_t(t)] = sum / T(p.heads);
        shared[std::size_t(t)] = 0;
      }
      if (share == 0) {
        for (int64_t i = 0; i < p.heads * n && p.gradient; ++i) p.gradient[i * plane + at] = 0;
        for (int64_t t = 0; t < n && p.total; ++t) p.total[t * plane + at] = 0;
        continue;
      }
      total += share * loss_of(Task(p.task), n, one.data(), target, share / double(p.heads), shared.data());
      for (int64_t t = 0; t < n && p.total; ++t) p.total[t * plane + at] = 0;
      for (int64_t h = 0; h < p.heads; ++h) {
        own = shared;
        if (single > 0) {
          for (int64_t t = 0; t < n; ++t) one[std::size_t(t)] = p.logits[h * head + t * plane + at];
          total += single * share * loss_of(Task(p.task), n, one.data(), target, single * share, own.data());
        }
        for (int64_t t = 0; t < n; ++t) {
          if (p.gradient) p.gradient[h * head + t * plane + at] = T(own[std::size_t(t)]);
          if (p.total) p.total[t * plane + at] += T(own[std::size_t(t)]);
        }
      }
    }
    p.loss[r] = T(total);
  }
}

}  // namespace

#define VNN_DEFINE(name, Type, element, suffix) \
  void name(const Type<element>& p, int threads) { name<element>(p, threads); }
VNN_COMPANIONS(VNN_DEFINE)

}  // namespace VNN_SIMD
