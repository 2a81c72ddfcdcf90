// Copies into shared memory that run beside the arithmetic, and sums and turns in global memory.
#pragma once
#include "prim.h"

// Sixteen bytes, past the first-level cache; complete for this thread after arrived(), for the others after a barrier too.
DEV void copy16(void *shared, const void *global) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(shared_address(shared)), "l"(global) : "memory");
}
DEV void arrived() { asm volatile("cp.async.wait_all;" ::: "memory"); }

DEV void reduce_add(float *to, float x) { asm volatile("red.global.add.f32 [%0], %1;" ::"l"(to), "f"(x) : "memory"); }

// Waits until so many have added; one thread does, a barrier tells the others.
DEV void await_turn(const u32 *turns, u32 turn) {
  u32 now;
  do asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(now) : "l"(turns) : "memory");
  while (now != turn);
}
// Says that this block has added; one thread does, behind a barrier that all reach after their sums.
DEV void pass_turn(u32 *turns) {
  asm volatile("fence.acq_rel.gpu;" ::: "memory");
  asm volatile("red.release.gpu.global.add.u32 [%0], %1;" ::"l"(turns), "r"(1u) : "memory");
}
