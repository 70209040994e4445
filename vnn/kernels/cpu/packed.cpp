// Products of genotypes that keep their two bits.
//
// The 16 bytes of a variant in a panel are four words of 16 codes. A register holds the words of several
// panels side by side, so that one shift brings the same position j of every word to the bottom, and one
// permutation of the variant's codebook, times its weight, turns codes into terms. People are therefore
// summed in the order (j, panel, word) and put into their own order at the end.
//
// The edges of a part are taken in pairs whose terms are added before they join the sum: where a register
// holds 16 values, one permutation of the 16 sums of two variants serves both. The sums over the batch run
// in 16 lanes, lane 4 * (panel % 4) + word, over j = 0 .. 15 of each four panels in order, and are folded in
// halves. Nothing depends on threads or replicates.
#include <cstring>
#include <type_traits>
#include <vector>

#if defined(__AVX2__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#include "fan.h"
#include "simd.h"

namespace VNN_SIMD {
namespace {

constexpr int64_t PANEL = 64;  // people
constexpr int64_t WORDS = 4;   // words of 16 codes a variant has in a panel
constexpr int64_t QUAD = 4;    // panels whose words fill the lanes
constexpr int64_t GROUP = 4;   // panels whose sums are kept at a time
constexpr int64_t AHEAD = 768;  // variants between those in work and those asked for: some pages of memory

const uint8_t NOBODY[64] = {};  // for as many variants as a register holds

// Where variant v of a panel of the batch lies; behind the last panel, nobody.
struct Panel {
  const uint8_t* at;
  int64_t stride;
  Panel() : at(NOBODY), stride(0) {}
  Panel(const Codes& codes, int64_t panel) : at(NOBODY), stride(0) {
    if (panel >= codes.n_panels) return;
    int64_t number;  // numbers may lie at any address
    std::memcpy(&number, codes.panels + panel, sizeof(number));
    at = codes.at + number * codes.panel_stride;
    stride = codes.variant_stride;
  }
  inline const uint8_t* operator[](int64_t v) const { return at + v * stride; }
};

inline uint32_t word_of(const uint8_t* at, int64_t word) {
  uint32_t bits;
  std::memcpy(&bits, at + 4 * word, 4);
  return bits;
}

inline int64_t weight_at(const Edges& e, int64_t edge, int64_t unit) { return e.block ? e.block[edge] + unit : edge; }

// Registers of `W` words. One 32-bit lane per word; W / 4 panels.
#if defined(VNN_PAIRED)
constexpr int64_t W = 16;
#elif defined(__AVX2__)
constexpr int64_t W = 8;
#else
constexpr int64_t W = 4;
#endif
typedef float real __attribute__((vector_size(4 * W)));
typedef float real_mem __attribute__((vector_size(4 * W), aligned(4), may_alias));
typedef uint32_t word __attribute__((vector_size(4 * W)));
typedef float four __attribute__((vector_size(16), aligned(4), may_alias));
constexpr int64_t SIDE = W / WORDS;  // panels in a register

// a * b + c, rounded once where the instruction set can.
inline real joined(real a, real b, real c) {
#if defined(VNN_PAIRED) && defined(__AVX512F__)
  return (real)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__AVX2__)
  return (real)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#else
  return a * b + c;
#endif
}

inline real take(const float* p) { return *reinterpret_cast<const real_mem*>(p); }
inline void give(float* p, real v) { *reinterpret_cast<real_mem*>(p) = v; }

// The panels of one register.
struct Side {
  const uint8_t* at[SIDE];
  int64_t stride[SIDE];
  Side(const Codes& codes, int64_t panel) {
    for (int64_t i = 0; i < SIDE; ++i) {
      const Panel one(codes, panel + i);
      at[i] = one.at;
      stride[i] = one.stride;
    }
  }
};

// 16 bytes each of several places, side by side.
template <class At>
inline word beside(At at) {
#if defined(VNN_PAIRED) && defined(__AVX512F__)
  const auto load = [&](int64_t i) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(at(i))); };
  __m512i c = _mm512_castsi128_si512(load(0));
  c = _mm512_inserti32x4(c, load(1), 1);
  c = _mm512_inserti32x4(c, load(2), 2);
  return (word)_mm512_inserti32x4(c, load(3), 3);
#elif defined(__AVX2__)
  const auto load = [&](int64_t i) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(at(i))); };
  return (word)_mm256_inserti128_si256(_mm256_castsi128_si256(load(0)), load(1), 1);
#else
  word c;
  for (int64_t i = 0; i < SIDE; ++i) std::memcpy(reinterpret_cast<char*>(&c) + 16 * i, at(i), 16);
  return c;
#endif
}

// The codes of one variant in the panels of a register.
inline word codes_of(const Side& panels, int64_t v) {
  return beside([&](int64_t i) { return panels.at[i] + v * panels.stride[i]; });
}

