// Package ptx runs PTX, the text that a CUDA compiler makes of kernels, on the CPU: go test executes the kernels that
// are shipped on a machine without a GPU, and looks for mistakes that a GPU would hide.
//
//	mod, err := ptx.Parse(text)                 // an opcode it does not know is an error that names the line
//	fn, err := mod.Function("attention_forward")
//	stats, err := fn.Run(memory, ptx.Launch{...}, ptx.Schedule{Adversarial: true, Seed: 7})
//
// An error of Run is a *Fault when the kernel is wrong: kernel, CTA, thread, line and text of the instruction, reason.
//
// # How it runs
//
//	launch ── CTAs, started in linear order, Resident of them in turns
//	  CTA ── shared memory, 16 barriers, mbarriers, bulk copies in flight, hazards
//	    warp ── registers [register][32 lanes], predicates as bit masks, cp.async and wgmma in flight
//	      fragment ── a pc and a mask of lanes; normally one per warp
//
// Parse decodes every instruction to a closure over register slots; constants and special registers are registers too,
// so that a source is always a slot. A closure does its work for 32 lanes in a loop. A branch that lanes take
// differently splits the fragment; the lowest pc runs first, so that parted lanes meet and become one fragment again.
// Instructions that need several lanes (shfl, mma, ldmatrix, bar, vote) park the fragment until all are there.
//
// One Run is one goroutine: atomics and turns between CTAs need no care, and the same seed gives the same bits. Runs
// are independent; whoever wants several processors runs several launches. A CTA may wait, by polling global memory,
// for CTAs before it in linear order: they have run, or are resident and get their turn when the poll branches back.
// Waiting for a later CTA needs Resident to cover both, as on a GPU.
//
// # What it models
//
//   - Integer arithmetic, float32 with one rounding (fma too), .ftz, half and bfloat16, conversions.
//   - Generic, global, shared, local, parameter and constant memory with alignment and bounds.
//   - mma.sync for bf16, f16 and tf32, ldmatrix, stmatrix; warp shuffles, votes, elections; named barriers.
//   - cp.async with groups; mbarriers with transaction counts; bulk copies and bulk reductions of one dimension.
//   - wgmma of bf16 and f16 with operands from descriptors (every swizzle, both orders) or registers.
//
// # What makes it strict
//
// Shared memory and registers start as NaN patterns. Asynchronous work happens as late as the waits allow: a copy reads its source and writes its target when a wait forces it, a bulk reduction reaches global
// memory when wait_group says so (or when the launch ends), a wgmma reads its operands at its wait_group. On top of
// that the interpreter keeps account and faults:
//
//   - Shared memory: words that a copy in flight will write may not be read or written, granules of 16 bytes that a
//     wgmma or a bulk store in flight reads may not be written, by anyone. This finds a pipeline stage that is released
//     before its last reader has waited.
//   - Proxies: a thread's st.shared, stmatrix or cp.async dirties its granules; wgmma, bulk stores and bulk loads over
//     them fault until that thread, not another, has executed fence.proxy.async. An mbarrier must have been shown by
//     fence.mbarrier_init before a bulk copy signals it.
//   - Registers: accumulators and A registers of a wgmma in flight may not be touched, and may not have been written
//     after the last wgmma.fence. The warps of a warpgroup must execute the same wgmmas with the same descriptors;
//     nothing synchronises them, as nothing does on the hardware.
//   - Ends: a thread may not exit with a cp.async, an unread bulk store or a wgmma in flight, nor a CTA with a bulk
//     load. Deadlocks say who waits for what; a launch in which nothing happens any more is stopped.
//
// The adversarial schedule adds chance: warps run in random order, greedily or fairly, for few or many instructions;
// before accesses to memory the lanes of a warp are split and run apart until the next collective; copies complete
// early or late. It finds races between warps, and races between the lanes of one warp that lock step hides: run a
// kernel with some tens of seeds.
//
// # What it cannot show
//
// Speed, registers, spills, bank conflicts. Whether ptxas accepts the text. Weak memory: memory is sequentially
// consistent, so that a missing acquire, release or membar goes unseen (proxy fences do not). The last bits of
// approximate functions and of the sums of matrix instructions, which are added here in order in float32; a negative
// scale is exact. It encodes a reading of the fragment and descriptor layouts of the PTX ISA, which hardware must confirm.
// Not modelled, and an error of Parse: clusters and multicast, tensor maps, fp8 and integer matrix products, float64
// arithmetic, textures, calls.
package ptx
