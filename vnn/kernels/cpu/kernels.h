// The kernels every instruction set provides, and the arrays they work on.
#pragma once
#include <cstdint>

// A float of 16 bits: the upper half of a float32.
struct bf16 {
  uint16_t bits;
};

// The type sums are taken in, and weights are held in, for activations stored as S.
template <class S>
struct Sum { typedef S type; };
template <>
struct Sum<bf16> { typedef float type; };
template <class S>
using sum_t = typename Sum<S>::type;

// Edges grouped by the node they lead to. A node owns `units[node] .. units[node + 1]` rows; without
// `units` every node is one row. An edge e carries a block of weights that starts at `block[e]`, rows
// by target unit; without `block` it is the single weight e. Where replicates are wired differently,
// `from` and `edge` have `wirings` values per edge and `ptr` has `pointers` per node, one a replicate.
struct Edges {
  int64_t n_nodes;        // nodes the edges lead to
  int64_t wirings, pointers;  // replicates wired each in its own way, or 1
  const int32_t* ptr;     // (n_nodes + 1, pointers) first edge of each node
  const int32_t* from;    // (n_edges, wirings) node at the other end
  const int32_t* edge;    // (n_edges, wirings) number of the edge, or null: its position
  const int32_t* units;   // rows of the nodes the edges lead to, or null
  const int32_t* from_units;  // rows of the nodes at the other end, or null
  const int64_t* block;   // first weight of each edge, or null
};

// y[o, r, b] = bias[o, r] + addend[o, r, b] + sum over edges of w[e, r] * x[from, r, b]
template <class S>
struct Product {
  Edges edges;
  bool transposed;        // the edges are read against the signal: blocks are transposed
  int64_t x_replicates;   // 1: shared by all replicates
  int64_t y_replicates;   // 1: summed over the replicates
  int64_t replicates, batch, n_in;  // n_in: rows of x
  const S* x;
  const sum_t<S>*weight, *bias;
  const S* addend;
  S* y;
};

// w[e, r] = sum over the batch of g[target, r, b] * x[source, r, b]
template <class S>
struct EdgeProduct {
  Edges edges;            // grouped by target
  int64_t x_replicates, replicates, batch;
  const S *g, *x;
  sum_t<S>* weight;
};

// Both gradients of a product whose nodes have one unit and whose replicates have their own x:
// dx[i, r, b] = sum over edges out of i of w[e, r] * g[to, r, b];  dw[e, r] = sum over b of g[to, r, b] * x[i, r, b]
template <class S>
struct Backward {
  Edges edges;            // grouped by source
  int64_t replicates, batch;
  const S *g, *x;
  const sum_t<S>* weight;
  S* dx;
  sum_t<S>* dw;
};

// y[i] = sum over the batch of x[i, b]
template <class S>
struct RowSum {
  int64_t rows, batch;
  const S* x;
  sum_t<S>* y;
};

// y = x * keep / (1 - rate), keep a hash of (key of the replicate, node, sample)
template <class T>
struct Dropout {
  int64_t rows, replicates, batch;
  const uint32_t* keys;      // (replicates)
  const int32_t* node;       // (rows) node of each row
  int64_t rates;             // columns of the next two: 1, or one per replicate
  const uint32_t* threshold; // (rows, rates) dropped where the hash is below
  const T* scale;            // (rows, rates) 1 / (1 - rate)
  const int64_t* samples;    // (batch)
  const T* x;
  T* y;
};

// Activations.
enum Shape { TANH, SIGMOID, RELU, SOFTSIGN, LINEAR };

// One step of Adam (decoupled: AdamW) for parameters of shape (rows, replicates).
template <class T>
struct Adam {
  int64_t rows, replicates;
  T beta1, beta2, eps;
  int32_t decoupled;
  const T *lr, *decay, *correction1, *correction2;  // (replicates)
  const T* factor;                                 // (replicates) gradients are multiplied by it, or null
  const uint8_t* active;                           // (replicates)
  const T* grad;
  T *parameter, *mean, *square;
};

// One step of gradient descent with momentum.
template <class T>
struct Descent {
  int64_t rows, replicates;
  T momentum;
  const T *lr, *decay, *factor;  // (replicates); factor may be null
  const uint8_t* active;
  const T* grad;
  T *parameter, *velocity;
};

// Which replicates take a step: those alive whose loss and gradient are finite and that have seen a sample.
template <class T>
struct Judge {
  int64_t replicates;
  double most, beta1, beta2;  // most: the largest norm of a gradient, or 0
  double* squares;            // (replicates) of the gradient; 0 afterwards
  const T* loss;
  const double* counted;
  const uint8_t* alive;
  int64_t* steps;             // counts those taken
  uint8_t *active, *sound;
  T *factor, *correction1, *correction2;
};

