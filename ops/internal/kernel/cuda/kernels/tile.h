// Tiles of scores of a warpgroup: which pairs are seen, what softcap, ALiBi and dropout do. A thread holds the pairs of two rows
// (top and bottom, eight apart) and, of every eight columns, two neighbours: c[4j + 2*bottom + right].
#pragma once
#include "score.h"

// Flag words lie behind the data of an operand of so many heads and padded rows.
DEV u32 flag_of(const void *operand, int heads, int rows, int width) {
  return *(const u32 *)((const char *)operand + (long)heads * rows * width * 2);
}

struct alignas(16) int4 { int x, y, z, w; };

// A pair of neighbours of an array of 32-bit words.
DEV int2 two_ints(const int *p) { return *(const int2 *)p; }
DEV float2 two_floats(const float *p) { return *(const float2 *)p; }
