// The sparse product, forward and transposed, and its gradient for the weights.
#pragma once
#include "arguments.h"
#include "numbers.h"

VNN_INLINE i64 first_row(const int* units, i64 node) { return units ? units[node] : node; }

// A thread owns NV packs of V samples of one item, and RT replicates where they share x. Neighbouring
// threads own neighbouring packs, so that every load of a warp is one stretch of memory. The edges are
// added one after the other in one chain per sample: RT, NV and V do not change a single bit.
template <class S, int V, int NV, int RT, bool RAGGED>
VNN_DEVICE void product(const Product& p) {
  typedef Real<S> A;
  const Edges& edges = p.edges;
  const S* x = static_cast<const S*>(p.x);
  const A* weight = static_cast<const A*>(p.weight);
  const bool summed = p.y_replicates != p.replicates;
  const bool own_replicate = edges.edge && edges.per_replicate > 1;

  const i64 packs = p.batch / V, strip = (packs + NV - 1) / NV;
  const i64 tiles = summed || own_replicate ? 1 : (p.replicates + RT - 1) / RT;
  const Division by_strip = divide(i64(blockIdx.x) * blockDim.x + threadIdx.x, strip);
  const Division by_tile = divide(by_strip.quotient, tiles);
  if (by_tile.quotient >= edges.n_items) return;
  const Item item = edges.items[by_tile.quotient];
  Owner owner = {item.row, -1};
  if (edges.owners) owner = edges.owners[by_tile.quotient];

  i64 first = by_tile.rest * RT, last = first + 1;
  if (summed) { first = 0; last = p.replicates; }
  if (owner.replicate >= 0) { first = owner.replicate; last = first + 1; }

  const i64 stride = p.x_replicates * p.batch;
  const i64 begin_own = RAGGED ? first_row(edges.units, owner.node) : 0;
  const i64 own = RAGGED ? first_row(edges.units, owner.node + 1) - begin_own : 1;
  const i64 unit = RAGGED ? item.row - begin_own : 0;

  A sum[RT][NV][V] = {};
  for (i64 r = first; r < last; ++r) {
    const i64 r_x = p.x_replicates == 1 ? 0 : r, r_edge = edges.per_replicate > 1 ? r : 0;
#pragma unroll (RAGGED ? 1 : 4)
    for (i64 i = item.begin; i < item.end; ++i) {
      const i64 at_edge = i * edges.per_replicate + r_edge;
      const i64 edge = edges.edge ? edges.edge[at_edge] : i;
      const i64 node = edges.from[at_edge];
      const i64 other = RAGGED ? first_row(edges.from_units, node) : node;
      const i64 n = RAGGED ? first_row(edges.from_units, node + 1) - other : 1;
      const i64 block = RAGGED && edges.block ? edges.block[edge] : edge;
#pragma unroll (RAGGED ? 2 : 1)
      for (i64 j = 0; j < n; ++j) {
        const i64 at = RAGGED ? (p.transposed ? block + j * own + unit : block + unit * n + j) : edge;
        A w[RT];
#pragma unroll
        for (int k = 0; k < RT; ++k) w[k] = RT == 1 || r + k < p.replicates ? weight[at * p.replicates + r + k] : A(0);
        const S* row = x + (other + j) * stride + r_x * p.batch;
#pragma unroll
        for (int c = 0; c < NV; ++c) {
          const i64 pack = by_strip.rest + c * strip;
          if (NV > 1 && pack >= packs) continue;
          const Pack<S, V> values = load<S, V>(row + pack * V);
#pragma unroll
          for (int k = 0; k < RT; ++k)
#pragma unroll
            for (int v = 0; v < V; ++v) sum[k][c][v] = madd(w[k], real_of(values.at[v]), sum[k][c][v]);
        }
      }
    }
  }

  const A* bias = static_cast<const A*>(p.bias);
  const S* addend = static_cast<const S*>(p.addend);
#pragma unroll
  for (int k = 0; k < RT; ++k) {
    const i64 r = summed ? 0 : first + k;
    if (r >= p.y_replicates) continue;
#pragma unroll
    for (int c = 0; c < NV; ++c) {
      const i64 pack = by_strip.rest + c * strip;
      if (pack >= packs) continue;
      if (item.slot >= 0) {
        A* to = static_cast<A*>(p.scratch) + (own_replicate ? i64(item.slot) : item.slot * p.y_replicates + r) * p.batch;
#pragma unroll
        for (int v = 0; v < V; ++v) to[pack * V + v] = sum[k][c][v];
        continue;
      }
      const i64 at = (item.row * p.y_replicates + r) * p.batch + pack * V;
      const A start = bias ? bias[item.row * p.replicates + r] : A(0);
      Pack<S, V> more = {}, out;
      if (addend) more = load<S, V>(addend + at);
#pragma unroll
      for (int v = 0; v < V; ++v) {
        const A begin = addend ? plus(start, real_of(more.at[v])) : start;
        store_as(plus(begin, sum[k][c][v]), out.at[v]);
      }
      *reinterpret_cast<Pack<S, V>*>(static_cast<S*>(p.y) + at) = out;
    }
  }
}

