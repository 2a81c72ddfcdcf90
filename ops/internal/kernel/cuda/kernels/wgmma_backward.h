// Backward on Hopper. A block of three warpgroups has one tile of 128 keys of a KV head, and goes through the tiles of queries that see
// it, for every head of the group. Of the first warpgroup one warp copies and one adds to dQ; each of the other two multiplies, for
// 64 of the keys. Scores lie transposed, keys by queries, so that weights and their gradients are operands in registers:
//
//	S' = K Q'    dP' = V dO'    P' = exp2(S')    dS' = P' * (dP' - delta)    dV += P' dO    dK += dS' Q    dQ += dS K
//
// Only dS of both warpgroups goes through shared memory, for dQ, of which each warpgroup computes a quarter of 64 x 64. S' of the next
// step is under way while dS is exchanged, and dP' of the next one while its P' is computed.
#pragma once
#include "tile.h"
#include "wgmma.h"

namespace bwd {

constexpr int kKeys = 128, kThreads = 3 * kWarpgroup, kWarps = 2 * kWarpgroup / 32; // of consumers
constexpr int kHalves = kDim == 64 ? 2 : 1;             // of a tile of queries; scores are of 64 queries at a time
constexpr int kQueries = 64 * kHalves;
constexpr bool kRoom = kDim == 64;                      // registers for dV while dS' is made, and for the next dP' while dQ is stored
constexpr int kPairs = 32;                              // scores of a thread
constexpr u32 kKeyBytes = kKeys * kDim * 2, kKeySlab = kKeys * 128;
constexpr u32 kQueryBytes = kQueries * kDim * 2, kQuerySlab = kQueries * 128;
constexpr u32 kHalf = 64 * 128 >> 4;                    // 64 rows, of descriptors
constexpr u32 kLine = kQueries * 4, kSumBytes = kQueries * kDim * 4;

// Shared memory; queries, dO, the sums of dQ and the lines high, low and delta have two places each.
constexpr u32 kK = 0, kV = kKeyBytes, kQ = 2 * kKeyBytes, kO = kQ + 2 * kQueryBytes, kS = kO + 2 * kQueryBytes;
constexpr u32 kSum = kS + kQueries * kKeys * 2, kHigh = kSum + 2 * kSumBytes, kLow = kHigh + 2 * kLine, kDelta = kLow + 2 * kLine;
constexpr u32 kNote = kDelta + 2 * kLine, kBarriers = kNote + 2 * 16, kShared = kBarriers + 128;
enum { KeysFull, QFull, QEmpty = QFull + 2, OFull = QEmpty + 2, OEmpty = OFull + 2, SumFull = OEmpty + 2, SumEmpty = SumFull + 2, SFull = SumEmpty + 2, SEmpty, Barriers };
DEV u32 mbarrier_of(u32 base, int which) { return base + kBarriers + 8 * which; }

// Note is what the producer tells the consumers of a step, beside its queries.
struct alignas(16) Note { u32 entry, last; int head, unused; };
DEV Note *note_of(int place) { return (Note *)(shared_memory + kNote) + place; }

// Job is what a block does.
struct Job {
  const BackwardArgs &a;
  u32 base;                 // of shared memory
  int kv, key;              // KV head, first key row
  int begin, tiles;         // in the list
  DEV Job(const BackwardArgs &args) : a(args), base(shared_address(shared_memory)), kv(blockIdx.y) {
    int at = a.ordered ? gridDim.x - 1 - blockIdx.x : blockIdx.x; // turns want the last tile first, causal masks the longest
    key = at * kKeys, begin = uniform(a.start[at]), tiles = uniform(a.start[at + 1]) - begin;
  }
  DEV int steps() const { return tiles * a.group; }
};

// Step counts through the tiles of the list for each head of the group.
struct Step {
  int i, j, head;
  DEV Step(const Job &job) : i(0), j(0), head(job.kv * job.a.group) {}
  DEV void next(const Job &job) {
    i++, j++;
    if (j == job.tiles) j = 0, head++;
  }
  DEV int place() const { return i & 1; }
  DEV u32 parity() const { return i >> 1 & 1; }
  DEV u32 entry(const Job &job) const { return job.a.tile[job.begin + j]; }
};

// load_tile copies rows of queries into slabs.
DEV void load_tile(u32 to, const void *from, int head, int SP, int row, u32 mbarrier) {
  const char *block = (const char *)from + ((long)head * SP + (row & ~127)) * kDim * 2 + (row & 127) * 128;
  UNROLL for (int slab = 0; slab < kDim / 64; slab++) bulk_load(to + slab * kQuerySlab, block + slab * (128 * 128), kQuerySlab, mbarrier);
}

DEV void produce(const Job &job) {
  const BackwardArgs &a = job.a;
  long keys = ((long)job.kv * a.NP + job.key) * kDim * 2;
  u32 full = mbarrier_of(job.base, KeysFull);
  mbarrier_expect(full, 2 * kKeyBytes);
  bulk_load(job.base + kK, (const char *)a.k + keys, kKeyBytes, full);
  bulk_load(job.base + kV, (const char *)a.v + keys, kKeyBytes, full);
  ONCE for (Step s(job); s.i < job.steps(); s.next(job)) {
    int p = s.place(), row = (s.entry(job) >> 1) * kQueries;
    long line = (long)s.head * a.SP + row;
    u32 q = mbarrier_of(job.base, QFull + p), o = mbarrier_of(job.base, OFull + p);
    mbarrier_wait(mbarrier_of(job.base, QEmpty + p), s.parity() ^ 1);
    *note_of(p) = {s.entry(job), s.i + 1 == job.steps(), s.head, 0};
    mbarrier_expect(q, kQueryBytes + 2 * kLine);
    load_tile(job.base + kQ + p * kQueryBytes, a.q, s.head, a.SP, row, q);
    bulk_load(job.base + kHigh + p * kLine, a.high + line, kLine, q);
    bulk_load(job.base + kLow + p * kLine, a.low + line, kLine, q);
    mbarrier_wait(mbarrier_of(job.base, OEmpty + p), s.parity() ^ 1);
    mbarrier_expect(o, kQueryBytes + kLine);
    load_tile(job.base + kO + p * kQueryBytes, a.dO, s.head, a.SP, row, o);
    bulk_load(job.base + kDelta + p * kLine, a.delta + line, kLine, o);
  }
}

// await_turn and give_turn order the additions of blocks to a tile of dq.
DEV void await_turn(const u32 *turns, u32 turn) {
  u32 now;
  do asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(now) : "l"(turns) : "memory");
  while (now != turn);
  fence_global();
}
DEV void give_turn(u32 *turns) {
  fence_global();
  asm volatile("red.release.gpu.global.add.u32 [%0], 1;" ::"l"(turns) : "memory");
}

