// Tiles of 16-bit elements in shared memory and their products on the tensor cores by mma.sync, for sm_80 and up.
//
// A tile of ROWS rows lies in slabs of 64 columns, [DP/64][ROWS][64], chunks permuted as args.h says. Fragments of m16n8k16, with
// g = lane/4 and p = 2*(lane%4): A (16 x 16) has rows g, g+8 and columns p, p+1, p+8, p+9; B (16 x 8) rows p, p+1, p+8, p+9 and column g;
// C (16 x 8) rows g, g+8 and columns p, p+1. So a C of two column blocks, rounded to 16 bits, is an A.
#pragma once
#include "async.h"
#include "score.h"

#ifdef TYPE_BF16
#define ELEMENT "bf16"
DEV u32 pair(float low, float high) { return pair_bf16(low, high); }
#else
#define ELEMENT "f16"
DEV u32 pair(float low, float high) { return pair_f16(low, high); }
#endif

constexpr int kRowBytes = 128;               // of a slab
constexpr int kSlabBytes = 128 * kRowBytes;  // of an array in global memory

DEV void multiply_add(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32." ELEMENT "." ELEMENT ".f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
DEV void load_matrices(u32 (&r)[4], u32 address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(address) : "memory");
}
DEV void load_transposed(u32 (&r)[4], u32 address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(address) : "memory");
}

// opaque is x as the compiler cannot know it: what is computed from it is computed here, not held in registers from long before.
DEV u32 opaque(u32 x) {
  asm volatile("" : "+r"(x));
  return x;
}

// What ldmatrix wants of a lane, for the four 8 x 8 blocks of a 16 x 16 square of a tile. rows_first has them in the order of A: both
// blocks of rows of the first 8 columns, then those of the other 8; transposed, that is B for two column blocks. columns_first exchanges
// the two in the middle: B from an array with a row for each column of B, or A transposed.
DEV u32 rows_first(u32 tile, u32 thread = opaque(threadIdx.x)) {
  u32 lane = thread & 31;
  return tile + (lane & 15) * kRowBytes + (((lane >> 4) ^ (lane & 7)) << 4);
}
DEV u32 columns_first(u32 tile, u32 thread = opaque(threadIdx.x)) {
  u32 lane = thread & 31;
  return tile + ((lane >> 4 << 3) + (lane & 7)) * kRowBytes + ((((lane >> 3) & 1) ^ (lane & 7)) << 4);
}
// The square at a row and at column 16*square of a tile of ROWS rows, from the address of the first one.
template <int ROWS> DEV u32 square_at(u32 first, int row, int square) {
  return (first ^ ((square & 3) << 5)) + (square >> 2) * ROWS * kRowBytes + row * kRowBytes;
}

DEV void copy16(u32 shared, const void *global) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(shared), "l"(global) : "memory");
}
DEV void copy4(u32 shared, const void *global) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(shared), "l"(global) : "memory");
}
// Copies ROWS rows of SLABS slabs into a tile; `to` and `from` are where thread 0 begins.
template <int ROWS, int SLABS, int THREADS> DEV void copy_tile(u32 to, const char *from) {
  u32 thread = opaque(threadIdx.x);
  UNROLL for (int slab = 0; slab < SLABS; slab++)
    UNROLL for (int i = 0; i < ROWS * 8; i += THREADS)
      copy16(to + thread * 16 + slab * ROWS * kRowBytes + i * 16, from + thread * 16 + slab * kSlabBytes + i * 16);
}
DEV void store_words(u32 address, const u32 (&x)[4]) {
  asm volatile("st.shared.v4.b32 [%0], {%1, %2, %3, %4};" ::"r"(address), "r"(x[0]), "r"(x[1]), "r"(x[2]), "r"(x[3]) : "memory");
}
DEV void load_words(u32 (&x)[4], u32 address) {
  asm volatile("ld.shared.v4.b32 {%0, %1, %2, %3}, [%4];" : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3]) : "r"(address) : "memory");
}
DEV void store_word(u32 address, u32 x) { asm volatile("st.shared.b32 [%0], %1;" ::"r"(address), "r"(x) : "memory"); }

// Where a row of a head of an array of tiles begins: in slab 0, at a multiple of 64.
DEV const char *tile_row(const void *array, int head, int SP, int dim, int row) {
  return (const char *)array + ((long)head * SP + (row & ~127)) * dim * 2 + (row & 127) * kRowBytes;
}
DEV u32 tile_flag(const void *array, int heads, int SP, int dim) { return *(const u32 *)((const char *)array + (long)heads * SP * dim * 2); }

// Barriers of some warps: those that wait go on when so many threads have come to wait or to arrive.
DEV void arrive_at(u32 number, u32 threads) { asm volatile("bar.arrive %0, %1;" ::"r"(number), "r"(threads) : "memory"); }
DEV void wait_at(u32 number, u32 threads) { asm volatile("bar.sync %0, %1;" ::"r"(number), "r"(threads) : "memory"); }
DEV void sync_warp() { asm volatile("bar.warp.sync 0xffffffff;" ::: "memory"); }

DEV bool any(bool x) { return __nvvm_vote_any_sync(0xffffffffu, x); }

template <int N> DEV void zero(float (&x)[N][4]) {
  UNROLL for (int i = 0; i < N; i++) x[i][0] = x[i][1] = x[i][2] = x[i][3] = 0.f;
}
