// The edges into one node, however much they vary between replicates and units.
#pragma once
#include "kernels.h"

namespace VNN_SIMD {
namespace {

inline int64_t first_row(const int32_t* units, int64_t node) { return units ? units[node] : node; }

// How much the edges of a graph vary: one weight each; also a wiring per replicate; or blocks of weights.
enum Kind { PLAIN, WIRED, RAGGED };

inline Kind kind_of(const Edges& e) {
  if (e.block || e.units || e.from_units) return RAGGED;
  return e.wirings > 1 || e.pointers > 1 ? WIRED : PLAIN;
}

// The edges into one node as replicate r has them.
template <Kind KIND>
struct Fan {
  const Edges& e;
  int64_t r, first, last;
  Fan(const Edges& edges, int64_t node, int64_t replicate) : e(edges), r(replicate) {
    if (KIND == PLAIN) {
      first = e.ptr[node];
      last = e.ptr[node + 1];
    } else {
      const int64_t column = e.pointers > 1 ? r : 0;
      first = e.ptr[node * e.pointers + column];
      last = e.ptr[(node + 1) * e.pointers + column];
    }
  }
  inline int64_t at(int64_t i) const { return KIND == PLAIN || e.wirings == 1 ? i : i * e.wirings + r; }
  inline int64_t from(int64_t i) const { return e.from[at(i)]; }
  inline int64_t edge(int64_t i) const { return e.edge ? e.edge[at(i)] : i; }
};

}  // namespace
}  // namespace VNN_SIMD
