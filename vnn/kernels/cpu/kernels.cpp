// The sparse product and its companions, compiled once per instruction set.
//
// Reductions over the batch run in LANES virtual lanes, lane j adding the samples j, j + LANES, ...
// in order; the lanes are then folded in halves. Rows are cut into parts of PART edges whose sums are
// added in order. Neither depends on threads, replicates or the instruction set, so the bits do not.
#include "kernels.h"

namespace VNN_SIMD {
namespace {

constexpr int64_t LANES = 16;
constexpr int64_t PART = 256;

#if defined(__AVX512F__)
constexpr int64_t WIDTH = 64;
#elif defined(__AVX2__)
constexpr int64_t WIDTH = 32;
#else
constexpr int64_t WIDTH = 16;
#endif

template <class T>
struct Simd;
template <>
struct Simd<float> {
  typedef float vec __attribute__((vector_size(WIDTH)));
  typedef float mem __attribute__((vector_size(WIDTH), aligned(4), may_alias));
};
template <>
struct Simd<double> {
  typedef double vec __attribute__((vector_size(WIDTH)));
  typedef double mem __attribute__((vector_size(WIDTH), aligned(8), may_alias));
};

template <class T>
constexpr int64_t N = WIDTH / int64_t(sizeof(T));  // values in one register

template <class T>
inline typename Simd<T>::vec load(const T* p) {
  return *reinterpret_cast<const typename Simd<T>::mem*>(p);
}
template <class T>
inline void store(T* p, typename Simd<T>::vec v) {
  *reinterpret_cast<typename Simd<T>::mem*>(p) = v;
}

constexpr int64_t AHEAD = 8;  // edges whose source is asked for before it is needed

// Ask for the first samples of a row.
template <class T>
inline void fetch(const T* row, int64_t n) {
  const int64_t bytes = n * int64_t(sizeof(T)) < 256 ? n * int64_t(sizeof(T)) : 256;
  for (int64_t at = 0; at < bytes; at += 64) __builtin_prefetch(reinterpret_cast<const char*>(row) + at);
}

inline int64_t first_row(const int32_t* units, int64_t node) { return units ? units[node] : node; }

// The sum of one row over one stretch of COUNT registers of the batch.
template <class T, bool RAGGED, int64_t COUNT>
inline void accumulate(const Product<T>& p, int64_t node, int64_t unit, int64_t r, int64_t b, T* total) {
  using vec = typename Simd<T>::vec;
  const Edges& e = p.edges;
  const int64_t stride = p.x_replicates * p.batch;
  const T* x = p.x + (p.x_replicates == 1 ? 0 : r) * p.batch + b;
  const int64_t own = RAGGED ? first_row(e.units, node + 1) - first_row(e.units, node) : 1;
  vec sum[COUNT];
  for (int64_t c = 0; c < COUNT; ++c) sum[c] = load(total + c * N<T>);
  const int64_t last = e.ptr[node + 1];
  for (int64_t begin = e.ptr[node]; begin < last; begin += PART) {
    const int64_t end = begin + PART < last ? begin + PART : last;
    vec part[COUNT] = {};
    for (int64_t i = begin; i < end; ++i) {
      const int64_t edge = e.edge ? e.edge[i] : i;
      if (!RAGGED) {
        const T w = p.weight[edge * p.replicates + r];
        const T* row = x + e.from[i] * stride;
        if (i + AHEAD < e.ptr[e.n_nodes]) fetch(x + e.from[i + AHEAD] * stride, COUNT * N<T>);
        for (int64_t c = 0; c < COUNT; ++c) part[c] += w * load(row + c * N<T>);
      } else {
        const int64_t other = first_row(e.from_units, e.from[i]);
        const int64_t n = first_row(e.from_units, e.from[i] + 1) - other;
        const int64_t block = e.block ? e.block[edge] : edge;
        for (int64_t j = 0; j < n; ++j) {
          const int64_t at = p.transposed ? block + j * own + unit : block + unit * n + j;
          const T w = p.weight[at * p.replicates + r];
          const T* row = x + (other + j) * stride;
          for (int64_t c = 0; c < COUNT; ++c) part[c] += w * load(row + c * N<T>);
        }
      }
    }
    for (int64_t c = 0; c < COUNT; ++c) sum[c] += part[c];
  }
  for (int64_t c = 0; c < COUNT; ++c) store(total + c * N<T>, sum[c]);
}

// The same for a tail narrower than a register.
template <class T, bool RAGGED>
inline void accumulate_tail(const Product<T>& p, int64_t node, int64_t unit, int64_t r, int64_t b, int64_t n_tail,
                            T* total) {
  const Edges& e = p.edges;
  const int64_t stride = p.x_replicates * p.batch;
  const T* x = p.x + (p.x_replicates == 1 ? 0 : r) * p.batch + b;
  const int64_t own = RAGGED ? first_row(e.units, node + 1) - first_row(e.units, node) : 1;
  const int64_t last = e.ptr[node + 1];
  for (int64_t begin = e.ptr[node]; begin < last; begin += PART) {
    const int64_t end = begin + PART < last ? begin + PART : last;
    T part[N<T>] = {};
    for (int64_t i = begin; i < end; ++i) {
      const int64_t edge = e.edge ? e.edge[i] : i;
      const int64_t other = RAGGED ? first_row(e.from_units, e.from[i]) : e.from[i];
      const int64_t n = RAGGED ? first_row(e.from_units, e.from[i] + 1) - other : 1;
      const int64_t block = RAGGED && e.block ? e.block[edge] : edge;
      for (int64_t j = 0; j < n; ++j) {
        const int64_t at = RAGGED ? (p.transposed ? block + j * own + unit : block + unit * n + j) : edge;
        const T w = p.weight[at * p.replicates + r];
        const T* row = x + (other + j) * stride;
        for (int64_t c = 0; c < n_tail; ++c) part[c] += w * row[c];
      }
    }
    for (int64_t c = 0; c < n_tail; ++c) total[c] += part[c];
  }
}

template <class T, bool RAGGED>
inline void stretch(const Product<T>& p, int64_t node, int64_t unit, int64_t r, int64_t b, int64_t n, T* total) {
  int64_t done = 0;
  while (n - done >= 8 * N<T>) {
    accumulate<T, RAGGED, 8>(p, node, unit, r, b + done, total + done);
    done += 8 * N<T>;
  }
  if (n - done >= 4 * N<T>) {
    accumulate<T, RAGGED, 4>(p, node, unit, r, b + done, total + done);
    done += 4 * N<T>;
  }
  if (n - done >= 2 * N<T>) {
    accumulate<T, RAGGED, 2>(p, node, unit, r, b + done, total + done);
    done += 2 * N<T>;
  }
  if (n - done >= N<T>) {
    accumulate<T, RAGGED, 1>(p, node, unit, r, b + done, total + done);
    done += N<T>;
  }
  if (n > done) accumulate_tail<T, RAGGED>(p, node, unit, r, b + done, n - done, total + done);
}

constexpr int64_t STRETCH = 64;  // samples of one row that stay in registers

// One node, one replicate of the result, one stretch of the batch.
template <class T, bool RAGGED>
inline void tile(const Product<T>& p, int64_t node, int64_t r, int64_t b) {
  const Edges& e = p.edges;
  const int64_t n = p.batch - b < STRETCH ? p.batch - b : STRETCH;
  const int64_t begin = RAGGED ? first_row(e.units, node) : node;
  const int64_t end = RAGGED ? first_row(e.units, node + 1) : node + 1;
  for (int64_t row = begin; row < end; ++row) {
    const T start = p.bias ? p.bias[row * p.replicates + r] : T(0);
    const int64_t at = (row * p.y_replicates + r) * p.batch + b;
    for (int64_t c = 0; c < n; ++c) p.y[at + c] = p.addend ? start + p.addend[at + c] : start;
    const int64_t first = p.y_replicates == p.replicates ? r : 0;
    const int64_t last = p.y_replicates == p.replicates ? r + 1 : p.replicates;
    for (int64_t each = first; each < last; ++each) stretch<T, RAGGED>(p, node, row - begin, each, b, n, p.y + at);
  }
}

// Nodes are dealt to threads; where there are few, their replicates and stretches are.
template <class T, bool RAGGED>
void product_of(const Product<T>& p, int threads) {
  const int64_t n_nodes = p.edges.n_nodes, stretches = (p.batch + STRETCH - 1) / STRETCH;
  if (n_nodes >= 16 * threads) {
#pragma omp parallel for num_threads(threads) schedule(dynamic, 16) if (threads > 1)
    for (int64_t node = 0; node < n_nodes; ++node)
      for (int64_t r = 0; r < p.y_replicates; ++r)
        for (int64_t b = 0; b < p.batch; b += STRETCH) tile<T, RAGGED>(p, node, r, b);
  } else {
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1) if (threads > 1)
    for (int64_t item = 0; item < n_nodes * p.y_replicates * stretches; ++item)
      tile<T, RAGGED>(p, item / stretches / p.y_replicates, item / stretches % p.y_replicates, item % stretches * STRETCH);
  }
}

template <class T>
void product(const Product<T>& p, int threads) {
  if (p.edges.block || p.edges.units || p.edges.from_units)
    product_of<T, true>(p, threads);
  else
    product_of<T, false>(p, threads);
}

template <int64_t... I>
struct Lanes {};
template <int64_t COUNT, int64_t... I>
struct Count : Count<COUNT - 1, COUNT - 1, I...> {};
template <int64_t... I>
struct Count<0, I...> { using lanes = Lanes<I...>; };

// v with every lane moved down by HALF.
template <int64_t HALF, class V, int64_t... I>
inline V turned(V v, Lanes<I...>) {
#if defined(__has_builtin) && __has_builtin(__builtin_shufflevector)
  return __builtin_shufflevector(v, v, ((I + HALF) % int64_t(sizeof...(I)))...);
#else
  return V{v[(I + HALF) % int64_t(sizeof...(I))]...};
#endif
}

template <class T, int64_t HALF>
inline T fold_register(typename Simd<T>::vec v) {
  v += turned<HALF>(v, typename Count<N<T>>::lanes());
  if constexpr (HALF > 1) return fold_register<T, HALF / 2>(v);
  return v[0];
}

// The sum of the virtual lanes, folded in halves.
template <class T>
inline T fold(typename Simd<T>::vec* sum) {
  for (int64_t half = LANES / N<T> / 2; half; half /= 2)
    for (int64_t k = 0; k < half; ++k) sum[k] += sum[k + half];
  return fold_register<T, N<T> / 2>(sum[0]);
}

// Adds the last samples, fewer than LANES, to their lanes.
template <class T>
inline void add_tail(typename Simd<T>::vec* sum, const T* g, const T* x, int64_t n) {
  T left[LANES] = {}, right[LANES] = {};
  for (int64_t j = 0; j < n; ++j) {
    left[j] = g ? g[j] : T(1);
    right[j] = x[j];
  }
  for (int64_t k = 0; k < LANES / N<T>; ++k) sum[k] += load(left + k * N<T>) * load(right + k * N<T>);
}

// Dot products of one row with COUNT others, every one in the same virtual lanes.
template <class T, int64_t COUNT>
inline void dots(const T* g, const T* const* x, int64_t batch, T* out) {
  using vec = typename Simd<T>::vec;
  constexpr int64_t REGISTERS = LANES / N<T>;
  vec sum[COUNT][REGISTERS] = {};
  int64_t b = 0;
  for (; b + LANES <= batch; b += LANES)
    for (int64_t k = 0; k < REGISTERS; ++k) {
      const vec left = load(g + b + k * N<T>);
      for (int64_t c = 0; c < COUNT; ++c) sum[c][k] += left * load(x[c] + b + k * N<T>);
    }
  for (int64_t c = 0; c < COUNT; ++c) {
    if (b < batch) add_tail(sum[c], g + b, x[c] + b, batch - b);
    out[c] = fold<T>(sum[c]);
  }
}

template <class T>
void edge_product(const EdgeProduct<T>& p, int threads) {
  const Edges& e = p.edges;
  const int64_t stride = p.x_replicates * p.batch;
#pragma omp parallel for num_threads(threads) schedule(dynamic, 16) if (threads > 1)
  for (int64_t node = 0; node < e.n_nodes; ++node) {
    const int64_t begin = first_row(e.units, node), own = first_row(e.units, node + 1) - begin;
    for (int64_t r = 0; r < p.replicates; ++r) {
      const T* x = p.x + (p.x_replicates == 1 ? 0 : r) * p.batch;
      for (int64_t unit = 0; unit < own; ++unit) {
        const T* g = p.g + ((begin + unit) * p.replicates + r) * p.batch;
        const T* rows[4];
        int64_t at[4];
        int64_t waiting = 0;
        const auto flush = [&]() {
          T out[4];
          if (waiting == 4) {
            dots<T, 4>(g, rows, p.batch, out);
          } else {
            for (int64_t c = 0; c < waiting; ++c) dots<T, 1>(g, rows + c, p.batch, out + c);
          }
          for (int64_t c = 0; c < waiting; ++c) p.weight[at[c] * p.replicates + r] = out[c];
          waiting = 0;
        };
        for (int64_t i = e.ptr[node]; i < e.ptr[node + 1]; ++i) {
          if (i + AHEAD < e.ptr[e.n_nodes]) fetch(x + first_row(e.from_units, e.from[i + AHEAD]) * stride, p.batch);
          const int64_t other = first_row(e.from_units, e.from[i]);
          const int64_t n = first_row(e.from_units, e.from[i] + 1) - other;
          const int64_t block = e.block ? e.block[i] : i;
          for (int64_t j = 0; j < n; ++j) {
            rows[waiting] = x + (other + j) * stride;
            at[waiting++] = block + unit * n + j;
            if (waiting == 4) flush();
          }
        }
        flush();
      }
    }
  }
}

template <class T>
void row_sum(const RowSum<T>& p, int threads) {
  using vec = typename Simd<T>::vec;
  constexpr int64_t REGISTERS = LANES / N<T>;
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
  for (int64_t row = 0; row < p.rows; ++row) {
    const T* x = p.x + row * p.batch;
    vec sum[REGISTERS] = {};
    int64_t b = 0;
    for (; b + LANES <= p.batch; b += LANES)
      for (int64_t k = 0; k < REGISTERS; ++k) sum[k] += load(x + b + k * N<T>);
    if (b < p.batch) add_tail<T>(sum, nullptr, x + b, p.batch - b);
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

template <class T>
void dropout(const Dropout<T>& p, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
  for (int64_t item = 0; item < p.rows * p.replicates; ++item) {
    const int64_t row = item / p.replicates, r = item % p.replicates;
    const uint32_t key = mix(p.keys[r] ^ (uint32_t(p.node[row]) * 0x9e3779b9u));
    const uint32_t threshold = p.threshold[row];
    const T scale = p.scale[row];
    const T* x = p.x + item * p.batch;
    T* y = p.y + item * p.batch;
    for (int64_t b = 0; b < p.batch; ++b) {
      const uint32_t hash = mix(key ^ (uint32_t(p.samples[b]) * 0x9e3779b9u));
      y[b] = hash < threshold ? T(0) : x[b] * scale;
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
inline void adam_one(const Adam<T>& p, int64_t i, int64_t r) {
  T g = p.grad[i], w = p.parameter[i];
  if (p.decoupled)
    w *= T(1) - p.lr[r] * p.decay[r];
  else
    g += p.decay[r] * w;
  const T m = p.beta1 * p.mean[i] + (T(1) - p.beta1) * g;
  const T v = p.beta2 * p.square[i] + (T(1) - p.beta2) * (g * g);
  p.mean[i] = m;
  p.square[i] = v;
  p.parameter[i] = w - p.lr[r] / p.correction1[r] * m / (root(v) / root(p.correction2[r]) + p.eps);
}

template <class T>
void adam(const Adam<T>& p, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
  for (int64_t row = 0; row < p.rows; ++row)
    for (int64_t r = 0; r < p.replicates; ++r)
      if (p.active[r]) adam_one(p, row * p.replicates + r, r);
}

}  // namespace

#define VNN_TEXT(x) VNN_QUOTE(x)
#define VNN_QUOTE(x) #x
extern const Kernels kernels;
const Kernels kernels = {
    VNN_TEXT(VNN_SIMD),     product<float>,  product<double>, edge_product<float>, edge_product<double>,
    row_sum<float>,         row_sum<double>, dropout<float>,  dropout<double>,     adam<float>,
    adam<double>,
};

}  // namespace VNN_SIMD
