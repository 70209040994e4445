// Packed products of many columns on tensor cores: codes are decoded into TF32 fragments.
//
// The fragment operation multiplies a 16 x 8 by an 8 x 8 matrix spread over the lanes of a warp and adds
// it to a 16 x 8 matrix. Lane l = 4 * row + column holds of
//   a: (row, column), (row + 8, column), (row, column + 4), (row + 8, column + 4)
//   b: (column, row), (column + 4, row)
//   c: (row, 2 column), (row, 2 column + 1), (row + 8, 2 column), (row + 8, 2 column + 1)
#pragma once
#include "packed.h"

struct FragmentA { u32 at[4]; };
struct FragmentB { u32 at[2]; };
struct FragmentC { float at[4]; };

// A float with 10 bits of mantissa, the nearest, ties away from zero.
VNN_INLINE u32 tf32(float x) {
#if defined(__CUDA_ARCH__)
  u32 bits;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
  return bits;
#else
  const u32 bits = bits_of(x);
  return (bits & 0x7f800000) == 0x7f800000 ? bits : (bits + 0x1000) & 0xffffe000u;
#endif
}

// The same operation in plain C++: what the device does up to the order of its additions.
VNN_INLINE void multiply_twin(FragmentC& c, const FragmentA& a, const FragmentB& b) {
  const int lane = threadIdx.x % WARP, row = lane / 4, column = lane % 4;
  for (int k = 0; k < 8; ++k) {
    float left[2], right[2];
    for (int i = 0; i < 2; ++i) left[i] = float_of(shuffle(a.at[k / 4 * 2 + i], row * 4 + k % 4));
    for (int j = 0; j < 2; ++j) right[j] = float_of(shuffle(b.at[k / 4], (2 * column + j) * 4 + k % 4));
    for (int i = 0; i < 4; ++i) c.at[i] = madd(left[i / 2], right[i % 2], c.at[i]);
  }
}

VNN_INLINE void multiply(FragmentC& c, const FragmentA& a, const FragmentB& b) {
#if defined(__CUDA_ARCH__)
  asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(c.at[0]), "+f"(c.at[1]), "+f"(c.at[2]), "+f"(c.at[3])
      : "r"(a.at[0]), "r"(a.at[1]), "r"(a.at[2]), "r"(a.at[3]), "r"(b.at[0]), "r"(b.at[1]));
#else
  multiply_twin(c, a, b);
#endif
}

// One fragment operation on matrices in memory, by rows: for comparing the two.
template <bool TWIN>
VNN_DEVICE void fragment(const Fragment& p) {
  const int lane = threadIdx.x, row = lane / 4, column = lane % 4;
  FragmentA a;
  FragmentB b;
  FragmentC c;
  for (int i = 0; i < 4; ++i) a.at[i] = tf32(p.a[(row + i % 2 * 8) * 8 + column + i / 2 * 4]);
  for (int i = 0; i < 2; ++i) b.at[i] = tf32(p.b[(column + i * 4) * 8 + row]);
  for (int i = 0; i < 4; ++i) c.at[i] = p.c[(row + i / 2 * 8) * 8 + 2 * column + i % 2];
  if (TWIN) multiply_twin(c, a, b);
  else multiply(c, a, b);
  for (int i = 0; i < 4; ++i) p.c[(row + i / 2 * 8) * 8 + 2 * column + i % 2] = c.at[i];
}

template <class A>
VNN_INLINE A value_of(u32 code, const A (&book)[4]) {
  const A low = code & 1 ? book[1] : book[0], high = code & 1 ? book[3] : book[2];
  return code & 2 ? high : low;
}

// Codes of the people `group`, group + 8, ... group + 56 of a panel.
VNN_INLINE u32 code_of(const Codes& codes, int n, int group) { return codes.at[n / 2] >> (n % 2 * 16 + 2 * group) & 3; }

template <int NT>
constexpr int COLUMNS = 8 * NT;  // of one warp

// y = bias + addend + products. A warp owns one item, one panel and 8 * NT columns: rows of the fragments
// are people, their inner dimension is edges.
template <int NT>
VNN_DEVICE void tensor_product(const PackedProduct& p) {
  const int lane = threadIdx.x % WARP, group = lane / 4, member = lane % 4;
  const Edges& edges = p.edges;
  const i64 tiles = (p.max_columns + COLUMNS<NT> - 1) / COLUMNS<NT>;
  const Division by_panel = divide(warp_number(), p.packed.n_batch_panels);
  const Division by_tile = divide(by_panel.quotient, tiles);
  if (by_tile.quotient >= edges.n_items) return;
  const Item item = edges.items[by_tile.quotient];
  const i64 columns = (edges.owners ? edges.owners[by_tile.quotient].node : 1) * p.replicates;
  const i64 c = by_tile.rest * COLUMNS<NT>;
  if (c >= columns) return;
  const i64 panel = panel_of(p.packed, by_panel.rest);

  FragmentC sum[4][NT] = {};
  for (i64 begin = item.begin; begin < item.end; begin += 8) {
    u32 x[2][8];
    FragmentB w[NT];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const i64 edge = begin + half * 4 + member;
      const bool there = edge < item.end;
      const i64 variant = edges.from[there ? edge : begin];
      const Codes codes = codes_of(p.packed, panel, variant);
      float book[4];
#pragma unroll
      for (int code = 0; code < 4; ++code)
        book[code] = there ? float_of(tf32(static_cast<const float*>(p.packed.codebook)[variant * 4 + code])) : 0.0f;
#pragma unroll
      for (int n = 0; n < 8; ++n) x[half][n] = bits_of(value_of(code_of(codes, n, group), book));
      const i64 first = there ? (edges.block ? edges.block[edge] : edge) * p.replicates + c : 0;
#pragma unroll
      for (int t = 0; t < NT; ++t) {
        const i64 column = t * 8 + group;
        w[t].at[half] = there && c + column < columns ? tf32(static_cast<const float*>(p.weight)[first + column]) : 0;
      }
    }
#pragma unroll
    for (int m = 0; m < 4; ++m) {
      const FragmentA a = {{x[0][2 * m], x[0][2 * m + 1], x[1][2 * m], x[1][2 * m + 1]}};
#pragma unroll
      for (int t = 0; t < NT; ++t) multiply(sum[m][t], a, w[t]);
    }
  }

  const float* bias = static_cast<const float*>(p.bias);
  const float* addend = static_cast<const float*>(p.addend);
