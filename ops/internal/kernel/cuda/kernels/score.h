// From q.k to a weight: softcap, ALiBi, masks, dropout. Every kernel takes it from here.
#pragma once
#include "args.h"

// One query row as the score needs it. rows of padding see nothing.
struct Query { int position; u32 word; };

DEV Query query_of(const Score &s, int row, int SP, int head) {
  return {s.alibi ? s.qpos[row] : 0, s.threshold ? s.qword[(long)head * SP + row] : 0};
}

// tanh to about 2 units in the last place, and its slope 1-tanh^2: a polynomial near 0, where 1-2/(e^2x+1) would lose digits; far from
// 0, where the slope would lose them, that is 4r(1-r) with r = 1/(e^2x+1).
DEV float tanh_exact(float x, float *slope) {
  float a = __builtin_fabsf(x);
  float r = reciprocal(exp2_fast(a * (2.f * kLog2e)) + 1.f);
  float z = x * x;
  float p = -5.70498872745e-3f;
  p = __builtin_fmaf(p, z, 2.06390887954e-2f);
  p = __builtin_fmaf(p, z, -5.37397155531e-2f);
  p = __builtin_fmaf(p, z, 1.33314422036e-1f);
  p = __builtin_fmaf(p, z, -3.33332819422e-1f);
  float near = __builtin_fmaf(p * z, x, x);
  bool isNear = a < 0.625f;
  *slope = isNear ? __builtin_fmaf(-near, near, 1.f) : 4.f * r * (1.f - r);
  return isNear ? near : __builtin_copysignf(1.f - 2.f * r, x);
}

// The logit of s = q.k before ALiBi; slope of the softcap (dt/ds over its value without one) goes to *steep if wanted.
DEV float capped(const Score &c, float s, float *steep) {
  float t = s * c.scale, d = 1.f;
  if (c.softcap != 0.f) t = tanh_exact(s * c.inner, &d) * c.softcap;
  if (steep) *steep = d;
  return t;
}

// What ALiBi subtracts.
DEV float bias(int distance, float slope) { return slope * (float)(distance < 0 ? -distance : distance); }

// logit in units of log2 from s = q.k; steep as for capped.
DEV float logit(const Score &c, float s, int distance, float slope, float *steep) {
  float t = capped(c, s, steep);
  return c.alibi ? t - bias(distance, slope) : t;
}

// Whether a query row sees a key position.
DEV bool visible(const Score &c, int row, int SP, int position) {
  int seen = 0;
  for (int l = 0; l < c.layers; l++) {
    int2 s = c.span[(long)l * SP + row];
    seen |= (u32)(position - s.x) < (u32)s.y;
  }
  return seen;
}

// Whether dropout keeps a pair; as kernel.Kept in Go (lowbias32 of hash-prospector).
DEV bool kept(u32 query, u32 key, u32 threshold) {
  u32 x = query ^ key;
  x = (x ^ x >> 16) * 0x7feb352du;
  x = (x ^ x >> 15) * 0x846ca68bu;
  return (x ^ x >> 16) >= threshold;
}
