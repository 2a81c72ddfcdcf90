// Attention of inputs that hold NaN or Inf, pair by pair: a product of tiles would take 0*NaN over from pairs that a mask or dropout
// hides. Slow, exact in who depends on whom, and in one order: a warp owns a row of results. Compiled with denormals.
//
// All kernels have blocks of 256 threads and no dynamic shared memory, and return at once where no flag is set. They need no tile
// lists and no turns. Grids: careful_forward_* and careful_query_*, which gives dq, (SP/128, H); careful_key_*, which gives dk and dv,
// (NP/128, K).
#include "score.h"

namespace {

constexpr int kThreads = 256;
constexpr int kBlockRows = 128;
constexpr int kColumns = 8; // of a lane at most: lane, lane+32..

DEV u32 ballot(bool x) {
  u32 r;
  asm volatile("{ .reg .pred p; setp.ne.u32 p, %1, 0; vote.sync.ballot.b32 %0, p, 0xffffffff; }" : "=r"(r) : "r"((u32)x));
  return r;
}
DEV float broadcast(float v, int lane) {
  float r;
  asm volatile("shfl.sync.idx.b32 %0, %1, %2, 0x1f, 0xffffffff;" : "=f"(r) : "f"(v), "r"(lane));
  return r;
}
DEV float warp_sum(float v) {
  UNROLL for (int d = 16; d; d /= 2) v += butterfly(v, d);
  return v;
}
DEV float warp_max(float v) {
  UNROLL for (int d = 16; d; d /= 2) v = max2(v, butterfly(v, d));
  return v;
}

// An array of rows or tiles: elements of row r, counted over all heads, and how products of weights are rounded.
struct Rows {
  typedef float element;
  DEV static long place(long r, int column, int DP) { return r * DP + column; }
  DEV static float value(float x) { return x; }
  DEV static float rounded(float x) { return x; }
};
// Heads have whole blocks of 128 rows, so a row's block follows from its number.
struct Tiles {
  typedef u16 element;
  DEV static long place(long r, int column, int DP) {
    long slab = (r / kBlockRows) * (DP / 64) + column / 64;
    int in = r % kBlockRows, chunk = column / 8 % 8 ^ (in & 7);
    return (slab * kBlockRows + in) * 64 + chunk * 8 + column % 8;
  }
};
struct Bf16 : Tiles {
  DEV static float value(u16 x) { return from_bf16(x); }
  DEV static float rounded(float x) { return from_bf16((u16)pair_bf16(x, 0.f)); }
};
struct F16 : Tiles {
  DEV static float value(u16 x) { return from_f16(x); }
  DEV static float rounded(float x) { return from_f16((u16)pair_f16(x, 0.f)); }
};

template <class Array> struct Operand {
  const typename Array::element *data;
  int DP;
  DEV float at(long row, int column) const { return Array::value(data[Array::place(row, column, DP)]); }
};

template <class Array> DEV Operand<Array> operand(const void *p, int DP) { return {(const typename Array::element *)p, DP}; }

// The flag behind an array of so many rows.
template <class Array> DEV u32 flag(const void *p, long rows, int DP) {
  return *(const u32 *)((const typename Array::element *)p + rows * DP);
}

template <class Array> DEV float dot(const Operand<Array> &x, long row, const Operand<Array> &y, long other) {
  float sum = 0.f;
  for (int c = 0; c < x.DP; c++) sum = __builtin_fmaf(x.at(row, c), y.at(other, c), sum);
  return sum;
}

// Adds weight times a row to a lane's columns.
template <class Array> DEV void add_row(float (&sum)[kColumns], float weight, const Operand<Array> &x, long row) {
  int lane = threadIdx.x % 32;
  UNROLL for (int n = 0; n < kColumns; n++) {
    if (lane + n * 32 < x.DP) sum[n] = __builtin_fmaf(weight, x.at(row, lane + n * 32), sum[n]);
  }
}

// Calls f(row) for the rows of a block that the warp owns.
template <class F> DEV void own_rows(F f) {
  for (int i = threadIdx.x / 32; i < kBlockRows; i += kThreads / 32) f((int)(blockIdx.x * kBlockRows) + i);
}

// One pair: its logit in units of log2, the slope of the softcap there, and whether dropout keeps it.
struct Pair { float t, steep; bool keep; };

DEV Pair pair_of(const Score &c, float s, int head, int row, int SP, int key, int NP) {
  Query q = query_of(c, row, SP, head);
  Pair p;
  p.t = logit(c, s, c.alibi ? q.position - c.kpos[key] : 0, c.alibi ? c.slope[head] : 0.f, &p.steep);
  p.keep = c.threshold ? kept(q.word, c.kword[(long)head * NP + key], c.threshold) : true;
  return p;
}

// A row of the forward pass: 32 keys at a time, one a lane.
template <class Array> DEV void forward_row(const ForwardArgs &a, int DP, int row) {
  int lane = threadIdx.x % 32, head = blockIdx.y;
  long at = (long)head * a.SP + row, keys = (long)(head / a.group) * a.NP;
  Operand<Array> q = operand<Array>(a.q, DP), k = operand<Array>(a.k, DP), v = operand<Array>(a.v, DP);
  float l = a.first ? 0.f : a.l[at], m = l == 0.f ? -kInf : a.m[at], o[kColumns] = {};
  bool touched = a.first;
  UNROLL for (int n = 0; n < kColumns; n++) {
    if ((l != 0.f) & (lane + n * 32 < DP)) o[n] = a.o[at * DP + lane + n * 32];
  }
  for (int first = 0; first < a.NP; first += 32) {
    int key = first + lane;
    bool seen = visible(a.score, row, a.SP, a.score.kpos[key]);
    u32 any = ballot(seen);
    if (any == 0) continue;
    touched = true;
    Pair p = {-kInf, 0.f, false};
    if (seen) p = pair_of(a.score, dot(q, at, k, keys + key), head, row, a.SP, key, a.NP);
    float top = max2(m, warp_max(p.t)), reference = top == -kInf ? 0.f : top;
    float decay = exp2_fast(m - reference), w = seen ? exp2_fast(p.t - reference) : 0.f;
    m = top, l = __builtin_fmaf(l, decay, warp_sum(w));
    UNROLL for (int n = 0; n < kColumns; n++) o[n] *= decay;
    w = Array::rounded(w);
    for (u32 left = ballot(seen & p.keep); left; left &= left - 1) {
      int j = __builtin_ctz(left);
      add_row(o, broadcast(w, j), v, keys + first + j);
    }
  }
  if (!touched) return;
  if (lane == 0) a.m[at] = m, a.l[at] = l;
  UNROLL for (int n = 0; n < kColumns; n++) {
    if (lane + n * 32 < DP) a.o[at * DP + lane + n * 32] = o[n];
  }
}

template <class Array> DEV void forward(const ForwardArgs &a, int DP) {
  long queries = (long)a.heads * a.SP, keys = (long)(a.heads / a.group) * a.NP;
  if (!(flag<Array>(a.q, queries, DP) | flag<Array>(a.k, keys, DP) | flag<Array>(a.v, keys, DP))) return;
  own_rows([&](int row) { forward_row<Array>(a, DP, row); });
}

template <class Array> DEV bool clean(const BackwardArgs &a, int DP) {
  long queries = (long)a.heads * a.SP, keys = (long)(a.heads / a.group) * a.NP;
  return !(flag<Array>(a.q, queries, DP) | flag<Array>(a.k, keys, DP) | flag<Array>(a.v, keys, DP) | flag<Array>(a.dO, queries, DP));
}

// Weight of a pair in dV, and dS; both 0 unless a lane has a pair. Dropped pairs do not touch V and dO.
struct Slopes { float weight, dS; bool keep; };

template <class Array> DEV Slopes slopes_of(const BackwardArgs &a, int DP, int head, int row, int key) {
  long at = (long)head * a.SP + row, other = (long)(head / a.group) * a.NP + key;
  float s = dot(operand<Array>(a.q, DP), at, operand<Array>(a.k, DP), other);
  Pair p = pair_of(a.score, s, head, row, a.SP, key, a.NP);
  float w = exp2_fast(p.t - a.high[at] - a.low[at]), dP = 0.f;
  if (p.keep) dP = dot(operand<Array>(a.dO, DP), at, operand<Array>(a.v, DP), other);
  float keep = a.score.threshold ? a.score.keep : 1.f;
  return {Array::rounded(w * keep), Array::rounded(w * (dP * keep - a.delta[at]) * p.steep), p.keep};
}

// dq of a row. A row with high = -inf adds nothing.
template <class Array> DEV void query_row(const BackwardArgs &a, int DP, int row) {
  int lane = threadIdx.x % 32, head = blockIdx.y;
  long at = (long)head * a.SP + row, keys = (long)(head / a.group) * a.NP;
  if (a.high[at] == -kInf) return;
  float sum[kColumns] = {};
  for (int first = 0; first < a.NP; first += 32) {
    bool seen = visible(a.score, row, a.SP, a.score.kpos[first + lane]);
    Slopes x = {0.f, 0.f, false};
    if (seen) x = slopes_of<Array>(a, DP, head, row, first + lane);
    for (u32 left = ballot(seen); left; left &= left - 1) {
      int j = __builtin_ctz(left);
      add_row(sum, broadcast(x.dS, j), operand<Array>(a.k, DP), keys + first + j);
    }
  }
  UNROLL for (int n = 0; n < kColumns; n++) {
    if (lane + n * 32 < DP) a.dq[at * DP + lane + n * 32] += sum[n] * a.score.natural;
  }
}

template <class Array> DEV void query(const BackwardArgs &a, int DP) {
  if (clean<Array>(a, DP)) return;
  own_rows([&](int row) { query_row<Array>(a, DP, row); });
}

// dk and dv of a key, over the query heads that read it: 32 queries at a time, one a lane.
template <class Array> DEV void key_row(const BackwardArgs &a, int DP, int key) {
  int lane = threadIdx.x % 32, kv = blockIdx.y, position = a.score.kpos[key];
  float dk[kColumns] = {}, dv[kColumns] = {};
  for (int head = kv * a.group; head < (kv + 1) * a.group; head++) {
    long rows = (long)head * a.SP;
    for (int first = 0; first < a.SP; first += 32) {
      int row = first + lane;
      bool seen = visible(a.score, row, a.SP, position) & (a.high[rows + row] != -kInf);
      Slopes x = {0.f, 0.f, false};
      if (seen) x = slopes_of<Array>(a, DP, head, row, key);
      u32 keep = ballot(seen & x.keep);
      for (u32 left = ballot(seen); left; left &= left - 1) {
        int j = __builtin_ctz(left);
        float weight = broadcast(x.weight, j);
        add_row(dk, broadcast(x.dS, j), operand<Array>(a.q, DP), rows + first + j);
        if (keep >> j & 1) add_row(dv, weight, operand<Array>(a.dO, DP), rows + first + j);
      }
    }
  }
  UNROLL for (int n = 0; n < kColumns; n++) {
    if (lane + n * 32 >= DP) continue;
    long at = ((long)kv * a.NP + key) * DP + lane + n * 32;
    a.dk[at] = __builtin_fmaf(dk[n], a.score.natural, a.fresh ? 0.f : a.dk[at]);
    a.dv[at] = dv[n] + (a.fresh ? 0.f : a.dv[at]);
  }
}

template <class Array> DEV void keys(const BackwardArgs &a, int DP) {
  if (clean<Array>(a, DP)) return;
  own_rows([&](int key) { key_row<Array>(a, DP, key); });
}

} // namespace

#define KERNELS(type, Array)                                                                                                       \
  extern "C" __global__ void __launch_bounds__(kThreads, 2) careful_forward_##type(CarefulForwardArgs a) { forward<Array>(a.call, a.DP); } \
  extern "C" __global__ void __launch_bounds__(kThreads, 2) careful_query_##type(CarefulBackwardArgs a) { query<Array>(a.call, a.DP); }    \
  extern "C" __global__ void __launch_bounds__(kThreads, 2) careful_key_##type(CarefulBackwardArgs a) { keys<Array>(a.call, a.DP); }

KERNELS(rows, Rows)
KERNELS(bf16, Bf16)
KERNELS(f16, F16)
