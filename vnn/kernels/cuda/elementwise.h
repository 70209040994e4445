// Dropout and Adam: one thread per value.
#pragma once
#include "arguments.h"
#include "numbers.h"

// Finaliser of MurmurHash3 (Austin Appleby, public domain).
VNN_INLINE u32 mix(u32 h) {
  h ^= h >> 16;
  h *= 0x85ebca6bu;
  h ^= h >> 13;
  h *= 0xc2b2ae35u;
  return h ^ (h >> 16);
}

template <class S>
VNN_DEVICE void dropout(const Dropout& p) {
  const i64 n = i64(blockIdx.x) * blockDim.x + threadIdx.x;
  const Division by_batch = divide(n, p.batch);
  const Division by_replicate = divide(by_batch.quotient, p.replicates);
  const i64 row = by_replicate.quotient;
  if (row >= p.rows) return;
  const u32 key = mix(p.keys[by_replicate.rest] ^ (u32(p.node[row]) * 0x9e3779b9u));
  const u32 hash = mix(key ^ (u32(p.samples[by_batch.rest]) * 0x9e3779b9u));
  const Real<S> scale = static_cast<const Real<S>*>(p.scale)[row];
  const Real<S> x = real_of(static_cast<const S*>(p.x)[n]);
  store_as(hash < p.threshold[row] ? Real<S>(0) : times(x, scale), static_cast<S*>(p.y)[n]);
}

template <class A>
VNN_DEVICE void adam(const Adam& p) {
  const i64 n = i64(blockIdx.x) * blockDim.x + threadIdx.x;
  const Division at = divide(n, p.replicates);
  const i64 r = at.rest;
  if (at.quotient >= p.rows || !p.active[r]) return;
  const A lr = static_cast<const A*>(p.lr)[r], decay = static_cast<const A*>(p.decay)[r];
  const A correction1 = static_cast<const A*>(p.correction1)[r], correction2 = static_cast<const A*>(p.correction2)[r];
  const A beta1 = A(p.beta1), beta2 = A(p.beta2), rest1 = A(1 - p.beta1), rest2 = A(1 - p.beta2);
  A g = static_cast<const A*>(p.grad)[n], w = static_cast<A*>(p.parameter)[n];
  if (p.decoupled) w = times(w, A(1) - lr * decay);
  else g = madd(decay, w, g);
  const A mean = madd(beta1, static_cast<A*>(p.mean)[n], times(rest1, g));
  const A square = madd(beta2, static_cast<A*>(p.square)[n], times(rest2, times(g, g)));
  static_cast<A*>(p.mean)[n] = mean;
  static_cast<A*>(p.square)[n] = square;
  static_cast<A*>(p.parameter)[n] = w - lr / correction1 * mean / (root(square) / root(correction2) + A(p.eps));
}
