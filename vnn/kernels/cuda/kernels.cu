// All kernels. They are templates; what is compiled is named by VNN_KERNEL lines that follow this text.
#ifdef VNN_SHIM
#include "shim.h"
#else
#include "device.h"
#endif

#include "product.h"
#include "elementwise.h"
#include "packed.h"
#include "fragments.h"
