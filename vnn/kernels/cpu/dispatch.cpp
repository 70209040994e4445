// The C interface: picks an instruction set once and passes every call on.
#include <cstdlib>
#include <cstring>

#include "kernels.h"

namespace portable { extern const Kernels kernels; }
namespace emulated { extern const Kernels kernels; }
#if defined(__x86_64__)
namespace avx2 { extern const Kernels kernels; }
namespace avx512 { extern const Kernels kernels; }
#endif

namespace {

constexpr int SETS = 4;

// The instruction sets, the best first; null where the processor lacks it.
const Kernels* supported(int i) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool narrow = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool wide = narrow && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
                    __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw");
  const Kernels* all[SETS] = {wide ? &avx512::kernels : nullptr, narrow ? &avx2::kernels : nullptr,
                              &portable::kernels, &emulated::kernels};
#else
  const Kernels* all[SETS] = {nullptr, nullptr, &portable::kernels, &emulated::kernels};
#endif
  return all[i];
}

const Kernels* best() {
  for (int i = 0;; ++i)
    if (supported(i)) return supported(i);
}

const Kernels* chosen = best();

}  // namespace

#define EXPORT extern "C" __attribute__((visibility("default")))

EXPORT int vnn_abi() { return 7; }
EXPORT const char* vnn_simd() { return chosen->name; }

// 0 when the processor has the instruction set `name`, which is used from now on.
EXPORT int vnn_choose_simd(const char* name) {
  for (int i = 0; i < SETS; ++i)
    if (supported(i) && !std::strcmp(supported(i)->name, name)) {
      chosen = supported(i);
      return 0;
    }
  return 1;
}

#define VNN_CALL(name, Type, element, suffix) \
  EXPORT void vnn_##name##_##suffix(const Type<element>* p, int n) { chosen->name##_##suffix(*p, n); }
VNN_KERNELS(VNN_CALL)

// One call of a prepared program: the number of a kernel, its arguments, and whether they are worth every thread.
struct Call {
  int32_t kernel, wide;
  const void* arguments;
};

namespace {

#define VNN_NUMBER(name, Type, element, suffix) NUMBER_##name##_##suffix,
enum { VNN_KERNELS(VNN_NUMBER) N_KERNELS };
#define VNN_NAME(name, Type, element, suffix) #name "_" #suffix,
const char* const names[] = {VNN_KERNELS(VNN_NAME)};

void run(const Call& call, int threads) {
  switch (call.kernel) {
#define VNN_CASE(name, Type, element, suffix) \
  case NUMBER_##name##_##suffix: return chosen->name##_##suffix(*static_cast<const Type<element>*>(call.arguments), threads);
    VNN_KERNELS(VNN_CASE)
  }
}

}  // namespace

// The number of a kernel, or -1.
EXPORT int vnn_number(const char* name) {
  for (int i = 0; i < N_KERNELS; ++i)
    if (!std::strcmp(names[i], name)) return i;
  return -1;
}

// Runs calls one after the other.
EXPORT void vnn_run(const Call* calls, int64_t n, int threads) {
  for (int64_t i = 0; i < n; ++i) run(calls[i], calls[i].wide ? threads : 1);
}

// Runs lists of calls side by side, one thread each; list i is calls[starts[i]] .. calls[starts[i + 1]].
EXPORT void vnn_run_side_by_side(const Call* calls, const int64_t* starts, int64_t n_lists) {
#pragma omp parallel for num_threads(int(n_lists)) schedule(static, 1)
  for (int64_t i = 0; i < n_lists; ++i)
    for (int64_t k = starts[i]; k < starts[i + 1]; ++k) run(calls[k], 1);
}
