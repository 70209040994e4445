// Products with genotypes that stay PLINK's 2-bit codes. A warp is 32 edges of one node; how its lanes
// change between "one edge each" and "two to eight people each" is told in docs/gpu.md.
#pragma once
#include "product.h"

constexpr int WARP = 32;
constexpr int PANEL = 64;          // people of a panel
constexpr int WARPS_IN_BLOCK = 4;  // as `__init__.py` launches them

struct Codes { u32 at[4]; };  // one variant, one panel

VNN_INLINE i64 panel_of(const Packed& p, i64 n) { return n < p.n_batch_panels ? p.panels[n] : -1; }

// A panel number that is not there yields NaN where it is used, never a read outside the array.
VNN_INLINE bool known(const Packed& p, i64 panel) { return panel >= 0 && panel < p.n_panels; }

VNN_INLINE Codes codes_of(const Packed& p, i64 panel, i64 variant) {
  if (!known(p, panel)) return {};
  const Pack<u32, 4> words =
      *reinterpret_cast<const Pack<u32, 4>*>(p.codes + panel * p.panel_stride + variant * p.variant_stride);
  return {{words.at[0], words.at[1], words.at[2], words.at[3]}};
}

template <class A>
VNN_INLINE A not_a_number() { return A(0) / A(0) * A(1); }

VNN_INLINE i64 warp_number() { return i64(blockIdx.x) * WARPS_IN_BLOCK + threadIdx.x / WARP; }

// What one lane knows of its edge: the value of every code times the weight, and the codes.
template <class A, int NP, int RT>
struct Loaded {
  Codes codes[NP];
  A term[RT][4];
};

// The value of each of the 16 pairs of codes of two variants is a table in shared memory; two edges of
// one person are then one lookup and one addition.
template <class A, int NP, int RT>
struct Stage {
  u32 codes[WARP][NP * 4];
  A term[RT][WARP][4];
  A sum[RT][WARP / 2][16];
};

template <class A, int NP, int RT>
VNN_INLINE Loaded<A, NP, RT> load_edge(const PackedProduct& p, const i64* panels, i64 i, i64 end, i64 c, i64 columns) {
  Loaded<A, NP, RT> loaded = {};
  if (i >= end) return loaded;
  const Edges& edges = p.edges;
  const i64 variant = edges.from[edges.per_replicate > 1 ? i * edges.per_replicate + c % p.replicates : i];
  const i64 first = (edges.block ? edges.block[i] : i) * p.replicates + c;
#pragma unroll
  for (int n = 0; n < NP; ++n) loaded.codes[n] = codes_of(p.packed, panels[n], variant);
  const A* book = static_cast<const A*>(p.packed.codebook) + variant * 4;
#pragma unroll
  for (int k = 0; k < RT; ++k) {
    const A w = c + k < columns ? static_cast<const A*>(p.weight)[first + k] : A(0);
#pragma unroll
    for (int code = 0; code < 4; ++code) loaded.term[k][code] = times(w, book[code]);
  }
  return loaded;
}

