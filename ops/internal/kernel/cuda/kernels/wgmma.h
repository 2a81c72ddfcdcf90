// What the Hopper kernels need of sm_90a: warpgroup matrix multiplication, mbarriers, bulk copies, named barriers and registers that
// move between warpgroups.
#pragma once
#include "prim.h"

#if defined(TYPE_BF16)
#define TYPE "bf16"
DEV u32 pair(float low, float high) { return pair_bf16(low, high); }
#elif defined(TYPE_F16)
#define TYPE "f16"
DEV u32 pair(float low, float high) { return pair_f16(low, high); }
#else
#error "define TYPE_BF16 or TYPE_F16"
#endif

constexpr int kWarpgroup = 128; // threads

// --- registers, barriers of some warps, fences

template <int N> DEV void more_registers() { asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(N)); }
template <int N> DEV void fewer_registers() { asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(N)); }

// Barrier id, of threads in all: sync waits for the others, arrive does not. Barrier 0 is barrier()'s.
DEV void named_sync(int id, int threads) { asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory"); }
DEV void named_arrive(int id, int threads) { asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory"); }
DEV void warp_sync() { asm volatile("bar.warp.sync 0xffffffff;" ::: "memory"); }
DEV bool any(bool x) {
  u32 r;
  asm volatile("{\n.reg .pred p, q;\nsetp.ne.u32 p, %1, 0;\nvote.sync.any.pred q, p, 0xffffffff;\nselp.u32 %0, 1, 0, q;\n}" : "=r"(r) : "r"((u32)x));
  return r != 0;
}
// The value of lane 0, which the compiler then knows to be the same in all lanes.
DEV int uniform(int x) {
  int r;
  asm volatile("shfl.sync.idx.b32 %0, %1, 0, 0x1f, 0xffffffff;" : "=r"(r) : "r"(x));
  return r;
}

// Makes this thread's writes to shared memory visible to wgmma and bulk copies, once a barrier has told them.
DEV void fence_shared() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }
DEV void fence_global() { asm volatile("fence.proxy.async.global;" ::: "memory"); }

// --- mbarriers, by their address in shared memory. The phase that a wait is for is known by its parity.

DEV void mbarrier_init(u32 b, int arrivals) { asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(b), "r"(arrivals) : "memory"); }
DEV void mbarrier_visible() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }
DEV void mbarrier_arrive(u32 b) { asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(b) : "memory"); }
// One arrival, and as many bytes of bulk copies to come.
DEV void mbarrier_expect(u32 b, u32 bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(b), "r"(bytes) : "memory");
}
DEV void mbarrier_wait(u32 b, u32 parity) {
  u32 done;
  do {
    asm volatile("{\n.reg .pred p;\nmbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\nselp.u32 %0, 1, 0, p;\n}" : "=r"(done) : "r"(b), "r"(parity) : "memory");
  } while (!done);
}

// store_blocks writes four blocks of 8 x 8 elements, that lie in registers as products do. Lane l gives the address of row l%8 of block l/8.
DEV void store_blocks(u32 address, const u32 *x) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(address), "r"(x[0]), "r"(x[1]), "r"(x[2]), "r"(x[3]) : "memory");
}

// --- bulk copies: contiguous pieces of memory, addresses and bytes multiples of 16

DEV void bulk_load(u32 to, const void *from, u32 bytes, u32 mbarrier) {
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(to), "l"(from), "r"(bytes), "r"(mbarrier) : "memory");
}
DEV void bulk_add(float *to, u32 from, u32 bytes) {
  asm volatile("cp.reduce.async.bulk.global.shared::cta.bulk_group.add.f32 [%0], [%1], %2;" ::"l"(to), "r"(from), "r"(bytes) : "memory");
}
DEV void bulk_commit() { asm volatile("cp.async.bulk.commit_group;" ::: "memory"); }
DEV void bulk_wait_read() { asm volatile("cp.async.bulk.wait_group.read 0;" ::: "memory"); }
DEV void bulk_wait() { asm volatile("cp.async.bulk.wait_group 0;" ::: "memory"); }

// --- wgmma

