// Transposes, gathers and counts of packed genotype codes, compiled once per instruction set.
//
// Everything rests on one step: 64 rows of 2-bit codes become, for each code, the 16 bytes of a panel.
// Counts never look at single codes: with l and h the lower and upper bits of all codes of a register,
// the sums of l, h and l & h give the four counts.
#include "panels.h"

#include <cstring>
#ifdef _OPENMP
#include <omp.h>
#endif

namespace VNN_SIMD {
namespace {

#if defined(VNN_PANEL_WIDTH)  // another width than the instruction set's, for tests
constexpr int64_t WIDTH = VNN_PANEL_WIDTH;
#elif defined(__AVX512F__)
constexpr int64_t WIDTH = 64;
#elif defined(__AVX2__)
constexpr int64_t WIDTH = 32;
#else
constexpr int64_t WIDTH = 16;
#endif

constexpr int64_t PANEL = 64;   // people of a panel
constexpr int64_t STRIP = 1024;  // bytes of a row that are worked on together

alignas(64) const uint8_t zeros[STRIP] = {};

template <int64_t W>
struct Register {
  typedef uint8_t bytes __attribute__((vector_size(W)));
  typedef uint64_t words __attribute__((vector_size(W)));
};
template <int64_t W>
using Bytes = typename Register<W>::bytes;
template <int64_t W>
using Words = typename Register<W>::words;

template <int64_t W>
inline Words<W> load(const void* p) {
  Words<W> v;
  std::memcpy(&v, p, W);
  return v;
}
template <int64_t W>
inline void store(void* p, Words<W> v) {
  std::memcpy(p, &v, W);
}

inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
inline int64_t blocks(int64_t n, int64_t size) { return (n + size - 1) / size; }

inline void fetch(const uint8_t* p, int64_t n) {
  for (int64_t at = 0; at < n; at += 64) __builtin_prefetch(p + at);
}

constexpr uint64_t every(uint64_t byte) { return byte * 0x0101010101010101u; }

// Bytes of the lower (HALF 0) or upper half of every 16 bytes of a and b in turn.
template <int64_t W>
struct Interleave;
#if defined(__clang__)
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, Bytes<sizeof(a)>{__VA_ARGS__})
#endif
#define TURN(a, b, l) a + l, b + l, a + l + 1, b + l + 1, a + l + 2, b + l + 2, a + l + 3, b + l + 3, \
    a + l + 4, b + l + 4, a + l + 5, b + l + 5, a + l + 6, b + l + 6, a + l + 7, b + l + 7
template <>
struct Interleave<16> {
  static Bytes<16> low(Bytes<16> a, Bytes<16> b) { return SHUFFLE(a, b, TURN(0, 16, 0)); }
  static Bytes<16> high(Bytes<16> a, Bytes<16> b) { return SHUFFLE(a, b, TURN(0, 16, 8)); }
};
template <>
struct Interleave<32> {
  static Bytes<32> low(Bytes<32> a, Bytes<32> b) { return SHUFFLE(a, b, TURN(0, 32, 0), TURN(0, 32, 16)); }
  static Bytes<32> high(Bytes<32> a, Bytes<32> b) { return SHUFFLE(a, b, TURN(0, 32, 8), TURN(0, 32, 24)); }
};
template <>
struct Interleave<64> {
  static Bytes<64> low(Bytes<64> a, Bytes<64> b) {
    return SHUFFLE(a, b, TURN(0, 64, 0), TURN(0, 64, 16), TURN(0, 64, 32), TURN(0, 64, 48));
  }
  static Bytes<64> high(Bytes<64> a, Bytes<64> b) {
    return SHUFFLE(a, b, TURN(0, 64, 8), TURN(0, 64, 24), TURN(0, 64, 40), TURN(0, 64, 56));
  }
};

// Exchange the fields of a under `mask << shift` with those of b under `mask`.
template <int64_t W>
inline void exchange(Words<W>& a, Words<W>& b, int shift, uint64_t mask) {
  const Words<W> t = ((a >> shift) ^ b) & mask;
  b ^= t;
  a ^= t << shift;
}

// Codes 4 * at .. 4 * (at + W * N) of 64 rows, 16 bytes each, `stride` bytes apart.
template <int64_t W, int64_t N>
inline void tile(const uint8_t* const* rows, int64_t at, uint8_t* out, int64_t stride) {
  alignas(64) uint8_t held[N][4][16][W];  // [register][code of the byte][four people][byte]
  for (int64_t j = 0; j < 16; ++j) {
    const uint8_t* const* four = rows + 4 * j;
    if (N > 1)
      for (int64_t row = 0; row < 4; ++row) fetch(four[row] + at + N * W, N * W);
    for (int64_t c = 0; c < N; ++c) {
      const int64_t from = at + c * W;
      Words<W> a = load<W>(four[0] + from), b = load<W>(four[1] + from);
      Words<W> e = load<W>(four[2] + from), d = load<W>(four[3] + from);
      exchange<W>(a, e, 4, every(0x0f));
      exchange<W>(b, d, 4, every(0x0f));
      exchange<W>(a, b, 2, every(0x33));
      exchange<W>(e, d, 2, every(0x33));
      store<W>(held[c][0][j], a);
      store<W>(held[c][1][j], b);
      store<W>(held[c][2][j], e);
      store<W>(held[c][3][j], d);
    }
  }
  for (int64_t c = 0; c < N; ++c)
    for (int64_t k = 0; k < 4; ++k) {
      Bytes<W> v[16], w[16];
      for (int64_t j = 0; j < 16; ++j) v[j] = (Bytes<W>)load<W>(held[c][k][j]);
      // Each round moves the highest bit of the register's number to the lowest of the byte's.
      for (int round = 0; round < 4; ++round) {
        for (int64_t j = 0; j < 8; ++j) {
          w[2 * j] = Interleave<W>::low(v[j], v[j + 8]);
          w[2 * j + 1] = Interleave<W>::high(v[j], v[j + 8]);
        }
        for (int64_t j = 0; j < 16; ++j) v[j] = w[j];
      }
      for (int64_t j = 0; j < 16; ++j)
        for (int64_t lane = 0; lane < W / 16; ++lane)
          std::memcpy(out + (4 * (c * W + 16 * lane + j) + k) * stride, reinterpret_cast<const char*>(&v[j]) + 16 * lane, 16);
    }
}

// The first n codes of 64 rows, 16 bytes each, `stride` bytes apart.
inline void strip(const uint8_t* const* rows, int64_t n, uint8_t* out, int64_t stride) {
  constexpr int64_t WIDE = 256;
  int64_t at = 0;
  for (; n - 4 * at >= 4 * WIDE; at += WIDE) tile<WIDTH, WIDE / WIDTH>(rows, at, out + 4 * at * stride, stride);
  for (; n - 4 * at >= 4 * WIDTH; at += WIDTH) tile<WIDTH, 1>(rows, at, out + 4 * at * stride, stride);
  for (; n - 4 * at >= 64; at += 16) tile<16, 1>(rows, at, out + 4 * at * stride, stride);
  if (n > 4 * at) {
    alignas(64) uint8_t ends[PANEL][16] = {}, codes[64][16];
    const uint8_t* end[PANEL];
    for (int64_t j = 0; j < PANEL; ++j) {
      std::memcpy(ends[j], rows[j] + at, size_t(blocks(n - 4 * at, 4)));
      end[j] = ends[j];
    }
    tile<16, 1>(end, 0, codes[0], 16);
    for (int64_t code = 4 * at; code < n; ++code) std::memcpy(out + code * stride, codes[code - 4 * at], 16);
  }
}

// One panel's codes first .. first + n.
inline void gather_strip(const Gather& p, int64_t panel, int64_t first, int64_t n) {
  const uint8_t* rows[PANEL];
  for (int64_t j = 0; j < PANEL; ++j) {
    const int64_t person = panel * PANEL + j;
    rows[j] = person < p.n_people ? p.rows + p.people[person] * p.row_stride + first / 4 : zeros;
  }
  strip(rows, n, p.out + panel * p.panel_stride + first * p.code_stride, p.code_stride);
}

void gather(const Gather& p, int threads) {
  const int64_t strips = blocks(p.n_codes, 4 * STRIP), n = blocks(p.n_people, PANEL) * strips;
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
  for (int64_t item = 0; item < n; ++item) {
    const int64_t first = item % strips * 4 * STRIP;
    gather_strip(p, item / strips, first, least(4 * STRIP, p.n_codes - first));
  }
}

// A block of the transpose reads ACROSS bytes of 4 * DOWN rows and writes DOWN bytes of 4 * ACROSS rows.
constexpr int64_t ACROSS = 256, DOWN = 128;

inline void transpose_block(const Transpose& p, int64_t first, int64_t at) {
  alignas(64) uint8_t codes[DOWN / 16][4 * ACROSS][16];
  const int64_t n = least(4 * ACROSS, p.n_codes - 4 * at);
  for (int64_t part = 0; part < DOWN / 16; ++part) {
    const uint8_t* rows[PANEL];
    for (int64_t j = 0; j < PANEL; ++j) {
      const int64_t row = first + part * PANEL + j;
      rows[j] = row < p.n_rows ? p.rows + row * p.row_stride + at : zeros;
    }
    strip(rows, n, codes[part][0], 16);
  }
  const int64_t bytes = least(DOWN, p.out_bytes - first / 4);
  uint8_t* out = p.out + 4 * at * p.out_stride + first / 4;
  for (int64_t code = 0; code < n; ++code) {
    uint8_t* row = out + code * p.out_stride;
    if (bytes == DOWN)
      for (int64_t part = 0; part < DOWN / 16; ++part) std::memcpy(row + 16 * part, codes[part][code], 16);
    else
      for (int64_t done = 0; done < bytes; done += 16)
        std::memcpy(row + done, codes[done / 16][code], size_t(least(16, bytes - done)));
  }
}

void transpose(const Transpose& p, int threads) {
  const int64_t across = blocks(p.n_codes, 4 * ACROSS), down = blocks(p.out_bytes, DOWN);
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
  for (int64_t item = 0; item < across * down; ++item)
    transpose_block(p, item / across * 4 * DOWN, item % across * ACROSS);
}

// The codes of the runs in variants first .. first + 4 * width, one row of `width` bytes for each person.
inline void people_of_block(const Deal& p, int64_t first, uint8_t* scratch) {
  const int64_t n = least(4 * p.width, p.n_variants - first);
  for (int64_t part = 0; part < blocks(n, PANEL); ++part) {
    uint8_t* out = scratch + 16 * part;
    for (int64_t run = 0; run < p.n_runs; ++run)
      for (int64_t done = 0; done < p.run_bytes[run]; done += STRIP) {
        const int64_t bytes = least(STRIP, p.run_bytes[run] - done);
        const uint8_t* rows[PANEL];
        for (int64_t j = 0; j < PANEL; ++j) {
          const int64_t variant = part * PANEL + j;
          rows[j] = variant < n ? p.rows + (first + variant) * p.row_stride + p.run_first[run] + done : zeros;
        }
        strip(rows, 4 * bytes, out, p.width);
        out += 4 * bytes * p.width;
      }
  }
}

void deal(const Deal& p, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
  for (int64_t block = 0; block < blocks(p.n_variants, 4 * p.width); ++block) {
#ifdef _OPENMP
    uint8_t* scratch = p.scratch + omp_get_thread_num() * p.scratch_size;
#else
    uint8_t* scratch = p.scratch;
#endif
    const int64_t first = block * 4 * p.width, n = least(4 * p.width, p.n_variants - first);
    people_of_block(p, first, scratch);
    const Gather g = {scratch, p.width, p.people, p.n_people, n, p.out + first * p.code_stride, p.panel_stride, p.code_stride};
    for (int64_t panel = 0; panel < blocks(p.n_people, PANEL); ++panel) gather_strip(g, panel, 0, n);
  }
}

// Sums of the lower bits, the upper bits and of both: first of 2-bit fields, then of bytes, then of words.
template <int64_t W>
struct Sums {
  Words<W> low = {}, high = {}, both = {};