// add sends the tiles of dQ off that the consumers leave in a place of shared memory. Each place has a thread of its own, which waits
// for the end of an addition and hands the turn on at once, while the other begins the next addition.
DEV void add(const Job &job, int place) {
  const BackwardArgs &a = job.a;
  ONCE for (Step s(job); s.i < job.steps(); s.next(job)) {
    if (s.place() != place) continue;
    int tile = s.entry(job) >> 1;
    u32 *turns = a.turns + (long)s.head * (a.SP / kQueries) + tile;
    mbarrier_wait(mbarrier_of(job.base, SumFull + place), s.parity());
    if (a.ordered) await_turn(turns, a.turn[job.begin + s.j]);
    bulk_add(a.dq + ((long)s.head * a.SP + tile * kQueries) * kDim, job.base + kSum + place * kSumBytes, kSumBytes);
    bulk_commit();
    if (a.ordered) {
      bulk_wait();
      give_turn(turns);
    } else {
      bulk_wait_read();
    }
    mbarrier_arrive(mbarrier_of(job.base, SumEmpty + place));
  }
}

// Own is what a consumer thread has for good: its place, two key rows, eight apart.
struct Own {
  int warpgroup, row, lane; // row of the first key in the tile
};

DEV float2 shared_pair(u32 address) {
  float2 x;
  asm volatile("ld.shared.v2.f32 {%0, %1}, [%2];" : "=f"(x.x), "=f"(x.y) : "r"(address));
  return x;
}