DEV void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
DEV void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
// Waits until at most N of the latest groups are under way.
template <int N> DEV void wgmma_wait() { asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory"); }
// Ties registers to this place: what a wait was for must not be read above it.
template <int N> DEV void settled(float (&c)[N]) {
  UNROLL for (int i = 0; i < N; i++) asm volatile("" : "+f"(c[i])::"memory");
}
template <int N> DEV void settled(u32 (&c)[N]) {
  UNROLL for (int i = 0; i < N; i++) asm volatile("" : "+r"(c[i])::"memory");
}

// Descriptors of operands in shared memory with 128-byte swizzle: rows of 64 elements, whose 16-byte chunks are permuted, in groups of
// eight rows (1024 bytes) one behind the other. If the 64 columns run along k (rows are m or n), the four k-steps of a slab lie 32
// bytes apart; if they run along m or n (rows are k), k-steps are 2048 bytes apart, and slab is how far apart slabs of 64 columns are.
DEV u64 descriptor(u32 address, u32 slab) { return (u64)(address >> 4 | slab >> 4 << 16) | 0x40000040ull << 32; }
constexpr u32 kStepK = 32 >> 4, kStepRows = 2048 >> 4; // of descriptors, for one k-step of 16
// A value of which the compiler knows nothing more: descriptors made of it are not worth a register each throughout a loop.
DEV u32 opaque(u32 x) {
  asm volatile("" : "+r"(x));
  return x;
}
DEV u64 opaque(u64 x) {
  asm volatile("" : "+l"(x));
  return x;
}

// multiply adds A B to a 64 x N tile, for one k-step of 16; if not keep, it overwrites the tile. Thread t of the warpgroup holds rows
// r = 16*(t/32) + t%32/4 and r+8 and columns 8j + 2*(t%4) and the next: c[4j], c[4j+1] in row r, c[4j+2], c[4j+3] in row r+8.
// A and B come from shared memory; where rowsA or rowsB is set, their rows are k.
#define ACC8(c, i) "+f"(c[i]), "+f"(c[i + 1]), "+f"(c[i + 2]), "+f"(c[i + 3]), "+f"(c[i + 4]), "+f"(c[i + 5]), "+f"(c[i + 6]), "+f"(c[i + 7])
#define ACC32(c, i) ACC8(c, i), ACC8(c, i + 8), ACC8(c, i + 16), ACC8(c, i + 24)
#define NAMES32 "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31"
#define NAMES64 NAMES32 ",%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63"

template <int rowsA, int rowsB> DEV void multiply(float (&c)[32], u64 a, u64 b, bool keep) {
  asm volatile("{\n.reg .pred p;\nsetp.ne.u32 p, %34, 0;\nwgmma.mma_async.sync.aligned.m64n64k16.f32." TYPE "." TYPE " {" NAMES32 "}, %32, %33, p, 1, 1, %35, %36;\n}"
               : ACC32(c, 0) : "l"(a), "l"(b), "r"((u32)keep), "n"(rowsA), "n"(rowsB));
}
template <int rowsA, int rowsB> DEV void multiply(float (&c)[64], u64 a, u64 b, bool keep) {
  asm volatile("{\n.reg .pred p;\nsetp.ne.u32 p, %66, 0;\nwgmma.mma_async.sync.aligned.m64n128k16.f32." TYPE "." TYPE " {" NAMES64 "}, %64, %65, p, 1, 1, %67, %68;\n}"
               : ACC32(c, 0), ACC32(c, 32) : "l"(a), "l"(b), "r"((u32)keep), "n"(rowsA), "n"(rowsB));
}
// A from registers: a[0] row r, columns 2*(t%4) and the next, a[1] row r+8, a[2] and a[3] the same eight columns on.
template <int rowsB> DEV void multiply(float (&c)[32], const u32 *a, u64 b, bool keep) {
  asm volatile("{\n.reg .pred p;\nsetp.ne.u32 p, %37, 0;\nwgmma.mma_async.sync.aligned.m64n64k16.f32." TYPE "." TYPE " {" NAMES32 "}, {%32,%33,%34,%35}, %36, p, 1, 1, %38;\n}"
               : ACC32(c, 0) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"((u32)keep), "n"(rowsB));
}
template <int rowsB> DEV void multiply(float (&c)[64], const u32 *a, u64 b, bool keep) {
  asm volatile("{\n.reg .pred p;\nsetp.ne.u32 p, %69, 0;\nwgmma.mma_async.sync.aligned.m64n128k16.f32." TYPE "." TYPE " {" NAMES64 "}, {%64,%65,%66,%67}, %68, p, 1, 1, %70;\n}"
               : ACC32(c, 0), ACC32(c, 32) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"((u32)keep), "n"(rowsB));
}
// load_blocks is the inverse of store_blocks.
DEV void load_blocks(u32 *x, u32 address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];" : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3]) : "r"(address) : "memory");
}
// load_rows takes the A of products from shared memory into registers: 64 rows of kDim elements in slabs, the first at address.
DEV void load_rows(u32 (&x)[kDim / 4], u32 address, u32 slab) {
  int lane = threadIdx.x & 31, row = (threadIdx.x >> 5 & 3) * 16 + (lane & 15);
  u32 at = address + row * 128 + ((lane >> 4) ^ (row & 7)) * 16;
  UNROLL for (int i = 0; i < kDim / 16; i++) load_blocks(x + 4 * i, (at ^ (i & 3) * 32) + (i >> 2) * slab);
}
