// What the kernels are given, one structure each, by value. `arguments.py` mirrors this file.
#pragma once
#include "numbers.h"

// Up to PART edges that lead to one row (or, in packed products, to the rows of one node).
struct Item {
  int row;         // the row, or the first row of the node
  int begin, end;  // its edges
  int slot;        // where its sum waits for those of other items, or -1: it is the only one
};

struct Owner {
  int node;        // node of the row; in packed products: the number of rows of the node
  int replicate;   // the only replicate the item is for, or -1
};

// Where the sums of a row wait that is the work of several items.
struct Row {
  int row, slot, parts, step, replicate;
};

struct Edges {
  const Item* items;
  const Owner* owners;    // null: node = row, all replicates
  i64 n_items;
  const int* from;        // (n_edges) or (n_edges, replicates): node at the other end
  const int* edge;        // the same shape: number of the edge, or null: its position
  i64 per_replicate;      // replicates where the wiring has that axis, otherwise 1
  const int* units;       // first row of the nodes the edges lead to, or null
  const int* from_units;  // first row of the nodes at the other end, or null
  const i64* block;       // first weight of each edge, or null
};

struct Product {
  Edges edges;
  i64 transposed;         // blocks are read transposed
  i64 x_replicates;       // 1: shared by all replicates
  i64 y_replicates;       // 1: summed over the replicates
  i64 replicates, batch;
  const void *x, *weight, *bias, *addend;
  void *y, *scratch;
};

struct Finish {
  const Row* rows;
  i64 n_rows, replicates, scratch_replicates, batch;
  const void *bias, *addend, *scratch;
  void* y;
};

struct EdgeProduct {
  i64 n_weights, replicates, x_replicates, batch;
  const int* target;      // (n_weights) row of the target
  const int* edge;        // (n_weights) edge of the weight, or null: its position
  const int* from;        // (n_edges) or (n_edges, replicates)
  i64 per_replicate;
  const int* from_units;
  const i64* block;
  const void *g, *x;
  void* weight;
};

struct RowSum {
  i64 rows, batch;
  const void* x;
  void* y;
};

struct Dropout {
  i64 rows, replicates, batch;
  const u32* keys;
  const int* node;
  const u32* threshold;
  const void* scale;
  const i64* samples;
  const void* x;
  void* y;
};

struct Adam {
  i64 rows, replicates;
  double beta1, beta2, eps;
  i64 decoupled;
  const void *lr, *decay, *correction1, *correction2;
  const unsigned char* active;
  const void* grad;
  void *parameter, *mean, *square;
};

// PLINK's 2-bit codes in panels of 64 people, and the value of each code.
struct Packed {
  const unsigned char* codes;
  i64 n_panels, panel_stride, variant_stride;  // strides in bytes
  const i64* panels;
  i64 n_batch_panels, batch;
  const void* codebook;                        // (n_variants, 4)
};

struct PackedProduct {
  Packed packed;
  Edges edges;            // items by node
  i64 replicates, max_columns;
  const void *weight, *bias, *addend;
  void *y, *scratch;
};

struct PackedEdgeProduct {
  Packed packed;
  Edges edges;            // items by node, at most 32 edges each
  i64 replicates, max_columns;
  const void *g, *weight;
  void* out;              // (n_weights, replicates), or (n_edges, 4) for the codebook
};

// out[v] = sum over the edges out of v of by_edge[edge]
struct Gather {
  i64 n_nodes, per_replicate, replicate, accumulate;
  const int *ptr, *edge;
  const void* by_edge;
  void* out;
};

// c += a * b for matrices of 16 x 8, 8 x 8 and 16 x 8.
struct Fragment {
  const float *a, *b;
  float* c;
};
