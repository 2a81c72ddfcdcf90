// Backward on mma.sync for heads of up to 64: a block of four warps for 128 keys of a KV head, over tiles of 64 queries.
//
// A warp has 32 of the keys, part of its K in registers, and goes through a tile 16 queries at a time: S^T = K Q^T and dP^T = V dO^T, of
// which P^T and dS^T are the left operands of dV += P^T dO and dK += dS^T Q without leaving the registers. dS^T goes to shared memory
// too. When all warps are through, each multiplies 32 queries by 32 columns of dQ = dS K, and adds it to global memory. Q of the next
// tile arrives during a whole tile, dO during dQ, as there is one place for it.
#pragma once
#include "mma_pairs.h"

namespace {

template <int DIM> struct NarrowShape {
  static_assert(DIM == 64, "four warps have 64 columns of dQ");
  static constexpr int kDim = DIM, kQueries = kTileQueries, kKeys = 128, kRows = kTileQueries, kThreads = 128, kBoost = 0;
  static constexpr int kResident = 2; // blocks on a multiprocessor
  static constexpr u32 kTileBytes = kRows * DIM * 2, kKeyBytes = kKeys * DIM * 2;
  static constexpr u32 kK = 0, kV = kKeyBytes, kQ = 2 * kKeyBytes, kDO = kQ + 2 * kTileBytes, kDS = kDO + kTileBytes;
  static constexpr u32 kPlaceOfRows = kDS + kKeys * kRowBytes, kBytes = kPlaceOfRows + 3 * kRows * 4 + 16;
};

template <int DIM, bool EXTRAS> struct BackwardNarrow : Walk<NarrowShape<DIM>> {
  using Shape = NarrowShape<DIM>;
  using Base = Walk<Shape>;
  using Base::a;
  using Base::memory;
  static constexpr int kDim = DIM, kBlocks = 2, kSquares = DIM / 16, kQueries = Shape::kRows, kKeys = Shape::kKeys;
  static constexpr int kHeld = EXTRAS ? 1 : 3; // squares of K in registers; more would spill
  static constexpr u32 kSwap = Shape::kQ ^ (Shape::kQ + Shape::kTileBytes);

  float dk[kBlocks][DIM / 8][4], dv[kBlocks][DIM / 8][4];
  u32 keys[kBlocks][kHeld][4];

  DEV BackwardNarrow(const BackwardArgs &args, int tile, int from, int to) : Base(args, tile, from, to) {
    UNROLL for (int b = 0; b < kBlocks; b++) {
      zero(dk[b]);
      zero(dv[b]);
    }
  }

  DEV static int lane() { return opaque(threadIdx.x) & 31; }
  DEV static int warp_row() { return (opaque(threadIdx.x) >> 5) * 16 * kBlocks; } // first key of the warp in its tile
  // key and query are the lane's first: of the array, and in a step.
  DEV int key() const { return Base::first_key + warp_row() + (lane() >> 2); }
  DEV static int query(int step) { return 16 * step + 2 * (lane() & 3); }

  DEV void hold_keys() {
    Base::copy_keys(Shape::kK, a.k);
    Base::copy_keys(Shape::kV, a.v);
    arrived();
    barrier();
    u32 rows = rows_first(memory + Shape::kK) + warp_row() * kRowBytes;
    UNROLL for (int b = 0; b < kBlocks; b++)
      UNROLL for (int i = 0; i < kHeld; i++) load_matrices(keys[b][i], square_at<kKeys>(rows, 16 * b, i));
  }

  using Step = Pairs<Base, kBlocks, 2>;

  // multiply_scores: S^T and dP^T of queries 16*step on; Q lies at a place.
  DEV void multiply_scores(Step &pairs, u32 place, int step) {
    u32 columns = columns_first(opaque(memory)), rows = rows_first(opaque(memory)) + warp_row() * kRowBytes;
    UNROLL for (int i = 0; i < kSquares; i++) {
      u32 right[4], left[4];
      load_matrices(right, square_at<kQueries>(columns + place, 16 * step, i));
      UNROLL for (int b = 0; b < kBlocks; b++) {
        if (i >= kHeld) load_matrices(left, square_at<kKeys>(rows + Shape::kK, 16 * b, i));
        multiply_add(pairs.s[b][0], i < kHeld ? keys[b][i] : left, right[0], right[1]);
        multiply_add(pairs.s[b][1], i < kHeld ? keys[b][i] : left, right[2], right[3]);
      }
      load_matrices(right, square_at<kQueries>(columns + Shape::kDO, 16 * step, i));
      UNROLL for (int b = 0; b < kBlocks; b++) {
        load_matrices(left, square_at<kKeys>(rows + Shape::kV, 16 * b, i));
        multiply_add(pairs.dp[b][0], left, right[0], right[1]);
        multiply_add(pairs.dp[b][1], left, right[2], right[3]);
      }
    }
  }

  // multiply_gradients: dV += P^T dO and dK += dS^T Q over the queries of a step; dS^T goes to shared memory.
  DEV void multiply_gradients(const Step &pairs, u32 place, int step) {
    u32 p[kBlocks][4], ds[kBlocks][4];
    UNROLL for (int b = 0; b < kBlocks; b++)
      UNROLL for (int i = 0; i < 4; i++) {
        const float *x = &pairs.s[b][i / 2][i % 2 * 2], *y = &pairs.dp[b][i / 2][i % 2 * 2];
        p[b][i] = pair(x[0], x[1]);
        ds[b][i] = pair(y[0], y[1]);
        int row = warp_row() + 16 * b + i % 2 * 8 + (lane() >> 2);
        store_word(memory + Shape::kDS + row * kRowBytes + (((2 * step + i / 2) ^ (lane() >> 2)) << 4) + 4 * (lane() & 3), ds[b][i]);
      }
    u32 rows = rows_first(opaque(memory));
    UNROLL for (int d = 0; d < kSquares; d++) {
      u32 right[4];
      load_transposed(right, square_at<kQueries>(rows + Shape::kDO, 16 * step, d));
      UNROLL for (int b = 0; b < kBlocks; b++) {
        multiply_add(dv[b][2 * d], p[b], right[0], right[1]);
        multiply_add(dv[b][2 * d + 1], p[b], right[2], right[3]);
      }
      load_transposed(right, square_at<kQueries>(rows + place, 16 * step, d));
      UNROLL for (int b = 0; b < kBlocks; b++) {
        multiply_add(dk[b][2 * d], ds[b], right[0], right[1]);
        multiply_add(dk[b][2 * d + 1], ds[b], right[2], right[3]);
      }
    }
  }

  // add_queries: dQ = dS K of 32 queries and 32 columns, added to global memory.
  DEV void add_queries(const Cursor &c) {
    int warp = opaque(threadIdx.x) >> 5, first = warp % 2 * 32, square = warp / 2 * 2;
    float dq[2][4][4];
    zero(dq[0]);
    zero(dq[1]);
    u32 left_at = columns_first(opaque(memory) + Shape::kDS) ^ (first << 1);
    u32 right_at = (rows_first(opaque(memory) + Shape::kK) ^ ((square & 3) << 5)) + (square >> 2) * kKeys * kRowBytes;
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
    float *to = a.dq + ((long)c.head * a.SP + c.row + first + (lane() >> 2)) * DIM + 16 * square + 2 * (lane() & 3);
    UNROLL for (int b = 0; b < 2; b++)
      UNROLL for (int d = 0; d < 4; d++)
        UNROLL for (int i = 0; i < 4; i++) reduce_add(to + (16 * b + i / 2 * 8) * DIM + 8 * d + i % 2, dq[b][d][i] * a.score.natural);
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
      UNROLL for (int step = 0; step < kQueries / 16; step++) {
        Step pairs(*this);
        multiply_scores(pairs, place, step);
        if (EXTRAS) pairs.soften_extras(now, key(), query(step));
        else pairs.soften(query(step), a.score.scale);
        if (now.partial) pairs.hide(now, key(), query(step));
        multiply_gradients(pairs, place, step);
        if (a.ordered & (threadIdx.x == 0)) {
          if (step == 0 && before >= 0) pass_turn(a.turns + before); // late: by now its sums have arrived, and the fence does not wait
          if (step == kQueries / 16 - 1) await_turn(a.turns + Base::turn(now), a.turn[now.entry]);
        }
      }
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
    UNROLL for (int i = 0; i < 2 * kBlocks; i++) {
      long at = ((long)Base::kv_head * a.NP + key() + 8 * i) * DIM + 2 * (lane() & 3);
      UNROLL for (int d = 0; d < DIM / 8; d++) {
        const float *k = &dk[i / 2][d][i % 2 * 2], *v = &dv[i / 2][d][i % 2 * 2];
        add_to(a.dk + at + 8 * d, k[0] * a.score.natural, k[1] * a.score.natural, a.fresh);
        add_to(a.dv + at + 8 * d, v[0], v[1], a.fresh);
      }
    }
  }
};

} // namespace
