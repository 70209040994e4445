// The operations on packed genotype codes, and the arrays they work on.
//
// A code has 2 bits; code j of a row has bits 2 * (j % 4) of byte j / 4. Strides are in bytes and may
// be negative; bytes of one row lie side by side. A panel is 64 people: 16 bytes for each variant.
#pragma once
#include <cstdint>

// Panels of any people out of one row of codes per person.
struct Gather {
  const uint8_t* rows;
  int64_t row_stride;
  const int64_t* people;  // (n_people) row of each
  int64_t n_people, n_codes;
  uint8_t* out;           // panel p, variant v at p * panel_stride + v * code_stride
  int64_t panel_stride, code_stride;
};

// Row c of the result holds code c of every row.
struct Transpose {
  const uint8_t* rows;
  int64_t row_stride, n_rows, n_codes;
  uint8_t* out;           // (n_codes) rows of out_bytes, written whole
  int64_t out_stride, out_bytes;
};

// Panels out of one row of codes per variant. Blocks of 4 * width variants are transposed into
// `scratch`, only the bytes of the runs, and gathered from there.
struct Deal {
  const uint8_t* rows;
  int64_t row_stride, n_variants;
  const int64_t *run_first, *run_bytes;  // (n_runs) stretches of bytes that hold the people
  int64_t n_runs;
  const int64_t* people;  // (n_people) place of each among the codes of all runs
  int64_t n_people;
  uint8_t* scratch;       // scratch_size bytes for each thread
  int64_t scratch_size, width;
  uint8_t* out;
  int64_t panel_stride, code_stride;
};

// Counts of the codes 00, 01, 10, 11 along each row, where the mask has both bits.
struct RowCounts {
  const uint8_t* rows;
  int64_t row_stride, n_rows, n_bytes;
  const uint8_t* mask;    // (n_bytes)
  int64_t n_kept;
  int64_t* out;           // (n_rows, 4)
};

// The same for each variant over all panels.
struct PanelCounts {
  const uint8_t* panels;
  int64_t panel_stride, code_stride, n_panels, n_variants;
  const uint8_t* mask;    // (n_panels, 16)
  int64_t n_kept;
  int64_t* out;           // (n_variants, 4)
};

// Counts of the codes down the rows, for the people of one or several groups of `width` bytes.
struct PersonCounts {
  const uint8_t* groups;
  int64_t group_stride, row_stride, n_rows, n_bytes, width;
  int64_t n_people, n_parts;
  int64_t* sums;          // (n_parts, groups, 3, 4, width): person 4 * byte + j at [j][byte]
  int64_t* out;           // (n_people, 4)
};

struct Panels {
  const char* name;
  void (*gather)(const Gather&, int);
  void (*transpose)(const Transpose&, int);
  void (*deal)(const Deal&, int);
  void (*row_counts)(const RowCounts&, int);
  void (*panel_counts)(const PanelCounts&, int);
  void (*person_counts)(const PersonCounts&, int);
};
