// The sparse product, compiled once per instruction set.
//
// Reductions over the batch run in LANES virtual lanes, lane j adding the samples j, j + LANES, ...
// in order; the lanes are then folded in halves. Rows are cut into parts of PART edges whose sums are
// added in order. Neither depends on threads or replicates, so the bits do not; they do on whether the
// instruction set multiplies and adds in one operation.
#include <vector>

#include "fan.h"
#include "simd.h"

namespace VNN_SIMD {
namespace {

constexpr int64_t STRETCH = 64;    // samples of one row that stay in registers
constexpr int64_t AHEAD = 6;       // edges whose row is asked for before it is needed
constexpr int64_t FAR = 14;        // the same where only a stretch of the row is
constexpr int64_t SLAB = 8 << 20;  // bytes of x that a pass over all nodes may reread from the cache

// Ask for n samples of a row.
template <class S>
inline void fetch(const S* row, int64_t n) {
  for (int64_t at = 0; at < n * int64_t(sizeof(S)); at += 64) __builtin_prefetch(reinterpret_cast<const char*>(row) + at);
}

// Adds the terms of one row and replicate to `total`, COUNT registers of the batch wide.
template <class S, Kind KIND, int64_t COUNT>
inline void accumulate(const Product<S>& p, const Fan<KIND>& fan, int64_t n_all, int64_t own, int64_t unit, int64_t b,
                       sum_t<S>* total) {
  using T = sum_t<S>;
  using vec = typename Simd<T>::vec;
  const Edges& e = p.edges;
  const int64_t stride = p.x_replicates * p.batch;
  const S* x = p.x + (p.x_replicates == 1 ? 0 : fan.r) * p.batch + b;
  vec sum[COUNT];
  for (int64_t c = 0; c < COUNT; ++c) sum[c] = load(total + c * N<T>);
  for (int64_t begin = fan.first; begin < fan.last; begin += PART) {
    const int64_t end = begin + PART < fan.last ? begin + PART : fan.last;
    vec part[COUNT] = {};
    for (int64_t i = begin; i < end; ++i) {
      const int64_t edge = fan.edge(i);
      if (KIND != RAGGED) {
        const vec w = filled(p.weight[edge * p.replicates + fan.r]);
        const S* row = x + fan.from(i) * stride;
        if (i + FAR < n_all) fetch(x + fan.from(i + FAR) * stride, COUNT * N<T>);
        for (int64_t c = 0; c < COUNT; ++c) part[c] = fused(w, load(row + c * N<T>), part[c]);
      } else {
        const int64_t other = first_row(e.from_units, fan.from(i));
        const int64_t n = first_row(e.from_units, fan.from(i) + 1) - other;
        const int64_t block = e.block ? e.block[edge] : edge;
        for (int64_t j = 0; j < n; ++j) {
          const int64_t at = p.transposed ? block + j * own + unit : block + unit * n + j;
          const vec w = filled(p.weight[at * p.replicates + fan.r]);
          const S* row = x + (other + j) * stride;
          for (int64_t c = 0; c < COUNT; ++c) part[c] = fused(w, load(row + c * N<T>), part[c]);
        }
      }
    }
    for (int64_t c = 0; c < COUNT; ++c) sum[c] += part[c];
  }
  for (int64_t c = 0; c < COUNT; ++c) store(total + c * N<T>, sum[c]);
}

// The same for a tail narrower than a register.
template <class S, Kind KIND>
inline void accumulate_tail(const Product<S>& p, const Fan<KIND>& fan, int64_t own, int64_t unit, int64_t b,
                            int64_t n_tail, sum_t<S>* total) {
  using T = sum_t<S>;
  const Edges& e = p.edges;
  const int64_t stride = p.x_replicates * p.batch;
  const S* x = p.x + (p.x_replicates == 1 ? 0 : fan.r) * p.batch + b;
  for (int64_t begin = fan.first; begin < fan.last; begin += PART) {
    const int64_t end = begin + PART < fan.last ? begin + PART : fan.last;
    T part[N<T>] = {};
    for (int64_t i = begin; i < end; ++i) {
      const int64_t edge = fan.edge(i);
      const int64_t other = KIND == RAGGED ? first_row(e.from_units, fan.from(i)) : fan.from(i);
      const int64_t n = KIND == RAGGED ? first_row(e.from_units, fan.from(i) + 1) - other : 1;
      const int64_t block = KIND == RAGGED && e.block ? e.block[edge] : edge;
      for (int64_t j = 0; j < n; ++j) {
        const int64_t at = KIND == RAGGED ? (p.transposed ? block + j * own + unit : block + unit * n + j) : edge;
        const T w = p.weight[at * p.replicates + fan.r];
        const S* row = x + (other + j) * stride;
        for (int64_t c = 0; c < n_tail; ++c) part[c] = fused(w, value(row[c]), part[c]);
      }
    }
    for (int64_t c = 0; c < n_tail; ++c) total[c] += part[c];
  }
}

template <class S, Kind KIND>
inline void stretch(const Product<S>& p, const Fan<KIND>& fan, int64_t n_all, int64_t own, int64_t unit, int64_t b,
                    int64_t n, sum_t<S>* total) {
  using T = sum_t<S>;
  int64_t done = 0;
  const auto step = [&](auto count) {
    constexpr int64_t COUNT = decltype(count)::value;
    accumulate<S, KIND, COUNT>(p, fan, n_all, own, unit, b + done, total + done);
    done += COUNT * N<T>;
  };
  if constexpr (8 * N<T> <= STRETCH)
    while (n - done >= 8 * N<T>) step(Constant<8>());
  if (n - done >= 4 * N<T>) step(Constant<4>());
  if (n - done >= 2 * N<T>) step(Constant<2>());
  if (n - done >= N<T>) step(Constant<1>());
  if (n > done) accumulate_tail<S, KIND>(p, fan, own, unit, b + done, n - done, total + done);
}

// What a row of the result starts from: its bias and what is added to it.
template <class S>
inline void begin_row(const Product<S>& p, int64_t row, int64_t r, int64_t b, int64_t n, sum_t<S>* total) {
  const sum_t<S> start = p.bias ? p.bias[row * p.replicates + r] : sum_t<S>(0);
  const S* addend = p.addend ? p.addend + (row * p.y_replicates + r) * p.batch + b : nullptr;
  for (int64_t c = 0; c < n; ++c) total[c] = addend ? start + value(addend[c]) : start;
}

template <class S>
inline void end_row(const Product<S>& p, int64_t row, int64_t r, int64_t b, int64_t n, const sum_t<S>* total) {
  S* y = p.y + (row * p.y_replicates + r) * p.batch + b;
  for (int64_t c = 0; c < n; ++c) put(y + c, total[c]);
}

// One node, one replicate of the result, one stretch of the batch.
template <class S, Kind KIND>
inline void tile(const Product<S>& p, int64_t node, int64_t r, int64_t b) {
  const Edges& e = p.edges;
  const int64_t n = p.batch - b < STRETCH ? p.batch - b : STRETCH;
  const int64_t begin = KIND == RAGGED ? first_row(e.units, node) : node;
  const int64_t own = KIND == RAGGED ? first_row(e.units, node + 1) - begin : 1;
  const int64_t first = p.y_replicates == p.replicates ? r : 0;
  const int64_t last = p.y_replicates == p.replicates ? r + 1 : p.replicates;
  alignas(64) sum_t<S> total[STRETCH];
  for (int64_t unit = 0; unit < own; ++unit) {
    begin_row(p, begin + unit, r, b, n, total);
    for (int64_t each = first; each < last; ++each) {
      const int64_t n_all = e.ptr[e.n_nodes * e.pointers + (e.pointers > 1 ? each : 0)];
      stretch<S, KIND>(p, Fan<KIND>(e, node, each), n_all, own, unit, b, n, total);
    }
    end_row(p, begin + unit, r, b, n, total);
  }
}

constexpr int64_t TOGETHER = 4;  // replicates that take one reading of a shared x

// One node, TOGETHER replicates that share x, one stretch of whole registers of the batch.
template <class S>
inline void tile_together(const Product<S>& p, int64_t node, int64_t r, int64_t b) {
  using T = sum_t<S>;
  using vec = typename Simd<T>::vec;
  constexpr int64_t COUNT = 2;
  const Edges& e = p.edges;
  const Fan<PLAIN> fan(e, node, r);
  alignas(64) T total[TOGETHER][STRETCH];
  for (int64_t q = 0; q < TOGETHER; ++q) begin_row(p, node, r + q, b, STRETCH, total[q]);
  for (int64_t done = 0; done < STRETCH; done += COUNT * N<T>) {
    const S* x = p.x + b + done;
    for (int64_t begin = fan.first; begin < fan.last; begin += PART) {
      const int64_t end = begin + PART < fan.last ? begin + PART : fan.last;
      vec part[TOGETHER][COUNT] = {};
      for (int64_t i = begin; i < end; ++i) {
        const S* row = x + fan.from(i) * p.batch;
        const T* w = p.weight + fan.edge(i) * p.replicates + r;
        vec values[COUNT];
        for (int64_t c = 0; c < COUNT; ++c) values[c] = load(row + c * N<T>);
        for (int64_t q = 0; q < TOGETHER; ++q)
          for (int64_t c = 0; c < COUNT; ++c) part[q][c] = fused(filled(w[q]), values[c], part[q][c]);
      }
      for (int64_t q = 0; q < TOGETHER; ++q)
        for (int64_t c = 0; c < COUNT; ++c) {
          T* at = total[q] + done + c * N<T>;
          store(at, load(at) + part[q][c]);
        }
    }
  }
  for (int64_t q = 0; q < TOGETHER; ++q) end_row(p, node, r + q, b, STRETCH, total[q]);
}

constexpr int64_t ROW = 512;  // samples of one row whose sums stay in the first-level cache

// One node whose sources follow each other in memory: every row is read whole, in order.
template <class S>
inline void stream(const Product<S>& p, int64_t node, int64_t r, int64_t b) {
  using T = sum_t<S>;
  const Fan<PLAIN> fan(p.edges, node, r);
  const int64_t n = p.batch - b < ROW ? p.batch - b : ROW;
  const int64_t whole = n / N<T> * N<T>, stride = p.x_replicates * p.batch;
  const S* x = p.x + (p.x_replicates == 1 ? 0 : r) * p.batch + b;
  alignas(64) T total[ROW], part[ROW];
  begin_row(p, node, r, b, n, total);
  for (int64_t begin = fan.first; begin < fan.last; begin += PART) {
    const int64_t end = begin + PART < fan.last ? begin + PART : fan.last;
    for (int64_t c = 0; c < n; ++c) part[c] = 0;
    for (int64_t i = begin; i < end; ++i) {
      const S* row = x + fan.from(i) * stride;
      const T w = p.weight[fan.edge(i) * p.replicates + r];
      for (int64_t c = 0; c < whole; c += N<T>) store(part + c, fused(filled(w), load(row + c), load(part + c)));
      for (int64_t c = whole; c < n; ++c) part[c] = fused(w, value(row[c]), part[c]);
    }
    for (int64_t c = 0; c < n; ++c) total[c] += part[c];
  }
  end_row(p, node, r, b, n, total);
}

// Whether the sources of most nodes lie next to each other, as variants of a gene do.
inline bool consecutive(const Edges& e) {
  int64_t span = 0;
  for (int64_t node = 0; node < e.n_nodes; ++node)
    if (e.ptr[node + 1] > e.ptr[node]) span += e.from[e.ptr[node + 1] - 1] - e.from[e.ptr[node]] + 1;
  return span <= 2 * int64_t(e.ptr[e.n_nodes]);
}

template <class S>
void product_of_stream(const Product<S>& p, int threads) {
#pragma omp parallel for num_threads(threads) schedule(dynamic, 16) if (threads > 1)
  for (int64_t node = 0; node < p.edges.n_nodes; ++node)
    for (int64_t r = 0; r < p.replicates; ++r)
      for (int64_t b = 0; b < p.batch; b += ROW) stream(p, node, r, b);
}

// Nodes are dealt to threads, once per slab of replicates and samples that the cache can hold; where
// there are few nodes, their replicates and stretches are dealt.
template <class S, Kind KIND>
void product_of(const Product<S>& p, int64_t n_in, int threads) {
  const int64_t n_nodes = p.edges.n_nodes, stretches = (p.batch + STRETCH - 1) / STRETCH;
  const int64_t items = p.y_replicates * stretches;
  if (n_nodes >= 16 * threads) {
    const bool together = KIND == PLAIN && p.x_replicates == 1 && p.y_replicates == p.replicates;
    const int64_t bytes = n_in * STRETCH * int64_t(sizeof(S));
    const int64_t group = p.x_replicates == 1 ? p.y_replicates : (bytes < SLAB ? SLAB / (bytes + 1) : 1);
#pragma omp parallel num_threads(threads) if (threads > 1)
    for (int64_t b = 0; b < p.batch; b += STRETCH)
      for (int64_t begin = 0; begin < p.y_replicates; begin += group) {
        const int64_t end = begin + group < p.y_replicates ? begin + group : p.y_replicates;
#pragma omp for schedule(dynamic, 16) nowait
        for (int64_t node = 0; node < n_nodes; ++node)
          for (int64_t r = begin; r < end;) {
            if (KIND == PLAIN && together && end - r >= TOGETHER && p.batch - b >= STRETCH) {
              tile_together(p, node, r, b);
              r += TOGETHER;
            } else {
              tile<S, KIND>(p, node, r++, b);
            }
          }
      }
  } else {
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1) if (threads > 1)
    for (int64_t item = 0; item < n_nodes * items; ++item)
      tile<S, KIND>(p, item / items, item / stretches % p.y_replicates, item % stretches * STRETCH);
  }
}

// A single sample, such as the shifts that are folded into a bias: no row is worth a register.
template <class S, Kind KIND>
void product_of_one(const Product<S>& p, int threads) {
  using T = sum_t<S>;
#pragma omp parallel for num_threads(threads) schedule(dynamic, 64) if (threads > 1)
  for (int64_t node = 0; node < p.edges.n_nodes; ++node)
    for (int64_t r = 0; r < p.replicates; ++r) {
      const Fan<KIND> fan(p.edges, node, r);
      T total;
      begin_row(p, node, r, 0, 1, &total);
      for (int64_t begin = fan.first; begin < fan.last; begin += PART) {
        const int64_t end = begin + PART < fan.last ? begin + PART : fan.last;
        T part = 0;
        for (int64_t i = begin; i < end; ++i) {
          const S x = p.x[fan.from(i) * p.x_replicates + (p.x_replicates == 1 ? 0 : r)];
          part = fused(p.weight[fan.edge(i) * p.replicates + r], value(x), part);
        }
        total += part;
      }
      end_row(p, node, r, 0, 1, &total);
    }
}

template <class S>
void product(const Product<S>& p, int threads) {
  const Kind kind = kind_of(p.edges);
  if (p.batch == 1 && kind != RAGGED && p.y_replicates == p.replicates)
    return kind == PLAIN ? product_of_one<S, PLAIN>(p, threads) : product_of_one<S, WIRED>(p, threads);
  switch (kind) {
    case RAGGED: return product_of<S, RAGGED>(p, p.n_in, threads);
    case WIRED: return product_of<S, WIRED>(p, p.n_in, threads);
    case PLAIN:
      if (p.replicates == 1 && p.edges.n_nodes >= 16 * threads && consecutive(p.edges)) return product_of_stream(p, threads);
      return product_of<S, PLAIN>(p, p.n_in, threads);
  }
}

// Dot products of one row with COUNT others, every one in the same virtual lanes.
template <class S, int64_t COUNT>
inline void dots(const S* g, const S* const* x, int64_t batch, sum_t<S>* out) {
  using T = sum_t<S>;
  using vec = typename Simd<T>::vec;
  constexpr int64_t REGISTERS = LANES / N<T>;
  vec sum[COUNT][REGISTERS] = {};
  int64_t b = 0;
  for (; b + LANES <= batch; b += LANES)
    for (int64_t k = 0; k < REGISTERS; ++k) {
      const vec left = load(g + b + k * N<T>);
      for (int64_t c = 0; c < COUNT; ++c) sum[c][k] = fused(left, load(x[c] + b + k * N<T>), sum[c][k]);
    }
  for (int64_t c = 0; c < COUNT; ++c) {
    if (b < batch) add_tail<S>(sum[c], g + b, x[c] + b, batch - b);
    out[c] = fold<T>(sum[c]);
  }
}

template <class S, Kind KIND>
void edge_product_of_one(const EdgeProduct<S>& p, int threads) {
  const Edges& e = p.edges;
#pragma omp parallel for num_threads(threads) schedule(dynamic, 64) if (threads > 1)
  for (int64_t node = 0; node < e.n_nodes; ++node)
    for (int64_t r = 0; r < p.replicates; ++r) {
      const Fan<KIND> fan(e, node, r);
      const sum_t<S> g = value(p.g[node * p.replicates + r]);
      for (int64_t i = fan.first; i < fan.last; ++i)
        p.weight[i * p.replicates + r] = g * value(p.x[fan.from(i) * p.x_replicates + (p.x_replicates == 1 ? 0 : r)]);
    }
}

template <class S, Kind KIND>
void edge_product_of(const EdgeProduct<S>& p, int threads) {
  using T = sum_t<S>;
  const Edges& e = p.edges;
  const int64_t stride = p.x_replicates * p.batch, n_all = e.ptr[e.n_nodes];
#pragma omp parallel for num_threads(threads) schedule(dynamic, 16) if (threads > 1)
  for (int64_t node = 0; node < e.n_nodes; ++node) {
    const int64_t begin = first_row(e.units, node), own = first_row(e.units, node + 1) - begin;
    for (int64_t r = 0; r < p.replicates; ++r) {
      const Fan<KIND> fan(e, node, r);
      const S* x = p.x + (p.x_replicates == 1 ? 0 : r) * p.batch;
      for (int64_t unit = 0; unit < own; ++unit) {
        const S* g = p.g + ((begin + unit) * p.replicates + r) * p.batch;
        const S* rows[4];
        int64_t at[4];
        int64_t waiting = 0;
        const auto flush = [&]() {
          T out[4];
          if (waiting == 4) {
            dots<S, 4>(g, rows, p.batch, out);
          } else {
            for (int64_t c = 0; c < waiting; ++c) dots<S, 1>(g, rows + c, p.batch, out + c);
          }
          for (int64_t c = 0; c < waiting; ++c) p.weight[at[c] * p.replicates + r] = out[c];
          waiting = 0;
        };
        for (int64_t i = fan.first; i < fan.last; ++i) {
          if (i + AHEAD < n_all)
            fetch(x + first_row(e.from_units, fan.from(i + AHEAD)) * stride, p.batch < STRETCH ? p.batch : STRETCH);
          const int64_t other = first_row(e.from_units, fan.from(i));
          const int64_t n = first_row(e.from_units, fan.from(i) + 1) - other;
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

template <class S>
void edge_product(const EdgeProduct<S>& p, int threads) {
  const Kind kind = kind_of(p.edges);
  if (p.batch == 1 && kind != RAGGED)
    return kind == PLAIN ? edge_product_of_one<S, PLAIN>(p, threads) : edge_product_of_one<S, WIRED>(p, threads);
  if (kind == PLAIN) return edge_product_of<S, PLAIN>(p, threads);
  edge_product_of<S, RAGGED>(p, threads);
}

constexpr int64_t BUNDLE = 32;  // edges whose lanes wait while a source row is walked
constexpr int64_t STRIDE = 32;  // samples of the walk

// Both gradients at one source: COUNT registers of the batch and up to BUNDLE edges, their sums added to dx unless they
// are its first.
template <class S, int64_t COUNT>
inline void walk(const S* const* g, const sum_t<S>* w, int64_t n, const S* x, int64_t b, bool first, sum_t<S>* dx,
                 typename Simd<sum_t<S>>::vec (*lanes)[LANES / N<sum_t<S>>]) {
  using T = sum_t<S>;
  using vec = typename Simd<T>::vec;
  constexpr int64_t REGISTERS = LANES / N<T>;
  vec own[COUNT], sum[COUNT];
  for (int64_t c = 0; c < COUNT; ++c) {
    own[c] = load(x + b + c * N<T>);
    sum[c] = first ? vec{} : load(dx + b + c * N<T>);
  }
  for (int64_t k = 0; k < n; ++k) {
    vec dot[REGISTERS];
    for (int64_t j = 0; j < REGISTERS; ++j) dot[j] = b ? lanes[k][j] : vec{};
    for (int64_t c = 0; c < COUNT; ++c) {
      const vec values = load(g[k] + b + c * N<T>);
      sum[c] = fused(filled(w[k]), values, sum[c]);
      dot[c % REGISTERS] = fused(values, own[c], dot[c % REGISTERS]);
    }
    for (int64_t j = 0; j < REGISTERS; ++j) lanes[k][j] = dot[j];
  }
  for (int64_t c = 0; c < COUNT; ++c) store(dx + b + c * N<T>, sum[c]);
}

// Where the sums of a source are kept: in the result itself when they need no rounding and no second part.
inline float* own_sums(float* dx) { return dx; }
inline double* own_sums(double* dx) { return dx; }
inline float* own_sums(bf16*) { return nullptr; }

template <class S, Kind KIND>
void backward_of(const Backward<S>& p, int threads) {
  using T = sum_t<S>;
  using vec = typename Simd<T>::vec;
  constexpr int64_t REGISTERS = LANES / N<T>, COUNT = STRIDE / N<T>;
  const Edges& e = p.edges;
  const int64_t row = p.replicates * p.batch, ahead = p.batch < 256 ? p.batch : 256;
#pragma omp parallel num_threads(threads) if (threads > 1)
  {
    std::vector<T> room(std::size_t(2 * p.batch));
    vec lanes[BUNDLE][REGISTERS];
    for (int64_t r = 0; r < p.replicates; ++r) {
      const int64_t n_all = e.ptr[e.n_nodes * e.pointers + (e.pointers > 1 ? r : 0)];
#pragma omp for schedule(dynamic, 64) nowait
      for (int64_t node = 0; node < e.n_nodes; ++node) {
        const Fan<KIND> fan(e, node, r);
        const S* x = p.x + node * row + r * p.batch;
        S* dx = p.dx + node * row + r * p.batch;
        const bool whole = fan.last - fan.first <= PART;
        T* part = whole && own_sums(dx) ? own_sums(dx) : room.data();
        T* total = whole ? part : room.data() + p.batch;
        for (int64_t c = 0; c < p.batch && (!whole || fan.first == fan.last); ++c) total[c] = 0;
        for (int64_t begin = fan.first; begin < fan.last; begin += PART) {
          const int64_t end = begin + PART < fan.last ? begin + PART : fan.last;
          for (int64_t at = begin; at < end; at += BUNDLE) {
            const int64_t n = end - at < BUNDLE ? end - at : BUNDLE;
            const S* g[BUNDLE];
            T w[BUNDLE];
            for (int64_t k = 0; k < n; ++k) {
              if (at + k + AHEAD < n_all) fetch(p.g + fan.from(at + k + AHEAD) * row + r * p.batch, ahead);
              g[k] = p.g + fan.from(at + k) * row + r * p.batch;
              w[k] = p.weight[fan.edge(at + k) * p.replicates + r];
            }
            const bool first = at == begin;
            int64_t b = 0;
            for (; b + STRIDE <= p.batch; b += STRIDE) walk<S, COUNT>(g, w, n, x, b, first, part, lanes);
            for (; b + LANES <= p.batch; b += LANES) walk<S, REGISTERS>(g, w, n, x, b, first, part, lanes);
            for (int64_t c = b; c < p.batch && first; ++c) part[c] = 0;
            for (int64_t k = 0; k < n; ++k) {
              for (int64_t c = b; c < p.batch; ++c) part[c] = fused(w[k], value(g[k][c]), part[c]);
              for (int64_t j = 0; j < REGISTERS && !b; ++j) lanes[k][j] = vec{};
              if (b < p.batch) add_tail<S>(lanes[k], g[k] + b, x + b, p.batch - b);
              p.dw[fan.edge(at + k) * p.replicates + r] = fold<T>(lanes[k]);
            }
          }
          for (int64_t c = 0; c < p.batch && !whole; ++c) total[c] += part[c];
        }
        for (int64_t c = 0; c < p.batch && total != own_sums(dx); ++c) put(dx + c, total[c]);
      }
    }
  }
}

template <class S>
void backward(const Backward<S>& p, int threads) {
  if (kind_of(p.edges) == PLAIN) return backward_of<S, PLAIN>(p, threads);
  backward_of<S, WIRED>(p, threads);
}

}  // namespace

#define VNN_DECLARE(name, Type, element, suffix) void name(const Type<element>&, int);
VNN_COMPANIONS(VNN_DECLARE)
VNN_PACKED_KERNELS(VNN_DECLARE)

#define VNN_TEXT(x) VNN_QUOTE(x)
#define VNN_QUOTE(x) #x
#define VNN_SPARSE(name, Type, element, suffix) name<element>,
#define VNN_ELSEWHERE(name, Type, element, suffix) name,
extern const Kernels kernels;
const Kernels kernels = {VNN_TEXT(VNN_SIMD), VNN_SPARSE_KERNELS(VNN_SPARSE) VNN_COMPANIONS(VNN_ELSEWHERE) VNN_PACKED_KERNELS(VNN_ELSEWHERE)};

}  // namespace VNN_SIMD
