// Attention in float32 on the CUDA cores, compiled for each DP of 64, 128, 192, 256 and with denormals.
//
//                 tile            threads                      dynamic shared memory
//   forward       64 x 64         128 (DP <= 128), else 256    54272 bytes
//   backward      64 x 64         256                          54272 bytes
//
// Grid of forward: (query tiles, heads), blockIdx.x counting from the last query tile down, as causal masks give that one most to do.
//
// All operands stream through two stages of shared memory, one being filled while the other is multiplied, in pieces of two shapes: a
// slab of 32 columns of two arrays' tiles, where a sum goes over columns (scores, dP), and some whole rows of one, where it goes over
// rows (O, dV, dK). Weights (P, then dS) go through shared memory too.
constexpr int kDim = DP; // of the command line; args.h has members of the name
#undef DP
#include "simt_backward.h"
#include "simt_forward.h"

extern "C" __global__ void __launch_bounds__(kForeThreads) forward(ForwardArgs a) { attend<false>(a); }
extern "C" __global__ void __launch_bounds__(kForeThreads) forward_extras(ForwardArgs a) { attend<true>(a); }
extern "C" __global__ void __launch_bounds__(kBackThreads) backward(BackwardArgs a) { differentiate<false>(a); }
extern "C" __global__ void __launch_bounds__(kBackThreads) backward_extras(BackwardArgs a) { differentiate<true>(a); }
