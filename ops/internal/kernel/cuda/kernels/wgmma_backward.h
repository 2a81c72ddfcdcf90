// Backward on Hopper. A block of three warpgroups has one tile of 128 keys of a KV head, and goes through the tiles of queries that see
// it, for every head of the group. Of the first warpgroup a thread copies, a warp looks at the lines, and two threads add to dq; each of
// the other two multiplies, for 64 of the keys. Scores lie transposed, keys by queries, so that weights and their gradients are operands
// in registers:
//
//	S' = K Q'    dP' = V dO'    P' = exp2(S')    dS' = P' * (dP' - delta)    dV += P' dO    dK += dS' Q    dQ += dS K
//
// Only dS of both warpgroups goes through shared memory, for dQ, of which each warpgroup computes a part of 64 x 64. What follows what:
//
//	products     dV(i)  dQ(i)  dK(i)  S'(i+1)  dP'(i+1)                                 dV(i+1)
//	a consumer                 dQ(i) to shared memory    P'(i+1)      dS'(i+1), exchange
#pragma once
#include "wgmma_weights.h"

namespace bwd {

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
    mbarrier_expect(q, kQueryBytes + kLine);
    load_tile(job.base + kQ + p * kQueryBytes, a.q, s.head, a.SP, row, q);
    bulk_load(job.base + kHigh + p * kLine, a.high + line, kLine, q);
    mbarrier_wait(mbarrier_of(job.base, OEmpty + p), s.parity() ^ 1);
    mbarrier_expect(o, kQueryBytes + kLine);
    load_tile(job.base + kO + p * kQueryBytes, a.dO, s.head, a.SP, row, o);
    bulk_load(job.base + kDelta + p * kLine, a.delta + line, kLine, o);
  }
}