// Four values, repeated for every panel of the register.
inline real repeated(const float* values) {
#if defined(VNN_PAIRED) && defined(__AVX512F__)
  return (real)_mm512_broadcast_f32x4(_mm_loadu_ps(values));
#elif defined(__AVX2__)
  return (real)_mm256_broadcast_ps(reinterpret_cast<const __m128*>(values));
#else
  real table;
  for (int64_t i = 0; i < SIDE; ++i) std::memcpy(reinterpret_cast<char*>(&table) + 16 * i, values, 16);
  return table;
#endif
}

// The value of each lane's lowest two bits.
inline real decoded(real table, word codes) {
#if defined(__AVX512F__)
  return (real)_mm512_permutevar_ps((__m512)table, (__m512i)codes);
#elif defined(__AVX2__) && !defined(VNN_PAIRED)
  return (real)_mm256_permutevar_ps((__m256)table, (__m256i)codes);
#elif defined(__aarch64__) && !defined(VNN_PAIRED)
  const word bytes = (codes & 3u) * 0x04040404u + 0x03020100u;
  return (real)vqtbl1q_u8((uint8x16_t)table, (uint8x16_t)bytes);
#else
  real values;
  for (int64_t lane = 0; lane < W; ++lane) values[lane] = table[lane / 4 * 4 + (codes[lane] & 3)];
  return values;
#endif
}

#if defined(VNN_PAIRED)
// The value of each lane's lowest four bits.
inline real decoded_pair(real table, word codes) {
#if defined(__AVX512F__)
  return (real)_mm512_permutexvar_ps((__m512i)codes, (__m512)table);
#else
  real values;
  for (int64_t lane = 0; lane < W; ++lane) values[lane] = table[codes[lane] & 15];
  return values;
#endif
}
#endif

#if defined(VNN_PAIRED)
const word QUARTERS = {0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3};
const real ONE = 1 - real{};  // x * 1 + sum is x + sum, on units of the processor that permutations leave free

// The codes of two variants, or of one: both together are the lowest four bits of `at(j)`.
struct Pair {
  word even, odd;
  Pair(const Side& panels, int64_t left, int64_t right) {
    const word c = codes_of(panels, left), d = right < 0 ? word{} : codes_of(panels, right);
    even = (c & 0x33333333u) | ((d & 0x33333333u) << 2);
    odd = ((c >> 2) & 0x33333333u) | (d & 0xccccccccu);
  }
  inline word at(int64_t j) const { return (j % 2 ? odd : even) >> uint32_t(j / 2 * 4); }
};
#endif

constexpr int64_t HALF = 8;  // positions j whose sums stay in registers

// Adds the terms of `n` edges to sums [16 positions][W lanes] of one register's panels.
inline void add_terms(const float (*table)[4], const int64_t* from, int64_t n, const Side& panels, float* sums) {
#if defined(VNN_PAIRED)
  real sum[16];
  for (int64_t j = 0; j < 16; ++j) sum[j] = take(sums + j * W);
  for (int64_t i = 0; i < n; i += 2) {
    const bool two = i + 1 < n;
    const Pair codes(panels, from[i], two ? from[i + 1] : -1);
    real both = repeated(table[i]);
    if (two) both += decoded_pair(repeated(table[i + 1]), QUARTERS);
    for (int64_t j = 0; j < 16; ++j) sum[j] = joined(decoded_pair(both, codes.at(j)), ONE, sum[j]);
  }
  for (int64_t j = 0; j < 16; ++j) give(sums + j * W, sum[j]);
#else
  for (int64_t half = 0; half < 16; half += HALF) {
    real sum[HALF];
    for (int64_t j = 0; j < HALF; ++j) sum[j] = take(sums + (half + j) * W);
    int64_t i = 0;
    for (; i + 1 < n; i += 2) {
      const word c = codes_of(panels, from[i]) >> uint32_t(2 * half), d = codes_of(panels, from[i + 1]) >> uint32_t(2 * half);
      const real left = repeated(table[i]), right = repeated(table[i + 1]);
      for (int64_t j = 0; j < HALF; ++j) sum[j] += decoded(left, c >> uint32_t(2 * j)) + decoded(right, d >> uint32_t(2 * j));
    }
    if (i < n) {
      const word c = codes_of(panels, from[i]) >> uint32_t(2 * half);
      const real left = repeated(table[i]);
      for (int64_t j = 0; j < HALF; ++j) sum[j] += decoded(left, c >> uint32_t(2 * j));
    }
    for (int64_t j = 0; j < HALF; ++j) give(sums + (half + j) * W, sum[j]);
  }
#endif
}