#pragma unroll
  for (int t = 0; t < NT; ++t)
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const i64 column = c + t * 8 + 2 * member + i % 2;
      if (column >= columns) continue;
      const i64 row = i64(item.row) * p.replicates + column, waiting = i64(item.slot) * p.replicates + column;
      const float start = bias ? bias[row] : 0.0f;
#pragma unroll
      for (int m = 0; m < 4; ++m) {
        const i64 b = by_panel.rest * PANEL + 16 * m + i / 2 * 8 + group;
        if (b >= p.packed.batch) continue;
        const float value = known(p.packed, panel) ? sum[m][t].at[i] : not_a_number<float>();
        if (item.slot >= 0) static_cast<float*>(p.scratch)[waiting * p.packed.batch + b] = value;
        else {
          const i64 at = row * p.packed.batch + b;
          static_cast<float*>(p.y)[at] = (addend ? start + addend[at] : start) + value;
        }
      }
    }
}

// w = the sum over the batch of g times the value of the code. A warp owns 16 of an item's edges at a
// time and 8 * NT columns: rows of the fragments are edges, their inner dimension is people. The inner
// dimension may be permuted in both alike: lane `member` takes the people member and member + 4 of 8.
template <int NT>
VNN_DEVICE void tensor_edge_product(const PackedEdgeProduct& p) {
  const int lane = threadIdx.x % WARP, group = lane / 4, member = lane % 4;
  const Edges& edges = p.edges;
  const i64 tiles = (p.max_columns + COLUMNS<NT> - 1) / COLUMNS<NT>;
  const Division by_tile = divide(warp_number(), tiles);
  if (by_tile.quotient >= edges.n_items) return;
  const Item item = edges.items[by_tile.quotient];
  const i64 columns = (edges.owners ? edges.owners[by_tile.quotient].node : 1) * p.replicates;
  const i64 c = by_tile.rest * COLUMNS<NT>;
  if (c >= columns) return;

  i64 variant[4];  // of the edges group, group + 8, group + 16, group + 24 of the item
  float book[4][4];
#pragma unroll
  for (int n = 0; n < 4; ++n) {
    const i64 edge = item.begin + 8 * n + group;
    variant[n] = edges.from[edge < item.end ? edge : item.begin];
#pragma unroll
    for (int code = 0; code < 4; ++code)
      book[n][code] = float_of(tf32(static_cast<const float*>(p.packed.codebook)[variant[n] * 4 + code]));
  }
  const float* g = static_cast<const float*>(p.g) + (i64(item.row) * p.replicates + c) * p.packed.batch;
  const bool upper = item.begin + 16 < item.end;

  bool bad = false;
  FragmentC total[2][NT] = {};
  for (i64 n = 0; n < p.packed.n_batch_panels; ++n) {
    const i64 panel = panel_of(p.packed, n);
    bad |= !known(p.packed, panel);
    Codes codes[4];
#pragma unroll
    for (int each = 0; each < 4; ++each) codes[each] = codes_of(p.packed, panel, variant[each]);
#pragma unroll
    for (int eight = 0; eight < 8; ++eight) {
      FragmentB b[NT];
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const i64 person = n * PANEL + eight * 8 + half * 4 + member;
#pragma unroll
        for (int t = 0; t < NT; ++t) {
          const i64 column = t * 8 + group;
          const bool there = person < p.packed.batch && c + column < columns;
          b[t].at[half] = there ? tf32(g[column * p.packed.batch + person]) : 0;
        }
      }
      const int shift = eight % 2 * 16 + 2 * member;
#pragma unroll
      for (int m = 0; m < 2; ++m) {
        if (m == 1 && !upper) continue;
        FragmentA a;
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const u32 word = codes[2 * m + i % 2].at[eight / 2];
          a.at[i] = bits_of(value_of(word >> (shift + i / 2 * 8) & 3, book[2 * m + i % 2]));
        }
#pragma unroll
        for (int t = 0; t < NT; ++t) multiply(total[m][t], a, b[t]);
      }
    }
  }
#pragma unroll
  for (int m = 0; m < 2; ++m)
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const i64 edge = item.begin + 16 * m + i / 2 * 8 + group;
      if (edge >= item.end) continue;
      float* out = static_cast<float*>(p.out) + (edges.block ? edges.block[edge] : edge) * p.replicates + c;
#pragma unroll
      for (int t = 0; t < NT; ++t) {
        const i64 column = t * 8 + 2 * member + i % 2;
        if (c + column < columns) out[column] = bad ? not_a_number<float>() : total[m][t].at[i];
      }
    }
}
