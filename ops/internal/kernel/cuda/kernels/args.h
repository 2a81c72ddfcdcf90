// Arguments of all kernels, by value; layout.go has the same structs for Go, and a test compares the offsets.
//
// Legend: H query heads, K KV heads, S query rows, N key rows, SP and NP those rounded up to 128, DP the head dim rounded up to 64 (the
// larger of D and Dv), L layers of the mask. Rows and columns of padding hold zeros.
//
// Two layouts of arrays:
//   rows   float32, [heads][SP][DP]
//   tiles  bfloat16 or float16, [heads][SP/128][DP/64][128 rows][64 columns]; the eight 16-byte chunks of a row lie permuted: chunk c of
//          row r is at place c^(r&7), which is how wgmma reads shared memory with 128-byte swizzle and ldmatrix without bank conflicts. A
//          block of 128 rows, or a slab of 64 columns of it, is one contiguous piece of memory.
// Behind the data of q, k, v and dO (rows or tiles) lie 16 bytes, whose first word is not 0 if an element is not finite. The fast
// kernels return at once where one of those words is set, the careful ones where none is.
#pragma once
#include "prim.h"

// Score is what makes a logit of q.k, and who sees whom. Logits t are in units of log2: t = log2(e) * logit.
struct Score {
  const int2 *span;       // [L][SP] first visible key position and number of positions; padding rows have 0, 0
  const int *qpos;        // [SP] global position of a query row
  const int *kpos;        // [NP] global position of a key row; -1 in padding, which no span has
  const u32 *qword;       // [H][SP] dropout words of queries
  const u32 *kword;       // [H][NP] dropout words of keys; kept(qword, kword, threshold)
  const float *slope;     // [H] ALiBi slope * log2(e)
  int layers;             // L, at least 1
  u32 threshold;          // 0: nothing is dropped
  float keep;             // 1/(1-p)
  float scale;            // softmax scale * log2(e): t = s*scale; unused with softcap
  float softcap;          // c * log2(e), or 0: t = softcap * tanh(s*inner)
  float inner;            // softmax scale / c
  float natural;          // softmax scale, of dQ and dK
  int alibi;              // 1: subtract slope * |qpos-kpos|
};

// Forward folds the keys into the carry of the queries: o [H][SP][DP] rows, not normalised; m [H][SP] a reference near the largest t so far, or -inf;
// l [H][SP] the sum of exp2(t-m).
struct ForwardArgs {
  const void *q, *k, *v;  // tiles or rows; heads H, K, K
  float *o, *m, *l;
  const int *start;       // [query tiles + 1] into tile
  const u32 *tile;        // 2*(key tile) + partial, for every query tile: the key tiles that it sees, full unless partial
  Score score;
  int SP, NP, heads, group; // H and H/K
  int first;              // 1: the carry has seen nothing and holds nothing yet
};

// Backward adds to dq, dk, dv, all rows. Grid: key tiles (blockIdx.x counts them from the last one down) by KV heads.
struct BackwardArgs {
  const void *q, *k, *v, *dO;
  const float *high, *low; // [H][SP] of Finish, of the whole row; high is -inf and low 0 where a row sees nothing
  const float *delta;      // [H][SP]
  float *dq, *dk, *dv;
  const int *start;        // [key tiles + 1] into tile
  const u32 *tile;         // 2*(query tile) + partial
  const u32 *turn;         // beside tile: how many key tiles add to the dq of that query tile before this one
  u32 *turns;              // [H][query tiles] zeroed: how many have added
  Score score;
  int SP, NP, heads, group;
  int fresh;               // 1: dk and dv are overwritten, whatever they hold
  int ordered;             // 1: dq is added to in turns, so its bits repeat
};

// The careful kernels are compiled for every DP.
struct CarefulForwardArgs { ForwardArgs call; int DP; };
struct CarefulBackwardArgs { BackwardArgs call; int DP; };

// Strided says where the element of a head h = b*heads+i, a row and a column of a dense host-made float32 array lies.
struct Strided { long batch, head, row; };

// Pack makes tiles or rows of an array, with the flag behind them. Grid: (SP/128, heads*batches).
struct PackArgs {
  const void *from; void *to; u32 *flag;
  Strided stride;          // of from, in elements
  int rows, SP, dim, DP, heads; // heads of a batch
  int halves;              // 1: from holds 16-bit elements of the type of the tiles, stride in 16-bit elements
};

// Unpack writes rows [heads*batches][SP][DP] out as a strided float32 array, times factor. Grid as Pack.
struct UnpackArgs {
  const float *from; float *to;
  Strided stride;
  int rows, SP, dim, DP, heads;
  float factor;
};

// Finish normalises o (in place or to out, rows) and gives high = m + log2(l), the sink included, and low, what rounding took from it.
// Grid: (SP/128, H).
struct FinishArgs {
  const float *o, *m, *l;
  float *out, *high, *low;
  const float *sink;       // [H] sink * log2(e), or null
  float keep;
  int SP, DP;
};

// Delta is rowsum(dO*out); both rows. Grid: (SP/128, H).
struct DeltaArgs { const float *out, *dO; float *delta; int SP, DP; };

// Merge folds a carry of the same queries into o, m, l. Grid: (SP/128, H).
struct MergeArgs { float *o, *m, *l; const float *o2, *m2, *l2; int SP, DP; };

// Add adds n floats, a multiple of 4. Grid: any number of blocks of 256.
struct AddArgs { float *to; const float *from; long n; };

// Words makes dropout words: out [H][n], from the heads' keys [H] and positions [n] (padding: -1 gives 0). Grid: (blocks of 256 over n, H).
struct WordsArgs { u32 *out; const u64 *key; const int *position; int n; int keys; }; // keys 1: the stream of keys, not of queries