// Four rows of four values, turned.
template <class T>
struct Square {
  typedef T row __attribute__((vector_size(4 * sizeof(T))));
  typedef T row_mem __attribute__((vector_size(4 * sizeof(T)), aligned(sizeof(T)), may_alias));
  row rows[4];
  Square(const T* from, int64_t stride) {
    const auto at = [&](int64_t i) -> row { return *reinterpret_cast<const row_mem*>(from + i * stride); };
    const row a = at(0), b = at(1), c = at(2), d = at(3);
#if defined(__has_builtin) && __has_builtin(__builtin_shufflevector)
    const row ab = __builtin_shufflevector(a, b, 0, 4, 1, 5), cd = __builtin_shufflevector(c, d, 0, 4, 1, 5);
    const row ba = __builtin_shufflevector(a, b, 2, 6, 3, 7), dc = __builtin_shufflevector(c, d, 2, 6, 3, 7);
    rows[0] = __builtin_shufflevector(ab, cd, 0, 1, 4, 5);
    rows[1] = __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
    rows[2] = __builtin_shufflevector(ba, dc, 0, 1, 4, 5);
    rows[3] = __builtin_shufflevector(ba, dc, 2, 3, 6, 7);
#else
    for (int64_t k = 0; k < 4; ++k) rows[k] = row{a[k], b[k], c[k], d[k]};
#endif
  }
  inline void give(int64_t k, T* to) const { *reinterpret_cast<row_mem*>(to) = rows[k]; }
  inline void add(int64_t k, T* to) const { *reinterpret_cast<row_mem*>(to) += rows[k]; }
};

// Sums [16][W] of one register, added to the people's totals [SIDE * 64] in their own order.
inline void add_people(const float* sums, float* total) {
  for (int64_t panel = 0; panel < SIDE; ++panel)
    for (int64_t j = 0; j < 16; j += 4) {
      const Square<float> turned(sums + j * W + panel * WORDS, W);
      for (int64_t w = 0; w < WORDS; ++w) turned.add(w, total + panel * PANEL + w * 16 + j);
    }
}

// Where the totals of `n` people grow: in the result itself if they are all a row of registers has room for, else in `room`.
template <class T>
inline T* totals_of(const PackedProduct<T>& p, int64_t row, int64_t r, int64_t b, int64_t n, int64_t most, T* room) {
  T* const to = n == most ? p.y + (row * p.replicates + r) * p.batch + b : room;
  const T start = p.bias ? p.bias[row * p.replicates + r] : T(0);
  if (p.addend) {
    const T* addend = p.addend + (row * p.replicates + r) * p.batch + b;
    for (int64_t c = 0; c < n; ++c) to[c] = start + addend[c];
  } else {
    for (int64_t c = 0; c < n; ++c) to[c] = start;
  }
  return to;
}
template <class T>
inline void end_people(const PackedProduct<T>& p, int64_t row, int64_t r, int64_t b, int64_t n, const T* total) {
  T* const to = p.y + (row * p.replicates + r) * p.batch + b;
  if (total != to) std::memcpy(to, total, std::size_t(n) * sizeof(T));
}

// The plain way: one person after the other.
template <class T, Kind KIND>
void plain_row(const PackedProduct<T>& p, int64_t node, int64_t row, int64_t unit, int64_t r) {
  const Fan<KIND> fan(p.edges, node, r);
  for (int64_t panel = 0; panel * PANEL < p.batch; ++panel) {
    const Panel codes(p.codes, panel);
    const int64_t b = panel * PANEL, n = p.batch - b < PANEL ? p.batch - b : PANEL;
    T room[PANEL];
    T* const total = totals_of(p, row, r, b, n, PANEL, room);
    for (int64_t begin = fan.first; begin < fan.last; begin += PART) {
      const int64_t end = begin + PART < fan.last ? begin + PART : fan.last;
      T part[PANEL] = {};
      for (int64_t i = begin; i < end; i += 2) {
        T table[2][4];
        const uint8_t* at[2];
        const int64_t m = end - i < 2 ? 1 : 2;
        for (int64_t q = 0; q < m; ++q) {
          const int64_t v = fan.from(i + q);
          const T w = p.weight[weight_at(p.edges, fan.edge(i + q), unit) * p.replicates + r];
          for (int64_t k = 0; k < 4; ++k) table[q][k] = w * p.codebook[4 * v + k];
          at[q] = codes[v];
        }
        for (int64_t w = 0; w < WORDS; ++w) {
          const uint32_t left = word_of(at[0], w), right = m == 2 ? word_of(at[1], w) : 0;
          for (int64_t j = 0; j < 16; ++j) {
            const T term = table[0][left >> 2 * j & 3];
            part[w * 16 + j] += m == 2 ? term + table[1][right >> 2 * j & 3] : term;
          }
        }
      }
      for (int64_t c = 0; c < n; ++c) total[c] += part[c];
    }
    end_people(p, row, r, b, n, total);
  }
}

