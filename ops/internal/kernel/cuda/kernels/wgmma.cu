// Attention on Hopper's tensor cores, compiled for DP of 64 and 128, in bfloat16 and in float16.
//
//                    tile, queries x keys    threads    dynamic shared memory
//   forward    64         128 x 128            384              82080 bytes
//             128         128 x 128            384             164000 bytes
//   backward   64         128 x 128            384             198816 bytes
//             128          64 x 128            384             214176 bytes
//
// Grid of forward: (query tiles, heads), blockIdx.x counting from the last query tile down; of backward as args.h says. A processor
// holds one block, whose registers move from the warpgroup that copies to the two that multiply.
constexpr int kDim = DP; // of the command line; args.h has members of the name
#undef DP
#include "wgmma_backward.h"
#include "wgmma_forward.h"

#define KERNEL extern "C" __global__ void __launch_bounds__(3 * kWarpgroup, 1)
KERNEL forward(const __attribute__((grid_constant)) ForwardArgs a) { fwd::forward<false>(a); }
KERNEL forward_extras(const __attribute__((grid_constant)) ForwardArgs a) { fwd::forward<true>(a); }
KERNEL backward(const __attribute__((grid_constant)) BackwardArgs a) { bwd::backward<false>(a); }
KERNEL backward_extras(const __attribute__((grid_constant)) BackwardArgs a) { bwd::backward<true>(a); }