// y = bias + addend + the products of a node's columns (units times replicates). A warp owns one item,
// NP panels of people and RT columns.
template <class A, int NP, int RT>
VNN_DEVICE void packed_product(const PackedProduct& p) {
  VNN_SHARED(memory);
  constexpr int PEOPLE = 2 * NP;  // of one lane
  typedef Stage<A, NP, RT> Shared;
  Shared& stage = reinterpret_cast<Shared*>(memory)[threadIdx.x / WARP];
  const int lane = threadIdx.x % WARP;

  const i64 strips = (p.packed.n_batch_panels + NP - 1) / NP, tiles = (p.max_columns + RT - 1) / RT;
  const Division by_strip = divide(warp_number(), strips);
  const Division by_tile = divide(by_strip.quotient, tiles);
  if (by_tile.quotient >= p.edges.n_items) return;
  const Item item = p.edges.items[by_tile.quotient];
  const i64 columns = (p.edges.owners ? p.edges.owners[by_tile.quotient].node : 1) * p.replicates;
  const i64 c = by_tile.rest * RT;
  if (c >= columns) return;

  i64 panels[NP];
#pragma unroll
  for (int n = 0; n < NP; ++n) panels[n] = panel_of(p.packed, by_strip.rest * NP + n);
  const int word = lane * PEOPLE / 16, shift = lane * PEOPLE % 16 * 2;

  A total[RT][PEOPLE] = {};
  Loaded<A, NP, RT> next = load_edge<A, NP, RT>(p, panels, item.begin + lane, item.end, c, columns);
  for (i64 begin = item.begin; begin < item.end; begin += WARP) {
    warp_sync();
#pragma unroll
    for (int n = 0; n < NP; ++n) *reinterpret_cast<Pack<u32, 4>*>(&stage.codes[lane][n * 4]) =
        {next.codes[n].at[0], next.codes[n].at[1], next.codes[n].at[2], next.codes[n].at[3]};
#pragma unroll
    for (int k = 0; k < RT; ++k)
#pragma unroll
      for (int code = 0; code < 4; ++code) stage.term[k][lane][code] = next.term[k][code];
    warp_sync();
#pragma unroll
    for (int k = 0; k < RT; ++k)
#pragma unroll
      for (int n = 0; n < 8; ++n) {
        const int pair = lane / 2, code = lane % 2 * 8 + n;
        stage.sum[k][pair][code] = plus(stage.term[k][2 * pair][code % 4], stage.term[k][2 * pair + 1][code / 4]);
      }
    warp_sync();
    next = load_edge<A, NP, RT>(p, panels, begin + WARP + lane, item.end, c, columns);
    const int pairs = int(item.end - begin < WARP ? item.end - begin + 1 : WARP) / 2;
#pragma unroll 4
    for (int pair = 0; pair < pairs; ++pair) {
      const u32 a = stage.codes[2 * pair][word] >> shift, b = stage.codes[2 * pair + 1][word] >> shift;
      const u32 even = (a & 0x33333333u) | ((b & 0x33333333u) << 2);
      const u32 odd = ((a >> 2) & 0x33333333u) | (b & 0xccccccccu);
#pragma unroll
      for (int k = 0; k < RT; ++k)
#pragma unroll
        for (int j = 0; j < PEOPLE; ++j) {
          const u32 both = (j % 2 ? odd : even) >> (j / 2 * 4) & 15;
          total[k][j] = plus(total[k][j], stage.sum[k][pair][both]);
        }
    }
  }

  const i64 person = by_strip.rest * NP * PANEL + lane * PEOPLE;
  bool bad = false;
#pragma unroll
  for (int n = 0; n < NP; ++n) bad |= lane * PEOPLE / PANEL == n && !known(p.packed, panels[n]);
  const A* bias = static_cast<const A*>(p.bias);
  const A* addend = static_cast<const A*>(p.addend);
#pragma unroll
  for (int k = 0; k < RT; ++k) {
    if (c + k >= columns) continue;
    const i64 row = i64(item.row) * p.replicates + c + k;
    const i64 waiting = i64(item.slot) * p.replicates + c + k;
    const A start = bias ? bias[row] : A(0);
#pragma unroll
    for (int j = 0; j < PEOPLE; ++j) {
      const i64 b = person + j;
      if (b >= p.packed.batch) continue;
      const A sum = bad ? not_a_number<A>() : total[k][j];
      if (item.slot >= 0) static_cast<A*>(p.scratch)[waiting * p.packed.batch + b] = sum;
      else {
        const i64 at = row * p.packed.batch + b;
        static_cast<A*>(p.y)[at] = plus(addend ? plus(start, addend[at]) : start, sum);
      }
    }
  }
}

// Lanes take one edge each and walk through the people together.

// The sums of g over every subset of four neighbouring people, for the 16 fours of a panel.
template <class A, int RT>
struct Subsets { A at[RT][PANEL / 4][16]; };

template <class A, int RT>
VNN_INLINE void stage_subsets(Subsets<A, RT>& sums, const PackedEdgeProduct& p, i64 row, i64 c, i64 columns, i64 panel) {
  const int four = threadIdx.x % WARP / 2, last = threadIdx.x % 2;
#pragma unroll
  for (int k = 0; k < RT; ++k) {
    const A* g = static_cast<const A*>(p.g) + (row * p.replicates + c + k) * p.packed.batch;
    A each[4], sum[8];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const i64 b = panel * PANEL + four * 4 + i;
      each[i] = b < p.packed.batch && c + k < columns ? g[b] : A(0);
    }
    sum[0] = last ? each[3] : A(0);
#pragma unroll
    for (int i = 0; i < 3; ++i)
#pragma unroll
      for (int n = 0; n < 1 << i; ++n) sum[(1 << i) + n] = plus(sum[n], each[i]);
#pragma unroll
    for (int n = 0; n < 8; ++n) sums.at[k][four][last * 8 + n] = sum[n];
  }
}