// One row and replicate, its weights folded into the codebooks of a part.
template <Kind KIND>
void folded_row(const PackedProduct<float>& p, int64_t node, int64_t row, int64_t unit, int64_t r) {
  const Fan<KIND> fan(p.edges, node, r);
  float table[PART][4];
  int64_t from[PART];
  for (int64_t panel = 0; panel * PANEL < p.batch; panel += GROUP) {
    const int64_t b = panel * PANEL, n = p.batch - b < GROUP * PANEL ? p.batch - b : GROUP * PANEL;
    alignas(64) float room[GROUP * PANEL];
    float* const total = totals_of(p, row, r, b, n, GROUP * PANEL, room);
    const uint8_t* ahead[GROUP];
    for (int64_t i = 0; i < GROUP; ++i) ahead[i] = Panel(p.codes, panel + i)[AHEAD];
    for (int64_t begin = fan.first; begin < fan.last; begin += PART) {
      const int64_t m = fan.last - begin < PART ? fan.last - begin : PART;
      for (int64_t i = 0; i < m; ++i) {
        from[i] = fan.from(begin + i);
        const float w = p.weight[weight_at(p.edges, fan.edge(begin + i), unit) * p.replicates + r];
        *reinterpret_cast<four*>(table[i]) = w * *reinterpret_cast<const four*>(p.codebook + 4 * from[i]);
        if (panel + i % GROUP < p.codes.n_panels) __builtin_prefetch(ahead[i % GROUP] + from[i] * p.codes.variant_stride);
      }
      for (int64_t side = 0; side < GROUP && b + side * PANEL < p.batch; side += SIDE) {
        const Side panels(p.codes, panel + side);
        alignas(64) float sums[16 * W] = {};
        add_terms(table, from, m, panels, sums);
        add_people(sums, total + side * PANEL);
      }
    }
    end_people(p, row, r, b, n, total);
  }
}

constexpr int64_t TOGETHER = 4;  // replicates that share one reading of them

#if defined(VNN_PAIRED)
constexpr int64_t TILE = 16;     // edges whose codes are taken apart for all replicates

// The terms of some edges for many replicates: the pairs' codes [pair][16 positions], and their tables [pair][replicate].
struct Terms {
  alignas(64) float codes[TILE / 2 * 16 * W];
  const float* const* weight;
  float* tables;
  int64_t pairs, replicates;

  Terms(const float* codebook, const Side& panels, const int64_t* from, const float* const* weights, int64_t n, float* room, int64_t all)
      : weight(weights), tables(room), pairs((n + 1) / 2), replicates(all) {
    for (int64_t i = 0; i < n; i += 2) {
      const bool two = i + 1 < n;
      const Pair pair(panels, from[i], two ? from[i + 1] : -1);
      for (int64_t j = 0; j < 16; ++j) give(codes + (i * 8 + j) * W, (real)pair.at(j));
      const real left = repeated(codebook + 4 * from[i]);
      float* to = tables + i / 2 * all * W;
      if (two) {
        const real right = decoded_pair(repeated(codebook + 4 * from[i + 1]), QUARTERS);
        for (int64_t r = 0; r < all; ++r) give(to + r * W, weights[i][r] * left + weights[i + 1][r] * right);
      } else {
        for (int64_t r = 0; r < all; ++r) give(to + r * W, weights[i][r] * left);
      }
    }
  }

  // Added to the sums [replicate][16 positions][W] of COUNT replicates, from the r-th.
  template <int64_t COUNT>
  inline void add(int64_t r, float* sums) const {
    constexpr int64_t WIDE = 4;
    for (int64_t j = 0; j < 16; j += WIDE) {
      real sum[COUNT][WIDE];
      for (int64_t q = 0; q < COUNT; ++q)
        for (int64_t c = 0; c < WIDE; ++c) sum[q][c] = take(sums + (q * 16 + j + c) * W);
      for (int64_t i = 0; i < pairs; ++i) {
        word at[WIDE];
        for (int64_t c = 0; c < WIDE; ++c) at[c] = (word)take(codes + (i * 16 + j + c) * W);
        for (int64_t q = 0; q < COUNT; ++q) {
          const real table = take(tables + (i * replicates + r + q) * W);
          for (int64_t c = 0; c < WIDE; c += 2) {
            sum[q][c] += decoded_pair(table, at[c]);
            sum[q][c + 1] = joined(decoded_pair(table, at[c + 1]), ONE, sum[q][c + 1]);
          }
        }
      }
      for (int64_t q = 0; q < COUNT; ++q)
        for (int64_t c = 0; c < WIDE; ++c) give(sums + (q * 16 + j + c) * W, sum[q][c]);
    }
  }
};
#else
constexpr int64_t TILE = 32;     // edges whose values are decoded for all replicates

// Values [edge][16 positions][W lanes] of `n` variants in one register's panels.
inline void decode(const float* codebook, const int64_t* from, int64_t n, const Side& panels, float* values) {
  for (int64_t i = 0; i < n; ++i) {
    const word c = codes_of(panels, from[i]);
    const real table = repeated(codebook + 4 * from[i]);
    for (int64_t j = 0; j < 16; ++j) give(values + (i * 16 + j) * W, decoded(table, c >> uint32_t(2 * j)));
  }
}

// The terms of some edges for many replicates: their values are decoded once.
struct Terms {
  alignas(64) float values[TILE * 16 * W];
  const float* const* weight;
  int64_t n;

