// Backward on mma.sync for heads of up to 128: a block for 128 keys of a KV head, over tiles of 64 queries.
//
// A warp has kBlocks x 16 of the keys, its fragments of K (and V, see kHoldsV) in registers, and goes through a tile 16 queries at a time:
// S^T = K Q^T and dP^T = V dO^T, of which P^T and dS^T are the left operands of dV += P^T dO and dK += dS^T Q without leaving the registers.
// dS^T goes to shared memory too. When all warps are through, each multiplies 32 queries by 32 columns of dQ = dS K, and adds it to
// global memory. Q of the next tile arrives during a whole tile, dO during dQ, as there is one place for it.
#pragma once
#include "mma.h"

namespace {

template <int DIM> struct BackwardShape {
  static constexpr int kQueries = 64, kKeys = 128;
  static constexpr int kBlocks = DIM == 64 ? 2 : 1; // of 16 keys to a warp
  static constexpr bool kHoldsV = DIM == 128;       // V in registers; it is staged where Q lies later
  static constexpr int kThreads = kKeys / (16 * kBlocks) * 32;
  static constexpr int kResident = DIM == 64 ? 2 : 1; // blocks on a multiprocessor
  static constexpr u32 kTileBytes = kQueries * DIM * 2, kKeyBytes = kKeys * DIM * 2;
  static constexpr u32 kK = 0, kQ = kKeyBytes, kDO = kQ + 2 * kTileBytes, kDS = kDO + kTileBytes, kRows = kDS + kKeys * kRowBytes;
  static constexpr u32 kV = kHoldsV ? kQ : kRows + 3 * kQueries * 4, kBytes = kRows + 3 * kQueries * 4 + (kHoldsV ? 0 : kKeyBytes);
};

// Cursor is where a block of keys is in its work: the tiles of its list, for each query head of the group.
struct Cursor {
  int entry, head;
  u32 tile; // a.tile[entry]
};

template <int DIM, bool EXTRAS> struct Backward {
  using Shape = BackwardShape<DIM>;
  static constexpr int kBlocks = Shape::kBlocks, kSquares = DIM / 16, kThreads = Shape::kThreads, kQueries = Shape::kQueries, kKeys = Shape::kKeys;

  const BackwardArgs &a;
  int first_entry, last_entry, first_key, kv_head;
  u32 memory;
  float dk[kBlocks][DIM / 8][4], dv[kBlocks][DIM / 8][4];
  float s[kBlocks][2][4], dp[kBlocks][2][4]; // S^T, then P^T; dP^T, then dS^T; of 16 queries
  u32 keys[kBlocks][kSquares][4], values[Shape::kHoldsV ? kBlocks : 1][Shape::kHoldsV ? kSquares : 1][4];

  DEV Backward(const BackwardArgs &args, int tile, int from, int to)
      : a(args), first_entry(from), last_entry(to), first_key(tile * Shape::kKeys), kv_head(blockIdx.y), memory(shared_address(shared_memory)) {
    UNROLL for (int b = 0; b < kBlocks; b++) {
      zero(dk[b]);
      zero(dv[b]);
    }
  }

  DEV static int lane() { return threadIdx.x & 31; }
  DEV static int warp_row() { return (threadIdx.x >> 5) * 16 * kBlocks; } // first key of the warp in its tile
  DEV float *rows() const { return (float *)(shared_memory + Shape::kRows); } // high, low and delta of the tile

  DEV void hold_keys() {
    copy_tile<kKeys, DIM / 64, kThreads>(memory + Shape::kK, tile_row(a.k, kv_head, a.NP, DIM, first_key));
    copy_tile<kKeys, DIM / 64, kThreads>(memory + Shape::kV, tile_row(a.v, kv_head, a.NP, DIM, first_key));
    arrived();
    barrier();
    u32 k = rows_first(memory + Shape::kK) + warp_row() * kRowBytes, v = rows_first(memory + Shape::kV) + warp_row() * kRowBytes;
    UNROLL for (int b = 0; b < kBlocks; b++)
      UNROLL for (int i = 0; i < kSquares; i++) {
        load_matrices(keys[b][i], square_at<kKeys>(k, 16 * b, i));
        if (Shape::kHoldsV) load_matrices(values[b][i], square_at<kKeys>(v, 16 * b, i));
      }
    if (Shape::kHoldsV) barrier();
  }

  DEV void copy_queries(u32 place, const void *array, const Cursor &c) {
    copy_tile<kQueries, DIM / 64, kThreads>(memory + place, tile_row(array, c.head, a.SP, DIM, (c.tile >> 1) * kQueries));
  }

  // load_row and store_row bring high, low and delta of the thread's query of a tile to shared memory. A row that saw nothing gets
  // numbers that make P 0.
  DEV void load_row(float (&row)[3], const Cursor &c) const {
    if (threadIdx.x >= kQueries) return;
    long at = (long)c.head * a.SP + (c.tile >> 1) * kQueries + threadIdx.x;
    row[0] = a.high[at];
    row[1] = a.low[at];
    row[2] = a.delta[at];
  }
  DEV void store_row(const float (&row)[3]) {
    if (threadIdx.x >= kQueries) return;
    bool nothing = row[0] == -kInf;
    rows()[threadIdx.x] = nothing ? kInf : row[0];
    rows()[kQueries + threadIdx.x] = nothing ? 0.f : row[1];
    rows()[2 * kQueries + threadIdx.x] = row[2];
  }

  // multiply_scores: S^T and dP^T of queries 16*step on.
  DEV void multiply_scores(u32 q, u32 dO, u32 v, int step) {
    UNROLL for (int b = 0; b < kBlocks; b++) {
      zero(s[b]);
      zero(dp[b]);
    }
    UNROLL for (int i = 0; i < kSquares; i++) {
      u32 right[4];
      load_matrices(right, square_at<kQueries>(q, 16 * step, i));
      UNROLL for (int b = 0; b < kBlocks; b++) {
        multiply_add(s[b][0], keys[b][i], right[0], right[1]);
        multiply_add(s[b][1], keys[b][i], right[2], right[3]);
      }
      load_matrices(right, square_at<kQueries>(dO, 16 * step, i));
      UNROLL for (int b = 0; b < kBlocks; b++) {
        u32 left[4];
        if (!Shape::kHoldsV) load_matrices(left, square_at<kKeys>(v, 16 * b, i));
        multiply_add(dp[b][0], Shape::kHoldsV ? values[b][i] : left, right[0], right[1]);
        multiply_add(dp[b][1], Shape::kHoldsV ? values[b][i] : left, right[2], right[3]);
      }
    }
  }

  // key is the lane's row 8*i of the warp's keys, query column e of column block n of a step.
  DEV int key(int i) const { return first_key + warp_row() + (lane() >> 2) + 8 * i; }
  DEV static int query(int step, int n) { return 16 * step + 8 * n + 2 * (lane() & 3); }

  // visible_pairs has bit 8*i + 2*n + e for key i and query (n, e).
  DEV u32 visible_pairs(const Cursor &c, int step) const {
    if (!(c.tile & 1)) return ~0u;
    int at[2 * kBlocks];
    UNROLL for (int i = 0; i < 2 * kBlocks; i++) at[i] = a.score.kpos[key(i)];
    u32 seen = 0;
    ONCE for (int layer = 0; layer < a.score.layers; layer++)
      UNROLL for (int n = 0; n < 2; n++)
        UNROLL for (int e = 0; e < 2; e++) {
          int2 span = a.score.span[(long)layer * a.SP + (c.tile >> 1) * kQueries + query(step, n) + e];
          UNROLL for (int i = 0; i < 2 * kBlocks; i++) seen |= (u32)(at[i] - span.x) < (u32)span.y ? 1u << (4 * i + 2 * n + e) : 0u;
        }
    return seen;
  }

  // soften makes P^T of s and dS^T of dp.
  DEV void soften(const Cursor &c, int step) {
    u32 seen = visible_pairs(c, step);
    UNROLL for (int n = 0; n < 2; n++) {
      float2 high = *(const float2 *)(rows() + query(step, n)), low = *(const float2 *)(rows() + kQueries + query(step, n));
      float2 delta = *(const float2 *)(rows() + 2 * kQueries + query(step, n));
      UNROLL for (int i = 0; i < 2 * kBlocks; i++)
        UNROLL for (int e = 0; e < 2; e++) {
          float &x = s[i / 2][n][i % 2 * 2 + e], &y = dp[i / 2][n][i % 2 * 2 + e];
          float p = exp2_fast(__builtin_fmaf(x, a.score.scale, -(e ? high.y : high.x)) - (e ? low.y : low.x));
          bool see = seen >> (4 * i + 2 * n + e) & 1;
          x = see ? p : 0.f;
          y = see ? p * (y - (e ? delta.y : delta.x)) : 0.f;
        }
    }
  }

  // soften_extras is soften with softcap, ALiBi and dropout.
  DEV void soften_extras(const Cursor &c, int step) {
    const Score &sc = a.score;
    u32 seen = visible_pairs(c, step);
    float slope = sc.alibi ? sc.slope[c.head] : 0.f;
    int row = (c.tile >> 1) * kQueries;
    UNROLL for (int n = 0; n < 2; n++)
      UNROLL for (int e = 0; e < 2; e++) {
        int at = query(step, n) + e;
        Query of = query_of(sc, row + at, a.SP, c.head);
        float high = rows()[at], low = rows()[kQueries + at], delta = rows()[2 * kQueries + at];
        UNROLL for (int i = 0; i < 2 * kBlocks; i++) {
          float &x = s[i / 2][n][i % 2 * 2 + e], &y = dp[i / 2][n][i % 2 * 2 + e], steep;
          float t = logit(sc, x, of.position - (sc.alibi ? sc.kpos[key(i)] : 0), slope, &steep);
          float p = exp2_fast((t - high) - low), keep = 1.f;
          if (sc.threshold) keep = kept(of.word, sc.kword[(long)c.head * a.NP + key(i)], sc.threshold) ? sc.keep : 0.f;
          bool see = seen >> (4 * i + 2 * n + e) & 1;
          x = see ? p * keep : 0.f;
          y = see ? p * (y * keep - delta) * steep : 0.f;
        }
      }
  }

  // multiply_gradients: dV += P^T dO and dK += dS^T Q over the queries of a step; dS^T goes to shared memory.
  DEV void multiply_gradients(u32 q, u32 dO, int step) {
    u32 p[kBlocks][4], ds[kBlocks][4];
    UNROLL for (int b = 0; b < kBlocks; b++)
      UNROLL for (int i = 0; i < 4; i++) {
        p[b][i] = pair(s[b][i / 2][i % 2 * 2], s[b][i / 2][i % 2 * 2 + 1]);
        ds[b][i] = pair(dp[b][i / 2][i % 2 * 2], dp[b][i / 2][i % 2 * 2 + 1]);
        int row = warp_row() + 16 * b + i % 2 * 8 + (lane() >> 2);
        *(u32 *)(shared_memory + Shape::kDS + row * kRowBytes + (((2 * step + i / 2) ^ (lane() >> 2)) << 4) + 4 * (lane() & 3)) = ds[b][i];
      }
    UNROLL for (int d = 0; d < kSquares; d++) {
      u32 right[4];
      load_transposed(right, square_at<kQueries>(dO, 16 * step, d));
      UNROLL for (int b = 0; b < kBlocks; b++) {
        multiply_add(dv[b][2 * d], p[b], right[0], right[1]);
        multiply_add(dv[b][2 * d + 1], p[b], right[2], right[3]);
      }
      load_transposed(right, square_at<kQueries>(q, 16 * step, d));
      UNROLL for (int b = 0; b < kBlocks; b++) {
        multiply_add(dk[b][2 * d], ds[b], right[0], right[1]);
        multiply_add(dk[b][2 * d + 1], ds[b], right[2], right[3]);
      }
    }
  }

  // add_queries: dQ = dS K of 32 queries and 32 columns, added to global memory.
  DEV void add_queries(const Cursor &c) {
    int warp = threadIdx.x >> 5, first = warp % 2 * 32, square = warp / 2 * 2;
    float dq[2][4][4];
    zero(dq[0]);
    zero(dq[1]);
    u32 left_at = columns_first(memory + Shape::kDS), right_at = rows_first(memory + Shape::kK);
    left_at ^= first << 1; // 32 columns, two squares
    right_at = (right_at ^ ((square & 3) << 5)) + (square >> 2) * kKeys * kRowBytes;
    UNROLL for (int k = 0; k < kKeys / 16; k++) {
      u32 left[2][4], right[4];
      UNROLL for (int b = 0; b < 2; b++) load_transposed(left[b], square_at<kKeys>(left_at, 16 * k, b));
      UNROLL for (int d = 0; d < 2; d++) {
        load_transposed(right, square_at<kKeys>(right_at, 16 * k, d));
        UNROLL for (int b = 0; b < 2; b++) {
          multiply_add(dq[b][2 * d], left[b], right[0], right[1]);
          multiply_add(dq[b][2 * d + 1], left[b], right[2], right[3]);
        }
      }
    }
    float *to = a.dq + ((long)c.head * a.SP + (c.tile >> 1) * kQueries + first + (lane() >> 2)) * DIM + 16 * square + 2 * (lane() & 3);
    UNROLL for (int b = 0; b < 2; b++)
      UNROLL for (int d = 0; d < 4; d++)
        UNROLL for (int i = 0; i < 4; i++) reduce_add(to + (16 * b + i / 2 * 8) * DIM + 8 * d + i % 2, dq[b][d][i] * a.score.natural);
  }

  DEV u32 *turns(const Cursor &c) const { return a.turns + c.head * (a.SP / kQueries) + (c.tile >> 1); }

  DEV Cursor after(Cursor c) const {
    if (++c.entry == last_entry) {
      c.entry = first_entry;
      c.head++;
    }
    c.tile = a.tile[c.entry];
    return c;
  }

  DEV void run() {
    hold_keys();
    Cursor now = {first_entry, kv_head * a.group, a.tile[first_entry]}, before = now;
    float row[3];
    copy_queries(Shape::kQ, a.q, now);
    copy_queries(Shape::kDO, a.dO, now);
    load_row(row, now);
    store_row(row);
    u32 q = Shape::kQ;
    int left = (last_entry - first_entry) * a.group;
    for (bool begun = false;; begun = true) {
      Cursor next = after(now);
      arrived();
      barrier(); // Q, dO and rows are here; all are done with dS, and have added dQ
      bool more = --left > 0;
      if (more) copy_queries(q ^ Shape::kQ ^ (Shape::kQ + Shape::kTileBytes), a.q, next);
      u32 q_columns = columns_first(memory + q), dO_columns = columns_first(memory + Shape::kDO);
      u32 q_rows = rows_first(memory + q), dO_rows = rows_first(memory + Shape::kDO);
      u32 v = rows_first(memory + Shape::kV) + warp_row() * kRowBytes;
      UNROLL for (int step = 0; step < kQueries / 16; step++) {
        multiply_scores(q_columns, dO_columns, v, step);
        if (EXTRAS) soften_extras(now, step);
        else soften(now, step);
        multiply_gradients(q_rows, dO_rows, step);
        if (a.ordered & (threadIdx.x == 0)) {
          if (step == 0 && begun) pass_turn(turns(before)); // late: by now its sums have arrived, and the fence does not wait
          if (step == kQueries / 16 - 1) await_turn(turns(now), a.turn[now.entry]);
        }
      }
      barrier(); // dS is complete; all are done with Q and dO, and it is this block's turn
      if (more) {
        copy_queries(Shape::kDO, a.dO, next);
        load_row(row, next);
      }
      add_queries(now);
      before = now;
      if (!more) break;
      store_row(row);
      now = next;
      q ^= Shape::kQ ^ (Shape::kQ + Shape::kTileBytes);
    }
    barrier();
    if (a.ordered & (threadIdx.x == 0)) pass_turn(turns(before));
    store_keys();
  }

  // store_keys writes dK and dV, or adds them.
  DEV void store_keys() {
    UNROLL for (int i = 0; i < 2 * kBlocks; i++) {
      long at = ((long)kv_head * a.NP + key(i)) * DIM + 2 * (lane() & 3);
      UNROLL for (int d = 0; d < DIM / 8; d++) {
        const float *k = &dk[i / 2][d][i % 2 * 2], *v = &dv[i / 2][d][i % 2 * 2];
        float2 &to_k = *(float2 *)(a.dk + at + 8 * d), &to_v = *(float2 *)(a.dv + at + 8 * d);
        float2 old_k = {}, old_v = {};
        if (!a.fresh) {
          old_k = to_k;
          old_v = to_v;
        }
        to_k = {__builtin_fmaf(k[0], a.score.natural, old_k.x), __builtin_fmaf(k[1], a.score.natural, old_k.y)};
        to_v = {v[0] + old_v.x, v[1] + old_v.y};
      }
    }
  }
};

template <int DIM, bool EXTRAS> DEV void backward_block(const BackwardArgs &a) {
  int kv_heads = a.heads / a.group;
  if (tile_flag(a.q, a.heads, a.SP, DIM) | tile_flag(a.dO, a.heads, a.SP, DIM) | tile_flag(a.k, kv_heads, a.NP, DIM) | tile_flag(a.v, kv_heads, a.NP, DIM)) return;
  int tile = gridDim.x - 1 - blockIdx.x;
  int from = a.start[tile], to = a.start[tile + 1];
  if (from == to && !a.fresh) return;
  Backward<DIM, EXTRAS> b(a, tile, from, to);
  if (from == to) b.store_keys();
  else b.run();
}

} // namespace