// seen tells by a bit each which pairs the mask leaves.
DEV u32 seen(const Score &c, int query, int SP, const int *kpos) {
  u32 seen = 0;
  int top = kpos[0], bottom = kpos[8];
  ONCE for (int layer = 0; layer < c.layers; layer++) {
    const int2 *span = c.span + (long)layer * SP + query;
    UNROLL for (int j = 0; j < 8; j++) {
      int4 s = *(const int4 *)(span + 8 * j); // spans of two queries
      u32 bits = (u32)((u32)(top - s.x) < (u32)s.y) | (u32)((u32)(top - s.z) < (u32)s.w) << 1 |
                 (u32)((u32)(bottom - s.x) < (u32)s.y) << 2 | (u32)((u32)(bottom - s.z) < (u32)s.w) << 3;
      seen |= bits << 4 * j;
    }
  }
  return seen;
}

// hide sets weights to 0 that are not seen.
DEV void hide(float (&p)[kPairs], u32 seen) {
  UNROLL for (int i = 0; i < kPairs; i++) p[i] = seen >> i & 1 ? p[i] : 0.f;
}

// References are high and low of two queries. One that sees nothing gets a high of inf instead of -inf, for weights of 0.
struct References { float2 high, low; };
DEV References references(u32 lines, int j) {
  References r{shared_pair(kHigh + lines + 32 * j), shared_pair(kLow + lines + 32 * j)};
  r.high.x = above_all(r.high.x);
  r.high.y = above_all(r.high.y);
  return r;
}

// weigh turns scores into weights.
DEV void weigh(float (&s)[kPairs], float scale, u32 lines) {
  UNROLL for (int j = 0; j < 8; j++) {
    References r = references(lines, j);
    UNROLL for (int i = 0; i < 4; i++) {
      float t = __builtin_fmaf(s[4 * j + i], scale, i & 1 ? -r.high.y : -r.high.x);
      s[4 * j + i] = exp2_fast(t - (i & 1 ? r.low.y : r.low.x));
    }
  }
}

// differentiate makes dS' of P' (times the slope of softcap) and dP'.
DEV void differentiate(float (&dp)[kPairs], const float (&p)[kPairs], u32 lines) {
  UNROLL for (int j = 0; j < 8; j++) {
    float2 delta = shared_pair(kDelta + lines + 32 * j);
    UNROLL for (int i = 0; i < 4; i++) dp[4 * j + i] = p[4 * j + i] * (dp[4 * j + i] - (i & 1 ? delta.y : delta.x));
  }
}

// Extras is what softcap, ALiBi and dropout need of a thread's pairs: its first query and first key.
struct Extras {
  const Job &job;
  int head, query, key;
};

// keeps tells by a bit each which pairs dropout keeps.
DEV u32 keeps(const Extras &e) {
  const Score &c = e.job.a.score;
  if (!c.threshold) return ~0u;
  const u32 *qword = c.qword + (long)e.head * e.job.a.SP + e.query, *kword = c.kword + (long)e.head * e.job.a.NP + e.key;
  u32 top = kword[0], bottom = kword[8], keeps = 0;
  UNROLL for (int j = 0; j < 8; j++) {
    int2 q = two_ints((const int *)qword + 8 * j);
    UNROLL for (int i = 0; i < 4; i++) keeps |= (u32)kept(i & 1 ? q.y : q.x, i & 2 ? bottom : top, c.threshold) << (4 * j + i);
  }
  return keeps;
}

