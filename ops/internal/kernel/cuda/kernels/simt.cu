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
// rows (O, dV, dK). Threads form a grid of 16 columns and 8 or 16 rows; a thread has rows ty, ty+ROWS.. and keys tx, tx+16.. of a
// product with 64 keys, and columns 4*tx, 4*tx+64.. of one with DP columns.
constexpr int kDim = DP; // of the command line; args.h has members of the name
#undef DP
#include "async.h"
#include "score.h"
#include "split.h"

namespace {

constexpr int kTile = 64;
constexpr int kSlab = 32;                      // columns
constexpr int kPitch = kSlab + 4;              // floats from row to row of a slab: eight rows lie in different banks
constexpr int kSlabFloats = kTile * kPitch;
constexpr int kStageFloats = 2 * kSlabFloats;
constexpr int kRowsPiece = kDim == 64 ? 64 : kDim == 128 ? 32 : 16; // rows of a piece of whole rows
constexpr int kQuads = kDim / 64;                // groups of four columns that a thread has
constexpr int kBackThreads = 256;
constexpr int kForeThreads = kDim <= 128 ? 128 : 256;
static_assert(kRowsPiece * kDim <= kStageFloats && kTile * 64 <= kStageFloats, "a piece fits a stage");

DEV float4 load4(const float *p) { return *(const float4 *)p; }
DEV void store4(float *p, float4 v) { *(float4 *)p = v; }
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

DEV u32 flag(const void *x, long floats) { return *(const u32 *)((const float *)x + floats); }

// copy_slab: 32 columns, from `column` on, of 64 rows of kDim floats. copy_rows: whole rows, which lie together. copy_columns: 64 columns.
template <int THREADS> DEV void copy_slab(float *to, const float *from, int column) {
  int r = threadIdx.x / 8, c = threadIdx.x % 8 * 4;
  to += r * kPitch + c, from += r * kDim + column + c;
  UNROLL for (int i = 0; i < kTile; i += THREADS / 8) copy16(to + i * kPitch, from + i * kDim);
}
template <int THREADS> DEV void copy_rows(float *to, const float *from) {
  to += threadIdx.x * 4, from += threadIdx.x * 4;
  UNROLL for (int i = 0; i < kRowsPiece * kDim; i += THREADS * 4) copy16(to + i, from + i);
}
template <int THREADS> DEV void copy_columns(float *to, const float *from, int column) {
  int r = threadIdx.x / 16, c = threadIdx.x % 16 * 4;
  to += r * 64 + c, from += r * kDim + column + c;
  UNROLL for (int i = 0; i < kTile; i += THREADS / 16) copy16(to + i * 64, from + i * kDim);
}

// Stages hands out pieces in order. `feed(entry, piece, to)` starts the copy of one; an entry has `pieces`.
template <class Feed> struct Stages {
  float *memory;
  int last, pieces; // entries end before last
  int number = 0;   // of pieces handed out

  DEV void begin(const Feed &feed, int entry) {
    if (entry < last) feed(entry, 0, memory);
  }
  // The piece, once all threads have it and are done with the one before, whose place the next one takes.
  DEV const float *next(const Feed &feed, int entry, int piece) {
    const float *now = memory + (number & 1) * kStageFloats;
    number++;
    bool more = piece + 1 < pieces;
    arrived();
    barrier();
    if (more | (entry + 1 < last)) feed(more ? entry : entry + 1, more ? piece + 1 : 0, memory + (number & 1) * kStageFloats);
    return now;
  }
};

// Adds the products of a slab's columns to s: rows of a slab with those of the slab behind it.
template <int ROWS, int STEP> DEV void multiply_slabs(float (&s)[ROWS][4], const float *slabs, int ty, int tx) {
  const float *a = slabs + ty * kPitch, *b = slabs + kSlabFloats + tx * kPitch;
  _Pragma("unroll 1") for (int c = 0; c < kSlab; c += 4) {
    float4 y[4];
    UNROLL for (int j = 0; j < 4; j++) y[j] = load4(b + j * 16 * kPitch + c);
    UNROLL for (int i = 0; i < ROWS; i++) {
      float4 x = load4(a + i * STEP * kPitch + c);
      UNROLL for (int j = 0; j < 4; j++) dot4(s[i][j], x, y[j]);
    }
  }
}

// Weights (P or dS) in shared memory, [64 queries][64 keys]: the two rows that a warp reads at once lie in different banks.
constexpr int kWeightPitch = kTile + 4;
DEV int weight(int query, int key) { return query * kWeightPitch + key; }

// Positions and dropout words of the four keys of a thread.
struct Keys { int position[4]; u32 word[4]; };

template <bool EXTRAS> DEV Keys keys_of(const Score &c, int first, int NP, int head) {
  Keys k;
  UNROLL for (int j = 0; j < 4; j++) {
    int key = first + j * 16;
    k.position[j] = c.kpos[key];
    if (EXTRAS) k.word[j] = c.threshold ? c.kword[(long)head * NP + key] : 0;
  }
  return k;
}

// Bits of the keys that a query row sees.
DEV u32 seen_of(const Score &c, int row, int SP, const Keys &k) {
  u32 seen = 0;
  for (int l = 0; l < c.layers; l++) {
    int2 span = c.span[(long)l * SP + row];
    UNROLL for (int j = 0; j < 4; j++) seen |= (u32)((u32)(k.position[j] - span.x) < (u32)span.y) << j;
  }
  return seen;
}

struct ForwardFeed {
  const float *q, *k, *v; // of a query tile; of a head
  const u32 *tile;
  static constexpr int kPieces = kDim / kSlab + kTile / kRowsPiece;
  DEV void operator()(int entry, int piece, float *to) const {
    long first = (long)(tile[entry] >> 1) * kTile * kDim;
    int rows = piece - kDim / kSlab;
    if (rows >= 0) {
      copy_rows<kForeThreads>(to, v + first + rows * kRowsPiece * kDim);
    } else {
      copy_slab<kForeThreads>(to, q, piece * kSlab);
      copy_slab<kForeThreads>(to + kSlabFloats, k + first, piece * kSlab);
    }
  }
};

// The carry of a thread: rows ty+STEP*i; m is that of the row, l of the thread's keys, and o of its columns.
template <int ROWS> struct Carried { float m[ROWS], l[ROWS]; float4 o[ROWS][kQuads]; };

template <int ROWS> DEV void load_carry(Carried<ROWS> &c, const ForwardArgs &a, long row, int step, int tx) {
  UNROLL for (int i = 0; i < ROWS; i++) {
    long at = row + i * step;
    c.m[i] = -kInf, c.l[i] = 0.f;
    UNROLL for (int n = 0; n < kQuads; n++) c.o[i][n] = {0, 0, 0, 0};
    float l = a.first ? 0.f : a.l[at];
    if (l == 0.f) continue; // o may hold anything then
    c.m[i] = a.m[at], c.l[i] = l / 16; // a share for every thread of the row: small sums round little
    UNROLL for (int n = 0; n < kQuads; n++) c.o[i][n] = load4(a.o + at * kDim + n * 64 + tx * 4);
  }
}

template <int ROWS> DEV void store_carry(const Carried<ROWS> &c, const ForwardArgs &a, long row, int step, int tx) {
  UNROLL for (int i = 0; i < ROWS; i++) {
    long at = row + i * step;
    float l = lanes_sum(c.l[i], 16);
    if (tx == 0) a.m[at] = c.m[i], a.l[at] = l;
    UNROLL for (int n = 0; n < kQuads; n++) store4(a.o + at * kDim + n * 64 + tx * 4, c.o[i][n]);
  }
}

// One row of scores: its weights go to p, relative to the new m, and the carry follows. A reference of -inf would make -inf - -inf.
template <bool EXTRAS, int ROWS>
DEV void soften(Carried<ROWS> &c, int i, const float (&s)[4], float *p, const Score &score, u32 seen, const Keys &k, const Query &q, float slope) {
  float t[4], top = -kInf;
  UNROLL for (int j = 0; j < 4; j++) {
    t[j] = EXTRAS ? logit(score, s[j], q.position - k.position[j], slope, nullptr) : s[j] * score.scale;
    top = max2(top, seen >> j & 1 ? t[j] : -kInf);
  }
  UNROLL for (int d = 8; d; d /= 2) top = max2(top, butterfly(top, d));
  float m = max2(c.m[i], top), reference = m == -kInf ? 0.f : m;
  float decay = exp2_fast(c.m[i] - reference), sum = 0.f;
  UNROLL for (int j = 0; j < 4; j++) {
    float w = exp2_fast(EXTRAS ? t[j] - reference : __builtin_fmaf(s[j], score.scale, -reference));
    w = seen >> j & 1 ? w : 0.f;
    sum += w;
    if (EXTRAS && score.threshold) w = kept(q.word, k.word[j], score.threshold) ? w : 0.f;
    p[j * 16] = w;
  }
  c.m[i] = m, c.l[i] = __builtin_fmaf(c.l[i], decay, sum);
  UNROLL for (int n = 0; n < kQuads; n++) {
    float4 &o = c.o[i][n];
    o = {o.x * decay, o.y * decay, o.z * decay, o.w * decay};
  }
}

// Adds weights times some rows of V to the carry; first is the key of the first of them.
template <int ROWS> DEV void fold(Carried<ROWS> &c, const float *weights, int first, const float *rows, int ty, int step, int tx) {
  _Pragma("unroll 2") for (int k = 0; k < kRowsPiece; k += 4) {
    float4 p[ROWS];
    UNROLL for (int i = 0; i < ROWS; i++) p[i] = load4(weights + weight(ty + i * step, first + k));
    UNROLL for (int n = 0; n < kQuads; n++) {
      UNROLL for (int e = 0; e < 4; e++) {
        float4 v = load4(rows + (k + e) * kDim + n * 64 + tx * 4);
        UNROLL for (int i = 0; i < ROWS; i++) fma4(c.o[i][n], e == 0 ? p[i].x : e == 1 ? p[i].y : e == 2 ? p[i].z : p[i].w, v);
      }
    }
  }
}

template <bool EXTRAS> DEV void attend(const ForwardArgs &a) {
  constexpr int kStep = kForeThreads / 16, kRows = kTile / kStep;
  long queries = (long)a.heads * a.SP * kDim, keys = (long)(a.heads / a.group) * a.NP * kDim;
  if (flag(a.q, queries) | flag(a.k, keys) | flag(a.v, keys)) return;

  int tile = gridDim.x - 1 - blockIdx.x, head = blockIdx.y, begin = a.start[tile], end = a.start[tile + 1];
  if ((begin == end) & !a.first) return;
  int tx = threadIdx.x % 16, ty = threadIdx.x / 16, row = tile * kTile + ty;
  float *weights = (float *)shared_memory + 2 * kStageFloats;
  long kv = (long)(head / a.group) * a.NP * kDim;
  ForwardFeed feed = {(const float *)a.q + ((long)head * a.SP + tile * kTile) * kDim, (const float *)a.k + kv, (const float *)a.v + kv, a.tile};
  Stages<ForwardFeed> stages = {(float *)shared_memory, end, ForwardFeed::kPieces};
  stages.begin(feed, begin);

  Carried<kRows> c;
  load_carry(c, a, (long)head * a.SP + row, kStep, tx);
  float slope = EXTRAS && a.score.alibi ? a.score.slope[head] : 0.f;
  ONCE for (int e = begin; e < end; e++) {
    u32 entry = a.tile[e];
    float s[kRows][4] = {};
    ONCE for (int i = 0; i < kDim / kSlab; i++) multiply_slabs<kRows, kStep>(s, stages.next(feed, e, i), ty, tx);

    Keys k;
    if (EXTRAS | (entry & 1)) k = keys_of<EXTRAS>(a.score, (entry >> 1) * kTile + tx, a.NP, head);
    UNROLL for (int i = 0; i < kRows; i++) {
      int r = row + i * kStep;
      u32 seen = entry & 1 ? seen_of(a.score, r, a.SP, k) : 15;
      Query q = EXTRAS ? query_of(a.score, r, a.SP, head) : Query{};
      soften<EXTRAS>(c, i, s[i], weights + weight(ty + i * kStep, tx), a.score, seen, k, q, slope);
    }
    ONCE for (int i = 0; i < kTile / kRowsPiece; i++)
      fold(c, weights, i * kRowsPiece, stages.next(feed, e, kDim / kSlab + i), ty, kStep, tx);
  }
  store_carry(c, a, (long)head * a.SP + row, kStep, tx);
}

struct BackwardFeed {
  const float *q, *dO; // of the key head's first query head
  const float *k, *v;  // of a key tile
  const u32 *tile;
  int begin, count;    // entries of the key tile; they come again for every query head
  long head;           // floats of a head of q and dO
  static constexpr int kSlabs = kDim / kSlab, kRows = kTile / kRowsPiece;
  static constexpr int kPieces = 2 * kSlabs + 2 * kRows + kDim / 64;
  DEV void operator()(int entry, int piece, float *to) const {
    long first = (entry / count) * head + (long)(tile[begin + entry % count] >> 1) * kTile * kDim;
    if (piece < kSlabs) {
      slabs(to, q + first, k, piece * kSlab);
    } else if ((piece -= kSlabs) < kSlabs) {
      slabs(to, dO + first, v, piece * kSlab);
    } else if ((piece -= kSlabs) < kRows) {
      copy_rows<kBackThreads>(to, dO + first + piece * kRowsPiece * kDim);
    } else if ((piece -= kRows) < kRows) {
      copy_rows<kBackThreads>(to, q + first + piece * kRowsPiece * kDim);
    } else {
      copy_columns<kBackThreads>(to, k, (piece - kRows) * 64);
    }
  }
  DEV static void slabs(float *to, const float *a, const float *b, int column) {
    copy_slab<kBackThreads>(to, a, column);
    copy_slab<kBackThreads>(to + kSlabFloats, b, column);
  }
};

// Gradients of four keys, by the columns of a thread.
struct KeySums { float4 sum[4][kQuads]; };

// Adds the transposed weights of the four keys from 4*ty on, times some rows of dO or Q, of which the first is query `first`.
DEV void fold_transposed(KeySums &g, const float *weights, int first, const float *rows, int ty, int tx) {
  _Pragma("unroll 2") for (int q = 0; q < kRowsPiece; q++) {
    float4 p = load4(weights + weight(first + q, 4 * ty));
    UNROLL for (int n = 0; n < kQuads; n++) {
      float4 x = load4(rows + q * kDim + n * 64 + tx * 4);
      fma4(g.sum[0][n], p.x, x);
      fma4(g.sum[1][n], p.y, x);
      fma4(g.sum[2][n], p.z, x);
      fma4(g.sum[3][n], p.w, x);
    }
  }
}

// dS of the queries ty+16*i times 64 columns of K, added to dq.
DEV void add_queries(float *dq, const float *weights, const float *columns, float natural, int ty, int tx) {
  float4 sum[4] = {};
  _Pragma("unroll 2") for (int k = 0; k < kTile; k += 4) {
    float4 w[4];
    UNROLL for (int i = 0; i < 4; i++) w[i] = load4(weights + weight(ty + i * 16, k));
    UNROLL for (int e = 0; e < 4; e++) {
      float4 x = load4(columns + (k + e) * 64 + tx * 4);
      UNROLL for (int i = 0; i < 4; i++) fma4(sum[i], e == 0 ? w[i].x : e == 1 ? w[i].y : e == 2 ? w[i].z : w[i].w, x);
    }
  }
  UNROLL for (int i = 0; i < 4; i++) {
    float *to = dq + (ty + i * 16) * kDim + tx * 4;
    reduce_add(to, sum[i].x * natural);
    reduce_add(to + 1, sum[i].y * natural);
    reduce_add(to + 2, sum[i].z * natural);
    reduce_add(to + 3, sum[i].w * natural);
  }
}

DEV void store_keys(const KeySums &g, float *to, float factor, int fresh, int ty, int tx) {
  UNROLL for (int j = 0; j < 4; j++) {
    UNROLL for (int n = 0; n < kQuads; n++) {
      float *at = to + (4 * ty + j) * kDim + n * 64 + tx * 4;
      float4 x = g.sum[j][n], old = {0, 0, 0, 0};
      if (!fresh) old = load4(at);
      store4(at, {__builtin_fmaf(x.x, factor, old.x), __builtin_fmaf(x.y, factor, old.y), __builtin_fmaf(x.z, factor, old.z),
                  __builtin_fmaf(x.w, factor, old.w)});
    }
  }
}

// Where a thread is in the loop over query tiles.
struct Place { int row, head, partial; float slope; }; // row of the thread's first query; of the query head

// From scores s and dP d of the thread's 4 by 4 pairs to the weights of dV, which go to p, and dS, which takes the place of d.
template <bool EXTRAS> DEV void weigh(float (&s)[4][4], float (&d)[4][4], float *p, const BackwardArgs &a, const Place &at, const Keys &k) {
  const Score &c = a.score;
  UNROLL for (int i = 0; i < 4; i++) {
    int r = at.row + i * 16;
    long row = (long)at.head * a.SP + r;
    float high = a.high[row], low = a.low[row], delta = a.delta[row];
    high = high == -kInf ? kInf : high; // a row that sees nothing: exp2(t - inf) is 0
    u32 seen = at.partial ? seen_of(c, r, a.SP, k) : 15;
    Query q = EXTRAS ? query_of(c, r, a.SP, at.head) : Query{};
    UNROLL for (int j = 0; j < 4; j++) {
      float steep = 1.f, keep = 1.f;
      float x = EXTRAS ? logit(c, s[i][j], q.position - k.position[j], at.slope, &steep) - high : __builtin_fmaf(s[i][j], c.scale, -high);
      float w = exp2_fast(x - low);
      w = seen >> j & 1 ? w : 0.f;
      if (EXTRAS && c.threshold) keep = kept(q.word, k.word[j], c.threshold) ? c.keep : 0.f;
      p[weight(i * 16, j * 16)] = w * keep;
      float dS = w * (d[i][j] * keep - delta) * steep;
      d[i][j] = seen >> j & 1 ? dS : 0.f;
    }
  }
}

template <bool EXTRAS> DEV void differentiate(const BackwardArgs &a) {
  long queries = (long)a.heads * a.SP * kDim, keys = (long)(a.heads / a.group) * a.NP * kDim;
  if (flag(a.q, queries) | flag(a.k, keys) | flag(a.v, keys) | flag(a.dO, queries)) return;

  int tile = gridDim.x - 1 - blockIdx.x, kv = blockIdx.y, begin = a.start[tile], count = a.start[tile + 1] - begin;
  if ((count == 0) & !a.fresh) return;
  int tx = threadIdx.x % 16, ty = threadIdx.x / 16, firstHead = kv * a.group;
  float *weights = (float *)shared_memory + 2 * kStageFloats, *mine = weights + weight(ty, tx);
  long head = (long)a.SP * kDim, keyTile = ((long)kv * a.NP + tile * kTile) * kDim;
  BackwardFeed feed = {(const float *)a.q + firstHead * head, (const float *)a.dO + firstHead * head, (const float *)a.k + keyTile,
                       (const float *)a.v + keyTile, a.tile, begin, count, head};
  Stages<BackwardFeed> stages = {(float *)shared_memory, count * a.group, BackwardFeed::kPieces};
  stages.begin(feed, 0);

  KeySums dk = {}, dv = {};
  ONCE for (int e = 0; e < stages.last; e++) {
    u32 entry = a.tile[begin + e % count];
    Place at = {(int)(entry >> 1) * kTile + ty, firstHead + e / count, (int)(entry & 1), 0.f};
    int piece = 0;
    float s[4][4] = {}, d[4][4] = {};
    ONCE for (int i = 0; i < BackwardFeed::kSlabs; i++) multiply_slabs<4, 16>(s, stages.next(feed, e, piece++), ty, tx);
    ONCE for (int i = 0; i < BackwardFeed::kSlabs; i++) multiply_slabs<4, 16>(d, stages.next(feed, e, piece++), ty, tx);

    Keys k;
    if (EXTRAS | at.partial) k = keys_of<EXTRAS>(a.score, tile * kTile + tx, a.NP, at.head);
    if (EXTRAS && a.score.alibi) at.slope = a.score.slope[at.head];
    weigh<EXTRAS>(s, d, mine, a, at, k);
    ONCE for (int i = 0; i < BackwardFeed::kRows; i++) fold_transposed(dv, weights, i * kRowsPiece, stages.next(feed, e, piece++), ty, tx);
    barrier(); // all are done with the weights of dV
    UNROLL for (int i = 0; i < 4; i++) {
      UNROLL for (int j = 0; j < 4; j++) mine[weight(i * 16, j * 16)] = d[i][j];
    }
    ONCE for (int i = 0; i < BackwardFeed::kRows; i++) fold_transposed(dk, weights, i * kRowsPiece, stages.next(feed, e, piece++), ty, tx);

    u32 *turns = a.turns + (long)at.head * (a.SP / kTile) + (entry >> 1);
    if (a.ordered) {
      if (threadIdx.x == 0) await_turn(turns, a.turn[begin + e % count]);
      barrier();
    }
    float *dq = a.dq + ((long)at.head * a.SP + (entry >> 1) * kTile) * kDim;
    ONCE for (int i = 0; i < kDim / 64; i++) add_queries(dq + i * 64, weights, stages.next(feed, e, piece++), a.score.natural, ty, tx);
    if (a.ordered) {
      barrier();
      if (threadIdx.x == 0) pass_turn(turns);
    }
  }
  store_keys(dk, a.dk + keyTile, a.score.natural, a.fresh, ty, tx);
  store_keys(dv, a.dv + keyTile, 1.f, a.fresh, ty, tx);
}

} // namespace

extern "C" __global__ void __launch_bounds__(kForeThreads) forward(ForwardArgs a) { attend<false>(a); }
extern "C" __global__ void __launch_bounds__(kForeThreads) forward_extras(ForwardArgs a) { attend<true>(a); }
extern "C" __global__ void __launch_bounds__(kBackThreads) backward(BackwardArgs a) { differentiate<false>(a); }
extern "C" __global__ void __launch_bounds__(kBackThreads) backward_extras(BackwardArgs a) { differentiate<true>(a); }