  void add_codes(Words<W> x) {
    const Words<W> l = x & every(0x55), h = (x >> 1) & every(0x55);
    low += l;
    high += h;
    both += l & h;
  }
  void add(const Sums& s) {
    low += s.low;
    high += s.high;
    both += s.both;
  }
};

// 2-bit fields of up to 3 to bytes of up to 12.
template <int64_t W>
inline Words<W> to_bytes(Words<W> x) {
  x = (x & every(0x33)) + ((x >> 2) & every(0x33));
  return (x & every(0x0f)) + ((x >> 4) & every(0x0f));
}
template <int64_t W>
inline Words<W> to_words(Words<W> x) {
  x = (x & 0x00ff00ff00ff00ffu) + ((x >> 8) & 0x00ff00ff00ff00ffu);
  x = (x & 0x0000ffff0000ffffu) + ((x >> 16) & 0x0000ffff0000ffffu);
  return (x & 0xffffffffu) + (x >> 32);
}

constexpr int64_t MOST = 21;  // threes of registers whose bytes, 12 each, stay below 256

inline void write_counts(int64_t* out, int64_t low, int64_t high, int64_t both, int64_t n) {
  out[0] = n - low - high + both;
  out[1] = low - both;
  out[2] = high - both;
  out[3] = both;
}

template <int64_t W>
inline Words<W> load_part(const uint8_t* p, int64_t n) {
  if (n >= W) return load<W>(p);
  alignas(W) uint8_t part[W] = {};
  if (n > 0) std::memcpy(part, p, size_t(n));
  return load<W>(part);
}

inline void count_row(const RowCounts& p, int64_t row) {
  constexpr int64_t W = WIDTH;
  const uint8_t* x = p.rows + row * p.row_stride;
  Sums<W> total;
  for (int64_t at = 0; at < p.n_bytes;) {
    Sums<W> bytes;
    for (int64_t three = 0; three < MOST && at < p.n_bytes; ++three, at += 3 * W) {
      Sums<W> fields;
      if (p.n_bytes - at >= 3 * W)
        for (int64_t c = 0; c < 3; ++c) fields.add_codes(load<W>(x + at + c * W) & load<W>(p.mask + at + c * W));
      else
        for (int64_t from = at; from < p.n_bytes; from += W)
          fields.add_codes(load_part<W>(x + from, p.n_bytes - from) & load_part<W>(p.mask + from, p.n_bytes - from));
      bytes.add({to_bytes<W>(fields.low), to_bytes<W>(fields.high), to_bytes<W>(fields.both)});
    }
    total.add({to_words<W>(bytes.low), to_words<W>(bytes.high), to_words<W>(bytes.both)});
  }
  int64_t low = 0, high = 0, both = 0;
  for (int64_t i = 0; i < W / 8; ++i) {
    low += int64_t(total.low[i]);
    high += int64_t(total.high[i]);
    both += int64_t(total.both[i]);
  }
  write_counts(p.out + 4 * row, low, high, both, p.n_kept);
}

void row_counts(const RowCounts& p, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
  for (int64_t row = 0; row < p.n_rows; ++row) count_row(p, row);
}

constexpr int64_t VARIANTS = 64;  // variants whose byte sums stay near

// W / 16 variants at a time, which lie side by side.
template <int64_t W>
inline void count_panels(const PanelCounts& p, int64_t first, int64_t n) {
  constexpr int64_t EACH = W / 16;
  for (int64_t v = 0; v < n; ++v) std::memset(p.out + 4 * (first + v), 0, 4 * sizeof(int64_t));
  for (int64_t begin = 0; begin < p.n_panels; begin += 3 * MOST) {
    const int64_t end = least(begin + 3 * MOST, p.n_panels);
    Sums<W> bytes[VARIANTS / EACH];
    for (int64_t panel = begin; panel < end; panel += 3) {
      const uint8_t* x[3];
      Words<W> mask[3];
      for (int64_t c = 0; c < 3; ++c) {
        const bool here = panel + c < end;
        x[c] = p.panels + (here ? panel + c : panel) * p.panel_stride + first * p.code_stride;
        for (int64_t lane = 0; lane < EACH; ++lane)
          std::memcpy(reinterpret_cast<char*>(&mask[c]) + 16 * lane, here ? p.mask + 16 * (panel + c) : zeros, 16);
      }
      for (int64_t v = 0; v + EACH <= n; v += EACH) {
        Sums<W> fields;
        for (int64_t c = 0; c < 3; ++c) fields.add_codes(load<W>(x[c] + v * p.code_stride) & mask[c]);
        bytes[v / EACH].add({to_bytes<W>(fields.low), to_bytes<W>(fields.high), to_bytes<W>(fields.both)});
      }
    }
    for (int64_t v = 0; v < n; ++v) {
      if (v % EACH == 0) {
        Sums<W>& s = bytes[v / EACH];
        s = {to_words<W>(s.low), to_words<W>(s.high), to_words<W>(s.both)};
      }
      const Sums<W>& s = bytes[v / EACH];
      const int64_t i = 2 * (v % EACH);
      int64_t* out = p.out + 4 * (first + v);
      out[1] += int64_t(s.low[i] + s.low[i + 1]);
      out[2] += int64_t(s.high[i] + s.high[i + 1]);
      out[3] += int64_t(s.both[i] + s.both[i + 1]);
    }
  }
  for (int64_t v = 0; v < n; ++v) {
    int64_t* out = p.out + 4 * (first + v);
    write_counts(out, out[1], out[2], out[3], p.n_kept);
  }
}

void panel_counts(const PanelCounts& p, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
  for (int64_t block = 0; block < blocks(p.n_variants, VARIANTS); ++block) {
    const int64_t first = block * VARIANTS, n = least(VARIANTS, p.n_variants - first);
    const int64_t wide = p.code_stride == 16 ? n / (WIDTH / 16) * (WIDTH / 16) : 0;
    if (wide) count_panels<WIDTH>(p, first, wide);
    if (n > wide) count_panels<16>(p, first + wide, n - wide);
  }
}

constexpr int64_t ROWS = 15;     // rows whose sums fit 4 bits
constexpr int64_t FLUSH = 17;    // and how many of those fit a byte

struct ByteSums {
  alignas(64) uint8_t at[3][4][STRIP];  // [quantity][person of the byte][byte]
};

// Adds W bytes of 15 rows.
template <int64_t W>
inline void add_rows(const uint8_t* const* rows, int64_t from, ByteSums& sums, int64_t to) {
  Words<W> even[3] = {}, odd[3] = {};
  for (int64_t row = 0; row < ROWS; row += 3) {
    Sums<W> fields;
    for (int64_t c = 0; c < 3; ++c) fields.add_codes(load<W>(rows[row + c] + from));
    const Words<W> each[3] = {fields.low, fields.high, fields.both};
    for (int q = 0; q < 3; ++q) {
      even[q] += each[q] & every(0x33);
      odd[q] += (each[q] >> 2) & every(0x33);
    }
  }
  for (int q = 0; q < 3; ++q) {
    const Words<W> person[4] = {even[q] & every(0x0f), odd[q] & every(0x0f), (even[q] >> 4) & every(0x0f),
                                (odd[q] >> 4) & every(0x0f)};
    for (int j = 0; j < 4; ++j) store<W>(sums.at[q][j] + to, load<W>(sums.at[q][j] + to) + person[j]);
  }
}

// Adds the sums of the first n_bytes <= STRIP of n_rows rows to total (3, 4, width).
inline void sum_rows(const uint8_t* x, int64_t stride, int64_t n_rows, int64_t n_bytes, int64_t width, int64_t* total) {
  for (int64_t begin = 0; begin < n_rows; begin += ROWS * FLUSH) {
    const int64_t end = least(begin + ROWS * FLUSH, n_rows);
    ByteSums sums;
    for (auto& quantity : sums.at)
      for (auto& person : quantity) std::memset(person, 0, size_t(blocks(n_bytes, 16) * 16));
    for (int64_t first = begin; first < end; first += ROWS) {
      const uint8_t* rows[ROWS];
      for (int64_t j = 0; j < ROWS; ++j) rows[j] = first + j < end ? x + (first + j) * stride : zeros;
      int64_t at = 0;
      for (; n_bytes - at >= WIDTH; at += WIDTH) add_rows<WIDTH>(rows, at, sums, at);
      for (; n_bytes - at >= 16; at += 16) add_rows<16>(rows, at, sums, at);
      if (at < n_bytes) {
        alignas(16) uint8_t ends[ROWS][16] = {};
        const uint8_t* end_of[ROWS];
        for (int64_t j = 0; j < ROWS; ++j) {
          std::memcpy(ends[j], rows[j] + at, size_t(n_bytes - at));
          end_of[j] = ends[j];
        }
        add_rows<16>(end_of, 0, sums, at);
      }
    }
    for (int q = 0; q < 3; ++q)
      for (int j = 0; j < 4; ++j)
        for (int64_t byte = 0; byte < n_bytes; ++byte) total[(4 * q + j) * width + byte] += sums.at[q][j][byte];
  }
}

// Rows of 16 bytes that lie side by side are taken 16 at a time, as rows of 256.
inline void sum_panel(const uint8_t* x, int64_t n_rows, int64_t* total) {
  constexpr int64_t TOGETHER = 16, SIDE = 16 * TOGETHER;
  int64_t wide[12 * SIDE] = {};
  sum_rows(x, SIDE, n_rows / TOGETHER, SIDE, SIDE, wide);
  for (int64_t i = 0; i < 12 * SIDE; ++i) total[i / SIDE * 16 + i % 16] += wide[i];
  const int64_t done = n_rows / TOGETHER * TOGETHER;
  sum_rows(x + done * 16, 16, n_rows - done, 16, 16, total);
}

void person_counts(const PersonCounts& p, int threads) {
  const int64_t n_groups = blocks(p.n_bytes, p.width), size = 12 * p.width;
  const int64_t rows = blocks(p.n_rows, p.n_parts);
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
  for (int64_t item = 0; item < n_groups * p.n_parts; ++item) {
    const int64_t group = item / p.n_parts, part = item % p.n_parts;
    const int64_t first = least(part * rows, p.n_rows), n = least(rows, p.n_rows - first);
    const uint8_t* x = p.groups + group * p.group_stride + first * p.row_stride;
    int64_t* total = p.sums + (part * n_groups + group) * size;
    std::memset(total, 0, size_t(size) * sizeof(int64_t));
    if (p.width == 16 && p.row_stride == 16)
      sum_panel(x, n, total);
    else
      sum_rows(x, p.row_stride, n, least(p.width, p.n_bytes - group * p.width), p.width, total);
  }
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
  for (int64_t person = 0; person < p.n_people; ++person) {
    const int64_t byte = person / 4, at = byte / p.width * size + person % 4 * p.width + byte % p.width;
    int64_t sum[3] = {};
    for (int64_t part = 0; part < p.n_parts; ++part)
      for (int q = 0; q < 3; ++q) sum[q] += p.sums[part * n_groups * size + at + 4 * q * p.width];
    write_counts(p.out + 4 * person, sum[0], sum[1], sum[2], p.n_rows);
  }
}

#define NAME_OF(simd) NAME_OF_(simd)
#define NAME_OF_(simd) #simd

}  // namespace

extern const Panels panels;
const Panels panels = {NAME_OF(VNN_SIMD), gather, transpose, deal, row_counts, panel_counts, person_counts};

}  // namespace VNN_SIMD