// Bits 0, 2, 4 and 6 of every byte, moved to its bits 0 to 3.
VNN_INLINE u32 compressed(u32 bits) {
  bits = (bits | (bits >> 1)) & 0x33333333u;
  return (bits | (bits >> 2)) & 0x0f0f0f0fu;
}

// w = the sum over the batch of g times the value of the code: g is added up by code, four people at a
// time, and each of the four sums is multiplied once a panel.
template <class A, int RT>
VNN_DEVICE void packed_edge_product(const PackedEdgeProduct& p) {
  VNN_SHARED(memory);
  Subsets<A, RT>& subsets = reinterpret_cast<Subsets<A, RT>*>(memory)[threadIdx.x / WARP];
  const Edges& edges = p.edges;
  const Division by_tile = divide(warp_number(), (p.max_columns + RT - 1) / RT);
  if (by_tile.quotient >= edges.n_items) return;
  const Item item = edges.items[by_tile.quotient];
  const i64 columns = (edges.owners ? edges.owners[by_tile.quotient].node : 1) * p.replicates;
  const i64 c = by_tile.rest * RT;
  if (c >= columns) return;

  const i64 mine = item.begin + threadIdx.x % WARP;
  const bool there = mine < item.end;
  const i64 edge = there ? mine : item.begin;
  const i64 variant = edges.from[edges.per_replicate > 1 ? edge * edges.per_replicate + c % p.replicates : edge];
  A book[4];
#pragma unroll
  for (int code = 0; code < 4; ++code) book[code] = static_cast<const A*>(p.packed.codebook)[variant * 4 + code];

  A total[RT] = {};
  i64 panel = panel_of(p.packed, 0);
  bool bad = !known(p.packed, panel);
  Codes next = codes_of(p.packed, panel, variant);
  for (i64 n = 0; n < p.packed.n_batch_panels; ++n) {
    warp_sync();
    stage_subsets(subsets, p, item.row, c, columns, n);
    warp_sync();
    const Codes codes = next;
    if (n + 1 < p.packed.n_batch_panels) {
      panel = panel_of(p.packed, n + 1);
      bad |= !known(p.packed, panel);
      next = codes_of(p.packed, panel, variant);
    }
    A sum[RT][4] = {};  // of everybody, and of the people of code 1, 2 and 3
#pragma unroll
    for (int word = 0; word < 4; ++word) {
      const u32 low = codes.at[word] & 0x55555555u, high = (codes.at[word] >> 1) & 0x55555555u;
      const u32 of[4] = {0x0f0f0f0fu, compressed(low & ~high), compressed(high & ~low), compressed(low & high)};
#pragma unroll
      for (int four = 0; four < 4; ++four)
#pragma unroll
        for (int code = 0; code < 4; ++code)
#pragma unroll
          for (int k = 0; k < RT; ++k)
            sum[k][code] = plus(sum[k][code], subsets.at[k][word * 4 + four][of[code] >> (8 * four) & 15]);
    }
#pragma unroll
    for (int k = 0; k < RT; ++k) {
      A of_panel = times(book[0], sum[k][0] - sum[k][1] - sum[k][2] - sum[k][3]);
#pragma unroll
      for (int code = 1; code < 4; ++code) of_panel = madd(book[code], sum[k][code], of_panel);
      total[k] = plus(total[k], of_panel);
    }
  }
  if (!there) return;
  A* out = static_cast<A*>(p.out) + (edges.block ? edges.block[edge] : edge) * p.replicates + c;
#pragma unroll
  for (int k = 0; k < RT; ++k)
    if (c + k < columns) out[k] = bad ? not_a_number<A>() : total[k];
}

// The g of RT columns and one panel, where all lanes read the same value at once.
template <class A, int RT>
struct Signal { A at[RT][PANEL]; };

