// What surrounds attention: arrays packed and unpacked, carries finished and merged, delta, sums and dropout words. Compiled with
// denormals, since values may be that small.
//
// All kernels have blocks of 256 threads and no dynamic shared memory; grids are in args.h.
#include "args.h"
#include "split.h"

namespace {

constexpr int kThreads = 256;
constexpr int kBlockRows = 128; // rows that a block takes

DEV float4 load4(const float *p) { return *(const float4 *)p; }
DEV void store4(float *p, float4 v) { *(float4 *)p = v; }
DEV float4 times(float4 v, float f) { return {v.x * f, v.y * f, v.z * f, v.w * f}; }
DEV float4 plus(float4 a, float4 b) { return {a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w}; }

// Whether rows of a strided array may be read 16 bytes at a time; width is the size of an element.
DEV bool vectors(const void *p, const Strided &s, int width) {
  return (((u64)p | (u64)(s.batch * width) | (u64)(s.head * width) | (u64)(s.row * width)) & 15) == 0;
}

DEV long row_of(const Strided &s, int heads, int head, int row) {
  return (head / heads) * s.batch + (head % heads) * s.head + row * s.row;
}

// A value not finite, of float32 or of two 16-bit elements with exponents under mask.
DEV int odd(float4 v) { return 4 - finite(v.x) - finite(v.y) - finite(v.z) - finite(v.w); }
template <u32 mask> DEV int odd(u32 v) { return ((v & mask) == mask) | ((v >> 16 & mask) == mask); }

DEV void raise(u32 *flag) { asm volatile("red.global.or.b32 [%0], %1;" ::"l"(flag), "r"(1u) : "memory"); }

// N elements of a row of `dim` from column c on; 0 behind the end.
template <int N, class E> DEV void fetch(E (&x)[N], const E *row, int c, int dim, bool wide) {
  if (wide & (c + N <= dim)) {
    UNROLL for (int i = 0; i < N * (int)sizeof(E) / 16; i++) ((uint4 *)x)[i] = ((const uint4 *)(row + c))[i];
    return;
  }
  UNROLL for (int i = 0; i < N; i++) x[i] = c + i < dim ? row[c + i] : E(0);
}

// The float32 rows of a block of 128.
DEV void pack_floats(const PackArgs &a) {
  int first = blockIdx.x * kBlockRows, head = blockIdx.y, quads = a.DP / 4;
  float *to = (float *)a.to + ((long)head * a.SP + first) * a.DP;
  bool wide = vectors(a.from, a.stride, 4);
  int bad = 0;
  for (int i = threadIdx.x; i < kBlockRows * quads; i += kThreads) {
    int row = first + i / quads, column = i % quads * 4;
    alignas(16) float x[4] = {};
    if (row < a.rows) fetch(x, (const float *)a.from + row_of(a.stride, a.heads, head, row), column, a.dim, wide);
    float4 v = {x[0], x[1], x[2], x[3]};
    bad |= odd(v);
    store4(to + i * 4L, v);
  }
  if (bad) raise(a.flag);
}

struct Bf16 {
  static constexpr u32 exponent = 0x7f80;
  DEV static u32 pair(float a, float b) { return pair_bf16(a, b); }
};
struct F16 {
  static constexpr u32 exponent = 0x7c00;
  DEV static u32 pair(float a, float b) { return pair_f16(a, b); }
};

// Eight elements of a row, as the 16 bytes that they take in a tile.
template <class Type> DEV uint4 chunk(const PackArgs &a, long row, int column) {
  if (a.halves) {
    alignas(16) u16 x[8];
    fetch(x, (const u16 *)a.from + row, column, a.dim, vectors(a.from, a.stride, 2));
    return {x[0] | (u32)x[1] << 16, x[2] | (u32)x[3] << 16, x[4] | (u32)x[5] << 16, x[6] | (u32)x[7] << 16};
  }
  alignas(16) float x[8];
  fetch(x, (const float *)a.from + row, column, a.dim, vectors(a.from, a.stride, 4));
  return {Type::pair(x[0], x[1]), Type::pair(x[2], x[3]), Type::pair(x[4], x[5]), Type::pair(x[6], x[7])};
}

// The 16-bit tiles of a block of 128 rows. Threads take neighbouring chunks of a row of a slab: 128 bytes of it lie together on both sides.
template <class Type> DEV void pack_tiles(const PackArgs &a) {
  int first = blockIdx.x * kBlockRows, head = blockIdx.y, chunks = a.DP / 8;
  uint4 *to = (uint4 *)a.to + ((long)head * a.SP + first) * chunks;
  int bad = 0;
  for (int i = threadIdx.x; i < kBlockRows * chunks; i += kThreads) {
    int slab = i / (kBlockRows * 8), r = i / 8 % kBlockRows, c = i % 8;
    uint4 v = {0, 0, 0, 0};
    if (first + r < a.rows) v = chunk<Type>(a, row_of(a.stride, a.heads, head, first + r), slab * 64 + c * 8);
    bad |= odd<Type::exponent>(v.x) | odd<Type::exponent>(v.y) | odd<Type::exponent>(v.z) | odd<Type::exponent>(v.w);
    to[(i & ~7) + (c ^ (r & 7))] = v;
  }
  if (bad) raise(a.flag);
}

// m + log2(l) for l > 0, to about 2^-25: the exponent of l, and for its fraction f, in sqrt(1/2)..sqrt(2), twice the inverse hyperbolic
// tangent of (f-1)/(f+1) as a series, of which z^11/11 < 2^-29 z is left out.
DEV Split plus_log2(float m, float l) {
  u32 bits = __builtin_bit_cast(u32, l);
  int exponent = (int)(bits - 0x3f3504f3u) >> 23; // sqrt(1/2) is 0x3f3504f3
  float f = __builtin_bit_cast(float, bits - ((u32)exponent << 23));
  float z = (f - 1.f) / (f + 1.f), w = z * z;
  float p = __builtin_fmaf(w, 1.f / 9, 1.f / 7);
  p = __builtin_fmaf(p, w, 1.f / 5);
  p = __builtin_fmaf(p, w, 1.f / 3);
  p = __builtin_fmaf(p * w, z, z) * (2.f * kLog2e);
  Split a = sum_of(m, (float)exponent), b = sum_of(a.high, p);
  b.low += a.low;
  return l < kInf ? b : Split{m, l}; // NaN stays NaN
}

} // namespace

