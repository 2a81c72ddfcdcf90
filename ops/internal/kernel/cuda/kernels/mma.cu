// Attention on 16-bit tensor cores by mma.sync, for sm_80 and up. Compiled for DP 64, 128, 192, 256 and TYPE_BF16 or TYPE_F16.
constexpr int kDim = DP; // of the command line; args.h has members of the name
#undef DP
#include "mma_backward_wide.h"
#include "mma_forward.h"

#define KERNEL(SHAPE) extern "C" __global__ void __launch_bounds__(SHAPE::kThreads, SHAPE::kResident)
using Plain = ForwardShape<kDim>;
using Extras = ForwardShape<kDim, true>;
using Back = BackwardShape<kDim>;

KERNEL(Plain) forward(const ForwardArgs a) { forward_block<kDim, false>(a); }
KERNEL(Extras) forward_extras(const ForwardArgs a) { forward_block<kDim, true>(a); }
KERNEL(Back) backward(const BackwardArgs a) { backward_block<Backward<kDim, false>>(a); }
KERNEL(Back) backward_extras(const BackwardArgs a) { backward_block<Backward<kDim, true>>(a); }
