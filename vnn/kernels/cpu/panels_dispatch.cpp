// The C interface of the operations on packed genotypes, on the instruction set of the other kernels.
#include <cstring>

#include "panels.h"

namespace portable { extern const Panels panels; }
namespace emulated { extern const Panels panels; }
#if defined(__x86_64__)
namespace avx2 { extern const Panels panels; }
namespace avx512 { extern const Panels panels; }
#endif

extern "C" const char* vnn_simd();

namespace {

const Panels& chosen() {
#if defined(__x86_64__)
  if (!std::strcmp(vnn_simd(), avx512::panels.name)) return avx512::panels;
  if (!std::strcmp(vnn_simd(), avx2::panels.name)) return avx2::panels;
#endif
  if (!std::strcmp(vnn_simd(), emulated::panels.name)) return emulated::panels;
  return portable::panels;
}

}  // namespace

#define CALL(name, Type) \
  extern "C" __attribute__((visibility("default"))) void vnn_##name(const Type* p, int n) { chosen().name(*p, n); }

CALL(gather, Gather)
CALL(transpose, Transpose)
CALL(deal, Deal)
CALL(row_counts, RowCounts)
CALL(panel_counts, PanelCounts)
CALL(person_counts, PersonCounts)
