// Attention on tensor cores by mma.sync, for sm_80 and up, compiled for DP of 64, 128, 192, 256, in bfloat16 and in float16.
//
//                    tile, queries x keys    threads    dynamic shared memory    blocks that share a processor, by registers
//   forward    64          128 x 64            128            16400 bytes          2
//             128          128 x 64            128            69648 bytes          2
//             192          128 x 64            256            49168 bytes          1
//             256          128 x 64            256            81936 bytes          1
//   backward   64           64 x 128           128            74496 bytes          2
//             128           64 x 128           256            99072 bytes          1
//             192           64 x 64            256            90880 bytes          1
//             256           64 x 64            256            98688 bytes          1
//
// Grid of forward: (query tiles, heads), blockIdx.x counting from the last query tile down; of backward as args.h says. All fit the 99
// KiB of shared memory that a block gets on sm_86 and sm_89.
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
