// Backward on mma.sync for heads of more than 128: a block of eight warps for 64 keys of a KV head, kRows queries at a time.
//
// No warp has registers for dK and dV of all columns. First every warp makes P^T and dS^T of 16 keys and half of the queries, by
// S^T = K Q^T and dP^T = V dO^T, its V mostly in registers; they go to shared memory. Then it has dV += P^T dO and dK += dS^T Q of 32 keys
// and a quarter of the columns, and of dQ = dS K some rows and columns that it adds to global memory.
#pragma once
#include "mma_pairs.h"

namespace {

template <int DIM> struct WideShape {
  static constexpr int kDim = DIM, kQueries = kTileQueries, kKeys = 64, kThreads = 256, kResident = 1, kBoost = 0;
  static constexpr int kRows = DIM == 192 ? 64 : 32;  // queries at a time
  static constexpr int kStages = DIM == 192 ? 1 : 2;  // places for Q
  static constexpr int kHeld = DIM == 192 ? 12 : 12;  // squares of V in registers; slabs of the others stay in shared memory
  static constexpr u32 kTileBytes = kRows * DIM * 2, kSlab = kKeys * kRowBytes;
  static constexpr u32 kK = 0, kQ = kKeys * DIM * 2, kDO = kQ + kStages * kTileBytes, kP = kDO + kTileBytes;
  // dS^T lies beside P^T, in the other half of its rows, if those are 32 queries long.
  static constexpr int kChunkOfDS = kRows == 64 ? 0 : 4;
  static constexpr u32 kDS = kRows == 64 ? kP + kSlab : kP, kV = kDS + kSlab, kPlaceOfRows = kV + (DIM / 64 - kHeld / 4) * kSlab;
  static constexpr u32 kBytes = kPlaceOfRows + 3 * kRows * 4 + 16;
  static_assert(kBytes <= 99 * 1024, "sm_86 and sm_89 have no more");
};

template <int DIM, bool EXTRAS> struct BackwardWide : Walk<WideShape<DIM>> {
  using Shape = WideShape<DIM>;
  using Base = Walk<Shape>;
  using Base::a;
  using Base::memory;
  static constexpr int kDim = DIM, kSquares = DIM / 16, kRows = Shape::kRows, kKeys = Shape::kKeys, kHeld = Shape::kHeld;
  static constexpr int kColumns = DIM / 64; // squares of a quarter
  static constexpr u32 kSwap = Shape::kStages == 1 ? 0 : Shape::kQ ^ (Shape::kQ + Shape::kTileBytes);
  static constexpr int kQueryGroups = kRows / 32, kQuerySquares = DIM / 16 * kQueryGroups / 8; // of dQ: 32 queries and so many squares to a warp

  float dk[2][2 * kColumns][4], dv[2][2 * kColumns][4];
  u32 values[kHeld][4];

  DEV BackwardWide(const BackwardArgs &args, int tile, int from, int to) : Base(args, tile, from, to) {
    UNROLL for (int b = 0; b < 2; b++) {
      zero(dk[b]);
      zero(dv[b]);
    }
  }

  DEV static int lane() { return opaque(threadIdx.x) & 31; }
  DEV static int warp() { return opaque(threadIdx.x) >> 5; }
  // Of the pairs that a warp makes: its first key of the tile, and the lane's first key of the array and query of the rows at hand.
  DEV static int pair_row() { return warp() % 4 * 16; }
  DEV int key() const { return Base::first_key + pair_row() + (lane() >> 2); }
  DEV static int query() { return warp() / 4 * (kRows / 2) + 2 * (lane() & 3); }
  // Of the gradients that it sums: its first key of the tile and first square of the columns.
  DEV static int sum_row() { return warp() % 2 * 32; }
  DEV static int sum_square() { return warp() / 2 * kColumns; }

  DEV void hold_values() {
    Base::copy_keys(Shape::kK, a.k);
    Base::copy_keys(Shape::kQ, a.v); // Q comes later
    if (kHeld < kSquares)
      copy_tile<kKeys, DIM / 64 - kHeld / 4, Shape::kThreads>(memory + Shape::kV, tile_row(a.v, Base::kv_head, a.NP, DIM, Base::first_key) + (long)kHeld / 4 * kSlabBytes);
    arrived();
    barrier();
    u32 v = rows_first(memory + Shape::kQ) + pair_row() * kRowBytes;
    UNROLL for (int i = 0; i < kHeld; i++) load_matrices(values[i], square_at<kKeys>(v, 0, i));
    barrier();
  }

  using Part = Pairs<Base, 1, kRows / 16>;

  DEV void multiply_scores(Part &pairs, u32 place) {
    u32 columns = columns_first(opaque(memory)) + warp() / 4 * (kRows / 2) * kRowBytes, rows = rows_first(opaque(memory)) + pair_row() * kRowBytes;
    UNROLL for (int i = 0; i < kSquares; i++) {
      u32 right[4], key[4], value[4];
      load_matrices(key, square_at<kKeys>(rows + Shape::kK, 0, i));
      if (i >= kHeld) load_matrices(value, square_at<kKeys>(rows + Shape::kV, 0, i - kHeld));
      UNROLL for (int n = 0; n < kRows / 32; n++) {
        load_matrices(right, square_at<kRows>(columns + place, 16 * n, i));
        multiply_add(pairs.s[0][2 * n], key, right[0], right[1]);
        multiply_add(pairs.s[0][2 * n + 1], key, right[2], right[3]);
        load_matrices(right, square_at<kRows>(columns + Shape::kDO, 16 * n, i));
        multiply_add(pairs.dp[0][2 * n], i < kHeld ? values[i] : value, right[0], right[1]);
        multiply_add(pairs.dp[0][2 * n + 1], i < kHeld ? values[i] : value, right[2], right[3]);
      }
    }
  }

  // share puts P^T and dS^T into shared memory.
  DEV void share(const Part &pairs) const {
    u32 turn = lane() >> 2, to = memory + (pair_row() + turn) * kRowBytes + 4 * (lane() & 3), chunk = warp() / 4 * (kRows / 16);
    UNROLL for (int n = 0; n < kRows / 16; n++)
      UNROLL for (int i = 0; i < 2; i++) {
        u32 p = to + 8 * i * kRowBytes + Shape::kP + (((chunk + n) ^ turn) << 4);
        u32 ds = to + 8 * i * kRowBytes + Shape::kDS + (((chunk + n + Shape::kChunkOfDS) ^ turn) << 4);
        store_word(p, pair(pairs.s[0][n][2 * i], pairs.s[0][n][2 * i + 1]));
        store_word(ds, pair(pairs.dp[0][n][2 * i], pairs.dp[0][n][2 * i + 1]));
      }
  }

  // multiply_gradient: sum += left right, left of keys x queries from a chunk of a place on, right of queries x columns.
  DEV void multiply_gradient(float (&sum)[2][2 * kColumns][4], u32 left_place, int chunk, u32 right_place) {
    u32 left_at = (rows_first(opaque(memory) + left_place) ^ (chunk << 4)) + sum_row() * kRowBytes;
    u32 right_at = rows_first(opaque(memory) + right_place);
    UNROLL for (int n = 0; n < kRows / 16; n++) {
      u32 left[2][4], right[4];
      UNROLL for (int b = 0; b < 2; b++) load_matrices(left[b], square_at<kKeys>(left_at, 16 * b, n));
      UNROLL for (int d = 0; d < kColumns; d++) {
        load_transposed(right, column_square(right_at, kRows, 16 * n, sum_square() + d));
        UNROLL for (int b = 0; b < 2; b++) {
          multiply_add(sum[b][2 * d], left[b], right[0], right[1]);
          multiply_add(sum[b][2 * d + 1], left[b], right[2], right[3]);
        }
      }
    }
  }

  // column_square is square_at for a square that the compiler does not know.
  DEV static u32 column_square(u32 first, int rows, int row, int square) {
    return (first ^ ((square & 3) << 5)) + (square >> 2) * rows * kRowBytes + row * kRowBytes;
  }

  // add_queries: dQ = dS K of some queries and columns, added to global memory.
  DEV void add_queries(const Cursor &c) {
    int first = warp() % kQueryGroups * 32, square = warp() / kQueryGroups * kQuerySquares;
    float dq[2][2 * kQuerySquares][4];
    UNROLL for (int b = 0; b < 2; b++) zero(dq[b]);
    u32 left_at = columns_first(opaque(memory) + Shape::kDS) ^ (Shape::kChunkOfDS << 4) ^ (first << 1);
    u32 right_at = rows_first(opaque(memory) + Shape::kK);
    UNROLL for (int k = 0; k < kKeys / 16; k++) {
      u32 left[2][4], right[4];
      UNROLL for (int b = 0; b < 2; b++) load_transposed(left[b], square_at<kKeys>(left_at, 16 * k, b));
      UNROLL for (int d = 0; d < kQuerySquares; d++) {
        load_transposed(right, column_square(right_at, kKeys, 16 * k, square + d));
        UNROLL for (int b = 0; b < 2; b++) {
          multiply_add(dq[b][2 * d], left[b], right[0], right[1]);
          multiply_add(dq[b][2 * d + 1], left[b], right[2], right[3]);
        }
      }
    }
    float *to = a.dq + ((long)c.head * a.SP + c.row + first + (lane() >> 2)) * DIM + 16 * square + 2 * (lane() & 3);
    UNROLL for (int b = 0; b < 2; b++)
      UNROLL for (int d = 0; d < 2 * kQuerySquares; d++)
        UNROLL for (int i = 0; i < 4; i++) reduce_add(to + (16 * b + i / 2 * 8) * DIM + 8 * d + i % 2, dq[b][d][i] * a.score.natural);
  }

  DEV void run() {
    hold_values();
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
      bool more = Base::more(now);
      if (Shape::kStages > 1 && more) Base::copy_queries(place ^ kSwap, a.q, Base::after(now));
      make_pairs(now, place);
      if (a.ordered & (threadIdx.x == 0)) {
        if (before >= 0) pass_turn(a.turns + before); // late: by now its sums have arrived, and the fence does not wait
        if (Base::begins(now)) await_turn(a.turns + Base::turn(now), a.turn[now.entry]);
      }
      barrier(); // P and dS are complete, and it is this block's turn
      multiply_gradient(dv, Shape::kP, 0, Shape::kDO);
      barrier(); // all are done with dO
      if (more) {
        Cursor next = Base::after(now);
        Base::copy_queries(Shape::kDO, a.dO, next);
        Base::copy_rows(next);
      }
      multiply_gradient(dk, Shape::kDS, Shape::kChunkOfDS, place);
      if (Shape::kStages == 1) {
        barrier(); // all are done with Q
        if (more) Base::copy_queries(place, a.q, Base::after(now));
      }
      add_queries(now);
      before = Base::ends(now) ? Base::turn(now) : -1;
      if (!more) break;
      now = Base::after(now);
    }
    barrier();
    if (a.ordered & (threadIdx.x == 0)) pass_turn(a.turns + before);
  }

  // make_pairs has P^T and dS^T of the rows at hand in shared memory.
  DEV void make_pairs(const Cursor &now, u32 place) {
    Part pairs(*this);
    multiply_scores(pairs, place);
    if (EXTRAS) pairs.soften_extras(now, key(), query());
    else pairs.soften(query(), a.score.scale);
    if (now.partial) pairs.hide(now, key(), query());
    share(pairs);
  }

  DEV void store() {
    UNROLL for (int i = 0; i < 4; i++) {
      int row = Base::first_key + sum_row() + (lane() >> 2) + 8 * i;
      long at = ((long)Base::kv_head * a.NP + row) * DIM + 16 * sum_square() + 2 * (lane() & 3);
      UNROLL for (int d = 0; d < 2 * kColumns; d++) {
        const float *k = &dk[i / 2][d][i % 2 * 2], *v = &dv[i / 2][d][i % 2 * 2];
        add_to(a.dk + at + 8 * d, k[0] * a.score.natural, k[1] * a.score.natural, a.fresh);
        add_to(a.dv + at + 8 * d, v[0], v[1], a.fresh);
      }
    }
  }
};

} // namespace