// Adds up, in order, what the items of one row left; one thread per value.
template <class S>
VNN_DEVICE void finish(const Finish& p) {
  typedef Real<S> A;
  const Division by_batch = divide(i64(blockIdx.x) * blockDim.x + threadIdx.x, p.batch);
  const Division by_replicate = divide(by_batch.quotient, p.scratch_replicates);
  if (by_replicate.quotient >= p.n_rows) return;
  const Row row = p.rows[by_replicate.quotient];
  const i64 r = p.replicates == 1 ? 0 : row.replicate >= 0 ? row.replicate : by_replicate.rest;
  const i64 at = (row.row * p.replicates + r) * p.batch + by_batch.rest;
  A total = p.bias ? static_cast<const A*>(p.bias)[row.row * p.replicates + r] : A(0);
  if (p.addend) total = plus(total, real_of(static_cast<const S*>(p.addend)[at]));
  const A* part = static_cast<const A*>(p.scratch) + (row.slot * p.scratch_replicates + by_replicate.rest) * p.batch;
  for (int i = 0; i < row.parts; ++i)
    total = plus(total, part[i * row.step * p.scratch_replicates * p.batch + by_batch.rest]);
  store_as(total, static_cast<S*>(p.y)[at]);
}

constexpr int LANES = 16;  // virtual lanes of a reduction over the batch

// The sum over a row of g * x (or of x, without g): lane j adds the samples j, j + LANES, ... in order,
// then the lanes are folded in halves. A thread holds V lanes; LANES / V neighbours share a row.
template <class S, int V>
VNN_INLINE Real<S> row_dot(const S* g, const S* x, i64 batch) {
  typedef Real<S> A;
  constexpr int GROUP = LANES / V;
  A sum[V] = {};
#pragma unroll 4
  for (i64 b = i64(threadIdx.x % GROUP) * V; b < batch; b += LANES) {
    const Pack<S, V> right = load<S, V>(x + b);
    Pack<S, V> left;
    if (g) left = load<S, V>(g + b);
#pragma unroll
    for (int v = 0; v < V; ++v) sum[v] = madd(g ? real_of(left.at[v]) : A(1), real_of(right.at[v]), sum[v]);
  }
#pragma unroll
  for (int half = LANES / 2; half >= V; half /= 2)
#pragma unroll
    for (int v = 0; v < V; ++v) sum[v] = plus(sum[v], shuffle_xor(sum[v], half / V));
#pragma unroll
  for (int half = V / 2; half; half /= 2)
#pragma unroll
    for (int v = 0; v < half; ++v) sum[v] = plus(sum[v], sum[v + half]);
  return sum[0];
}

// All threads of a warp take part in the fold; those past the end repeat the last row and store nothing.
template <class S, int V>
VNN_DEVICE void edge_product(const EdgeProduct& p) {
  const i64 n = (i64(blockIdx.x) * blockDim.x + threadIdx.x) / (LANES / V), count = p.n_weights * p.replicates;
  const Division at = divide(n < count ? n : count - 1, p.replicates);
  const i64 weight = at.quotient, r = at.rest;
  const i64 edge = p.edge ? p.edge[weight] : weight;
  const i64 node = p.from[edge * p.per_replicate + (p.per_replicate > 1 ? r : 0)];
  i64 row = first_row(p.from_units, node);
  if (p.block) row += (weight - p.block[edge]) % (first_row(p.from_units, node + 1) - row);
  const S* g = static_cast<const S*>(p.g) + (p.target[weight] * p.replicates + r) * p.batch;
  const S* x = static_cast<const S*>(p.x) + (row * p.x_replicates + (p.x_replicates == 1 ? 0 : r)) * p.batch;
  const Real<S> sum = row_dot<S, V>(g, x, p.batch);
  if (n < count && threadIdx.x % (LANES / V) == 0) static_cast<Real<S>*>(p.weight)[n] = sum;
}

template <class S, int V>
VNN_DEVICE void row_sum(const RowSum& p) {
  const i64 n = (i64(blockIdx.x) * blockDim.x + threadIdx.x) / (LANES / V);
  const i64 row = n < p.rows ? n : p.rows - 1;
  const Real<S> sum = row_dot<S, V>(nullptr, static_cast<const S*>(p.x) + row * p.batch, p.batch);
  if (n < p.rows && threadIdx.x % (LANES / V) == 0) static_cast<Real<S>*>(p.y)[n] = sum;
}