// weigh turns scores into what dV needs, the weights behind dropout, and leaves the weights times the slope of softcap. It goes through
// a quarter of the columns at a time, or there would not be registers enough.
DEV void weigh(float (&s)[kPairs], u32 (&p)[kPairs / 2], const Extras &e, u32 seen, u32 keeps, u32 lines) {
  const Score &c = e.job.a.score;
  UNROLL for (int quarter = 0; quarter < kPairs; quarter += kPairs / 4) {
    float *x = s + quarter, steep[kPairs / 4], scale = c.scale;
    UNROLL for (int i = 0; i < kPairs / 4; i++) steep[i] = 1;
    if (c.softcap != 0) {
      UNROLL for (int i = 0; i < kPairs / 4; i++) x[i] = tanh_exact(x[i] * c.inner, steep + i);
      scale = c.softcap;
    }
    UNROLL for (int i = 0; i < kPairs / 4; i++) x[i] *= scale;
    if (c.alibi) {
      float slope = c.slope[e.head];
      int top = c.kpos[e.key], bottom = c.kpos[e.key + 8];
      UNROLL for (int i = 0; i < kPairs / 4; i++) {
        int distance = c.qpos[e.query + 2 * (quarter + i & ~3) + (i & 1)] - (i & 2 ? bottom : top);
        x[i] -= slope * (float)(distance < 0 ? -distance : distance);
      }
    }
    UNROLL for (int i = 0; i < kPairs / 4; i += 4) {
      References r = references(lines, (quarter + i) / 4);
      float kept[4];
      UNROLL for (int j = 0; j < 4; j++) {
        float w = exp2_fast((x[i + j] - (j & 1 ? r.high.y : r.high.x)) - (j & 1 ? r.low.y : r.low.x));
        w = seen >> (quarter + i + j) & 1 ? w : 0.f;
        kept[j] = keeps >> (quarter + i + j) & 1 ? w * c.keep : 0.f;
        x[i + j] = w;
      }
      p[(quarter + i) / 2] = pair(kept[0], kept[1]);
      p[(quarter + i) / 2 + 1] = pair(kept[2], kept[3]);
    }
    if (c.softcap != 0) UNROLL for (int i = 0; i < kPairs / 4; i++) x[i] *= steep[i];
  }
}

// drop is dropout on dP'.
DEV void drop(float (&dp)[kPairs], u32 keeps, float keep) {
  UNROLL for (int i = 0; i < kPairs; i++) dp[i] = keeps >> i & 1 ? dp[i] * keep : 0.f;
}

DEV void round(u32 (&to)[kPairs / 2], const float (&x)[kPairs]) {
  UNROLL for (int i = 0; i < kPairs / 2; i++) to[i] = pair(x[2 * i], x[2 * i + 1]);
}

// exchange writes dS' where dQ reads it: a slab of 64 queries, rows are keys.
DEV void exchange(const u32 (&ds)[kPairs / 2], u32 slab, const Own &own) {
  u32 at = opaque(slab + own.row * 128 + (own.lane & 3) * 4 + (own.lane >> 2) * 16);
  UNROLL for (int j = 0; j < 8; j++) {
    u32 to = at ^ j * 16;
    asm volatile("st.shared.b32 [%0], %1;" ::"r"(to), "r"(ds[2 * j]) : "memory");
    asm volatile("st.shared.b32 [%0], %1;" ::"r"(to + 1024), "r"(ds[2 * j + 1]) : "memory");
  }
}

DEV void swap_if(bool yes, float &a, float &b) {
  float x = yes ? b : a;
  b = yes ? a : b;
  a = x;
}

