constexpr int kDim = DP; // of the command line; args.h has members of the name
#undef DP
#include "wgmma_forward.h"
extern "C" __global__ void __launch_bounds__(fwd::kThreads, 1) forward(const __attribute__((grid_constant)) ForwardArgs a) { fwd::forward<false>(a); }
extern "C" __global__ void __launch_bounds__(fwd::kThreads, 1) forward_extras(const __attribute__((grid_constant)) ForwardArgs a) { fwd::forward<true>(a); }
