// Forward on Hopper. A block of three warpgroups has one tile of 128 queries of a head. The first warpgroup copies: the queries once, then
// keys and values tile by tile into two places each. The other two multiply, each for 64 of the queries, and take turns at it, so
// that one's matrix products run while the other does its softmax:
//
//	turn of A:  S(j) = Q K(j)   O += P(j-1) V(j-1)  |  softmax of S(j), which becomes P(j)
//	turn of B:       softmax of S(j-1)              |  S(j) = Q K(j)   O += P(j-1) V(j-1)
//
// The reference m of the exponentials follows the largest logit only if that is more than kSlack above it: then weights stay below
// 2^kSlack, and O is seldom rescaled.
#pragma once
#include "tile.h"
#include "wgmma.h"

namespace fwd {

constexpr int kQueries = 128, kKeys = 128, kThreads = 3 * kWarpgroup;
constexpr u32 kTileBytes = 128 * kDim * 2, kSlab = 128 * 128; // a slab is 128 rows of 64 columns
constexpr u32 kTile = kTileBytes >> 4; // of descriptors
constexpr float kSlack = 8;

// Shared memory.
constexpr u32 kQ = 0, kK = kTileBytes, kV = 3 * kTileBytes, kNote = 5 * kTileBytes, kBarriers = kNote + 32, kShared = kBarriers + 128;
// mbarriers, one or a pair for the two places.
enum { QFull, KFull, KEmpty = KFull + 2, VFull = KEmpty + 2, VEmpty = VFull + 2, Barriers = VEmpty + 2 };
DEV u32 mbarrier_of(u32 base, int which) { return base + kBarriers + 8 * which; }

// Note is what the producer tells the consumers of a tile of keys, beside it: its entry in the list, and whether it is the last one.
struct alignas(8) Note { u32 entry, last; };
DEV Note *note_of(int place) { return (Note *)(shared_memory + kNote) + place; }

// Job is what a block does. The tiles of queries are taken from the last one down: under a causal mask those with most keys begin first.
struct Job {
  const ForwardArgs &a;
  u32 base;                 // of shared memory
  int head, row;            // first query row
  int begin, tiles;         // in the list
  DEV Job(const ForwardArgs &args) : a(args), base(shared_address(shared_memory)), head(blockIdx.y) {
    int at = gridDim.x - 1 - blockIdx.x;
    row = at * kQueries, begin = uniform(a.start[at]), tiles = uniform(a.start[at + 1]) - begin;
  }
};

// Own is the place of a consumer thread: the first of its two query rows, which are eight apart, and the first of its columns. It is
// found again wherever it is needed: registers are dear in between.
struct Own {
  int row, column;
  DEV Own(const Job &job) {
    int t = opaque(threadIdx.x) - kWarpgroup;
    row = job.row + (t >> 5) * 16 + (t & 31) / 4, column = 2 * (t & 3);
  }
};

DEV void produce(const Job &job) {
  const ForwardArgs &a = job.a;
  const char *k = (const char *)a.k + (long)(job.head / a.group) * a.NP * kDim * 2;
  const char *v = (const char *)a.v + (long)(job.head / a.group) * a.NP * kDim * 2;
  const char *q = (const char *)a.q + ((long)job.head * a.SP + job.row) * kDim * 2;
  mbarrier_expect(mbarrier_of(job.base, QFull), kTileBytes);
  bulk_load(job.base + kQ, q, kTileBytes, mbarrier_of(job.base, QFull));
  ONCE for (int j = 0; j < job.tiles; j++) {
    u32 entry = a.tile[job.begin + j];
    long at = (long)(entry >> 1) * kTileBytes;
    int place = j & 1;
    u32 free = (j >> 1 & 1) ^ 1;
    mbarrier_wait(mbarrier_of(job.base, KEmpty + place), free);
    *note_of(place) = {entry, j + 1 == job.tiles};
    mbarrier_expect(mbarrier_of(job.base, KFull + place), kTileBytes);
    bulk_load(job.base + kK + place * kTileBytes, k + at, kTileBytes, mbarrier_of(job.base, KFull + place));
    mbarrier_wait(mbarrier_of(job.base, VEmpty + place), free);
    mbarrier_expect(mbarrier_of(job.base, VFull + place), kTileBytes);
    bulk_load(job.base + kV + place * kTileBytes, v + at, kTileBytes, mbarrier_of(job.base, VFull + place));
  }
}

// Rows is the state of a thread's two query rows.
struct Rows { float m[2], l[2]; };

// hide sets the logits of pairs to -inf that the mask hides.
DEV void hide(float (&s)[64], const Score &c, int row, int SP, const int *kpos) {
  u32 seen[2] = {0, 0};
  ONCE for (int layer = 0; layer < c.layers; layer++) {
    int2 top = c.span[(long)layer * SP + row], bottom = c.span[(long)layer * SP + row + 8];
    ONCE for (int quarter = 0; quarter < 4; quarter++) {
      u32 bits[2] = {0, 0};
      UNROLL for (int j = 0; j < 4; j++) {
        int2 k = two_ints(kpos + 32 * quarter + 8 * j);
        bits[0] |= (u32)((u32)(k.x - top.x) < (u32)top.y) << 2 * j | (u32)((u32)(k.y - top.x) < (u32)top.y) << (2 * j + 1);
        bits[1] |= (u32)((u32)(k.x - bottom.x) < (u32)bottom.y) << 2 * j | (u32)((u32)(k.y - bottom.x) < (u32)bottom.y) << (2 * j + 1);
      }
      seen[0] |= bits[0] << 8 * quarter, seen[1] |= bits[1] << 8 * quarter;
    }
  }
  UNROLL for (int i = 0; i < 64; i++) s[i] = seen[i >> 1 & 1] >> (2 * (i >> 2) + (i & 1)) & 1 ? s[i] : -kInf;
}

// logits makes of s what softcap and ALiBi make of it; times the result it is in units of log2.
DEV float logits(float (&s)[64], const Score &c, int row, int head, const int *kpos) {
  float scale = c.scale;
  if (c.softcap != 0) {
    float unused;
    UNROLL for (int i = 0; i < 64; i++) s[i] = tanh_exact(s[i] * c.inner, &unused);
    scale = c.softcap;
  }
  if (!c.alibi) return scale;
  float slope = c.slope[head];
  int top = c.qpos[row], bottom = c.qpos[row + 8];
  UNROLL for (int j = 0; j < 16; j++) {
    int2 k = two_ints(kpos + 8 * j);
    UNROLL for (int i = 0; i < 4; i++) {
      int distance = (i & 2 ? bottom : top) - (i & 1 ? k.y : k.x);
      s[4 * j + i] = s[4 * j + i] * scale - slope * (float)(distance < 0 ? -distance : distance);
    }
  }
  return 1;
}

// drop sets weights to 0 that dropout drops.
DEV void drop(float (&p)[64], const Score &c, const u32 *qword, const u32 *kword) {
  u32 top = qword[0], bottom = qword[8];
  UNROLL for (int j = 0; j < 16; j++) {
    int2 k = two_ints((const int *)kword + 8 * j);
    UNROLL for (int i = 0; i < 4; i++) p[4 * j + i] = kept(i & 2 ? bottom : top, i & 1 ? k.y : k.x, c.threshold) ? p[4 * j + i] : 0.f;
  }
}

// weigh turns logits (of s times scale) into weights, adds them to l, and returns whether o must be multiplied by factor.
DEV bool weigh(float (&s)[64], Rows &r, float scale, float (&factor)[2]) {
  float high[2];
  UNROLL for (int h = 0; h < 2; h++) {
    float x = s[2 * h], y = s[2 * h + 1];
    UNROLL for (int j = 1; j < 16; j++) {
      x = max2(x, s[4 * j + 2 * h]);
      y = max2(y, s[4 * j + 2 * h + 1]);
    }
    x = max2(x, y);
    x = max2(x, butterfly(x, 1));
    high[h] = max2(x, butterfly(x, 2)) * scale;
  }
  bool lift = any((high[0] > r.m[0] + kSlack) | (high[1] > r.m[1] + kSlack));
  UNROLL for (int h = 0; h < 2; h++) {
    float m = lift ? max2(r.m[h], high[h]) : r.m[h];
    float reference = m == -kInf ? 0.f : m;
    factor[h] = exp2_fast(r.m[h] - reference);
    r.m[h] = m;
    float x = 0, y = 0;
    UNROLL for (int j = 0; j < 16; j++) {
      float &a = s[4 * j + 2 * h], &b = s[4 * j + 2 * h + 1];
      a = exp2_fast(__builtin_fmaf(a, scale, -reference));
      b = exp2_fast(__builtin_fmaf(b, scale, -reference));
      x += a;
      y += b;
    }
    r.l[h] = __builtin_fmaf(r.l[h], factor[h], x + y);
  }
  return lift;
}

// The queries lie in registers, for shared memory has enough to do.
DEV void multiply_keys(float (&s)[64], const u32 (&q)[kDim / 4], u64 k) {
  k = opaque(k);
  UNROLL for (int i = 0; i < kDim / 16; i++) multiply<0>(s, q + 4 * i, k + (i >> 2) * (kSlab >> 4) + (i & 3) * kStepK, i > 0);
}

// With extras there are no registers for that.
DEV void multiply_keys(float (&s)[64], u64 q, u64 k) {
  q = opaque(q), k = opaque(k);
  UNROLL for (int i = 0; i < kDim / 16; i++) {
    u64 at = (i >> 2) * (kSlab >> 4) + (i & 3) * kStepK;
    multiply<0, 0>(s, q + at, k + at, i > 0);
  }
}

DEV void multiply_values(float (&o)[kDim / 2], const u32 (&p)[32], u64 v) {
  v = opaque(v);
  UNROLL for (int i = 0; i < 8; i++) multiply<1>(o, p + 4 * i, v + i * kStepRows, true);
}

// softmax turns scores into weights; it returns whether o must be multiplied by factor.
template <bool extras> DEV bool softmax(float (&s)[64], Rows &r, const Job &job, u32 entry, float (&factor)[2]) {
  const Score &c = job.a.score;
  Own own(job);
  int column = (entry >> 1) * kKeys + own.column;
  float scale = extras ? logits(s, c, own.row, job.head, c.kpos + column) : c.scale;
  if (scale <= 0) {
    UNROLL for (int i = 0; i < 64; i++) s[i] *= scale;
    scale = 1;
  }
  if (entry & 1) hide(s, c, own.row, job.a.SP, c.kpos + column);
  bool lift = weigh(s, r, scale, factor);
  if (extras)
    if (c.threshold) drop(s, c, c.qword + (long)job.head * job.a.SP + own.row, c.kword + (long)job.head * job.a.NP + column);
  return lift;
}

DEV void round(u32 (&p)[32], const float (&s)[64]) {
  UNROLL for (int i = 0; i < 32; i++) p[i] = pair(s[2 * i], s[2 * i + 1]);
}

// release gives a place in shared memory back that this warp has read.
DEV void release(u32 mbarrier) {
  warp_sync();
  if ((threadIdx.x & 31) == 0) mbarrier_arrive(mbarrier);
}

// Barriers 1 and 2 are the turns of the two consumers.
DEV void await_turn(int consumer) { named_sync(1 + consumer, 2 * kWarpgroup); }
DEV void give_turn(int consumer) { named_arrive(2 - consumer, 2 * kWarpgroup); }

// fold goes through the tiles of keys; the softmax of one overlaps the products with the values of the one before.
DEV void fold(float (&o)[kDim / 2], Rows &r, const Job &job, int consumer) {
  u64 k = descriptor(job.base + kK, 0), v = descriptor(job.base + kV, kSlab);
  float s[64], factor[2];
  u32 q[kDim / 4], p[32];

  mbarrier_wait(mbarrier_of(job.base, QFull), 0);
  load_rows(q, job.base + kQ + consumer * 64 * 128, kSlab);
  mbarrier_wait(mbarrier_of(job.base, KFull), 0);
  Note note = *note_of(0);
  wgmma_fence();
  multiply_keys(s, q, k);
  wgmma_commit();
  wgmma_wait<0>();
  settled(s);
  release(mbarrier_of(job.base, KEmpty));
  softmax<false>(s, r, job, note.entry, factor);
  UNROLL for (int i = 0; i < kDim / 2; i++) o[i] *= factor[i >> 1 & 1];
  round(p, s);

  if (consumer == 1 && !note.last) give_turn(consumer);
  int j = 0;
  ONCE while (!note.last) {
    j++;
    int place = j & 1, before = place ^ 1;
    mbarrier_wait(mbarrier_of(job.base, KFull + place), j >> 1 & 1);
    note = *note_of(place);
    await_turn(consumer);
    wgmma_fence();
    multiply_keys(s, q, k + place * kTile);
    wgmma_commit();
    mbarrier_wait(mbarrier_of(job.base, VFull + before), (j - 1) >> 1 & 1);
    wgmma_fence();
    multiply_values(o, p, v + before * kTile);
    wgmma_commit();
    if (consumer == 0 || !note.last) give_turn(consumer);
    wgmma_wait<1>();
    settled(s);
    release(mbarrier_of(job.base, KEmpty + place));
    // The branch keeps the compiler from waiting above it, before the softmax.
    if (softmax<false>(s, r, job, note.entry, factor)) {
      wgmma_wait<0>();
      settled(o);
      UNROLL for (int i = 0; i < kDim / 2; i++) o[i] *= factor[i >> 1 & 1];
    }
    wgmma_wait<0>();
    settled(o);
    settled(p);
    release(mbarrier_of(job.base, VEmpty + before));
    round(p, s);
  }
  mbarrier_wait(mbarrier_of(job.base, VFull + (j & 1)), j >> 1 & 1);
  wgmma_fence();
  multiply_values(o, p, v + (j & 1) * kTile);
  wgmma_commit();
  wgmma_wait<0>();
  settled(o);
}

// fold_extras does one thing after the other: one softmax with extras is long enough, for the registers and for the instruction cache.
DEV void fold_extras(float (&o)[kDim / 2], Rows &r, const Job &job, int consumer) {
  u64 q = descriptor(job.base + kQ + consumer * 64 * 128, 0);
  u64 k = descriptor(job.base + kK, 0), v = descriptor(job.base + kV, kSlab);
  mbarrier_wait(mbarrier_of(job.base, QFull), 0);
  Note note;
  int j = 0;
  do {
    int place = j & 1;
    u32 parity = j >> 1 & 1;
    float s[64], factor[2];
    u32 p[32];
    mbarrier_wait(mbarrier_of(job.base, KFull + place), parity);
    note = *note_of(place);
    wgmma_fence();
    multiply_keys(s, q, k + place * kTile);
    wgmma_commit();
    wgmma_wait<0>();
    settled(s);
    release(mbarrier_of(job.base, KEmpty + place));
    if (softmax<true>(s, r, job, note.entry, factor)) UNROLL for (int i = 0; i < kDim / 2; i++) o[i] *= factor[i >> 1 & 1];
    round(p, s);
    mbarrier_wait(mbarrier_of(job.base, VFull + place), parity);
    wgmma_fence();
    multiply_values(o, p, v + place * kTile);
    wgmma_commit();
    wgmma_wait<0>();
    settled(o);
    release(mbarrier_of(job.base, VEmpty + place));
    j++;
  } while (!note.last);
}

template <bool extras> DEV void consume(const Job &job, int consumer) {
  const ForwardArgs &a = job.a;
  Rows r;
  float o[kDim / 2];
  {
    Own own(job);
    long line = (long)job.head * a.SP + own.row;
    UNROLL for (int h = 0; h < 2; h++) {
      r.m[h] = a.first ? -kInf : a.m[line + 8 * h];
      r.l[h] = a.first | own.column ? 0.f : a.l[line + 8 * h]; // the four threads of a row each have a share
      UNROLL for (int j = 0; j < kDim / 8; j++) {
        float2 x = {0, 0};
        if (!a.first) x = two_floats(a.o + (line + 8 * h) * kDim + 8 * j + own.column);
        o[4 * j + 2 * h] = x.x;
        o[4 * j + 2 * h + 1] = x.y;
      }
    }
  }
  if (extras)
    fold_extras(o, r, job, consumer);
  else
    fold(o, r, job, consumer);
  Own own(job);
  long line = (long)job.head * a.SP + own.row;
  UNROLL for (int h = 0; h < 2; h++) {
    float l = r.l[h];
    l += butterfly(l, 1);
    l += butterfly(l, 2);
    float *to = a.o + (line + 8 * h) * kDim + own.column;
    UNROLL for (int j = 0; j < kDim / 8; j++) *(float2 *)(to + 8 * j) = {o[4 * j + 2 * h], o[4 * j + 2 * h + 1]};
    if (own.column == 0) {
      a.m[line + 8 * h] = r.m[h];
      a.l[line + 8 * h] = l;
    }
  }
}

// nothing writes the carry of queries that see no key, with the consumers' threads.
DEV void nothing(const Job &job) {
  const ForwardArgs &a = job.a;
  long line = (long)job.head * a.SP + job.row;
  int t = threadIdx.x - kWarpgroup;
  if (t < kQueries) a.m[line + t] = -kInf, a.l[line + t] = 0;
  ONCE for (int i = t; i < kQueries * kDim / 4; i += 2 * kWarpgroup) ((float4 *)(a.o + line * kDim))[i] = {0, 0, 0, 0};
}

// Every role makes its job anew: what is known before the barrier would be kept in registers throughout.
template <bool extras> DEV void forward(const ForwardArgs &a) {
  int kv = a.heads / a.group;
  if (flag_of(a.q, a.heads, a.SP, kDim) | flag_of(a.k, kv, a.NP, kDim) | flag_of(a.v, kv, a.NP, kDim)) return;
  u32 base = shared_address(shared_memory);
  if (threadIdx.x == 0) {
    for (int i = 0; i < Barriers; i++) {
      bool empty = (i >= KEmpty && i < VFull) || i >= VEmpty;
      mbarrier_init(mbarrier_of(base, i), empty ? 2 * kWarpgroup / 32 : 1);
    }
    mbarrier_visible();
  }
  barrier();
  int warpgroup = uniform(threadIdx.x / kWarpgroup);
  if (warpgroup == 0) {
    fewer_registers<24>();
    Job job(a);
    if (threadIdx.x == 0 && job.tiles) produce(job);
    return;
  }
  more_registers<240>();
  Job job(a);
  if (job.tiles)
    consume<extras>(job, warpgroup - 1);
  else if (a.first)
    nothing(job);
}

} // namespace fwd
