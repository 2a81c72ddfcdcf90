// What forward and backward in float32 share: pieces of operands on their way through shared memory, products of slabs, weights, and
// what the keys of a thread are.
//
// Threads form a grid of 16 columns tx and 8 or 16 rows ty. A thread has rows ty, ty+ROWS.. and keys tx, tx+16.. of a product with 64
// keys, and columns 4*tx, 4*tx+64.. of one with DP columns.
#pragma once
#include "async.h"
#include "score.h"

constexpr int kTile = 64;
constexpr int kSlab = 32;         // columns
constexpr int kPitch = kSlab + 4; // floats from row to row of a slab: eight rows lie in different banks
constexpr int kSlabFloats = kTile * kPitch;
constexpr int kStageFloats = 2 * kSlabFloats;
constexpr int kSlabs = kDim / kSlab;
constexpr int kRowsPiece = kDim == 64 ? 64 : kDim == 128 ? 32 : 16; // rows of a piece of whole rows
constexpr int kRowPieces = kTile / kRowsPiece;
constexpr int kQuads = kDim / 64; // groups of four columns that a thread has
static_assert(kRowsPiece * kDim <= kStageFloats && kTile * 64 <= kStageFloats, "a piece fits a stage");

// Weights in shared memory, [64 queries][64 keys]: the two rows that a warp reads at once lie in different banks.
constexpr int kWeightPitch = kTile + 4;
DEV constexpr int weight(int query, int key) { return query * kWeightPitch + key; }
DEV float *weights() { return (float *)shared_memory + 2 * kStageFloats; }

struct Thread { int tx, ty; };
DEV Thread thread() { return {(int)threadIdx.x % 16, (int)threadIdx.x / 16}; }

DEV float4 load4(const float *p) { return *(const float4 *)p; }
DEV void store4(float *p, float4 v) { *(float4 *)p = v; }
DEV float part(float4 v, int i) { return i == 0 ? v.x : i == 1 ? v.y : i == 2 ? v.z : v.w; }
DEV void fma4(float4 &sum, float a, float4 b) {
  sum.x = __builtin_fmaf(a, b.x, sum.x);
  sum.y = __builtin_fmaf(a, b.y, sum.y);
  sum.z = __builtin_fmaf(a, b.z, sum.z);
  sum.w = __builtin_fmaf(a, b.w, sum.w);
}
DEV void dot4(float &sum, float4 a, float4 b) {
  sum = __builtin_fmaf(a.x, b.x, sum);
  sum = __builtin_fmaf(a.y, b.y, sum);
  sum = __builtin_fmaf(a.z, b.z, sum);
  sum = __builtin_fmaf(a.w, b.w, sum);
}

// The flag behind an array of so many floats.
DEV u32 flag(const void *x, long floats) { return *(const u32 *)((const float *)x + floats); }

// Copies by a block of so many threads. slab: 32 columns, from `column` on, of 64 rows. rows: whole rows, which lie together. columns: 64
// columns of 64 rows.
template <int THREADS> struct Copy {
  DEV static void slab(float *to, const float *from, int column) {
    int r = threadIdx.x / 8, c = threadIdx.x % 8 * 4;
    to += r * kPitch + c, from += r * kDim + column + c;
    UNROLL for (int i = 0; i < kTile; i += THREADS / 8) copy16(to + i * kPitch, from + i * kDim);
  }
  DEV static void slabs(float *to, const float *a, const float *b, int column) {
    slab(to, a, column);
    slab(to + kSlabFloats, b, column);
  }
  DEV static void rows(float *to, const float *from) {
    to += threadIdx.x * 4, from += threadIdx.x * 4;
    UNROLL for (int i = 0; i < kRowsPiece * kDim; i += THREADS * 4) copy16(to + i, from + i);
  }
  DEV static void columns(float *to, const float *from, int column) {
    int r = threadIdx.x / 16, c = threadIdx.x % 16 * 4;
    to += r * 64 + c, from += r * kDim + column + c;
    UNROLL for (int i = 0; i < kTile; i += THREADS / 16) copy16(to + i * 64, from + i * kDim);
  }
};

// Stages hands out pieces in order. Feed::operator()(entry, piece, to) starts the copy of one; an entry has Feed::kPieces.
template <class Feed> struct Stages {
  const Feed &feed;
  int last;       // entries end before it
  int number = 0; // of pieces handed out

  DEV float *stage() const { return (float *)shared_memory + (number & 1) * kStageFloats; }
  DEV void begin(int entry) const {
    if (entry < last) feed(entry, 0, stage());
  }
  // The piece, once all threads have it and are done with the one before, whose place the next one takes.
  DEV const float *next(int entry, int piece) {
    const float *now = stage();
    number++;
    bool more = piece + 1 < Feed::kPieces;
    arrived();
    barrier();
    if (more | (entry + 1 < last)) feed(more ? entry : entry + 1, more ? piece + 1 : 0, stage());
    return now;
  }
};

// Adds the products of a slab's columns to s: rows of a slab, STEP apart, with those of the slab behind it.
template <int ROWS, int STEP> DEV void multiply_slabs(float (&s)[ROWS][4], const float *slabs, Thread t) {
  const float *a = slabs + t.ty * kPitch, *b = slabs + kSlabFloats + t.tx * kPitch;
  ONCE for (int c = 0; c < kSlab; c += 4) {
    float4 y[4];
    UNROLL for (int j = 0; j < 4; j++) y[j] = load4(b + j * 16 * kPitch + c);
    UNROLL for (int i = 0; i < ROWS; i++) {
      float4 x = load4(a + i * STEP * kPitch + c);
      UNROLL for (int j = 0; j < 4; j++) dot4(s[i][j], x, y[j]);
    }
  }
}

// What the score needs of the four keys of a thread, in a tile of a head, and of the head.
struct Keys {
  int position[4];
  u32 word[4];
  float slope;
};

template <bool EXTRAS> DEV Keys keys_of(const Score &c, int first, int NP, int head) {
  Keys k;
  UNROLL for (int j = 0; j < 4; j++) {
    int key = first + j * 16;
    k.position[j] = c.kpos[key];
    if (EXTRAS) k.word[j] = c.threshold ? c.kword[(long)head * NP + key] : 0;
  }
  if (EXTRAS) k.slope = c.alibi ? c.slope[head] : 0.f;
  return k;
}

// A query row, and bits of the keys of a thread that it sees.
struct Row {
  Query query;
  u32 seen;
};

DEV bool sees(const Row &r, int j) { return r.seen >> j & 1; }

// The row of a head; all keys are seen unless the tile is partial.
template <bool EXTRAS> DEV Row row_of(const Score &c, const Keys &k, int row, int SP, int head, bool partial) {
  Row r = {EXTRAS ? query_of(c, row, SP, head) : Query{}, partial ? 0u : 15u};
  ONCE for (int l = 0; l < (partial ? c.layers : 0); l++) {
    int2 span = c.span[(long)l * SP + row];
    UNROLL for (int j = 0; j < 4; j++) r.seen |= (u32)((u32)(k.position[j] - span.x) < (u32)span.y) << j;
  }
  return r;
}
