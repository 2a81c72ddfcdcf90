// What both backward kernels on mma.sync share: the walk over query tiles, and what becomes of a logit.
#pragma once
#include "mma.h"

namespace {

constexpr int kTileQueries = 64;

// Cursor is where a block of keys is in its work: a query head of the group, an entry of the list, and a row of that tile.
struct Cursor {
  int head, entry, row; // row counts from the head's first
  int partial;
};

// Walk goes over the listed tiles of the group's heads, SHAPE::kRows queries at a time.
template <class SHAPE> struct Walk {
  static constexpr int kDim = SHAPE::kDim, kRows = SHAPE::kRows, kThreads = SHAPE::kThreads;

  const BackwardArgs &a;
  int first_key, kv_head;
  u32 memory;

  DEV Walk(const BackwardArgs &args, int tile, int from, int to)
      : a(args), first_key(tile * SHAPE::kKeys), kv_head(blockIdx.y), memory(shared_address(shared_memory)) {
    if (threadIdx.x == 0) list() = {from, to};
  }

  // The block's part of a.tile lies in shared memory, as every register counts; it is there after the first barrier.
  DEV static int2 &list() { return *(int2 *)(shared_memory + SHAPE::kPlaceOfRows + 3 * kRows * 4); }
  DEV Cursor at(int head, int entry) const {
    u32 tile = a.tile[entry];
    return {head, entry, (int)(tile >> 1) * kTileQueries, (int)(tile & 1)};
  }
  DEV Cursor begin() const { return at(kv_head * a.group, list().x); }
  DEV Cursor after(Cursor c) const {
    if (kRows < kTileQueries && begins(c)) {
      c.row += kRows;
      return c;
    }
    int2 entries = list();
    bool last = c.entry + 1 == entries.y;
    return at(c.head + last, last ? entries.x : c.entry + 1);
  }
  // Whether any follow a cursor.
  DEV bool more(const Cursor &c) const { return !ends(c) | (c.entry + 1 < list().y) | (c.head + 1 < (kv_head + 1) * a.group); }
  // Whether a cursor is at the first rows of its tile, and at the last ones.
  DEV static bool begins(const Cursor &c) { return c.row % kTileQueries == 0; }
  DEV static bool ends(const Cursor &c) { return c.row % kTileQueries == kTileQueries - kRows; }
  DEV int turn(const Cursor &c) const { return c.head * (a.SP / kTileQueries) + c.row / kTileQueries; } // in a.turns

  DEV void copy_keys(u32 place, const void *array) const {
    copy_tile<SHAPE::kKeys, kDim / 64, kThreads>(memory + place, tile_row(array, kv_head, a.NP, kDim, first_key));
  }
  DEV void copy_queries(u32 place, const void *array, const Cursor &c) const {
    copy_tile<kRows, kDim / 64, kThreads>(memory + place, tile_row(array, c.head, a.SP, kDim, c.row));
  }

  // Of the queries at hand, high, low and delta lie in shared memory.
  DEV static float *rows() { return (float *)(shared_memory + SHAPE::kPlaceOfRows); }
  DEV void copy_rows(const Cursor &c) const {
    u32 thread = opaque(threadIdx.x), to = memory + SHAPE::kPlaceOfRows + thread * 4;
    if (thread >= kRows) return;
    long from = (long)c.head * a.SP + c.row + thread;
    copy4(to, a.high + from);
    copy4(to + kRows * 4, a.low + from);
    copy4(to + 2 * kRows * 4, a.delta + from);
  }
  // settle_rows comes when the thread's copies have arrived: a row that saw nothing gets numbers that make P 0, and the others make it
  // 2^kBoost times what it is.
  DEV static void settle_rows() {
    u32 thread = opaque(threadIdx.x);
    if (thread >= kRows) return;
    float *row = rows() + thread;
    bool nothing = row[0] == -kInf;
    if (nothing) row[0] = kInf;
    if (nothing | (SHAPE::kBoost != 0)) row[kRows] = nothing ? 0.f : row[kRows] - SHAPE::kBoost;
  }
};

// Pairs is S^T and dP^T, then P^T and dS^T, of BLOCKS x 16 keys and COLUMNS x 8 queries, as they lie in a warp. The lane has keys
// key + 8*i, counted from the array's first, and queries query + 8*n + e, from the first of the rows at hand.
template <class WALK, int BLOCKS, int COLUMNS> struct Pairs {
  static constexpr int kRows = WALK::kRows;
  const WALK &walk;
  float s[BLOCKS][COLUMNS][4], dp[BLOCKS][COLUMNS][4];

  DEV Pairs(const WALK &w) : walk(w) {
    UNROLL for (int b = 0; b < BLOCKS; b++) {
      zero(s[b]);
      zero(dp[b]);
    }
  }

  // each calls f(S^T, dP^T, i, n, e) for every pair of the lane.
  template <class F> DEV void each(const F &f) {
    UNROLL for (int n = 0; n < COLUMNS; n++)
      UNROLL for (int i = 0; i < 2 * BLOCKS; i++)
        UNROLL for (int e = 0; e < 2; e++) f(s[i / 2][n][i % 2 * 2 + e], dp[i / 2][n][i % 2 * 2 + e], i, n, e);
  }

  // row is one of high, low and delta of query column n.
  DEV float2 row(int which, int query, int n) const { return *(const float2 *)(walk.rows() + which * kRows + query + 8 * n); }

  // soften makes P^T of logits in s, times scale, and dS^T of dp.
  DEV void soften(int query, float scale) {
    float2 rows[COLUMNS][3];
    UNROLL for (int n = 0; n < COLUMNS; n++)
      UNROLL for (int j = 0; j < 3; j++) rows[n][j] = row(j, query, n);
    each([&](float &x, float &y, int, int n, int e) {
      const float2 *r = rows[n];
      x = exp2_fast(__builtin_fmaf(x, scale, -(e ? r[0].y : r[0].x)) - (e ? r[1].y : r[1].x));
      y = x * (y - (e ? r[2].y : r[2].x));
    });
  }

  // soften_extras is soften with softcap, ALiBi and dropout.
  DEV void soften_extras(const Cursor &c, int key, int query) {
    const Score &score = walk.a.score;
    u32 kept_pairs = score.threshold ? drop(c, key, query) : ~0u;
    UNROLL for (int n = 0; n < COLUMNS; n++) {
      float2 high = row(0, query, n), low = row(1, query, n), delta = row(2, query, n);
      adjust(c, key, query, n, delta);
      UNROLL for (int i = 0; i < 2 * BLOCKS; i++)
        UNROLL for (int e = 0; e < 2; e++) {
          float &x = s[i / 2][n][i % 2 * 2 + e];
          x = exp2_fast((x - (e ? high.y : high.x)) - (e ? low.y : low.x));
          dp[i / 2][n][i % 2 * 2 + e] *= x;
        }
    }
    if (score.threshold) each([&](float &x, float &, int i, int n, int e) { x = kept_pairs & bit(i, n, e) ? x * score.keep : 0.f; });
  }

  // adjust makes logits of column n of s, and of dp the gradient of q.k but for P.
  DEV void adjust(const Cursor &c, int key, int query, int n, float2 delta) {
    const Score &score = walk.a.score;
    float slope = score.alibi ? score.slope[c.head] : 0.f;
    UNROLL for (int e = 0; e < 2; e++) {
      int position = score.alibi ? score.qpos[c.row + query + 8 * n + e] : 0;
      UNROLL for (int i = 0; i < 2 * BLOCKS; i++) {
        float &x = s[i / 2][n][i % 2 * 2 + e], &y = dp[i / 2][n][i % 2 * 2 + e], steep;
        x = logit(score, x, score.alibi ? position - score.kpos[key + 8 * i] : 0, slope, &steep);
        y = (y - (e ? delta.y : delta.x)) * steep;
      }
    }
  }

  // drop is dP with dropout; it returns which pairs are kept.
  DEV u32 drop(const Cursor &c, int key, int query) {
    const Score &score = walk.a.score;
    const u32 *words = score.qword + (long)c.head * walk.a.SP + c.row + query;
    u32 of[2 * BLOCKS], pairs = 0;
    UNROLL for (int i = 0; i < 2 * BLOCKS; i++) of[i] = score.kword[(long)c.head * walk.a.NP + key + 8 * i];
    each([&](float &, float &y, int i, int n, int e) {
      bool keep = kept(words[8 * n + e], of[i], score.threshold);
      y = keep ? y * score.keep : 0.f;
      pairs |= keep ? bit(i, n, e) : 0u;
    });
    return pairs;
  }

  // hide clears the pairs that are not visible; a partial tile wants it.
  DEV void hide(const Cursor &c, int key, int query) {
    const Score &score = walk.a.score;
    int at[2 * BLOCKS];
    UNROLL for (int i = 0; i < 2 * BLOCKS; i++) at[i] = score.kpos[key + 8 * i];
    u32 seen = 0;
    ONCE for (int layer = 0; layer < score.layers; layer++)
      UNROLL for (int n = 0; n < COLUMNS; n++)
        UNROLL for (int e = 0; e < 2; e++) {
          int2 span = score.span[(long)layer * walk.a.SP + c.row + query + 8 * n + e];
          UNROLL for (int i = 0; i < 2 * BLOCKS; i++) seen |= (u32)(at[i] - span.x) < (u32)span.y ? bit(i, n, e) : 0u;
        }
    each([&](float &x, float &y, int i, int n, int e) {
      bool see = seen & bit(i, n, e);
      x = see ? x : 0.f;
      y = see ? y : 0.f;
    });
  }
  static_assert(BLOCKS * COLUMNS <= 8, "a bit for each pair");
  DEV static u32 bit(int i, int n, int e) { return 1u << (2 * BLOCKS * (2 * n + e) + i); }
};

// backward_block lets a kernel do tile x of the keys of KV head y, x counting from the last one.
template <class KERNEL> DEV void backward_block(const BackwardArgs &a) {
  constexpr int kDim = KERNEL::kDim;
  int kv_heads = a.heads / a.group;
  if (tile_flag(a.q, a.heads, a.SP, kDim) | tile_flag(a.dO, a.heads, a.SP, kDim)) return;
  if (tile_flag(a.k, kv_heads, a.NP, kDim) | tile_flag(a.v, kv_heads, a.NP, kDim)) return;
  int tile = gridDim.x - 1 - blockIdx.x;
  int from = a.start[tile], to = a.start[tile + 1];
  if (from == to && !a.fresh) return;
  KERNEL kernel(a, tile, from, to);
  if (from < to) kernel.run();
  kernel.store();
}

// add_to adds two neighbours to a row of dK or dV, or overwrites it.
DEV void add_to(float *row, float x, float y, bool fresh) {
  float2 old = {0.f, 0.f};
  if (!fresh) old = *(const float2 *)row;
  *(float2 *)row = {old.x + x, old.y + y};
}

} // namespace