extern "C" __global__ void __launch_bounds__(kThreads) pack_rows(PackArgs a) { pack_floats(a); }
extern "C" __global__ void __launch_bounds__(kThreads) pack_bf16(PackArgs a) { pack_tiles<Bf16>(a); }
extern "C" __global__ void __launch_bounds__(kThreads) pack_f16(PackArgs a) { pack_tiles<F16>(a); }

extern "C" __global__ void __launch_bounds__(kThreads) unpack(UnpackArgs a) {
  int first = blockIdx.x * kBlockRows, head = blockIdx.y, quads = a.DP / 4;
  const float *from = a.from + ((long)head * a.SP + first) * a.DP;
  bool wide = vectors(a.to, a.stride, 4);
  for (int i = threadIdx.x; i < kBlockRows * quads; i += kThreads) {
    int row = first + i / quads, column = i % quads * 4;
    if ((row >= a.rows) | (column >= a.dim)) continue;
    float4 v = times(load4(from + i * 4L), a.factor);
    float *to = a.to + row_of(a.stride, a.heads, head, row) + column;
    if (wide & (column + 4 <= a.dim)) {
      store4(to, v);
      continue;
    }
    to[0] = v.x;
    if (column + 1 < a.dim) to[1] = v.y;
    if (column + 2 < a.dim) to[2] = v.z;
    if (column + 3 < a.dim) to[3] = v.w;
  }
}

// The sums of a row are O*factor and l*decay + exp2(sink-M), relative to exp2(M).
extern "C" __global__ void __launch_bounds__(kThreads) finish(FinishArgs a) {
  __shared__ float factor[kBlockRows];
  __shared__ int blind[kBlockRows];
  long first = (long)blockIdx.y * a.SP + blockIdx.x * kBlockRows;
  if (threadIdx.x < kBlockRows) {
    int r = threadIdx.x;
    float l = a.l[first + r], m = a.m[first + r], decay = 1.f;
    bool none = l == 0.f; // seen, or none but logits of -inf; the sink does not count then
    if (a.sink) {
      float sink = a.sink[blockIdx.y], top = max2(m, __builtin_ceilf(sink));
      decay = exp2_fast(m - top);
      l = __builtin_fmaf(l, decay, exp2_fast(sink - top));
      m = top;
    }
    Split log = plus_log2(m, l);
    a.high[first + r] = none ? -kInf : log.high;
    a.low[first + r] = none ? 0.f : log.low;
    factor[r] = decay * a.keep / l;
    blind[r] = none;
  }
  barrier();
  int quads = a.DP / 4;
  const float *from = a.o + first * a.DP;
  float *to = a.out + first * a.DP;
  for (int i = threadIdx.x; i < kBlockRows * quads; i += kThreads) {
    int r = i / quads;
    float4 v = times(load4(from + i * 4L), factor[r]);
    store4(to + i * 4L, blind[r] ? float4{0, 0, 0, 0} : v);
  }
}

