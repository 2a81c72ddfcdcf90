// One block of keys into the carry, in float32.
#pragma once
#include "simt_tile.h"
#include "split.h"

constexpr int kForeThreads = kDim <= 128 ? 128 : 256;
constexpr int kForeStep = kForeThreads / 16; // from row to row of a thread
constexpr int kForeRows = kTile / kForeStep; // of a thread

struct ForwardFeed {
  const float *q, *k, *v; // of a query tile; of a head
  const u32 *tile;
  static constexpr int kPieces = kSlabs + kRowPieces;
  DEV void operator()(int entry, int piece, float *to) const {
    long first = (long)(tile[entry] >> 1) * kTile * kDim;
    if (piece < kSlabs) {
      Copy<kForeThreads>::slabs(to, q, k + first, piece * kSlab);
    } else {
      Copy<kForeThreads>::rows(to, v + first + (piece - kSlabs) * kRowsPiece * kDim);
    }
  }
};

// The carry of a thread: m is that of a row, l the part of the thread's keys, and o has the thread's columns.
struct Carried {
  float m[kForeRows], l[kForeRows];
  float4 o[kForeRows][kQuads];
};

DEV void load_carry(Carried &c, const ForwardArgs &a, long row, int tx) {
  UNROLL for (int i = 0; i < kForeRows; i++) {
    long at = row + i * kForeStep;
    c.m[i] = -kInf, c.l[i] = 0.f;
    UNROLL for (int n = 0; n < kQuads; n++) c.o[i][n] = {0, 0, 0, 0};
    float l = a.first ? 0.f : a.l[at];
    if (l == 0.f) continue;               // o may hold anything then
    c.m[i] = a.m[at], c.l[i] = l / 16;    // a share for every thread of the row: small sums round little
    UNROLL for (int n = 0; n < kQuads; n++) c.o[i][n] = load4(a.o + at * kDim + n * 64 + tx * 4);
  }
}

DEV void store_carry(const Carried &c, const ForwardArgs &a, long row, int tx) {
  UNROLL for (int i = 0; i < kForeRows; i++) {
    long at = row + i * kForeStep;
    float l = lanes_sum(c.l[i], 16);
    if (tx == 0) a.m[at] = c.m[i], a.l[at] = l;
    UNROLL for (int n = 0; n < kQuads; n++) store4(a.o + at * kDim + n * 64 + tx * 4, c.o[i][n]);
  }
}

// Scores s of row i of a thread become weights relative to the new m, and the rest of the carry follows. l counts what dropout drops.
// m is a whole number, so that the carry follows by a power of 2, exactly: the error does not grow with the number of blocks. A reference
// of -inf would make -inf - -inf.
template <bool EXTRAS> DEV void soften(Carried &c, int i, float (&s)[4], const Score &score, const Keys &k, const Row &r) {
  float t[4], top = -kInf;
  UNROLL for (int j = 0; j < 4; j++) {
    t[j] = EXTRAS ? logit(score, s[j], r.query.position - k.position[j], k.slope, nullptr) : s[j] * score.scale;
    top = max2(top, sees(r, j) ? t[j] : -kInf);
  }
  UNROLL for (int d = 8; d; d /= 2) top = max2(top, butterfly(top, d));
  float m = max2(c.m[i], __builtin_ceilf(top)), reference = m == -kInf ? 0.f : m;
  float decay = exp2_fast(c.m[i] - reference), sum = 0.f;
  UNROLL for (int j = 0; j < 4; j++) {
    float w = exp2_fast(EXTRAS ? t[j] - reference : __builtin_fmaf(s[j], score.scale, -reference));
    w = sees(r, j) ? w : 0.f;
    sum += w;
    bool keep = EXTRAS && score.threshold ? kept(r.query.word, k.word[j], score.threshold) : true;
    s[j] = keep ? w : 0.f;
  }
  c.m[i] = m, c.l[i] = __builtin_fmaf(c.l[i], decay, sum);
  UNROLL for (int n = 0; n < kQuads; n++) {
    float4 &o = c.o[i][n];
    o = {o.x * decay, o.y * decay, o.z * decay, o.w * decay};
  }
}

// Adds weights times some rows of V to the carry; the first of them is key `first` of the tile. The rows are summed apart first: many
// small terms would each round a large sum.
DEV void fold(Carried &c, int first, const float *rows, Thread t) {
  const float *from = weights() + weight(t.ty, first);
  UNROLL for (int n = 0; n < kQuads; n++) {
    float4 sum[kForeRows] = {};
    _Pragma("unroll 2") for (int k = 0; k < kRowsPiece; k += 4) {
      float4 p[kForeRows];
      UNROLL for (int i = 0; i < kForeRows; i++) p[i] = load4(from + weight(i * kForeStep, k));
      UNROLL for (int e = 0; e < 4; e++) {
        float4 v = load4(rows + (k + e) * kDim + n * 64 + t.tx * 4);
        UNROLL for (int i = 0; i < kForeRows; i++) fma4(sum[i], part(p[i], e), v);
      }
    }
    UNROLL for (int i = 0; i < kForeRows; i++) {
      float4 &o = c.o[i][n];
      o = {o.x + sum[i].x, o.y + sum[i].y, o.z + sum[i].z, o.w + sum[i].w};
    }
  }
}

template <bool EXTRAS> DEV void attend(const ForwardArgs &a) {
  long queries = (long)a.heads * a.SP * kDim, keys = (long)(a.heads / a.group) * a.NP * kDim;
  if (flag(a.q, queries) | flag(a.k, keys) | flag(a.v, keys)) return;

  int tile = gridDim.x - 1 - blockIdx.x, head = blockIdx.y, begin = a.start[tile], end = a.start[tile + 1];
  if ((begin == end) & !a.first) return;
  Thread t = thread();
  int row = tile * kTile + t.ty;
  long kv = (long)(head / a.group) * a.NP * kDim;
  ForwardFeed feed = {(const float *)a.q + ((long)head * a.SP + tile * kTile) * kDim, (const float *)a.k + kv, (const float *)a.v + kv, a.tile};
  Stages<ForwardFeed> stages = {feed, end};
  stages.begin(begin);

  Carried c;
  load_carry(c, a, (long)head * a.SP + row, t.tx);
  ONCE for (int e = begin; e < end; e++) {
    u32 entry = a.tile[e];
    float s[kForeRows][4] = {};
    ONCE for (int i = 0; i < kSlabs; i++) multiply_slabs<kForeRows, kForeStep>(s, stages.next(e, i), t);

    Keys k;
    if (EXTRAS | (entry & 1)) k = keys_of<EXTRAS>(a.score, (entry >> 1) * kTile + t.tx, a.NP, head);
    UNROLL for (int i = 0; i < kForeRows; i++) {
      Row r = row_of<EXTRAS>(a.score, k, row + i * kForeStep, a.SP, head, entry & 1);
      soften<EXTRAS>(c, i, s[i], a.score, k, r);
      UNROLL for (int j = 0; j < 4; j++) weights()[weight(t.ty + i * kForeStep, t.tx + j * 16)] = s[i][j];
    }
    ONCE for (int i = 0; i < kRowPieces; i++) fold(c, i * kRowsPiece, stages.next(e, kSlabs + i), t);
  }
  store_carry(c, a, (long)head * a.SP + row, t.tx);
}