  Terms(const float* codebook, const Side& panels, const int64_t* from, const float* const* weights, int64_t count, float*, int64_t)
      : weight(weights), n(count) {
    decode(codebook, from, n, panels, values);
  }

  // Added to the sums [replicate][16 positions][W] of COUNT replicates, from the r-th.
  template <int64_t COUNT>
  inline void add(int64_t r, float* sums) const {
    constexpr int64_t WIDE = 2;
    for (int64_t j = 0; j < 16; j += WIDE) {
      real sum[COUNT][WIDE];
      for (int64_t q = 0; q < COUNT; ++q)
        for (int64_t c = 0; c < WIDE; ++c) sum[q][c] = take(sums + (q * 16 + j + c) * W);
      int64_t i = 0;
      for (; i + 1 < n; i += 2) {
        real left[WIDE], right[WIDE];
        for (int64_t c = 0; c < WIDE; ++c) {
          left[c] = take(values + (i * 16 + j + c) * W);
          right[c] = take(values + (i * 16 + 16 + j + c) * W);
        }
        for (int64_t q = 0; q < COUNT; ++q)
          for (int64_t c = 0; c < WIDE; ++c) sum[q][c] += weight[i][r + q] * left[c] + weight[i + 1][r + q] * right[c];
      }
      for (; i < n; ++i)
        for (int64_t q = 0; q < COUNT; ++q)
          for (int64_t c = 0; c < WIDE; ++c) sum[q][c] += weight[i][r + q] * take(values + (i * 16 + j + c) * W);
      for (int64_t q = 0; q < COUNT; ++q)
        for (int64_t c = 0; c < WIDE; ++c) give(sums + (q * 16 + j + c) * W, sum[q][c]);
    }
  }
};
#endif

// One row of many replicates. `room` holds ROOM values a replicate.
constexpr int64_t ROOM = 16 * W + SIDE * PANEL + TILE / 2 * W;
void shared_row(const PackedProduct<float>& p, int64_t node, int64_t row, int64_t unit, float* room) {
  const Fan<PLAIN> fan(p.edges, node, 0);
  const int64_t R = p.replicates;
  float *sums = room, *tables = sums + R * 16 * W, *spare = tables + R * TILE / 2 * W;
  std::vector<float*> total(static_cast<std::size_t>(R));
  for (int64_t panel = 0; panel * PANEL < p.batch; panel += SIDE) {
    const int64_t b = panel * PANEL, n = p.batch - b < SIDE * PANEL ? p.batch - b : SIDE * PANEL;
    const Side panels(p.codes, panel);
    for (int64_t r = 0; r < R; ++r) total[std::size_t(r)] = totals_of(p, row, r, b, n, SIDE * PANEL, spare + r * SIDE * PANEL);
    for (int64_t begin = fan.first; begin < fan.last; begin += PART) {
      const int64_t end = begin + PART < fan.last ? begin + PART : fan.last;
      std::memset(sums, 0, std::size_t(R * 16 * W) * sizeof(float));
      for (int64_t at = begin; at < end; at += TILE) {
        const int64_t m = end - at < TILE ? end - at : TILE;
        int64_t from[TILE];
        const float* weight[TILE];
        for (int64_t i = 0; i < m; ++i) {
          from[i] = fan.from(at + i);
          weight[i] = p.weight + weight_at(p.edges, fan.edge(at + i), unit) * R;
        }
        const Terms terms(p.codebook, panels, from, weight, m, tables, R);
        int64_t r = 0;
        for (; r + TOGETHER <= R; r += TOGETHER) terms.add<TOGETHER>(r, sums + r * 16 * W);
        for (; r < R; ++r) terms.add<1>(r, sums + r * 16 * W);
      }
      for (int64_t r = 0; r < R; ++r) add_people(sums + r * 16 * W, total[std::size_t(r)]);
    }
    for (int64_t r = 0; r < R; ++r) end_people(p, row, r, b, n, total[std::size_t(r)]);
  }
}

template <class T>
constexpr bool in_registers = std::is_same<T, float>::value;  // double goes the plain way

constexpr int64_t MANY = 3;  // replicates from which decoding once for all pays

// Nodes a thread takes at a time: the panels are read in long stretches, and all threads end about together.
inline int64_t stretch_of(const Edges& e, int threads) {
  const int64_t share = e.n_nodes / (8 * threads);
  return share < 1 ? 1 : (share < 256 ? share : 256);
}

template <class T, Kind KIND>
void product_of(const PackedProduct<T>& p, int threads) {
  const Edges& e = p.edges;
  const int64_t stretch = stretch_of(e, threads);
#pragma omp parallel num_threads(threads) if (threads > 1)
  {
    std::vector<T> room;
    const bool shared = in_registers<T> && e.wirings == 1 && p.replicates >= MANY;
    if (shared) room.resize(std::size_t(p.replicates * ROOM));
#pragma omp for schedule(dynamic, stretch)
    for (int64_t node = 0; node < e.n_nodes; ++node) {
      const int64_t begin = first_row(e.units, node), own = first_row(e.units, node + 1) - begin;
      for (int64_t unit = 0; unit < own; ++unit) {
        if constexpr (in_registers<T>) {
          if (shared) {
            shared_row(p, node, begin + unit, unit, room.data());
            continue;
          }
          for (int64_t r = 0; r < p.replicates; ++r) folded_row<KIND>(p, node, begin + unit, unit, r);
        } else {
          for (int64_t r = 0; r < p.replicates; ++r) plain_row<T, KIND>(p, node, begin + unit, unit, r);
        }
      }
    }
  }
}