// y[i, r, b] = (x[i, b], or fill[i, r] where missing) * scale[i, r] + shift[i, r], then dropped or kept as in `Dropout`
template <class T>
struct Entrance {
  int64_t rows, replicates, batch;
  const T *x, *missing;            // (rows, batch); missing: 1 or 0, or null
  const T *scale, *shift, *fill;   // (rows, replicates)
  const uint32_t* keys;
  const int32_t* node;
  int64_t rates;
  const uint32_t* threshold;
  const T* kept;                   // (rows, rates) 1 / (1 - rate)
  const int64_t* samples;
  T* y;
};

template <class T>
struct Activate {
  int64_t count, shape;
  const T* x;
  T* y;
};
template <class T>
struct ActivateBackward {
  int64_t count, shape;
  const T *g, *y;
  T* dx;
};

// Batch normalisation by running statistics: y = (x - mean) / sqrt(variance + eps) * gain + bias
template <class T>
struct Affine {
  int64_t items, batch;
  T eps;
  const T *gain, *bias, *mean, *variance, *x;
  T* y;
};

// Weights for raw inputs: folded = weight * scale[source]; filled = folded * fill[source]; bias = own bias + the sum over
// the weights into a target of weight * shift[source].
template <class T>
struct FoldScaling {
  int64_t rows, replicates, outs, wirings;
  const int64_t *source, *target;  // (rows, wirings), (rows): rows of the inputs and of the result
  const T *weight, *scale, *shift, *fill, *own_bias;
  T *folded, *filled, *bias;       // filled, own_bias: or null
};
template <class T>
struct FoldScalingBackward {
  int64_t rows, replicates, wirings;
  const int64_t *source, *target;
  const T *folded, *filled, *bias, *scale, *shift, *fill;  // gradients of the results above
  T* weight;
};

// The loss of every replicate, of the mean of its heads and, times head_weight / heads, of each; and its gradient.
enum Task { BINARY, MULTICLASS, REGRESSION };
template <class T>
struct Loss {
  int64_t heads, targets, replicates, batch, task;
  double head_weight;
  const T* logits;            // (heads, targets, replicates, batch)
  const T* target;            // (replicates, batch) class codes or values
  const T* share;             // (replicates, batch)
  T *gradient, *total, *loss; // gradient: or null; total: it summed over the heads, or null
};

// Every (row, replicate) standardised over the batch by weighted statistics: y = shape((x - mean) / sqrt(variance + eps) * gain
// + bias). Where the shares of a replicate can tell a variance, its running statistics move by `momentum`.
template <class T>
struct Normalise {
  int64_t rows, replicates, batch, shape;
  T momentum, eps;
  const T *share;                  // (replicates, batch), each row summing to 1 or all 0
  const T *gain, *bias, *x;
  T *running_mean, *running_variance, *mean, *variance, *y;
};
template <class T>
struct NormaliseBackward {
  int64_t rows, replicates, batch, shape;
  T eps;
  const T *share, *gain, *mean, *variance, *x, *y, *g;  // y: not read where the shape is LINEAR; g: the gradient at y
  T *dx, *dgain, *dbias;
};

// x[., r] of active replicates nearer to 0 by lr[r] * rate, and not beyond.
template <class T>
struct Shrink {
  int64_t rows, replicates;
  T rate;
  const T* lr;            // (replicates)
  const uint8_t* active;  // (replicates)
  T* x;
};

// The gradient of rate * (the sum over rows and samples of share[r, b] |x[i, r, b]|), added to dx.
template <class T>
struct Lean {
  int64_t rows, replicates, batch;
  T rate;
  const T *share, *x;     // (replicates, batch), (rows, replicates, batch)
  T* dx;
};

// sums[r] += the squares of x[., r]
template <class T>
struct Squares {
  int64_t rows, replicates;
  const T* x;
  double* sums;
};

// y[i, b] = x[i, at[b]], 0 behind the batch; with `missing`, NaN becomes 0 there and 1 in `missing`.
template <class T>
struct Columns {
  int64_t rows, stride, batch, width;
  const int64_t* at;
  const T* x;
  T *y, *missing;
};

// Genotypes of a batch: person b is number b % 64 of panel panels[b / 64]; variant v of a panel is 16 bytes.
struct Codes {
  const uint8_t* at;      // PLINK's 2-bit codes
  int64_t panel_stride, variant_stride;  // bytes
  const int64_t* panels;  // (n_panels)
  int64_t n_panels;
};

