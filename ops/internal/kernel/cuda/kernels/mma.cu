// Attention on 16-bit tensor cores by mma.sync, for sm_80 and up. Compiled for DP 64, 128, 192, 256 and TYPE_BF16 or TYPE_F16.
constexpr int kWidth = DP; // of the command line; args.h has members of the name
#undef DP
#include "mma_forward.h"
#include "mma_backward.h"

#define KERNEL(SHAPE) extern "C" __global__ void __launch_bounds__(SHAPE::kThreads, SHAPE::kResident)
using Plain = ForwardShape<kWidth, false>;
using Extras = ForwardShape<kWidth, true>;
using Back = BackwardShape<kWidth>;

KERNEL(Plain) forward(const ForwardArgs a) { forward_block<kWidth, false>(a); }
KERNEL(Extras) forward_extras(const ForwardArgs a) { forward_block<kWidth, true>(a); }
KERNEL(Back) backward(const BackwardArgs a) { backward_block<Backward<kWidth, false>>(a); }
KERNEL(Back) backward_extras(const BackwardArgs a) { backward_block<Backward<kWidth, true>>(a); }
