// What the kernels need of the compiler and of PTX, for clang without an SDK.
#pragma once
#include <__clang_cuda_builtin_vars.h>
#define __global__ __attribute__((global))
#define __device__ __attribute__((device))
#define __shared__ __attribute__((shared))
#define __launch_bounds__(...) __attribute__((launch_bounds(__VA_ARGS__)))
#define DEV __device__ __inline__ __attribute__((always_inline))
#define UNROLL _Pragma("unroll")
#define ONCE _Pragma("nounroll")

typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
struct int2 { int x, y; };
struct alignas(16) float4 { float x, y, z, w; };
struct alignas(16) uint4 { u32 x, y, z, w; };
struct alignas(8) float2 { float x, y; };

constexpr float kInf = __builtin_inff();
constexpr float kLog2e = 1.44269504088896340736f;

// Dynamic shared memory of a block; 1024 bytes is what 128-byte swizzle wants.
extern __shared__ __attribute__((aligned(1024))) char shared_memory[];

DEV void barrier() { __syncthreads(); }
DEV u32 shared_address(const void *p) { return (u32)(u64)(const __attribute__((address_space(3))) void *)p; }

// exp2 and log2 of the special function unit: at most 2^-22 off, relative; 0 for -inf and large negative x.
DEV float exp2_fast(float x) { float y; asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x)); return y; }
DEV float log2_fast(float x) { float y; asm("lg2.approx.f32 %0, %1;" : "=f"(y) : "f"(x)); return y; }
DEV float reciprocal(float x) { float y; asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x)); return y; }

DEV float max2(float a, float b) { return __builtin_fmaxf(a, b); }
DEV float butterfly(float v, int lanes) {
  float r;
  asm volatile("shfl.sync.bfly.b32 %0, %1, %2, 0x1f, 0xffffffff;" : "=f"(r) : "f"(v), "r"(lanes));
  return r;
}
DEV bool finite(float x) { return __builtin_fabsf(x) < kInf; }

DEV float from_bf16(u16 x) { return __builtin_bit_cast(float, (u32)x << 16); }
DEV float from_f16(u16 x) { float y; asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x)); return y; }
// Two floats as 16-bit elements of a register, the lower first.
DEV u32 pair_bf16(float low, float high) { u32 r; asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low)); return r; }
DEV u32 pair_f16(float low, float high) { u32 r; asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low)); return r; }
