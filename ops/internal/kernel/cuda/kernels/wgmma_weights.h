// Weights and their gradients in the registers of a backward consumer: a thread has the pairs of two keys and, of every eight queries, two.
#pragma once
#include "wgmma_step.h"

namespace bwd {

DEV float2 shared_pair(u32 address) {
  float2 x;
  asm volatile("ld.shared.v2.f32 {%0, %1}, [%2];" : "=f"(x.x), "=f"(x.y) : "r"(address));
  return x;
}

// seen tells by a bit each which pairs the mask leaves, of queries that see anything.
DEV u32 seen(const Score &c, int query, int SP, const int *kpos, u32 lines) {
  u32 seen = 0, blind = 0;
  int top = kpos[0], bottom = kpos[8];
  ONCE for (int layer = 0; layer < c.layers; layer++) {
    const int2 *span = c.span + (long)layer * SP + query;
    ONCE for (int half = 0; half < 2; half++) {
      u32 bits = 0;
      UNROLL for (int j = 0; j < 4; j++) {
        int4 s = *(const int4 *)(span + 32 * half + 8 * j); // spans of two queries
        bits |= ((u32)((u32)(top - s.x) < (u32)s.y) | (u32)((u32)(top - s.z) < (u32)s.w) << 1 |
                 (u32)((u32)(bottom - s.x) < (u32)s.y) << 2 | (u32)((u32)(bottom - s.z) < (u32)s.w) << 3) << 4 * j;
      }
      seen |= bits << 16 * half;
    }
  }
  UNROLL for (int j = 0; j < 8; j++) {
    float2 high = shared_pair(kHigh + lines + 32 * j);
    blind |= (high.x == -kInf ? 5u : 0u) << 4 * j | (high.y == -kInf ? 10u : 0u) << 4 * j;
  }
  return seen & ~blind;
}

// hide sets weights to 0 that are not seen.
DEV void hide(float (&p)[kPairs], u32 seen) {
  UNROLL for (int i = 0; i < kPairs; i++) p[i] = seen >> i & 1 ? p[i] : 0.f;
}

// weigh turns scores into weights. Low is left out: it is what float32 rounds away, far below what the 16-bit type of P does.
DEV void weigh(float (&s)[kPairs], float scale, u32 lines) {
  UNROLL for (int j = 0; j < 8; j++) {
    float2 high = shared_pair(kHigh + lines + 32 * j);
    UNROLL for (int i = 0; i < 4; i++) s[4 * j + i] = exp2_fast(__builtin_fmaf(s[4 * j + i], scale, i & 1 ? -high.y : -high.x));
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
// half of the columns at a time, or there would not be registers enough.
DEV void weigh(float (&s)[kPairs], u32 (&p)[kPairs / 2], const Extras &e, u32 seen, u32 keeps, u32 lines) {
  const Score &c = e.job.a.score;
  constexpr int n = kPairs / 2;
  UNROLL for (int part = 0; part < kPairs; part += n) {
    float *x = s + part, steep[n], scale = c.scale;
    UNROLL for (int i = 0; i < n; i++) steep[i] = 1;
    if (c.softcap != 0) {
      UNROLL for (int i = 0; i < n; i++) x[i] = tanh_exact(x[i] * c.inner, steep + i);
      scale = c.softcap;
    }
    UNROLL for (int i = 0; i < n; i++) x[i] *= scale;
    if (c.alibi) {
      float slope = c.slope[e.head];
      int top = c.kpos[e.key], bottom = c.kpos[e.key + 8];
      UNROLL for (int i = 0; i < n; i++) {
        int distance = c.qpos[e.query + 2 * ((part + i) & ~3) + (i & 1)] - (i & 2 ? bottom : top);
        x[i] -= slope * (float)(distance < 0 ? -distance : distance);
      }
    }
    UNROLL for (int i = 0; i < n; i += 4) {
      float2 high = shared_pair(kHigh + lines + 8 * (part + i));
      float kept[4];
      UNROLL for (int j = 0; j < 4; j++) {
        float w = exp2_fast(x[i + j] - (j & 1 ? high.y : high.x));
        x[i + j] = w = seen >> (part + i + j) & 1 ? w : 0.f;
        kept[j] = keeps >> (part + i + j) & 1 ? w * c.keep : 0.f;
      }
      p[(part + i) / 2] = pair(kept[0], kept[1]);
      p[(part + i) / 2 + 1] = pair(kept[2], kept[3]);
    }
    if (c.softcap != 0) UNROLL for (int i = 0; i < n; i++) x[i] *= steep[i];
  }
}

// drop is dropout on dP'.
DEV void drop(float (&dp)[kPairs], u32 keeps, float keep) {
  UNROLL for (int i = 0; i < kPairs; i++) dp[i] = keeps >> i & 1 ? dp[i] * keep : 0.f;
}

DEV void round(u32 (&to)[kPairs / 2], const float (&x)[kPairs]) {
  UNROLL for (int i = 0; i < kPairs / 2; i++) to[i] = pair(x[2 * i], x[2 * i + 1]);
}

// exchange writes dS' where dQ reads it: a slab of 64 queries, rows are keys. Lanes give the addresses of the rows of four blocks of 8 x 8:
// eight keys and the eight behind, of two eights of queries.
DEV void exchange(const u32 (&ds)[kPairs / 2], u32 slab, const Own &own) {
  int row = (own.row & ~7) + (own.lane & 15), column = own.lane >> 4;
  u32 at = opaque(slab + row * 128 + (column ^ (row & 7)) * 16);
  UNROLL for (int j = 0; j < 8; j += 2) store_blocks(at ^ j * 16, ds + 2 * j);
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

} // namespace bwd
