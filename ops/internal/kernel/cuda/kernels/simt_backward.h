// The gradients of one block, in float32. A block of threads owns a tile of keys: dk and dv stay in registers, dq is added to in memory.
#pragma once
#include "simt_tile.h"

constexpr int kBackThreads = 256;
constexpr int kBackRows = 4; // of a thread, 16 apart

struct BackwardFeed {
  const float *q, *dO; // of the key head's first query head
  const float *k, *v;  // of a key tile
  const u32 *tile;     // of the key tile
  int count;           // of its entries, which come again for every query head
  long head;           // floats of a head of q and dO
  static constexpr int kPieces = 2 * kSlabs + 2 * kRowPieces + kQuads;
  typedef Copy<kBackThreads> Copies;
  DEV void operator()(int entry, int piece, float *to) const {
    long first = (entry / count) * head + (long)(tile[entry % count] >> 1) * kTile * kDim;
    if (piece < kSlabs) {
      Copies::slabs(to, q + first, k, piece * kSlab);
    } else if ((piece -= kSlabs) < kSlabs) {
      Copies::slabs(to, dO + first, v, piece * kSlab);
    } else if ((piece -= kSlabs) < kRowPieces) {
      Copies::rows(to, dO + first + piece * kRowsPiece * kDim);
    } else if ((piece -= kRowPieces) < kRowPieces) {
      Copies::rows(to, q + first + piece * kRowsPiece * kDim);
    } else {
      Copies::columns(to, k, (piece - kRowPieces) * 64);
    }
  }
};

// Gradients of the keys 4*ty.. of a tile, by the columns of a thread.
struct KeySums { float4 sum[4][kQuads]; };

// Adds transposed weights times some rows of dO or Q, of which the first is query `first` of the tile.
DEV void fold_transposed(KeySums &g, int first, const float *rows, Thread t) {
  const float *from = weights() + weight(first, 4 * t.ty);
  _Pragma("unroll 2") for (int q = 0; q < kRowsPiece; q++) {
    float4 p = load4(from + weight(q, 0));
    UNROLL for (int n = 0; n < kQuads; n++) {
      float4 x = load4(rows + q * kDim + n * 64 + t.tx * 4);
      UNROLL for (int j = 0; j < 4; j++) fma4(g.sum[j][n], part(p, j), x);
    }
  }
}

// Adds dS times 64 columns of K to dq.
DEV void add_queries(float *dq, const float *columns, float natural, Thread t) {
  float4 sum[kBackRows] = {};
  const float *from = weights() + weight(t.ty, 0);
  _Pragma("unroll 2") for (int k = 0; k < kTile; k += 4) {
    float4 w[kBackRows];
    UNROLL for (int i = 0; i < kBackRows; i++) w[i] = load4(from + weight(i * 16, k));
    UNROLL for (int e = 0; e < 4; e++) {
      float4 x = load4(columns + (k + e) * 64 + t.tx * 4);
      UNROLL for (int i = 0; i < kBackRows; i++) fma4(sum[i], part(w[i], e), x);
    }
  }
  UNROLL for (int i = 0; i < kBackRows; i++) {
    UNROLL for (int e = 0; e < 4; e++) reduce_add(dq + (t.ty + i * 16) * kDim + t.tx * 4 + e, part(sum[i], e) * natural);
  }
}

DEV void store_keys(const KeySums &g, float *to, float factor, int fresh) {
  Thread t = thread();
  UNROLL for (int j = 0; j < 4; j++) {
    UNROLL for (int n = 0; n < kQuads; n++) {
      float *at = to + (4 * t.ty + j) * kDim + n * 64 + t.tx * 4;
      float4 x = {0, 0, 0, 0};
      if (!fresh) x = load4(at);
      fma4(x, factor, g.sum[j][n]);
      store4(at, x);
    }
  }
}

// Where a block is in its loop over query heads and their tiles.
struct Step {
  int head, tile; // of queries
  bool partial;
};

