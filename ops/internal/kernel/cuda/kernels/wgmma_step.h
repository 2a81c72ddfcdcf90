// What the parts of a backward block on Hopper have in common: sizes, shared memory, and its course through the tiles of queries.
#pragma once
#include "tile.h"
#include "wgmma.h"

namespace bwd {

constexpr int kKeys = 128, kThreads = 3 * kWarpgroup, kWarps = 2 * kWarpgroup / 32; // of consumers
constexpr int kHalves = kDim == 64 ? 2 : 1;             // of a tile of queries; scores are of 64 queries at a time
constexpr int kQueries = 64 * kHalves;
constexpr int kPairs = 32;                              // scores of a thread
constexpr u32 kKeyBytes = kKeys * kDim * 2, kKeySlab = kKeys * 128;
constexpr u32 kQueryBytes = kQueries * kDim * 2, kQuerySlab = kQueries * 128;
constexpr u32 kHalf = 64 * 128 >> 4;                    // 64 rows, of descriptors
constexpr u32 kLine = kQueries * 4, kSumBytes = kQueries * kDim * 4;

// Shared memory; queries, dO, the sums of dQ and the lines high and delta have two places each.
constexpr u32 kK = 0, kV = kKeyBytes, kQ = 2 * kKeyBytes, kO = kQ + 2 * kQueryBytes, kS = kO + 2 * kQueryBytes;
constexpr u32 kSum = kS + kQueries * kKeys * 2, kHigh = kSum + 2 * kSumBytes, kDelta = kHigh + 2 * kLine;
constexpr u32 kNote = kDelta + 2 * kLine, kBarriers = kNote + 2 * 16, kShared = kBarriers + 128;
// mbarriers, one or a pair for the two places: full ones tell that bytes have come, empty ones that consumers have read them.
enum {
  KeysFull, QFull, QEmpty = QFull + 2, OFull = QEmpty + 2, OEmpty = OFull + 2, SumFull = OEmpty + 2, SumEmpty = SumFull + 2,
  SFull = SumEmpty + 2, SEmpty, Barriers
};
DEV u32 mbarrier_of(u32 base, int which) { return base + kBarriers + 8 * which; }

// The thread that copies queries and the warp that writes the note arrive at QFull, dO's copies and a thread at OFull; one thread gives
// the sums back; consumers arrive warp by warp.
DEV int arrivals(int which) {
  if (which == QFull || which == QFull + 1) return 2;
  bool one = which == KeysFull || which == OFull || which == OFull + 1 || which == SumEmpty || which == SumEmpty + 1;
  return one ? 1 : kWarps;
}

// Note is what the consumers need to know of a step, beside its queries: the tile's entry in the list, also partial if a query sees nothing
// of all keys, whether it is the last step, and the head.
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

// Own is the place of a consumer thread: the first of its two key rows in the tile, which are eight apart.
struct Own { int warpgroup, row, lane; };

} // namespace bwd
