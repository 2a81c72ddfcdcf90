// Attention on tensor cores by mma.sync, for sm_80 and up, compiled for DP of 64, 128, 192, 256, in bfloat16 and in float16.
//
//                    tile, queries x keys    threads    dynamic shared memory    blocks that share a processor, by registers
//   forward    64          128 x 64            128            16400 bytes          2
//             128          128 x 64            128            69648 bytes          2
//             192          128 x 64            256            49168 bytes          1
//             256          128 x 64            256            81936 bytes          1
//   backward   64           64 x 128           128            74512 bytes          2
//             128           64 x 128           256            99088 bytes          1
//             192           64 x 64            256            90896 bytes          1
//             256           64 x 64            256            98704 bytes          1
//
// Grid of forward: (query tiles, heads), blockIdx.x counting from the last query tile down; of backward as args.h says. All fit the 99
// KiB of shared memory that a block gets on sm_86 and sm_89.
constexpr int kDim = DP; // of the command line; args.h has members of the name
#undef DP
#include "mma_backward_narrow.h"
#include "mma_backward_roles.h"
#include "mma_backward_wide.h"
#include "mma_forward.h"

template <bool FIRST, class A, class B> struct Either { using type = A; };
template <class A, class B> struct Either<false, A, B> { using type = B; };
template <int DIM> using BackwardShape =
    typename Either<DIM == 64, NarrowShape<DIM>, typename Either<DIM == 128, RolesShape<DIM>, WideShape<DIM>>::type>::type;
template <int DIM, bool EXTRAS> using Backward = typename Either<
    DIM == 64, BackwardNarrow<DIM, EXTRAS>, typename Either<DIM == 128, BackwardRoles<DIM, EXTRAS>, BackwardWide<DIM, EXTRAS>>::type>::type;

#define KERNEL(SHAPE) extern "C" __global__ void __launch_bounds__(SHAPE::kThreads, SHAPE::kResident)
using Fore = ForwardShape<kDim>;
using Back = BackwardShape<kDim>;

KERNEL(Fore) forward(const ForwardArgs a) { forward_block<kDim, false>(a); }
KERNEL(Fore) forward_extras(const ForwardArgs a) { forward_block<kDim, true>(a); }
KERNEL(Back) backward(const BackwardArgs a) { backward_block<Backward<kDim, false>>(a); }
KERNEL(Back) backward_extras(const BackwardArgs a) { backward_block<Backward<kDim, true>>(a); }