// y[o, r, b] = bias[o, r] + addend[o, r, b] + sum over edges of w[e, r] * codebook[from, code of (from, b)]
template <class T>
struct PackedProduct {
  Edges edges;
  Codes codes;
  int64_t replicates, batch;
  const T *codebook, *weight, *bias, *addend;
  T* y;
};

// w[e, r] = sum over the batch of g[target, r, b] * codebook[source, code of (source, b)]
template <class T>
struct PackedEdgeProduct {
  Edges edges;
  Codes codes;
  int64_t replicates, batch;
  const T *codebook, *g;
  T* weight;
};

// codebook[v, k] = sum over edges out of v, replicates and the people with code k of w[e, r] * g[to, r, b]
template <class T>
struct PackedCodebook {
  Edges edges;            // grouped by source
  Codes codes;
  int64_t replicates, batch;
  const T *weight, *g;
  T* codebook;
};

// One entry per kernel, argument type and element type: the table every instruction set fills.
#define VNN_KERNELS(ENTRY) VNN_SPARSE_KERNELS(ENTRY) VNN_COMPANIONS(ENTRY) VNN_PACKED_KERNELS(ENTRY)
#define VNN_SPARSE_KERNELS(ENTRY)                                                                               \
  ENTRY(product, Product, float, f32) ENTRY(product, Product, double, f64) ENTRY(product, Product, bf16, bf16)  \
  ENTRY(edge_product, EdgeProduct, float, f32) ENTRY(edge_product, EdgeProduct, double, f64) ENTRY(edge_product, EdgeProduct, bf16, bf16)\
  ENTRY(backward, Backward, float, f32) ENTRY(backward, Backward, double, f64) ENTRY(backward, Backward, bf16, bf16)
#define VNN_COMPANIONS(ENTRY)                                                                                   \
  ENTRY(row_sum, RowSum, float, f32) ENTRY(row_sum, RowSum, double, f64) ENTRY(row_sum, RowSum, bf16, bf16)     \
  ENTRY(dropout, Dropout, float, f32) ENTRY(dropout, Dropout, double, f64)                                      \
  ENTRY(adam, Adam, float, f32) ENTRY(adam, Adam, double, f64)                                                  \
  ENTRY(descent, Descent, float, f32) ENTRY(descent, Descent, double, f64)                                      \
  ENTRY(judge, Judge, float, f32) ENTRY(judge, Judge, double, f64)                                              \
  ENTRY(normalise, Normalise, float, f32) ENTRY(normalise, Normalise, double, f64)                              \
  ENTRY(normalise_backward, NormaliseBackward, float, f32) ENTRY(normalise_backward, NormaliseBackward, double, f64)\
  ENTRY(shrink, Shrink, float, f32) ENTRY(shrink, Shrink, double, f64)                                          \
  ENTRY(lean, Lean, float, f32) ENTRY(lean, Lean, double, f64)                                                  \
  ENTRY(squares, Squares, float, f32) ENTRY(squares, Squares, double, f64)                                      \
  ENTRY(columns, Columns, float, f32) ENTRY(columns, Columns, double, f64)                                      \
  ENTRY(entrance, Entrance, float, f32) ENTRY(entrance, Entrance, double, f64)                                  \
  ENTRY(activate, Activate, float, f32) ENTRY(activate, Activate, double, f64)                                  \
  ENTRY(activate_backward, ActivateBackward, float, f32) ENTRY(activate_backward, ActivateBackward, double, f64)\
  ENTRY(affine, Affine, float, f32) ENTRY(affine, Affine, double, f64)                                          \
  ENTRY(fold_scaling, FoldScaling, float, f32) ENTRY(fold_scaling, FoldScaling, double, f64)                    \
  ENTRY(fold_scaling_backward, FoldScalingBackward, float, f32) ENTRY(fold_scaling_backward, FoldScalingBackward, double, f64)\
  ENTRY(loss, Loss, float, f32) ENTRY(loss, Loss, double, f64)
#define VNN_PACKED_KERNELS(ENTRY)                                                                               \
  ENTRY(packed_product, PackedProduct, float, f32) ENTRY(packed_product, PackedProduct, double, f64)            \
  ENTRY(packed_edge_product, PackedEdgeProduct, float, f32) ENTRY(packed_edge_product, PackedEdgeProduct, double, f64)\
  ENTRY(packed_codebook, PackedCodebook, float, f32) ENTRY(packed_codebook, PackedCodebook, double, f64)

struct Kernels {
  const char* name;
#define VNN_POINTER(name, Type, element, suffix) void (*name##_##suffix)(const Type<element>&, int);
  VNN_KERNELS(VNN_POINTER)
#undef VNN_POINTER
};