// leave writes a warpgroup's part of dQ to shared memory, in rows as they lie in dq. The rows of a warp are a multiple of 128 bytes
// apart: lanes take the columns in different order, or they would all meet in one bank.
DEV void leave(float (&dq)[32], u32 sum, float natural, const Own &own) {
  int order = own.lane >> 2 & 3, row = own.row & 63;
  if (kDim == 64) row += own.warpgroup * 64;
  u32 at = opaque(sum + row * kDim * 4 + (kDim == 64 ? 0 : own.warpgroup * 256) + (own.lane & 3) * 8 + order * 32);
  UNROLL for (int i = 0; i < 32; i++) dq[i] *= natural;
  UNROLL for (int group = 0; group < 32; group += 16) {
    UNROLL for (int i = 0; i < 4; i++) {
      float *d = dq + group + i; // d[4j] is of block j of eight columns
      swap_if(order & 1, d[0], d[4]);
      swap_if(order & 1, d[8], d[12]);
      swap_if(order & 2, d[0], d[8]);
      swap_if(order & 2, d[4], d[12]);
    }
    UNROLL for (int j = 0; j < 4; j++) {
      const float *d = dq + group + 4 * j;
      u32 to = (at ^ j * 32) + group * 8;
      asm volatile("st.shared.v2.f32 [%0], {%1, %2};" ::"r"(to), "f"(d[0]), "f"(d[1]) : "memory");
      asm volatile("st.shared.v2.f32 [%0], {%1, %2};" ::"r"(to + 8 * kDim * 4), "f"(d[2]), "f"(d[3]) : "memory");
    }
  }
}

// release gives a place in shared memory back that this warp has read.
DEV void release(u32 mbarrier) {
  warp_sync();
  if ((threadIdx.x & 31) == 0) mbarrier_arrive(mbarrier);
}

// scores is keys times rows of queries: S' of K and Q, dP' of V and dO.
DEV void multiply_scores(float (&s)[kPairs], u32 keys, u32 queries) {
  keys = opaque(keys), queries = opaque(queries);
  UNROLL for (int i = 0; i < kDim / 16; i++)
    multiply<0, 0>(s, keys + (i >> 2) * (kKeySlab >> 4) + (i & 3) * kStepK, queries + (i >> 2) * (kQuerySlab >> 4) + (i & 3) * kStepK, i > 0);
}

DEV void multiply_sums(float (&sum)[kDim / 2], const u32 (&a)[kPairs / 2], u32 rows) {
  rows = opaque(rows);
  UNROLL for (int i = 0; i < 4; i++) multiply(sum, a + 4 * i, rows + i * kStepRows);
}

DEV void multiply_dq(float (&dq)[32], u32 ds, u32 k) {
  ds = opaque(ds), k = opaque(k);
  UNROLL for (int i = 0; i < kKeys / 16; i++) multiply<1, 1>(dq, ds + i * kStepRows, k + i * kStepRows, i > 0);
}

