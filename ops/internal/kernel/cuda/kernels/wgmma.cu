constexpr int kDim = DP; // of the command line; args.h has members of the name
#undef DP
#include "wgmma_backward.h"
#include "wgmma_forward.h"

#define KERNEL(space, threads) extern "C" __global__ void __launch_bounds__(threads, 1)
KERNEL(fwd, fwd::kThreads) forward(const __attribute__((grid_constant)) ForwardArgs a) { fwd::forward<false>(a); }
KERNEL(fwd, fwd::kThreads) forward_extras(const __attribute__((grid_constant)) ForwardArgs a) { fwd::forward<true>(a); }
KERNEL(bwd, bwd::kThreads) backward(const __attribute__((grid_constant)) BackwardArgs a) { bwd::backward<false>(a); }
