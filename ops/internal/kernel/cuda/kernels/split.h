// Numbers in two parts, where one float32 rounds away too much.
#pragma once
#include "prim.h"

// A number in two parts: low is what rounding took from high.
struct Split { float high, low; };

// Knuth's sum without error.
DEV Split sum_of(float a, float b) {
  float sum = a + b, part = sum - a;
  return {sum, (a - (sum - part)) + (b - part)};
}

// The sum of v over the lanes that differ in the bits below `lanes`, rounded once.
DEV float lanes_sum(float v, int lanes) {
  Split s = {v, 0.f};
  UNROLL for (int d = lanes / 2; d; d /= 2) {
    float low = s.low + butterfly(s.low, d);
    s = sum_of(s.high, butterfly(s.high, d));
    s.low += low;
  }
  return s.high + s.low;
}
