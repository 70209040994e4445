// The words the kernels are written in, as the device understands them; `shim.h` has their other meaning.
#pragma once

#define VNN_INLINE __device__ __forceinline__
#define VNN_DEVICE __device__ __forceinline__
#define VNN_SHARED(name) extern __shared__ __align__(16) unsigned char name[]

template <class T>
VNN_INLINE T shuffle_xor(T value, int mask) { return __shfl_xor_sync(0xffffffffu, value, mask); }
template <class T>
VNN_INLINE T shuffle(T value, int lane) { return __shfl_sync(0xffffffffu, value, lane); }
VNN_INLINE void warp_sync() { __syncwarp(); }

#define VNN_KERNEL(symbol, Arguments, ...) \
  extern "C" __global__ void __launch_bounds__(256) symbol(const Arguments arguments) { __VA_ARGS__(arguments); }