// fold goes through the tiles of queries. A step's products are, in this order: dV, dQ, dK, the next step's S' and dP'.
template <bool extras> DEV void fold(float (&dk)[kDim / 2], float (&dv)[kDim / 2], const Job &job, const Own &own) {
  constexpr bool ahead = !extras | kRoom; // dP' is computed while S' is made into weights
  const BackwardArgs &a = job.a;
  u32 base = job.base;
  int w = own.warpgroup;
  u32 k = descriptor(base + kK + w * 64 * 128, 0), v = descriptor(base + kV + w * 64 * 128, 0);
  u32 q = descriptor(base + kQ, kQuerySlab), o = descriptor(base + kO, kQuerySlab);
  u32 kSide = descriptor(base + kK + (kDim == 64 ? 0 : w * kKeySlab), 0), dsSide = descriptor(base + kS + (kDim == 64 ? w * kKeySlab : 0), 0);
  float s[kPairs], dp[kPairs], dq[32];
  u32 p16[kPairs / 2], ds16[kPairs / 2];

  mbarrier_wait(mbarrier_of(base, KeysFull), 0);
  mbarrier_wait(mbarrier_of(base, QFull), 0);
  wgmma_fence();
  multiply_scores(s, k, q);
  wgmma_commit();
  mbarrier_wait(mbarrier_of(base, OFull), 0);
  if (ahead) {
    wgmma_fence();
    multiply_scores(dp, v, o);
    wgmma_commit();
  }
  wgmma_wait<ahead>();
  settled(s);

  Note note;
  int i = 0;
  do {
    int place = i & 1, then = place ^ 1;
    u32 parity = i >> 1 & 1, parityThen = (i + 1) >> 1 & 1;
    note = *note_of(place);
    bool more = !note.last;
    u32 at = place * (kQueryBytes >> 4);
    // Behind the last step its own tiles are multiplied again, for nothing: that costs less than a branch around wgmma.
    u32 after = (more ? then : place) * (kQueryBytes >> 4);
    UNROLL for (int half = 0; half < kHalves; half++) {
      bool first = half == 0, last = half + 1 == kHalves;
      u32 here = at + half * kHalf, next = last ? after : here + kHalf, lines = base + place * kLine + half * 256 + (own.lane & 3) * 8;
      int query = (note.entry >> 1) * kQueries + half * 64 + 2 * (own.lane & 3), key = opaque(job.key + own.row);
      u32 keep = 0;
      // 1. P' of S'. The compiler trusts no wait but the last one for products that begin behind it in the loop: so S' was waited for.
      if (first && i > 0) release(mbarrier_of(base, QEmpty + then));
      if (extras) {
        u32 all = note.entry & 1 ? seen(a.score, query, a.SP, a.score.kpos + key) : ~0u;
        Extras e{job, note.head, query, key};
        keep = keeps(e);
        weigh(s, p16, e, all, keep, lines);
      } else {
        weigh(s, a.score.scale, lines);
        if (note.entry & 1) hide(s, seen(a.score, query, a.SP, a.score.kpos + key));
      }
      if (!ahead) {
        wgmma_fence();
        multiply_sums(dv, p16, o + here);
        multiply_scores(dp, v, o + here);
        wgmma_commit();
      }
      // 2. dS' of P' and dP'.
      wgmma_wait<0>();
      settled(dp);
      settled(dv);
      settled(p16);
      if (extras)
        if (a.score.threshold) drop(dp, keep, a.score.keep);
      differentiate(dp, s, lines);
      if (!extras) round(p16, s);
      round(ds16, dp);
      if (first) mbarrier_wait(mbarrier_of(base, SEmpty), place ^ 1);
      exchange(ds16, base + kS + half * kKeySlab, own);
      fence_shared();
      if (last) release(mbarrier_of(base, SFull));
      // 3. The products. dQ waits for dS of both consumers.
      if (ahead) {
        wgmma_fence();
        multiply_sums(dv, p16, o + here);
        wgmma_commit();
      }
      if (last) {
        mbarrier_wait(mbarrier_of(base, SFull), place);
        wgmma_fence();
        multiply_dq(dq, dsSide, kSide);
        wgmma_commit();
      }
      wgmma_fence();
      multiply_sums(dk, ds16, q + here);
      wgmma_commit();
      if (!kRoom) {
        wgmma_wait<1>();
        settled(dq);
        settled(dv);
        settled(p16);
      }
      if (last && more) mbarrier_wait(mbarrier_of(base, QFull + then), parityThen);
      wgmma_fence();
      multiply_scores(s, k, q + next);
      wgmma_commit();
      if (kRoom) {
        if (last && more) mbarrier_wait(mbarrier_of(base, OFull + then), parityThen);
        wgmma_fence();
        multiply_scores(dp, v, o + next);
        wgmma_commit();
        if (last) wgmma_wait<3>();
      }
      // 4. dQ goes to shared memory.
      if (last) {
        settled(dq);
        settled(dv);
        release(mbarrier_of(base, OEmpty + place));
        release(mbarrier_of(base, SEmpty));
        mbarrier_wait(mbarrier_of(base, SumEmpty + place), parity ^ 1);
        leave(dq, base + kSum + place * kSumBytes, a.score.natural, own);
        fence_shared();
        release(mbarrier_of(base, SumFull + place));
      }
      if (!kRoom) {
        if (last && more) mbarrier_wait(mbarrier_of(base, OFull + then), parityThen);
        if (ahead) {
          wgmma_fence();
          multiply_scores(dp, v, o + next);
          wgmma_commit();
        }
      }
      wgmma_wait<ahead>();
      settled(s);
      settled(dk);
      settled(ds16);
    }
    i++;
  } while (!note.last);
  wgmma_wait<0>();
  settled(dk);
  settled(dp);
}