// From scores s and dP d of the thread's pairs to the weights of dV, in place of s, and dS, in place of d.
template <bool EXTRAS> DEV void weigh(float (&s)[kBackRows][4], float (&d)[kBackRows][4], const BackwardArgs &a, Step at, const Keys &k) {
  const Score &c = a.score;
  int first = at.tile * kTile + thread().ty;
  UNROLL for (int i = 0; i < kBackRows; i++) {
    long line = (long)at.head * a.SP + first + i * 16;
    float high = a.high[line], low = a.low[line], delta = a.delta[line];
    high = high == -kInf ? kInf : high; // a row that sees nothing: exp2(t - inf) is 0
    Row r = row_of<EXTRAS>(c, k, first + i * 16, a.SP, at.head, at.partial);
    UNROLL for (int j = 0; j < 4; j++) {
      float steep = 1.f, keep = 1.f;
      float x = EXTRAS ? logit(c, s[i][j], r.query.position - k.position[j], k.slope, &steep) - high : __builtin_fmaf(s[i][j], c.scale, -high);
      float w = exp2_fast(x - low);
      if (EXTRAS && c.threshold) keep = kept(r.query.word, k.word[j], c.threshold) ? c.keep : 0.f;
      s[i][j] = sees(r, j) ? w * keep : 0.f;
      d[i][j] = sees(r, j) ? w * (d[i][j] * keep - delta) * steep : 0.f;
    }
  }
}

DEV void put_weights(const float (&w)[kBackRows][4], Thread t) {
  UNROLL for (int i = 0; i < kBackRows; i++) {
    UNROLL for (int j = 0; j < 4; j++) weights()[weight(t.ty + i * 16, t.tx + j * 16)] = w[i][j];
  }
}

template <bool EXTRAS> DEV void differentiate(const BackwardArgs &a) {
  long queries = (long)a.heads * a.SP * kDim, keys = (long)(a.heads / a.group) * a.NP * kDim;
  if (flag(a.q, queries) | flag(a.k, keys) | flag(a.v, keys) | flag(a.dO, queries)) return;

  int tile = gridDim.x - 1 - blockIdx.x, kv = blockIdx.y, begin = a.start[tile], count = a.start[tile + 1] - begin;
  if ((count == 0) & !a.fresh) return;
  Thread t = thread();
  long head = (long)a.SP * kDim, from = kv * a.group * head, own = ((long)kv * a.NP + tile * kTile) * kDim;
  BackwardFeed feed = {(const float *)a.q + from, (const float *)a.dO + from, (const float *)a.k + own, (const float *)a.v + own,
                       a.tile + begin, count, head};
  Stages<BackwardFeed> stages = {feed, count * a.group};
  stages.begin(0);

  KeySums dk = {}, dv = {};
  ONCE for (int e = 0; e < stages.last; e++) {
    u32 entry = feed.tile[e % count];
    Step at = {kv * a.group + e / count, (int)(entry >> 1), (entry & 1) != 0};
    int piece = 0;
    float s[kBackRows][4] = {}, d[kBackRows][4] = {};
    ONCE for (int i = 0; i < kSlabs; i++) multiply_slabs<kBackRows, 16>(s, stages.next(e, piece++), t);
    ONCE for (int i = 0; i < kSlabs; i++) multiply_slabs<kBackRows, 16>(d, stages.next(e, piece++), t);

    Keys k;
    if (EXTRAS | at.partial) k = keys_of<EXTRAS>(a.score, tile * kTile + t.tx, a.NP, at.head);
    weigh<EXTRAS>(s, d, a, at, k);
    put_weights(s, t);
    ONCE for (int i = 0; i < kRowPieces; i++) fold_transposed(dv, i * kRowsPiece, stages.next(e, piece++), t);
    barrier(); // all are done with the weights of dV
    put_weights(d, t);
    ONCE for (int i = 0; i < kRowPieces; i++) fold_transposed(dk, i * kRowsPiece, stages.next(e, piece++), t);

    u32 *turns = a.turns + (long)at.head * (a.SP / kTile) + at.tile;
    if (a.ordered) {
      if (threadIdx.x == 0) await_turn(turns, a.turn[begin + e % count]);
      barrier();
    }
    float *dq = a.dq + ((long)at.head * a.SP + at.tile * kTile) * kDim;
    ONCE for (int i = 0; i < kQuads; i++) add_queries(dq + i * 64, stages.next(e, piece++), a.score.natural, t);
    if (a.ordered) {
      barrier();
      if (threadIdx.x == 0) pass_turn(turns);
    }
  }
  store_keys(dk, a.dk + own, a.score.natural, a.fresh);
  store_keys(dv, a.dv + own, 1.f, a.fresh);
}