// The gradient of a row in the order of the codes: [panel][16 positions][4 words], 0 behind the batch.
template <class T>
void ordered(const T* g, int64_t batch, T* to) {
  for (int64_t b = 0; b < batch; b += PANEL, to += PANEL) {
    T last[PANEL] = {};
    const T* from = g + b;
    if (batch - b < PANEL) {
      for (int64_t i = b; i < batch; ++i) last[i - b] = g[i];
      from = last;
    }
    for (int64_t j = 0; j < 16; j += 4) {
      const Square<T> turned(from + j, 16);
      for (int64_t k = 0; k < 4; ++k) turned.give(k, to + (j + k) * WORDS);
    }
  }
}

// The sum of 16 lanes, folded in halves.
template <class T>
inline T folded(const T* lanes) {
  typename Simd<T>::vec sum[LANES / N<T>];
  for (int64_t k = 0; k < LANES / N<T>; ++k) sum[k] = load(lanes + k * N<T>);
  return fold<T>(sum);
}

// The products of one variant with a row of g, in lanes.
template <class T>
inline void lanes_of(const T* codebook, const Codes& codes, int64_t v, const T* g, int64_t batch, T* lanes) {
  for (int64_t i = 0; i < 16; ++i) lanes[i] = 0;
  for (int64_t quad = 0; quad * QUAD * PANEL < batch; ++quad)
    for (int64_t side = 0; side < QUAD; ++side) {
      const uint8_t* at = Panel(codes, quad * QUAD + side)[v];
      for (int64_t w = 0; w < WORDS; ++w) {
        const uint32_t bits = word_of(at, w);
        T* lane = lanes + side * WORDS + w;
        const int64_t left = batch - (quad * QUAD + side) * PANEL - w * 16, n = left < 16 ? left : 16;
        for (int64_t j = 0; j < n; ++j) *lane = fused(codebook[bits >> 2 * j & 3], g[(quad * QUAD + side) * PANEL + j * WORDS + w], *lane);
      }
    }
}

// As many variants as a register holds, their four words side by side, and their codebooks.
struct Block {
  const int32_t* v;
  bool neighbours;
  real table;
  void begin(const PackedEdgeProduct<float>& p, const int32_t* variants) {
    v = variants;
    neighbours = p.codes.variant_stride == 4 * WORDS;
    for (int64_t i = 1; i < SIDE; ++i) neighbours = neighbours && v[i] == v[0] + int32_t(i);
    table = (real)beside([&](int64_t i) { return p.codebook + 4 * int64_t(v[i]); });
  }
  inline word codes(const Panel& panel) const {
    if (__builtin_expect(!neighbours, 0)) return beside([&](int64_t i) { return panel[v[i]]; });
    word c;
    std::memcpy(&c, panel[v[0]], sizeof(c));
    return c;
  }
};

// v with the four values of every variant moved down by HALF.
template <int64_t HALF, int64_t... I>
inline real turned_within(real v, Lanes<I...>) {
#if defined(__has_builtin) && __has_builtin(__builtin_shufflevector)
  return __builtin_shufflevector(v, v, (I / 4 * 4 + (I + HALF) % 4)...);
#else
  return real{v[I / 4 * 4 + (I + HALF) % 4]...};
#endif
}

constexpr int64_t CHAINS = W == 16 ? 4 : 2;  // sums that grow side by side for one row of g
constexpr int64_t ROWS = 4;                  // rows of g that share one decoding

