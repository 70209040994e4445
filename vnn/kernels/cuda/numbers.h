// Number types and the arithmetic on them, without any system header.
//
// Values are stored as float, double, Bf16 or Half and computed with as Real<S>: double for double,
// float for the others. Every operation rounds once, to nearest even, and is written so that the
// compiler cannot contract it: the bits depend on the source alone.
#pragma once

typedef unsigned int u32;
typedef long long i64;

struct Bf16 { unsigned short bits; };
struct Half { unsigned short bits; };

template <class S> struct Storage { typedef float real; };
template <> struct Storage<double> { typedef double real; };
template <class S> using Real = typename Storage<S>::real;

// V values that are read and written at once.
template <class S, int V>
struct alignas(sizeof(S) * V) Pack { S at[V]; };

template <class S, int V>
VNN_INLINE Pack<S, V> load(const S* from) { return *reinterpret_cast<const Pack<S, V>*>(from); }

#ifdef VNN_SHIM
VNN_INLINE u32 bits_of(float x) { u32 u; __builtin_memcpy(&u, &x, 4); return u; }
VNN_INLINE float float_of(u32 u) { float x; __builtin_memcpy(&x, &u, 4); return x; }
VNN_INLINE float madd(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
VNN_INLINE double madd(double a, double b, double c) { return __builtin_fma(a, b, c); }
VNN_INLINE float times(float a, float b) { return a * b; }
VNN_INLINE double times(double a, double b) { return a * b; }
VNN_INLINE float plus(float a, float b) { return a + b; }
VNN_INLINE double plus(double a, double b) { return a + b; }
VNN_INLINE float root(float x) { return __builtin_sqrtf(x); }
VNN_INLINE double root(double x) { return __builtin_sqrt(x); }
#else
VNN_INLINE u32 bits_of(float x) { return __float_as_uint(x); }
VNN_INLINE float float_of(u32 u) { return __uint_as_float(u); }
VNN_INLINE float madd(float a, float b, float c) { return __fmaf_rn(a, b, c); }
VNN_INLINE double madd(double a, double b, double c) { return __fma_rn(a, b, c); }
VNN_INLINE float times(float a, float b) { return __fmul_rn(a, b); }
VNN_INLINE double times(double a, double b) { return __dmul_rn(a, b); }
VNN_INLINE float plus(float a, float b) { return __fadd_rn(a, b); }
VNN_INLINE double plus(double a, double b) { return __dadd_rn(a, b); }
VNN_INLINE float root(float x) { return __fsqrt_rn(x); }
VNN_INLINE double root(double x) { return __dsqrt_rn(x); }
#endif

VNN_INLINE float real_of(float x) { return x; }
VNN_INLINE double real_of(double x) { return x; }
VNN_INLINE float real_of(Bf16 x) { return float_of(u32(x.bits) << 16); }
VNN_INLINE float real_of(Half x) {
#ifdef VNN_SHIM
  const u32 shifted = u32(x.bits & 0x7fff) << 13, exponent = shifted & 0x0f800000, sign = u32(x.bits & 0x8000) << 16;
  float value;
  if (exponent == 0x0f800000) value = float_of(shifted + 0x70000000);                        // infinite or NaN
  else if (exponent == 0) value = float_of(shifted + 0x38800000) - float_of(0x38800000);     // subnormal
  else value = float_of(shifted + 0x38000000);
  return float_of(bits_of(value) | sign);
#else
  float value;
  asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(x.bits));
  return value;
#endif
}

VNN_INLINE void store_as(float x, float& to) { to = x; }
VNN_INLINE void store_as(double x, double& to) { to = x; }
VNN_INLINE void store_as(float x, Bf16& to) {
  const u32 u = bits_of(x);
  to.bits = (u & 0x7fffffff) > 0x7f800000 ? 0x7fc0 : (unsigned short)((u + 0x7fff + ((u >> 16) & 1)) >> 16);
}
VNN_INLINE void store_as(float x, Half& to) {
#ifdef VNN_SHIM
  const u32 sign = (bits_of(x) >> 16) & 0x8000, u = bits_of(x) & 0x7fffffff;
  u32 half;
  if (u > 0x7f800000) half = 0x7e00;
  else if (u >= 0x477ff000) half = 0x7c00;                                                    // 65520 and more
  else if (u < 0x38800000) half = bits_of(float_of(u) + 0.5f) - 0x3f000000;                   // subnormal
  else half = (u - 0x38000000 + 0xfff + ((u >> 13) & 1)) >> 13;
  to.bits = (unsigned short)(half | sign);
#else
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(to.bits) : "f"(x));
#endif
}

// n = quotient * by + rest; in 32 bits where they suffice, because the device has no 64-bit division.
struct Division { i64 quotient, rest; };
VNN_INLINE Division divide(i64 n, i64 by) {
  if (((n | by) >> 32) == 0) {
    const u32 quotient = u32(n) / u32(by);
    return {i64(quotient), i64(u32(n) - quotient * u32(by))};
  }
  return {n / by, n % by};
}
