// Attention on 16-bit tensor cores by mma.sync, for sm_80 and up. Compiled for DP 64, 128, 192, 256 and TYPE_BF16 or TYPE_F16.
constexpr int kDim = DP; // of the command line; args.h has members of the name
#undef DP
#include "mma_forward.h"
#include "mma_backward.h"

#define FORWARD extern "C" __global__ void __launch_bounds__(ForwardShape<kDim>::kThreads, ForwardShape<kDim>::kResident)
#define BACKWARD extern "C" __global__ void __launch_bounds__(BackwardShape<kDim>::kThreads, BackwardShape<kDim>::kResident)

FORWARD forward(const ForwardArgs a) { forward_block<kDim, false>(a); }
FORWARD forward_extras(const ForwardArgs a) { forward_block<kDim, true>(a); }
BACKWARD backward(const BackwardArgs a) { backward_block<kDim, false>(a); }
BACKWARD backward_extras(const BackwardArgs a) { backward_block<kDim, true>(a); }