// The products of COUNT blocks with REPS rows of g, which lie `stride` apart: those of variant i in the lanes from 4 * i.
// Whether all are numbers.
template <int64_t COUNT, int64_t REPS>
__attribute__((noinline)) bool products_of(const std::vector<Panel>& panels, const Block* blocks, const float* g, int64_t stride, float (*to)[W]) {
  constexpr int64_t SIDES = COUNT * REPS < CHAINS ? CHAINS / (COUNT * REPS) : 1;
  const Panel nobody;
  real total[QUAD][COUNT][REPS];
  for (int64_t side = 0; side < QUAD; side += SIDES) {
    real sum[SIDES][COUNT][REPS] = {};
    for (int64_t at = side; at < int64_t(panels.size()); at += QUAD) {
      const float* row = g + at * PANEL;
      word c[SIDES][COUNT];
      for (int64_t k = 0; k < SIDES; ++k)
        for (int64_t i = 0; i < COUNT; ++i) c[k][i] = blocks[i].codes(at + k < int64_t(panels.size()) ? panels[std::size_t(at + k)] : nobody);
#pragma GCC unroll 16
      for (int64_t j = 0; j < 16; ++j)
        for (int64_t k = 0; k < SIDES; ++k) {
          real values[COUNT];
          for (int64_t i = 0; i < COUNT; ++i) values[i] = decoded(blocks[i].table, c[k][i] >> uint32_t(2 * j));
          for (int64_t r = 0; r < REPS; ++r) {
            const real slope = repeated(row + k * PANEL + r * stride + j * WORDS);
            for (int64_t i = 0; i < COUNT; ++i) sum[k][i][r] = joined(values[i], slope, sum[k][i][r]);
          }
        }
    }
    for (int64_t k = 0; k < SIDES; ++k)
      for (int64_t i = 0; i < COUNT; ++i)
        for (int64_t r = 0; r < REPS; ++r) total[side + k][i][r] = sum[k][i][r];
  }
  real none = {};
  for (int64_t r = 0; r < REPS; ++r)
    for (int64_t i = 0; i < COUNT; ++i) {
      real sum = (total[0][i][r] + total[2][i][r]) + (total[1][i][r] + total[3][i][r]);  // folded in halves
      sum += turned_within<2>(sum, Count<W>::lanes());
      sum += turned_within<1>(sum, Count<W>::lanes());
      give(to[r * COUNT + i], sum);
      none += sum - sum;
    }
  float all = 0;
  for (int64_t i = 0; i < SIDE; ++i) all += none[4 * i];
  return all == 0;
}

// The gradients of the weights of some rows of g for one fan. Behind the batch g is 0, but a codebook may hold what is not a
// number: then those people are left out.
template <Kind KIND>
void edges_in_registers(const PackedEdgeProduct<float>& p, const std::vector<Panel>& panels, const Fan<KIND>& fan, int64_t unit, int64_t rows,
                        const float* g, int64_t stride) {
  constexpr int64_t MOST = CHAINS * SIDE;
  const int64_t replicates = p.replicates;
  const bool in_order = KIND == PLAIN && !p.edges.edge;
  Block blocks[CHAINS];
  int32_t v[MOST];
  int64_t begin, n, weight[MOST];
  const auto sums = [&](int64_t first, int64_t row, auto count, auto reps) {
    constexpr int64_t COUNT = decltype(count)::value, REPS = decltype(reps)::value;
    alignas(64) float found[REPS * COUNT][W];
    const bool numbers = products_of<COUNT, REPS>(panels, blocks + first, g + row * stride, stride, found);
    const int64_t here = first * SIDE, m = n - here < COUNT * SIDE ? n - here : COUNT * SIDE;
    for (int64_t r = 0; r < REPS; ++r) {
      float* to = p.weight + fan.r + row + r;
      const float* sum = found[r * COUNT];
      if (__builtin_expect(!numbers, 0))
        for (int64_t i = 0; i < m; ++i) {
          float lanes[16];
          lanes_of(p.codebook + 4 * int64_t(v[here + i]), p.codes, v[here + i], g + (row + r) * stride, p.batch, lanes);
          found[r * COUNT + i / SIDE][4 * (i % SIDE)] = folded(lanes);
        }
      if (in_order) {
        for (int64_t i = 0; i < m; ++i) to[(begin + here + i) * replicates] = sum[4 * i];
      } else {
        for (int64_t i = 0; i < m; ++i) to[weight[here + i] * replicates] = sum[4 * i];
      }
    }
  };
  const auto all_rows = [&](int64_t first, auto count) {
    int64_t row = 0;
    for (; row + ROWS <= rows; row += ROWS) sums(first, row, count, Constant<ROWS>());
    for (; row < rows; ++row) sums(first, row, count, Constant<1>());
  };
  for (begin = fan.first; begin < fan.last; begin += MOST) {
    n = fan.last - begin < MOST ? fan.last - begin : MOST;
    const int64_t n_blocks = (n + SIDE - 1) / SIDE;
    for (int64_t i = 0; i < n; ++i) v[i] = int32_t(fan.from(begin + i));
    for (int64_t i = n; i < n_blocks * SIDE; ++i) v[i] = v[n - 1];
    if (!in_order)
      for (int64_t i = 0; i < n; ++i) weight[i] = weight_at(p.edges, fan.edge(begin + i), unit);
    for (int64_t k = 0; k < n_blocks; ++k) blocks[k].begin(p, v + k * SIDE);
    int64_t k = 0;
    if (n_blocks == CHAINS) {
      all_rows(0, Constant<CHAINS>());
      continue;
    }
    for (; k + 2 <= n_blocks; k += 2) all_rows(k, Constant<2>());
    if (k < n_blocks) all_rows(k, Constant<1>());
  }
}