// note writes the notes, with a warp.
DEV void note(const Job &job) {
  const BackwardArgs &a = job.a;
  int lane = threadIdx.x & 31;
  ONCE for (Step s(job); s.i < job.steps(); s.next(job)) {
    int p = s.place();
    u32 entry = s.entry(job);
    const float *high = a.high + (long)s.head * a.SP + (entry >> 1) * kQueries + lane;
    bool blind = false;
    UNROLL for (int i = 0; i < kQueries; i += 32) blind |= high[i] == -kInf;
    entry |= any(blind);
    mbarrier_wait(mbarrier_of(job.base, QEmpty + p), s.parity() ^ 1);
    if (lane) continue;
    *note_of(p) = {entry, s.i + 1 == job.steps(), s.head, 0};
    mbarrier_arrive(mbarrier_of(job.base, QFull + p));
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

// release gives a place in shared memory back that this warp has read.
DEV void release(u32 mbarrier) {
  warp_sync();
  if ((threadIdx.x & 31) == 0) mbarrier_arrive(mbarrier);
}

// scores is keys times rows of queries: S' of K and Q, dP' of V and dO.
DEV void multiply_scores(float (&s)[kPairs], u64 keys, u64 queries) {
  keys = opaque(keys), queries = opaque(queries);
  UNROLL for (int i = 0; i < kDim / 16; i++)
    multiply<0, 0>(s, keys + (i >> 2) * (kKeySlab >> 4) + (i & 3) * kStepK, queries + (i >> 2) * (kQuerySlab >> 4) + (i & 3) * kStepK, i > 0);
}

// The keys lie in registers, where there are enough: shared memory has much to do.
DEV void multiply_scores(float (&s)[kPairs], const u32 (&keys)[kDim / 4], u64 queries) {
  queries = opaque(queries);
  UNROLL for (int i = 0; i < kDim / 16; i++) multiply<0>(s, keys + 4 * i, queries + (i >> 2) * (kQuerySlab >> 4) + (i & 3) * kStepK, i > 0);
}

DEV void multiply_sums(float (&sum)[kDim / 2], const u32 (&a)[kPairs / 2], u64 rows) {
  rows = opaque(rows);
  UNROLL for (int i = 0; i < 4; i++) multiply<1>(sum, a + 4 * i, rows + i * kStepRows, true);
}

DEV void multiply_dq(float (&dq)[32], u64 ds, u64 k) {
  ds = opaque(ds), k = opaque(k);
  UNROLL for (int i = 0; i < kKeys / 16; i++) multiply<1, 1>(dq, ds + i * kStepRows, k + i * kStepRows, i > 0);
}

// fold goes through the tiles of queries. A step's products are, in this order: dV, dQ, dK, the next step's S' and dP'.
template <bool extras> DEV void fold(float (&dk)[kDim / 2], float (&dv)[kDim / 2], const Job &job, const Own &own) {
  constexpr bool kRoom = kDim == 64;      // in registers, for the next S' and dP' beside dQ
  constexpr bool ahead = !extras | kRoom; // dP' is computed while S' is made into weights
  const BackwardArgs &a = job.a;
  u32 base = job.base;
  int w = own.warpgroup;
  u64 k = descriptor(base + kK + w * 64 * 128, 0), v = descriptor(base + kV + w * 64 * 128, 0);
  u64 q = descriptor(base + kQ, kQuerySlab), o = descriptor(base + kO, kQuerySlab);
  u64 kSide = descriptor(base + kK + (kDim == 64 ? 0 : w * kKeySlab), 0), dsSide = descriptor(base + kS + (kDim == 64 ? w * kKeySlab : 0), 0);
  float s[kPairs], dp[kPairs], dq[32];
  u32 p16[kPairs / 2], ds16[kPairs / 2];

  u32 keys[kDim / 4];

  mbarrier_wait(mbarrier_of(base, KeysFull), 0);
  if (kRoom) load_rows(keys, base + kK + w * 64 * 128, kKeySlab);
  mbarrier_wait(mbarrier_of(base, QFull), 0);
  wgmma_fence();
  if (kRoom)
    multiply_scores(s, keys, q);
  else
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

  int i = 0;
  bool more;
  do {
    int place = i & 1, then = place ^ 1;
    u32 parity = i >> 1 & 1, parityThen = (i + 1) >> 1 & 1;
    Note note = *note_of(place);
    more = !note.last;
    u32 at = place * (kQueryBytes >> 4);
    // Behind the last step its own tiles are multiplied again, for nothing: that costs less than a branch around wgmma.
    u32 after = (more ? then : place) * (kQueryBytes >> 4);
    UNROLL for (int half = 0; half < kHalves; half++) {
      bool first = half == 0, last = half + 1 == kHalves;
      u32 here = at + half * kHalf, next = last ? after : here + kHalf, lines = base + place * kLine + half * 256 + (own.lane & 3) * 8;
      int query = (note.entry >> 1) * kQueries + half * 64 + 2 * (own.lane & 3), key = opaque(u32(job.key + own.row));
      u32 keep = 0;
      // 1. P' of S'. The compiler trusts no wait but the last one for products that begin behind it in the loop: so S' was waited for.
      if (first && i > 0) release(mbarrier_of(base, QEmpty + then));
      if (extras) {
        u32 all = note.entry & 1 ? seen(a.score, query, a.SP, a.score.kpos + key, lines) : ~0u;
        Extras e{job, note.head, query, key};
        keep = keeps(e);
        weigh(s, p16, e, all, keep, lines);
      } else {
        weigh(s, a.score.scale, lines);
        if (note.entry & 1) hide(s, seen(a.score, query, a.SP, a.score.kpos + key, lines));
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
      if (kRoom)
        multiply_scores(s, keys, q + next);
      else
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
  } while (more);
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
    for (int i = 0; i < Barriers; i++) mbarrier_init(mbarrier_of(base, i), arrivals(i));
    mbarrier_visible();
  }
  barrier();
  int warpgroup = uniform(threadIdx.x / kWarpgroup);
  if (warpgroup == 0) {
    fewer_registers<24>();
    Job job(a);
    if (threadIdx.x == 0 && job.tiles) produce(job);
    if (threadIdx.x == 32 || threadIdx.x == 64) add(job, threadIdx.x >> 6);
    if (threadIdx.x >= 96) note(job);
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