template <class A, int RT>
VNN_INLINE void stage_signal(Signal<A, RT>& signal, const PackedEdgeProduct& p, i64 row, i64 c, i64 columns, i64 panel) {
#pragma unroll
  for (int k = 0; k < RT; ++k)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int j = half * WARP + threadIdx.x % WARP;
      const i64 b = panel * PANEL + j;
      const bool there = b < p.packed.batch && c + k < columns;
      signal.at[k][j] = there ? static_cast<const A*>(p.g)[(row * p.replicates + c + k) * p.packed.batch + b] : A(0);
    }
}

// by_edge[e, code] = the sum over columns and over the people of that code of w * g, for one edge.
template <class A>
VNN_DEVICE void packed_codebook(const PackedEdgeProduct& p) {
  VNN_SHARED(memory);
  constexpr int RT = 4;
  Signal<A, RT>& signal = reinterpret_cast<Signal<A, RT>*>(memory)[threadIdx.x / WARP];
  const Edges& edges = p.edges;
  const i64 number = warp_number();
  if (number >= edges.n_items) return;
  const Item item = edges.items[number];
  const i64 own = edges.owners ? edges.owners[number].node : 1;
  const i64 mine = item.begin + threadIdx.x % WARP;
  const bool there = mine < item.end;
  const i64 edge = there ? mine : item.begin;
  // With a replicate axis in the wiring `max_columns` is -1 - r and only the columns of replicate r count.
  const i64 only = p.max_columns < 0 ? -1 - p.max_columns : 0, every = p.max_columns < 0 ? p.replicates : 1;
  const i64 variant = edges.from[edge * edges.per_replicate + only];
  const i64 columns = own * p.replicates;
  const i64 first = (edges.block ? edges.block[edge] : edge) * p.replicates;

  A total[4] = {};
  bool bad = false;
  for (i64 c = 0; c < columns; c += RT) {
    A w[RT];
#pragma unroll
    for (int k = 0; k < RT; ++k) {
      const bool counts = c + k < columns && (c + k) % every == only % every;
      w[k] = counts ? static_cast<const A*>(p.weight)[first + c + k] : A(0);
    }
    for (i64 n = 0; n < p.packed.n_batch_panels; ++n) {
      const i64 panel = panel_of(p.packed, n);
      bad |= !known(p.packed, panel);
      const Codes codes = codes_of(p.packed, panel, variant);
      warp_sync();
      stage_signal(signal, p, item.row, c, columns, n);
      warp_sync();
      A sum[4] = {};
#pragma unroll
      for (int word = 0; word < 4; ++word)
#pragma unroll
        for (int j = 0; j < 16; ++j) {
          const u32 code = codes.at[word] >> (2 * j) & 3;
          A h = A(0);
#pragma unroll
          for (int k = 0; k < RT; ++k) h = madd(w[k], signal.at[k][word * 16 + j], h);
#pragma unroll
          for (u32 each = 0; each < 4; ++each) sum[each] = plus(sum[each], code == each ? h : A(0));
        }
#pragma unroll
      for (int each = 0; each < 4; ++each) total[each] = plus(total[each], sum[each]);
    }
  }
  if (!there) return;
#pragma unroll
  for (int each = 0; each < 4; ++each)
    static_cast<A*>(p.out)[edge * 4 + each] = bad ? not_a_number<A>() : total[each];
}

// One thread per variant and code; parts of 256 edges as everywhere.
template <class A>
VNN_DEVICE void gather(const Gather& p) {
  const i64 n = i64(blockIdx.x) * blockDim.x + threadIdx.x, node = n / 4;
  if (node >= p.n_nodes) return;
  const i64 begin = p.ptr[node * p.per_replicate + p.replicate], end = p.ptr[(node + 1) * p.per_replicate + p.replicate];
  A* out = static_cast<A*>(p.out) + n;
  A total = p.accumulate ? *out : A(0);
  for (i64 part = begin; part < end; part += 256) {
    A sum = A(0);
    for (i64 i = part; i < end && i < part + 256; ++i)
      sum = plus(sum, static_cast<const A*>(p.by_edge)[i64(p.edge[i * p.per_replicate + p.replicate]) * 4 + n % 4]);
    total = plus(total, sum);
  }
  *out = total;
}
