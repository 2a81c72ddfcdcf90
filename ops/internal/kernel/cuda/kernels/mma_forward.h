// Forward on mma.sync: FlashAttention-2 (arXiv 2307.08691, algorithm 1), a block for 128 queries of a head.
//
// A warp has kBlocks x 16 of the queries and all 64 keys of a tile. K and V have one place each: V of a tile arrives while Q K^T is
// multiplied, K of the next tile while P V is. With two blocks of rows to a warp every fragment of K and V is used twice, which halves
// what the tensor cores ask of shared memory; wide heads leave registers for one. Q is in registers where it has room.
//
// The reference m of a row's exponentials may lag behind the largest logit so far, which saves most rescaling of O: it follows when P would
// pass kLargest, or when one key holds more than 1/kWide of the weight. P of that key must be 1, which 16 bits hold exactly: the rounding
// of a key that dominates its row would show in O.
#pragma once
#include "mma.h"

namespace {

template <int DIM, bool EXTRAS = false> struct ForwardShape {
  static constexpr int kQueries = 128, kKeys = 64;
  static constexpr int kBlocks = DIM <= 128 ? 2 : 1; // of 16 queries to a warp
  // Squares of Q in registers, as many as have room. They are staged where K and V lie later; slabs of the others stay at kQ.
  static constexpr int kHeld = DIM == 128 ? 0 : DIM == 256 ? 12 : DIM / 16;
  static constexpr int kThreads = kQueries / (16 * kBlocks) * 32;
  static constexpr int kResident = DIM <= 128 ? 2 : 1; // blocks on a multiprocessor
  static constexpr u32 kTileBytes = kKeys * DIM * 2;
  static constexpr bool kParks = DIM == 128 && EXTRAS; // m and l in shared memory while Q K^T wants the registers
  static constexpr u32 kQBytes = (DIM / 64 - kHeld / 4) * kQueries * kRowBytes, kQ = kHeld ? 2 * kTileBytes : 0;
  static constexpr u32 kK = kHeld ? 0 : kQBytes, kV = kK + kTileBytes, kPark = 2 * kTileBytes + kQBytes;
  static constexpr u32 kPlan = kPark + (DIM == 128 ? kThreads * 16 * kBlocks : 0), kBytes = kPlan + 16;
};

constexpr float kWide = 16.f, kLargest = 256.f;

template <int DIM, bool EXTRAS> struct Forward {
  using Shape = ForwardShape<DIM, EXTRAS>;
  static constexpr int kBlocks = Shape::kBlocks, kKeys = Shape::kKeys, kSquares = DIM / 16, kHeld = Shape::kHeld, kThreads = Shape::kThreads;

  const ForwardArgs &a;
  int head, tile;
  u32 memory;
  float o[kBlocks][DIM / 8][4], s[kBlocks][kKeys / 8][4];
  float m[2 * kBlocks], l[2 * kBlocks]; // l of the lane's columns alone
  u32 held[kHeld ? kHeld : 1][kBlocks][4];

  DEV Forward(const ForwardArgs &args, int tile_)
      : a(args), head(blockIdx.y), tile(tile_), memory(shared_address(shared_memory)) {
    const char *from = tile_row(a.q, head, a.SP, DIM, tile * Shape::kQueries);
    copy_tile<Shape::kQueries, kHeld / 4, kThreads>(memory, from);
    copy_tile<Shape::kQueries, DIM / 64 - kHeld / 4, kThreads>(memory + Shape::kQ, from + (long)kHeld / 4 * kSlabBytes);
  }

  // thread is where addresses begin: computed anew for each use, unless there are registers to keep them.
  DEV static u32 thread() { return DIM == 64 && !EXTRAS ? threadIdx.x : opaque(threadIdx.x); }
  DEV static int lane() { return thread() & 31; }
  DEV static int first_query() { return (thread() >> 5) * 16 * kBlocks; } // of the warp in its tile
  // row is the i-th of the lane's 2*kBlocks rows.
  DEV int row(int i) const { return tile * Shape::kQueries + first_query() + (lane() >> 2) + 8 * i; }
  DEV u32 queries(u32 place) const { return rows_first(memory + place, thread()) + first_query() * kRowBytes; }

  // copy_keys starts the copy of a tile of K or V.
  DEV void copy_keys(u32 place, const void *array, u32 entry, int kv_head) {
    copy_tile<kKeys, DIM / 64, kThreads>(memory + place, tile_row(array, kv_head, a.NP, DIM, (entry >> 1) * kKeys));
  }
  // What is the same for the whole block lies in shared memory, as every register counts: the end of the list and the KV head.
  struct Plan { int last, kv_head; };
  DEV static Plan &plan() { return *(Plan *)(shared_memory + Shape::kPlan); }

  DEV void hold_queries() {
    arrived();
    barrier();
    u32 q = queries(0);
    UNROLL for (int i = 0; i < kHeld; i++)
      UNROLL for (int b = 0; b < kBlocks; b++) load_matrices(held[i][b], square_at<Shape::kQueries>(q, 16 * b, i));
    barrier();
  }

  // line is the place of a row among those of all heads; o_row its O, from the lane's first column on.
  DEV long line(int i) const { return (long)head * a.SP + row(i); }
  DEV float *o_row(int i) const { return a.o + line(i) * DIM + 2 * (lane() & 3); }

  DEV void load_carry() {
    UNROLL for (int i = 0; i < 2 * kBlocks; i++) {
      m[i] = a.first ? -kInf : a.m[line(i)];
      l[i] = a.first ? 0.f : (lane() & 3) ? 0.f : a.l[line(i)];
    }
    if (a.first) {
      UNROLL for (int b = 0; b < kBlocks; b++) zero(o[b]);
      return;
    }
    UNROLL for (int i = 0; i < 2 * kBlocks; i++) {
      const float *from = o_row(i);
      UNROLL for (int d = 0; d < DIM / 8; d++) {
        float2 x = *(const float2 *)(from + 8 * d);
        o[i / 2][d][i % 2 * 2] = x.x;
        o[i / 2][d][i % 2 * 2 + 1] = x.y;
      }
    }
  }

  DEV void store_carry() {
    UNROLL for (int i = 0; i < 2 * kBlocks; i++) {
      float sum = l[i] + butterfly(l[i], 1);
      sum += butterfly(sum, 2);
      float *to = o_row(i);
      UNROLL for (int d = 0; d < DIM / 8; d++) *(float2 *)(to + 8 * d) = {o[i / 2][d][i % 2 * 2], o[i / 2][d][i % 2 * 2 + 1]};
      if ((lane() & 3) == 0) {
        a.m[line(i)] = m[i];
        a.l[line(i)] = sum;
      }
    }
  }

  DEV static float4 *parking() { return (float4 *)(shared_memory + Shape::kPark) + thread(); }
  DEV void park() {
    if (!Shape::kParks) return;
    UNROLL for (int b = 0; b < kBlocks; b++) parking()[b * kThreads] = {m[2 * b], m[2 * b + 1], l[2 * b], l[2 * b + 1]};
  }
  DEV void unpark() {
    if (!Shape::kParks) return;
    UNROLL for (int b = 0; b < kBlocks; b++) {
      float4 x = parking()[b * kThreads];
      m[2 * b] = x.x;
      m[2 * b + 1] = x.y;
      l[2 * b] = x.z;
      l[2 * b + 1] = x.w;
    }
  }

  // multiply_keys: s = Q K^T.
  DEV void multiply_keys() {
    UNROLL for (int b = 0; b < kBlocks; b++) zero(s[b]);
    u32 q = queries(Shape::kQ), k = columns_first(memory + Shape::kK, thread());
    UNROLL for (int i = 0; i < kSquares; i++) {
      u32 left[kBlocks][4];
      UNROLL for (int b = 0; b < kBlocks; b++)
        if (i >= kHeld) load_matrices(left[b], square_at<Shape::kQueries>(q, 16 * b, i - kHeld));
      UNROLL for (int n = 0; n < kKeys / 16; n++) {
        u32 right[4];
        load_matrices(right, square_at<kKeys>(k, 16 * n, i));
        UNROLL for (int b = 0; b < kBlocks; b++) {
          multiply_add(s[b][2 * n], i < kHeld ? held[i][b] : left[b], right[0], right[1]);
          multiply_add(s[b][2 * n + 1], i < kHeld ? held[i][b] : left[b], right[2], right[3]);
        }
      }
    }
  }

  // multiply_values: o += P V, and l the sums of P, with P = exp2(s*factor - m) of 16 keys at a time.
  DEV void multiply_values(u32 entry, float factor) {
    u32 v = rows_first(memory + Shape::kV, thread());
    float sum[2 * kBlocks] = {};
    UNROLL for (int n = 0; n < kKeys / 16; n++) {
      UNROLL for (int i = 0; i < 2 * kBlocks; i++)
        UNROLL for (int j = 2 * n; j < 2 * n + 2; j++) {
          float *x = &s[i / 2][j][i % 2 * 2], reference = m[i] == -kInf ? 0.f : m[i];
          x[0] = exp2_fast(__builtin_fmaf(x[0], factor, -reference));
          x[1] = exp2_fast(__builtin_fmaf(x[1], factor, -reference));
          sum[i] += x[0] + x[1];
        }
      if (EXTRAS && a.score.threshold) drop(entry, n);
      u32 left[kBlocks][4];
      UNROLL for (int b = 0; b < kBlocks; b++)
        UNROLL for (int i = 0; i < 4; i++) left[b][i] = pair(s[b][2 * n + i / 2][i % 2 * 2], s[b][2 * n + i / 2][i % 2 * 2 + 1]);
      UNROLL for (int d = 0; d < kSquares; d++) {
        u32 right[4];
        load_transposed(right, square_at<kKeys>(v, 16 * n, d));
        UNROLL for (int b = 0; b < kBlocks; b++) {
          multiply_add(o[b][2 * d], left[b], right[0], right[1]);
          multiply_add(o[b][2 * d + 1], left[b], right[2], right[3]);
        }
      }
    }
    UNROLL for (int i = 0; i < 2 * kBlocks; i++) l[i] += sum[i];
  }

  // key is the first of the lane's keys of column block n; it has that and the next one.
  DEV int key(u32 entry, int n) const { return (entry >> 1) * kKeys + 8 * n + 2 * (lane() & 3); }
  DEV int2 positions(u32 entry, int n) const { return *(const int2 *)(a.score.kpos + key(entry, n)); }

  // judge makes logits of s: -inf where a pair is not visible.
  DEV void judge(u32 entry) {
    const Score &c = a.score;
    UNROLL for (int n = 0; n < kKeys / 8; n++) {
      bool cap = EXTRAS && opaque(c.softcap != 0.f); // a branch for every n, or its work on all of s would want registers at once
      UNROLL for (int b = 0; b < kBlocks; b++)
        UNROLL for (int i = 0; i < 4; i++) s[b][n][i] = cap ? capped(c, s[b][n][i], nullptr) : s[b][n][i] * c.scale;
    }
    if (EXTRAS & (c.alibi != 0)) subtract_bias(entry);
    if (!(entry & 1)) return;
    if (c.layers == 1)
      UNROLL for (int i = 0; i < 2 * kBlocks; i++) hide_one_layer(entry, i);
    else hide(entry);
  }

  DEV void subtract_bias(u32 entry) {
    float slope = a.score.slope[head];
    UNROLL for (int i = 0; i < 2 * kBlocks; i++) {
      int at = a.score.qpos[row(i)];
      UNROLL for (int n = 0; n < kKeys / 8; n++) {
        int2 p = positions(opaque(entry), n);
        s[i / 2][n][i % 2 * 2] -= bias(at - p.x, slope);
        s[i / 2][n][i % 2 * 2 + 1] -= bias(at - p.y, slope);
      }
    }
  }

  DEV void hide_one_layer(u32 entry, int i) {
    int2 span = a.score.span[row(i)];
    UNROLL for (int n = 0; n < kKeys / 8; n++) {
      int2 p = positions(opaque(entry), n);
      float &x = s[i / 2][n][i % 2 * 2], &y = s[i / 2][n][i % 2 * 2 + 1];
      x = (u32)(p.x - span.x) < (u32)span.y ? x : -kInf;
      y = (u32)(p.y - span.x) < (u32)span.y ? y : -kInf;
    }
  }

  // hide for any number of layers: a bit for each key of a row.
  DEV void hide(u32 entry) {
    u32 seen[2 * kBlocks] = {};
    ONCE for (int layer = 0; layer < a.score.layers; layer++)
      UNROLL for (int i = 0; i < 2 * kBlocks; i++) {
        int2 span = a.score.span[(long)layer * a.SP + row(i)];
        UNROLL for (int n = 0; n < kKeys / 8; n++) {
          int2 p = positions(opaque(entry), n);
          seen[i] |= (u32)(p.x - span.x) < (u32)span.y ? 1u << (2 * n) : 0u;
          seen[i] |= (u32)(p.y - span.x) < (u32)span.y ? 2u << (2 * n) : 0u;
        }
      }
    UNROLL for (int i = 0; i < 2 * kBlocks; i++)
      UNROLL for (int n = 0; n < kKeys / 8; n++)
        UNROLL for (int e = 0; e < 2; e++) {
          float &x = s[i / 2][n][i % 2 * 2 + e];
          x = seen[i] >> (2 * n + e) & 1 ? x : -kInf;
        }
  }

  // soften turns s into P relative to 2^m; a logit is an element of s times `factor`, which is not negative.
  DEV void soften(float factor) {
    float top[2 * kBlocks];
    bool follow = false;
    UNROLL for (int i = 0; i < 2 * kBlocks; i++) {
      float most = -kInf;
      UNROLL for (int n = 0; n < kKeys / 8; n++) most = max2(most, max2(s[i / 2][n][i % 2 * 2], s[i / 2][n][i % 2 * 2 + 1]));
      most = max2(most, butterfly(most, 1));
      top[i] = max2(most, butterfly(most, 2)) * factor;
      follow |= (top[i] > m[i]) & !(kWide * exp2_fast(top[i] - m[i]) < __builtin_fminf(l[i], kWide * kLargest));
    }
    if (any(follow)) rescale(top);
  }

  // rescale makes the largest logits the rows' references.
  DEV void rescale(const float (&top)[2 * kBlocks]) {
    UNROLL for (int i = 0; i < 2 * kBlocks; i++) {
      float to = max2(m[i], top[i]);
      float f = to == -kInf ? 1.f : exp2_fast(m[i] - to);
      m[i] = to;
      l[i] *= f;
      UNROLL for (int d = 0; d < DIM / 8; d++) {
        o[i / 2][d][i % 2 * 2] *= f;
        o[i / 2][d][i % 2 * 2 + 1] *= f;
      }
    }
  }

  // drop clears what dropout hides of 16 keys: it counts in l, not in O.
  DEV void drop(u32 entry, int n) {
    const Score &c = a.score;
    UNROLL for (int j = 2 * n; j < 2 * n + 2; j++) {
      int2 words = *(const int2 *)(c.kword + (long)head * a.NP + key(opaque(entry), j));
      UNROLL for (int i = 0; i < 2 * kBlocks; i++) {
        u32 word = c.qword[line(i)];
        float *x = &s[i / 2][j][i % 2 * 2];
        x[0] = kept(word, words.x, c.threshold) ? x[0] : 0.f;
        x[1] = kept(word, words.y, c.threshold) ? x[1] : 0.f;
      }
    }
  }

  DEV void run(int entry, int last) {
    if (kHeld > 0) hold_queries();
    u32 now = a.tile[entry];
    int kv_head = head / a.group;
    copy_keys(Shape::kK, a.k, now, kv_head);
    if (threadIdx.x == 0) plan() = {last, kv_head};
    load_carry();
    park();
    for (bool more = true; more; entry++) {
      arrived();
      barrier(); // K is here, and all are done with the V before
      copy_keys(Shape::kV, a.v, now, plan().kv_head);
      multiply_keys();
      more = entry + 1 < plan().last;
      u32 next = a.tile[entry + more];
      arrived();
      barrier(); // V is here, and all are done with K
      if (more) copy_keys(Shape::kK, a.k, next, plan().kv_head);
      float factor = a.score.scale;
      if (EXTRAS | (now & 1) | (factor < 0.f)) {
        judge(EXTRAS ? a.tile[opaque(entry)] : now); // extras have no register to spare for what can be read again
        factor = 1.f;
      }
      unpark();
      soften(factor);
      multiply_values(EXTRAS ? a.tile[opaque(entry)] : now, factor);
      park();
      now = EXTRAS ? a.tile[opaque(entry) + more] : next;
    }
    unpark();
    store_carry();
  }
};

// forward_block does tile x of the queries of head y.
template <int DIM, bool EXTRAS> DEV void forward_block(const ForwardArgs &a) {
  if (tile_flag(a.q, a.heads, a.SP, DIM) | tile_flag(a.k, a.heads / a.group, a.NP, DIM) | tile_flag(a.v, a.heads / a.group, a.NP, DIM)) return;
  int tile = gridDim.x - 1 - blockIdx.x;
  int entry = a.start[tile], last = a.start[tile + 1];
  if (entry == last && !a.first) return;
  Forward<DIM, EXTRAS> f(a, tile);
  if (entry == last) {
    f.load_carry();
    f.store_carry();
    arrived();
    return;
  }
  f.run(entry, last);
}

} // namespace