template <class T, Kind KIND>
void edges_of(const PackedEdgeProduct<T>& p, int threads) {
  const Edges& e = p.edges;
  const int64_t width = (p.batch + QUAD * PANEL - 1) / (QUAD * PANEL) * QUAD * PANEL;
  const int64_t rows = e.wirings == 1 && e.pointers == 1 ? p.replicates : 1;
  const int64_t stretch = stretch_of(e, threads);
#pragma omp parallel num_threads(threads) if (threads > 1)
  {
    std::vector<T> g(std::size_t(rows * width));
    std::vector<Panel> panels;
    for (int64_t at = 0; at < p.codes.n_panels; ++at) panels.emplace_back(p.codes, at);
#pragma omp for schedule(dynamic, stretch)
    for (int64_t node = 0; node < e.n_nodes; ++node) {
      const int64_t begin = first_row(e.units, node), own = first_row(e.units, node + 1) - begin;
      for (int64_t unit = 0; unit < own; ++unit)
        for (int64_t r = 0; r < p.replicates; r += rows) {
          for (int64_t q = 0; q < rows; ++q)
            ordered(p.g + ((begin + unit) * p.replicates + r + q) * p.batch, p.batch, g.data() + q * width);
          const Fan<KIND> fan(e, node, r);
          if constexpr (in_registers<T>) {
            edges_in_registers(p, panels, fan, unit, rows, g.data(), width);
          } else {
            T lanes[16];
            for (int64_t i = fan.first; i < fan.last; ++i)
              for (int64_t q = 0; q < rows; ++q) {
                lanes_of(p.codebook + 4 * fan.from(i), p.codes, fan.from(i), g.data() + q * width, p.batch, lanes);
                p.weight[weight_at(e, fan.edge(i), unit) * p.replicates + r + q] = folded(lanes);
              }
          }
        }
    }
  }
}

template <class T, Kind KIND>
void codebook_of(const PackedCodebook<T>& p, int threads) {
  using vec = typename Simd<T>::vec;
  using whole = decltype(vec{} == vec{});  // integers as wide as T
  constexpr int64_t REGISTERS = LANES / N<T>;
  whole places;
  for (int64_t i = 0; i < N<T>; ++i) places[i] = 2 * i;
  const Edges& e = p.edges;
#pragma omp parallel num_threads(threads) if (threads > 1)
  {
    std::vector<T> sums(std::size_t(p.batch + 15) / 16 * 16);  // 0 behind the batch
#pragma omp for schedule(dynamic, 64)
    for (int64_t v = 0; v < e.n_nodes; ++v) {
      for (int64_t b = 0; b < p.batch; ++b) sums[std::size_t(b)] = 0;
      for (int64_t r = 0; r < p.replicates; ++r) {
        const Fan<KIND> fan(e, v, r);
        for (int64_t i = fan.first; i < fan.last; ++i) {
          const int64_t begin = first_row(e.from_units, fan.from(i)), own = first_row(e.from_units, fan.from(i) + 1) - begin;
          for (int64_t unit = 0; unit < own; ++unit) {
            const T w = p.weight[weight_at(e, fan.edge(i), unit) * p.replicates + r];
            const T* g = p.g + ((begin + unit) * p.replicates + r) * p.batch;
            for (int64_t b = 0; b < p.batch; ++b) sums[std::size_t(b)] = fused(w, g[b], sums[std::size_t(b)]);
          }
        }
      }
      vec lanes[4][REGISTERS] = {};
      for (int64_t b = 0; b < p.batch; b += 16) {
        const whole bits = whole{} + int32_t(word_of(Panel(p.codes, b / PANEL)[v], b % PANEL / 16));
        for (int64_t i = 0; i < REGISTERS; ++i) {
          const whole code = (bits >> (places + 2 * int32_t(i * N<T>))) & 3;
          const whole sum = (whole)load(sums.data() + b + i * N<T>);
          for (int k = 0; k < 4; ++k) lanes[k][i] += (vec)(sum & (code == k));
        }
      }
      for (int64_t k = 0; k < 4; ++k) p.codebook[4 * v + k] = fold<T>(lanes[k]);
    }
  }
}

}  // namespace

#define VNN_BY_KIND(function, T)                                             \
  switch (kind_of(p.edges)) {                                                \
    case RAGGED: return function<T, RAGGED>(p, threads);                     \
    case WIRED: return function<T, WIRED>(p, threads);                       \
    case PLAIN: return function<T, PLAIN>(p, threads);                       \
  }
void packed_product(const PackedProduct<float>& p, int threads) { VNN_BY_KIND(product_of, float) }
void packed_product(const PackedProduct<double>& p, int threads) { VNN_BY_KIND(product_of, double) }
void packed_edge_product(const PackedEdgeProduct<float>& p, int threads) { VNN_BY_KIND(edges_of, float) }
void packed_edge_product(const PackedEdgeProduct<double>& p, int threads) { VNN_BY_KIND(edges_of, double) }
void packed_codebook(const PackedCodebook<float>& p, int threads) { VNN_BY_KIND(codebook_of, float) }
void packed_codebook(const PackedCodebook<double>& p, int threads) { VNN_BY_KIND(codebook_of, double) }

}  // namespace VNN_SIMD
