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

EXPORT int vnn_abi() { return 4; }
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
