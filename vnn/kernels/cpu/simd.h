// Registers, loads and the order in which a batch is summed, for the instruction set being compiled.
#pragma once
#include "kernels.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace VNN_SIMD {
namespace {

constexpr int64_t LANES = 16;
constexpr int64_t PART = 256;

#if defined(__AVX512F__)
constexpr int64_t WIDTH = 64;
#elif defined(__AVX2__)
constexpr int64_t WIDTH = 32;
#else
constexpr int64_t WIDTH = 16;
#endif

template <class T>
struct Simd;
template <>
struct Simd<float> {
  typedef float vec __attribute__((vector_size(WIDTH)));
  typedef float mem __attribute__((vector_size(WIDTH), aligned(4), may_alias));
};
template <>
struct Simd<double> {
  typedef double vec __attribute__((vector_size(WIDTH)));
  typedef double mem __attribute__((vector_size(WIDTH), aligned(8), may_alias));
};

template <class T>
constexpr int64_t N = WIDTH / int64_t(sizeof(T));  // values in one register

// a * b + c, rounded once where the instruction set can.
template <class V>
inline V fused(V a, V b, V c) { return a * b + c; }
#if defined(__AVX512F__)
inline Simd<float>::vec fused(Simd<float>::vec a, Simd<float>::vec b, Simd<float>::vec c) {
  return (Simd<float>::vec)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
}
inline Simd<double>::vec fused(Simd<double>::vec a, Simd<double>::vec b, Simd<double>::vec c) {
  return (Simd<double>::vec)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
}
#elif defined(__AVX2__)
inline Simd<float>::vec fused(Simd<float>::vec a, Simd<float>::vec b, Simd<float>::vec c) {
  return (Simd<float>::vec)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
}
inline Simd<double>::vec fused(Simd<double>::vec a, Simd<double>::vec b, Simd<double>::vec c) {
  return (Simd<double>::vec)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
}
#endif
#if defined(__AVX2__)
inline float fused(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
inline double fused(double a, double b, double c) { return __builtin_fma(a, b, c); }
#endif

// One value in every lane.
template <class T>
inline typename Simd<T>::vec filled(T x) { return x - typename Simd<T>::vec{}; }

template <int64_t VALUE>
struct Constant { static constexpr int64_t value = VALUE; };

template <class T>
inline typename Simd<T>::vec load(const T* p) {
  return *reinterpret_cast<const typename Simd<T>::mem*>(p);
}
template <class T>
inline void store(T* p, typename Simd<T>::vec v) {
  *reinterpret_cast<typename Simd<T>::mem*>(p) = v;
}

inline Simd<float>::vec load(const bf16* p) {
  typedef uint16_t half __attribute__((vector_size(WIDTH / 2), aligned(2), may_alias));
  typedef uint32_t wide __attribute__((vector_size(WIDTH)));
  return reinterpret_cast<Simd<float>::vec>(__builtin_convertvector(*reinterpret_cast<const half*>(p), wide) << 16);
}

// One value read, and one written.
inline float value(float x) { return x; }
inline double value(double x) { return x; }
inline float value(bf16 x) {
  const uint32_t bits = uint32_t(x.bits) << 16;
  float y;
  __builtin_memcpy(&y, &bits, 4);
  return y;
}
inline void put(float* p, float x) { *p = x; }
inline void put(double* p, double x) { *p = x; }
inline void put(bf16* p, float x) {
  uint32_t bits;
  __builtin_memcpy(&bits, &x, 4);
  p->bits = x != x ? 0x7fc0 : uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

template <int64_t... I>
struct Lanes {};
template <int64_t COUNT, int64_t... I>
struct Count : Count<COUNT - 1, COUNT - 1, I...> {};
template <int64_t... I>
struct Count<0, I...> { using lanes = Lanes<I...>; };

// v with every lane moved down by HALF.
template <int64_t HALF, class V, int64_t... I>
inline V turned(V v, Lanes<I...>) {
#if defined(__has_builtin) && __has_builtin(__builtin_shufflevector)
  return __builtin_shufflevector(v, v, ((I + HALF) % int64_t(sizeof...(I)))...);
#else
  return V{v[(I + HALF) % int64_t(sizeof...(I))]...};
#endif
}

template <class T, int64_t HALF>
inline T fold_register(typename Simd<T>::vec v) {
  v += turned<HALF>(v, typename Count<N<T>>::lanes());
  if constexpr (HALF > 1) return fold_register<T, HALF / 2>(v);
  return v[0];
}

// The sum of the virtual lanes, folded in halves.
template <class T>
inline T fold(typename Simd<T>::vec* sum) {
  for (int64_t half = LANES / N<T> / 2; half; half /= 2)
    for (int64_t k = 0; k < half; ++k) sum[k] += sum[k + half];
  return fold_register<T, N<T> / 2>(sum[0]);
}

// Adds the last samples, fewer than LANES, to their lanes.
template <class S>
inline void add_tail(typename Simd<sum_t<S>>::vec* sum, const S* g, const S* x, int64_t n) {
  using T = sum_t<S>;
  T left[LANES] = {}, right[LANES] = {};
  for (int64_t j = 0; j < n; ++j) {
    left[j] = g ? value(g[j]) : T(1);
    right[j] = value(x[j]);
  }
  for (int64_t k = 0; k < LANES / N<T>; ++k) sum[k] = fused(load(left + k * N<T>), load(right + k * N<T>), sum[k]);
}

}  // namespace
}  // namespace VNN_SIMD