// Sixteen lanes a row: 4 to 16 products each in a chain, the rest as a tree.
extern "C" __global__ void __launch_bounds__(kThreads) delta(DeltaArgs a) {
  long first = (long)blockIdx.y * a.SP + blockIdx.x * kBlockRows;
  int lane = threadIdx.x % 16;
  for (int r = threadIdx.x / 16; r < kBlockRows; r += kThreads / 16) {
    long row = (first + r) * a.DP;
    float sum = 0.f;
    for (int c = lane * 4; c < a.DP; c += 64) {
      float4 x = load4(a.out + row + c), y = load4(a.dO + row + c);
      sum = __builtin_fmaf(x.x, y.x, sum);
      sum = __builtin_fmaf(x.y, y.y, sum);
      sum = __builtin_fmaf(x.z, y.z, sum);
      sum = __builtin_fmaf(x.w, y.w, sum);
    }
    UNROLL for (int d = 8; d; d /= 2) sum += butterfly(sum, d);
    if (lane == 0) a.delta[first + r] = sum;
  }
}

// O of a carry with l = 0 may hold anything, also NaN, and counts as 0.
extern "C" __global__ void __launch_bounds__(kThreads) merge(MergeArgs a) {
  __shared__ float decay[2][kBlockRows];
  __shared__ int blind[2][kBlockRows];
  long first = (long)blockIdx.y * a.SP + blockIdx.x * kBlockRows;
  if (threadIdx.x < kBlockRows) {
    int r = threadIdx.x;
    float l1 = a.l[first + r], l2 = a.l2[first + r];
    bool b1 = l1 == 0.f, b2 = l2 == 0.f;
    float m1 = b1 ? -kInf : a.m[first + r], m2 = b2 ? -kInf : a.m2[first + r];
    float m = max2(m1, m2);
    float d1 = b1 ? 0.f : exp2_fast(m1 - m), d2 = b2 ? 0.f : exp2_fast(m2 - m);
    a.m[first + r] = m;
    a.l[first + r] = __builtin_fmaf(l1, d1, l2 * d2);
    decay[0][r] = d1, decay[1][r] = d2;
    blind[0][r] = b1, blind[1][r] = b2;
  }
  barrier();
  int quads = a.DP / 4;
  for (int i = threadIdx.x; i < kBlockRows * quads; i += kThreads) {
    int r = i / quads;
    long at = first * a.DP + i * 4L;
    float4 none = {0, 0, 0, 0};
    float4 x = blind[0][r] ? none : times(load4(a.o + at), decay[0][r]);
    float4 y = blind[1][r] ? none : times(load4(a.o2 + at), decay[1][r]);
    store4(a.o + at, plus(x, y));
  }
}

extern "C" __global__ void __launch_bounds__(kThreads) add(AddArgs a) {
  for (long i = (blockIdx.x * (long)kThreads + threadIdx.x) * 4; i < a.n; i += (long)gridDim.x * kThreads * 4)
    store4(a.to + i, plus(load4(a.to + i), load4(a.from + i)));
}

namespace {

// The output function of SplitMix64, as kernel.finalize in Go.
DEV u64 finalize(u64 z) {
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ z >> 27) * 0x94d049bb133111ebull;
  return z ^ z >> 31;
}

} // namespace

// kernel.QueryWord and kernel.KeyWord.
extern "C" __global__ void __launch_bounds__(kThreads) words(WordsArgs a) {
  int i = blockIdx.x * kThreads + threadIdx.x, head = blockIdx.y;
  if (i >= a.n) return;
  u64 key = a.key[head];
  if (a.keys) key = finalize(key ^ 0xd1b54a32d192ed03ull);
  int position = a.position[i];
  u64 word = finalize(key + ((u64)(long)position + 1) * 0x9e3779b97f4a7c15ull) >> 32;
  a.out[(long)head * a.n + i] = position < 0 ? 0 : (u32)word;
}