// store writes or adds a thread's part of dK or dV, times factor.
template <bool fresh> DEV void store(float *to, const float (&x)[kDim / 2], float factor) {
  UNROLL for (int j = 0; j < kDim / 8; j++)
    UNROLL for (int h = 0; h < 2; h++) {
      float2 *at = (float2 *)(to + h * 8 * kDim + 8 * j), old = {0, 0};
      if (!fresh) old = *at;
      *at = {__builtin_fmaf(x[4 * j + 2 * h], factor, old.x), __builtin_fmaf(x[4 * j + 2 * h + 1], factor, old.y)};
    }
}

template <bool extras> DEV void consume(const Job &job, int warpgroup) {
  const BackwardArgs &a = job.a;
  int lane = threadIdx.x & 31;
  Own own{warpgroup, warpgroup * 64 + (int)(threadIdx.x >> 5 & 3) * 16 + (lane >> 2), lane};
  float dk[kDim / 2], dv[kDim / 2];
  UNROLL for (int i = 0; i < kDim / 2; i++) dk[i] = dv[i] = 0;
  fold<extras>(dk, dv, job, own);
  long at = ((long)job.kv * a.NP + job.key + own.row) * kDim + 2 * (lane & 3);
  if (a.fresh) {
    store<true>(a.dv + at, dv, 1);
    store<true>(a.dk + at, dk, a.score.natural);
  } else {
    store<false>(a.dv + at, dv, 1);
    store<false>(a.dk + at, dk, a.score.natural);
  }
}

DEV void nothing(const Job &job) {
  const BackwardArgs &a = job.a;
  long at = ((long)job.kv * a.NP + job.key) * kDim;
  ONCE for (int i = threadIdx.x - kWarpgroup; i < kKeys * kDim / 4; i += 2 * kWarpgroup) ((float4 *)(a.dk + at))[i] = ((float4 *)(a.dv + at))[i] = {0, 0, 0, 0};
}

// The barriers between here and there keep what is known of a job from being kept in registers: it is read again by every role.
template <bool extras> DEV void backward(const BackwardArgs &a) {
  int kv = a.heads / a.group;
  if (flag_of(a.q, a.heads, a.SP, kDim) | flag_of(a.k, kv, a.NP, kDim) | flag_of(a.v, kv, a.NP, kDim) | flag_of(a.dO, a.heads, a.SP, kDim)) return;
  u32 base = shared_address(shared_memory);
  if (threadIdx.x == 0) {
    for (int i = 0; i < Barriers; i++) {
      bool warps = (i >= QEmpty && i < OFull) | (i >= OEmpty && i < SumEmpty) | i >= SFull;
      mbarrier_init(mbarrier_of(base, i), warps ? kWarps : 1);
    }
    mbarrier_visible();
  }
  barrier();
  int warpgroup = uniform(threadIdx.x / kWarpgroup);
  if (warpgroup == 0) {
    fewer_registers<24>();
    Job job(a);
    if (threadIdx.x == 0 && job.tiles) produce(job);
    if (threadIdx.x == 32 || threadIdx.x == 64) add(job, threadIdx.x >> 6);
    return;
  }
  more_registers<240>();
  Job job(a);
  if (job.tiles)
    consume<extras>(job, warpgroup - 1);
  else if (a.fresh)
    nothing(job);
}

} // namespace bwd
