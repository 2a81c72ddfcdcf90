// Backward on mma.sync for heads of 65 to 128: a block of eight warps for 128 keys of a KV head, over tiles of 64 queries.
//
// Warps w and w+4 have the same 32 keys. The first one, with its K in registers, makes P^T from S^T = K Q^T and sums dV += P^T dO; the
// other one, with V, makes dP^T = V dO^T, takes P over from the first, and sums dK += dS^T Q. So each sums one gradient, with 32 rows
// for every fragment of Q or dO that it loads. They go through a tile 16 queries at a time; P is handed over, and dS^T kept for all, in
// shared memory. When all are through, each warp multiplies 32 queries by 32 columns of dQ = dS K, and adds it to global memory.
//
// P is handed over in float16, times 2^kBoost where the type is bfloat16: eight times as exact as bfloat16, and normal down to 2^-28.
#pragma once
#include "mma_pairs.h"

namespace {

template <int DIM> struct RolesShape {
  static constexpr int kDim = DIM, kQueries = kTileQueries, kKeys = 128, kRows = kTileQueries, kThreads = 256, kResident = 1;
#ifdef TYPE_BF16
  static constexpr int kBoost = 14;
#else
  static constexpr int kBoost = 0; // float16 has not the range for dS
#endif
  static constexpr u32 kTileBytes = kRows * DIM * 2, kKeyBytes = kKeys * DIM * 2;
  static constexpr u32 kK = 0, kQ = kKeyBytes, kDO = kQ + 2 * kTileBytes, kDS = kDO + kTileBytes, kPlaceOfRows = kDS + kKeys * kRowBytes;
  static constexpr u32 kBytes = kPlaceOfRows + 3 * kRows * 4 + 16;
  static_assert(kBytes <= 99 * 1024, "sm_86 and sm_89 have no more");
};

template <int DIM, bool EXTRAS> struct BackwardRoles : Walk<RolesShape<DIM>> {
  using Shape = RolesShape<DIM>;
  using Base = Walk<Shape>;
  using Base::a;
  using Base::memory;
  static constexpr int kDim = DIM, kSquares = DIM / 16, kQueries = Shape::kRows, kKeys = Shape::kKeys;
  static constexpr float kUnboost = 1.f / (1 << Shape::kBoost);
  static constexpr u32 kSwap = Shape::kQ ^ (Shape::kQ + Shape::kTileBytes);

  float sum[2][DIM / 8][4]; // of dV or dK
  float x[2][2][4];         // S^T, then P^T; or dP^T, then dS^T; of 16 queries
  u32 held[2][kSquares][4]; // K or V

  DEV BackwardRoles(const BackwardArgs &args, int tile, int from, int to) : Base(args, tile, from, to) {
    zero(sum[0]);
    zero(sum[1]);
  }

  DEV static int lane() { return opaque(threadIdx.x) & 31; }
  DEV static int warp() { return opaque(threadIdx.x) >> 5; }
  DEV static bool second() { return opaque(threadIdx.x) >= 128; } // of the two warps of some keys
  DEV static int warp_row() { return warp() % 4 * 32; }           // their first key in the tile
  // key and query are the lane's first: of the array, and in a step.
  DEV int key() const { return Base::first_key + warp_row() + (lane() >> 2); }
  DEV static int query(int step) { return 16 * step + 2 * (lane() & 3); }

  DEV void hold_keys() {
    Base::copy_keys(Shape::kK, a.k);
    Base::copy_keys(Shape::kQ, a.v); // Q comes later
    arrived();
    barrier();
    u32 rows = rows_first(memory + (second() ? Shape::kQ : Shape::kK)) + warp_row() * kRowBytes;
    UNROLL for (int b = 0; b < 2; b++)
      UNROLL for (int i = 0; i < kSquares; i++) load_matrices(held[b][i], square_at<kKeys>(rows, 16 * b, i));
    barrier();
  }

  // multiply_held: S^T or dP^T of queries 16*step on, from Q or dO at a place.
  DEV void multiply_held(u32 place, int step) {
    zero(x[0]);
    zero(x[1]);
    u32 columns = columns_first(opaque(memory) + place);
    UNROLL for (int i = 0; i < kSquares; i++) {
      u32 right[4];
      load_matrices(right, square_at<kQueries>(columns, 16 * step, i));
      UNROLL for (int b = 0; b < 2; b++) {
        multiply_add(x[b][0], held[b][i], right[0], right[1]);
        multiply_add(x[b][1], held[b][i], right[2], right[3]);
      }
    }
  }

  // multiply_sums: dV += P^T dO or dK += dS^T Q over the queries of a step.
  DEV void multiply_sums(const u32 (&left)[2][4], u32 place, int step) {
    u32 rows = rows_first(opaque(memory) + place);
    UNROLL for (int d = 0; d < kSquares; d++) {
      u32 right[4];
      load_transposed(right, square_at<kQueries>(rows, 16 * step, d));
      UNROLL for (int b = 0; b < 2; b++) {
        multiply_add(sum[b][2 * d], left[b], right[0], right[1]);
        multiply_add(sum[b][2 * d + 1], left[b], right[2], right[3]);
      }
    }
  }
  DEV void left_of(u32 (&left)[2][4]) const {
    UNROLL for (int b = 0; b < 2; b++)
      UNROLL for (int i = 0; i < 4; i++) left[b][i] = pair(x[b][i / 2][i % 2 * 2], x[b][i / 2][i % 2 * 2 + 1]);
  }
  // keep_differences puts dS^T into shared memory, where P was handed over.
  DEV void keep_differences(const u32 (&left)[2][4], int step) const {
    sync_warp();
    UNROLL for (int b = 0; b < 2; b++)
      UNROLL for (int i = 0; i < 4; i++) {
        int row = warp_row() + 16 * b + i % 2 * 8 + (lane() >> 2);
        store_word(memory + Shape::kDS + row * kRowBytes + (((2 * step + i / 2) ^ (lane() >> 2)) << 4) + 4 * (lane() & 3), left[b][i]);
      }
  }

  // Where the lane hands over P of 16 keys and the queries of a step: in the place of dS^T.
  DEV u32 exchange(int b, int step) const {
    return memory + Shape::kDS + (warp_row() + lane()) * kRowBytes + (((2 * step + b) ^ (lane() & 7)) << 4);
  }
  // A barrier for the warps of some keys and a step, or for two such pairs in the last step: there are sixteen in all, and one of them is
  // for the block.
  DEV static u32 barrier_of(int step) { return step < 3 ? 1 + step * 4 + warp() % 4 : 13 + warp() % 4 / 2; }
  DEV static u32 threads_of(int step) { return step < 3 ? 64 : 128; }

  // each calls f(element, i, n, e) for the lane's pairs of a block of 16 keys: key 8*i, query 8*n + e.
  template <class F> DEV void each(int b, const F &f) {
    UNROLL for (int n = 0; n < 2; n++)
      UNROLL for (int i = 2 * b; i < 2 * b + 2; i++)
        UNROLL for (int e = 0; e < 2; e++) f(x[b][n][i % 2 * 2 + e], i, n, e);
  }
  // load_rows has one of high, low and delta of the lane's queries.
  DEV void load_rows(float (&row)[2][2], int which, int step) const {
    UNROLL for (int n = 0; n < 2; n++) {
      float2 r = *(const float2 *)(Base::rows() + which * kQueries + query(step) + 8 * n);
      row[n][0] = r.x;
      row[n][1] = r.y;
    }
  }

  // weigh makes P^T of S^T and hands it over.
  DEV void weigh(const Cursor &c, int step) {
    float high[2][2], low[2][2];
    UNROLL for (int b = 0; b < 2; b++) {
      if (EXTRAS | (b == 0)) { // extras have no registers to keep them
        load_rows(high, 0, step);
        load_rows(low, 1, step);
      }
      float steep[EXTRAS ? 8 : 1], scale = EXTRAS ? 1.f : a.score.scale;
      if (EXTRAS) adjust(c, step, b, steep);
      each(b, [&](float &y, int, int n, int e) { y = exp2_fast(__builtin_fmaf(y, scale, -high[n][e]) - low[n][e]); });
      if (c.partial) hide(c, step, b);
      u32 p[4];
      UNROLL for (int i = 0; i < 4; i++) {
        const float *y = &x[b][i / 2][i % 2 * 2], *f = &steep[EXTRAS ? 2 * i : 0];
        p[i] = EXTRAS ? pair_f16(y[0] * f[0], y[1] * f[1]) : pair_f16(y[0], y[1]);
      }
      store_words(exchange(b, step), p);
    }
    arrive_at(barrier_of(step), threads_of(step));
    if (EXTRAS && a.score.threshold) drop(c, step);
  }

  // differ makes dS^T of dP^T and of the P that is handed over.
  DEV void differ(const Cursor &c, int step) {
    if (EXTRAS && a.score.threshold) drop(c, step);
    float delta[2][2];
    load_rows(delta, 2, step);
    UNROLL for (int b = 0; b < 2; b++) each(b, [&](float &y, int, int n, int e) { y -= delta[n][e]; });
    wait_at(barrier_of(step), threads_of(step));
    UNROLL for (int b = 0; b < 2; b++) {
      u32 p[4];
      load_words(p, exchange(b, step));
      UNROLL for (int i = 0; i < 4; i++) {
        float *y = &x[b][i / 2][i % 2 * 2], low = from_f16(p[i] & 0xffff), high = from_f16(p[i] >> 16);
        y[0] *= low;
        y[1] *= high;
        if (c.partial) {
          y[0] = low == 0.f ? 0.f : y[0]; // whatever dP is where nothing is seen
          y[1] = high == 0.f ? 0.f : y[1];
        }
      }
    }
  }

  // adjust makes logits, and the slopes of the softcap in the order of fragments.
  DEV void adjust(const Cursor &c, int step, int b, float *steep) {
    const Score &score = a.score;
    float slope = score.alibi ? score.slope[c.head] : 0.f;
    each(b, [&](float &y, int i, int n, int e) {
      int distance = score.alibi ? score.qpos[c.row + query(step) + 8 * n + e] - score.kpos[key() + 8 * i] : 0;
      y = logit(score, y, distance, slope, &steep[n * 4 + i % 2 * 2 + e]);
    });
  }

  // drop is dropout, of P^T and of dP^T alike.
  DEV void drop(const Cursor &c, int step) {
    const Score &score = a.score;
    const u32 *words = score.qword + (long)c.head * a.SP + c.row + query(step), *of = score.kword + (long)c.head * a.NP + key();
    UNROLL for (int b = 0; b < 2; b++)
      each(b, [&](float &y, int i, int n, int e) { y = kept(words[8 * n + e], of[8 * i], score.threshold) ? y * score.keep : 0.f; });
  }

  // hide clears the pairs that are not visible; a partial tile wants it.
  DEV void hide(const Cursor &c, int step, int b) {
    const Score &score = a.score;
    int above = score.kpos[key() + 16 * b], below = score.kpos[key() + 16 * b + 8];
    u32 seen = 0;
    ONCE for (int layer = 0; layer < score.layers; layer++)
      UNROLL for (int n = 0; n < 2; n++)
        UNROLL for (int e = 0; e < 2; e++) {
          int2 span = score.span[(long)layer * a.SP + c.row + query(step) + 8 * n + e];
          seen |= (u32)(above - span.x) < (u32)span.y ? 1u << (4 * n + 2 * e) : 0u;
          seen |= (u32)(below - span.x) < (u32)span.y ? 2u << (4 * n + 2 * e) : 0u;
        }
    each(b, [&](float &y, int i, int n, int e) { y = seen >> (4 * n + 2 * e + i % 2) & 1 ? y : 0.f; });
  }

  // add_queries: dQ = dS K of 32 queries and 32 columns, added to global memory.
  DEV void add_queries(const Cursor &c) {
    int first = warp() % 2 * 32, square = warp() / 2 * 2;
    float dq[2][4][4];
    zero(dq[0]);
    zero(dq[1]);
    u32 left_at = columns_first(opaque(memory) + Shape::kDS) ^ (first << 1);
    u32 right_at = (rows_first(opaque(memory) + Shape::kK) ^ ((square & 3) << 5)) + (square >> 2) * kKeys * kRowBytes;
    _Pragma("unroll 2") for (int k = 0; k < kKeys / 16; k++) {
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
    float *to = a.dq + ((long)c.head * a.SP + c.row + first + (lane() >> 2)) * DIM + 16 * square + 2 * (lane() & 3);
    float factor = a.score.natural * kUnboost;
    UNROLL for (int b = 0; b < 2; b++)
      UNROLL for (int d = 0; d < 4; d++)
        UNROLL for (int i = 0; i < 4; i++) reduce_add(to + (16 * b + i / 2 * 8) * DIM + 8 * d + i % 2, dq[b][d][i] * factor);
  }

  DEV void do_step(const Cursor &now, u32 place, int step) {
    u32 left[2][4];
    multiply_held(second() ? Shape::kDO : place, step);
    if (second()) {
      differ(now, step);
      left_of(left);
      keep_differences(left, step);
    } else {
      weigh(now, step);
      left_of(left);
    }
    multiply_sums(left, second() ? place : Shape::kDO, step);
  }

  DEV void run() {
    hold_keys();
    Cursor now = Base::begin();
    Base::copy_queries(Shape::kQ, a.q, now);
    Base::copy_queries(Shape::kDO, a.dO, now);
    Base::copy_rows(now);
    u32 place = Shape::kQ;
    int before = -1; // the turn of the tile before
    for (;; place ^= kSwap) {
      arrived();
      Base::settle_rows();
      barrier(); // Q, dO and rows are here; all are done with dS, and have added dQ
      if (Base::more(now)) Base::copy_queries(place ^ kSwap, a.q, Base::after(now));
      ONCE for (int step = 0; step < kQueries / 16; step++) {
        do_step(now, place, step);
        // Late: by now the sums have arrived, and the fence does not wait.
        if (a.ordered & (threadIdx.x == 0) & (before >= 0) & (step == 0)) pass_turn(a.turns + before);
      }
      if (a.ordered & (threadIdx.x == 0)) await_turn(a.turns + Base::turn(now), a.turn[now.entry]);
      barrier(); // dS is complete; all are done with Q and dO, and it is this block's turn
      if (Base::more(now)) {
        Cursor next = Base::after(now);
        Base::copy_queries(Shape::kDO, a.dO, next);
        Base::copy_rows(next);
      }
      add_queries(now);
      before = Base::turn(now);
      if (!Base::more(now)) break;
      now = Base::after(now);
    }
    barrier();
    if (a.ordered & (threadIdx.x == 0)) pass_turn(a.turns + before);
  }

  DEV void store() {
    float *to = second() ? a.dk : a.dv, factor = second() ? a.score.natural * kUnboost : kUnboost;
    UNROLL for (int i = 0; i < 4; i++) {
      long at = ((long)Base::kv_head * a.NP + key() + 8 * i) * DIM + 2 * (lane() & 3);
      UNROLL for (int d = 0; d < DIM / 8; d++) {
        const float *y = &sum[i / 2][d][i % 2 * 2];
        add_to(to + at + 8 * d, y[0] * factor, y[1] * factor, a.fresh);
      }
    }
  }
};

} // namespace
