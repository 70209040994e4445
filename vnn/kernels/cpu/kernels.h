// The kernels every instruction set provides, and the arrays they work on.
#pragma once
#include <cstdint>

// Edges grouped by the node they lead to. A node owns `units[node] .. units[node + 1]` rows; without
// `units` every node is one row. An edge e carries a block of weights that starts at `block[e]`, rows
// by target unit; without `block` it is the single weight e.
struct Edges {
  int64_t n_nodes;        // nodes the edges lead to
  const int32_t* ptr;     // (n_nodes + 1) first edge of each node
  const int32_t* from;    // (n_edges) node at the other end
  const int32_t* edge;    // (n_edges) number of the edge, or null: its position
  const int32_t* units;   // rows of the nodes the edges lead to, or null
  const int32_t* from_units;  // rows of the nodes at the other end, or null
  const int64_t* block;   // first weight of each edge, or null
};

// y[o, r, b] = bias[o, r] + addend[o, r, b] + sum over edges of w[e, r] * x[from, r, b]
template <class T>
struct Product {
  Edges edges;
  bool transposed;        // the edges are read against the signal: blocks are transposed
  int64_t x_replicates;   // 1: shared by all replicates
  int64_t y_replicates;   // 1: summed over the replicates
  int64_t replicates, batch;
  const T *x, *weight, *bias, *addend;
  T* y;
};

// w[e, r] = sum over the batch of g[target, r, b] * x[source, r, b]
template <class T>
struct EdgeProduct {
  Edges edges;            // grouped by target
  int64_t x_replicates, replicates, batch;
  const T *g, *x;
  T* weight;
};

// y[i] = sum over the batch of x[i, b]
template <class T>
struct RowSum {
  int64_t rows, batch;
  const T* x;
  T* y;
};

// y = x * keep / (1 - rate), keep a hash of (key of the replicate, node, sample)
template <class T>
struct Dropout {
  int64_t rows, replicates, batch;
  const uint32_t* keys;      // (replicates)
  const int32_t* node;       // (rows) node of each row
  const uint32_t* threshold; // (rows) dropped where the hash is below
  const T* scale;            // (rows) 1 / (1 - rate)
  const int64_t* samples;    // (batch)
  const T* x;
  T* y;
};

// One step of Adam (decoupled: AdamW) for parameters of shape (rows, replicates).
template <class T>
struct Adam {
  int64_t rows, replicates;
  T beta1, beta2, eps;
  int32_t decoupled;
  const T *lr, *decay, *correction1, *correction2;  // (replicates)
  const uint8_t* active;                           // (replicates)
  const T* grad;
  T *parameter, *mean, *square;
};

struct Kernels {
  const char* name;
  void (*product_f32)(const Product<float>&, int);
  void (*product_f64)(const Product<double>&, int);
  void (*edge_product_f32)(const EdgeProduct<float>&, int);
  void (*edge_product_f64)(const EdgeProduct<double>&, int);
  void (*row_sum_f32)(const RowSum<float>&, int);
  void (*row_sum_f64)(const RowSum<double>&, int);
  void (*dropout_f32)(const Dropout<float>&, int);
  void (*dropout_f64)(const Dropout<double>&, int);
  void (*adam_f32)(const Adam<float>&, int);
  void (*adam_f64)(const Adam<double>&, int);
};
