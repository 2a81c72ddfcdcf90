package ptx

import (
	"strings"
	"testing"
)

// faultCase is a kernel that does something wrong and what the fault must say.
type faultCase struct {
	name    string
	body    string
	threads int // of the block, 32 if zero
	want    []string
}

// addresses are in every fault kernel: %r1 = thread, %r90 = shared array, %rd1 = 64 KiB of global memory, %r91 an
// mbarrier at the end of shared memory.
const addresses = `
	mov.u32 %r1, %tid.x; mov.b64 %rd20, smem; cvt.u32.u64 %r90, %rd20; add.s32 %r91, %r90, 16384;
	setp.eq.u32 %p1, %r1, 0; setp.lt.u32 %p2, %r1, 16;
`

// barrierOne initialises the mbarrier for one arrival, visible to all.
const barrierOne = `
	@%p1 mbarrier.init.shared::cta.b64 [%r91], 1; fence.mbarrier_init.release.cluster; bar.sync 0;
`

// arriveAndLoad makes thread 0 start a bulk copy of 256 bytes to the shared array.
const arriveAndLoad = barrierOne + `
	@%p1 mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r91], 256;
	@%p1 cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r90], [%rd1], 256, [%r91];
`

// waitLoad waits for phase 0 of the mbarrier.
const waitLoad = `
	WAIT: mbarrier.try_wait.parity.shared::cta.b64 %p3, [%r91], 0; @!%p3 bra WAIT;
`

func runBody(t *testing.T, body string, threads int, s Schedule) (*arena, uint64, error) {
	t.Helper()
	f := mustFunction(t, kernel(addresses+body+"\nret;"), "k")
	m := newArena()
	at := m.alloc(64 << 10)
	if threads == 0 {
		threads = 32
	}
	_, err := f.Run(m, Launch{Grid: [3]int{1, 1, 1}, Block: [3]int{threads, 1, 1}, Shared: 16384 + 64, Args: args(at)}, s)
	return m, at, err
}

func checkFaults(t *testing.T, cases []faultCase) {
	t.Helper()
	for _, c := range cases {
		_, _, err := runBody(t, c.body, c.threads, Schedule{})
		if !IsFault(err) {
			t.Errorf("%s: error %v is not a fault", c.name, err)
			continue
		}
		for _, w := range append(c.want, "kernel k", "cta (0,0,0)") {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %v does not say %q", c.name, err, w)
			}
		}
	}
}

func TestMemoryFaults(t *testing.T) {
	checkFaults(t, []faultCase{
		{"global out of range", "ld.global.b32 %r2, [%rd1+65536];", 0, []string{"not allocated", "ld.global.b32", "thread 0"}},
		{"global store out of range", "mul.wide.u32 %rd2, %r1, 65536; add.s64 %rd2, %rd2, %rd1; st.global.b32 [%rd2], %r1;", 0, []string{"not allocated", "thread 1,"}},
		{"global misaligned", "ld.global.v2.b32 {%r2, %r3}, [%rd1+4];", 0, []string{"misaligned global access of 8 bytes"}},
		{"shared out of range", "st.shared.b32 [%r90+16448], %r1;", 0, []string{"shared access of 4 bytes", "out of range"}},
		{"shared below the start", "st.shared.b32 [%r90+-4], %r1;", 0, []string{"out of range"}},
		{"shared null", "mov.b32 %r2, 0; ld.shared.b32 %r2, [%r2];", 0, []string{"out of range"}},
		{"shared misaligned", "ld.shared.v4.b32 {%r2, %r3, %r4, %r5}, [%r90+8];", 0, []string{"misaligned shared access of 16 bytes"}},
		{"parameter out of range", "ld.param.b64 %rd2, [k_param_0+8];", 0, []string{"param access", "out of range"}},
		{"generic as shared", "cvta.shared.u64 %rd2, %rd20; cvt.u32.u64 %r2, %rd2; ld.shared.b32 %r3, [%r2];", 0, []string{"out of range"}},
		{"atomic on local memory", "mov.b64 %rd2, 0; cvta.local.u64 %rd2, %rd2; atom.add.u32 %r2, [%rd2], 1;", 0, []string{"atomic on local"}},
		{"atomic out of range", "atom.global.add.u32 %r2, [%rd1+65536], 1;", 0, []string{"not allocated"}},
		{"atomic on an mbarrier", barrierOne + "atom.shared.add.u32 %r2, [%r91], 1;", 0, []string{"mbarrier object"}},
		{"far apart, one of them out of range", "mul.wide.u32 %rd2, %r1, 1048576; add.s64 %rd2, %rd2, %rd1; ld.global.b32 %r2, [%rd2];", 0, []string{"thread 1,", "not allocated"}},
		{"atomic misaligned", "atom.global.add.u32 %r2, [%rd1+2], 1;", 0, []string{"misaligned"}},
		{"ldmatrix misaligned", "ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%r2}, [%r90+8];", 0, []string{"misaligned shared access"}},
	})
}

func TestControlFaults(t *testing.T) {
	checkFaults(t, []faultCase{
		{"trap", "trap;", 0, []string{"trapped"}},
		{"divergent collective", "@%p2 bra A; shfl.sync.bfly.b32 %r2, %r1, 1, 31, -1; A:", 0, []string{"lanes 0xffff have exited"}},
		{"collectives that never meet", "@%p2 bra A; shfl.sync.bfly.b32 %r2, %r1, 1, 31, -1; ret; A: shfl.sync.bfly.b32 %r3, %r1, 1, 31, -1;", 0, []string{"deadlock", "divergent collective", "0xffff0000"}},
		{"shuffle from a lane outside", "@!%p2 bra A; shfl.sync.idx.b32 %r2, %r1, 20, 31, 65535; A:", 0, []string{"lane 20, which does not take part"}},
		{"mask without the executing lane", "@%p2 bra A; vote.sync.any.pred %p4, %p2, 65535; A:", 0, []string{"does not name the executing lane"}},
		{"barrier that half the warps reach", "setp.lt.u32 %p4, %r1, 64; @%p4 bra A; bar.sync 1, 128; A: bar.sync 2, 128;", 128, []string{"deadlock", "64 of 128 threads", "barrier 1", "barrier 2"}},
		{"barrier with two counts", "setp.lt.u32 %p4, %r1, 32; @%p4 bra A; bar.sync 1, 64; ret; A: bar.sync 1, 96;", 96, []string{"barrier 1 expects", "line"}},
		{"barrier number", "bar.sync 16;", 0, []string{"barriers 0 to 15"}},
		{"barrier number that differs", "and.b32 %r2, %r1, 1; bar.sync %r2;", 0, []string{"barrier number differs inside the warp"}},
		{"reduction barrier number", "bar.red.popc.u32 %r2, 17, %p1;", 0, []string{"barriers 0 to 15"}},
		{"barrier with more than it takes", "setp.lt.u32 %p4, %r1, 32; @%p4 bra A; bar.sync 1, 32; bar.sync 2, 64; ret; A: bar.sync 2, 64; bar.sync 3, 64;", 64, []string{"deadlock", "barrier 3"}},
		{"past the end", "@%p2 bra A; bra B; A: ret; B:\n} .entry unused() {", 0, []string{"past the last instruction"}},
		{"barrier with too many", "bar.arrive 1, 32; bar.arrive 1, 32; bar.sync 2, 64;", 0, []string{"deadlock"}},
		{"uniform branch that parts", "@%p2 bra.uni A; add.s32 %r2, %r1, 1; A:", 0, []string{".uni"}},
		{"table index", "T: .branchtargets A, B; brx.idx %r1, T; A: B:", 0, []string{"index 2 of a table with 2 targets"}},
		{"setmaxnreg that differs", "setp.lt.u32 %p4, %r1, 32; @%p4 bra A; setmaxnreg.inc.sync.aligned.u32 240; ret; A: setmaxnreg.dec.sync.aligned.u32 24;", 128, []string{"setmaxnreg differs inside the warpgroup"}},
		{"setmaxnreg of half a warpgroup", "setmaxnreg.inc.sync.aligned.u32 240;", 64, []string{"whole warpgroup"}},
		{"mma in a part of a warp", "@%p2 bra A; mma.sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32 {%r2,%r3,%r4,%r5}, {%r2,%r3}, {%r2}, {%r2,%r3,%r4,%r5}; A:", 0, []string{"lanes 0xffff have exited"}},
		{"lanes that do not exist", "ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%r2}, [%r90];", 16, []string{"exited or do not exist"}},
	})
}

func TestSpinWithoutEndIsAFault(t *testing.T) {
	if testing.Short() {
		t.Skip("runs 4 million instructions")
	}
	checkFaults(t, []faultCase{{"spin", "A: ld.acquire.gpu.global.b32 %r2, [%rd1]; setp.eq.s32 %p4, %r2, 0; @%p4 bra A;", 0, []string{"spins without end"}}})
}

func TestCopyFaults(t *testing.T) {
	copy16 := "shl.b32 %r2, %r1, 4; add.s32 %r3, %r90, %r2; cvt.u64.u32 %rd2, %r2; add.s64 %rd2, %rd2, %rd1; cp.async.cg.shared.global [%r3], [%rd2], 16; "
	checkFaults(t, []faultCase{
		{"exit in flight", copy16 + "cp.async.commit_group;", 0, []string{"exits with the cp.async", "in flight"}},
		{"wait that leaves the group", copy16 + "cp.async.commit_group; cp.async.wait_group 1;", 0, []string{"in flight"}},
		{"wait before commit", copy16 + "cp.async.wait_group 0;", 0, []string{"in flight"}},
		{"read in flight", copy16 + "ld.shared.b32 %r4, [%r3];", 0, []string{"target of an asynchronous copy in flight"}},
		{"write in flight", copy16 + "st.shared.b32 [%r3], %r4;", 0, []string{"target of an asynchronous copy in flight"}},
		{"two copies to one place", copy16 + "cp.async.cg.shared.global [%r3], [%rd2], 16;", 0, []string{"already the target"}},
		{"ldmatrix in flight", copy16 + "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r4,%r5,%r6,%r7}, [%r3];", 0, []string{"target of an asynchronous copy in flight"}},
		{"misaligned target", "cp.async.cg.shared.global [%r90+8], [%rd1], 16;", 0, []string{"misaligned"}},
		{"misaligned source", "cp.async.cg.shared.global [%r90], [%rd1+8], 16;", 0, []string{"misaligned global source"}},
		{"source out of range", "cp.async.cg.shared.global [%r90], [%rd1+65536], 16;", 0, []string{"not allocated"}},
		{"source size", "mov.b32 %r4, 17; cp.async.cg.shared.global [%r90], [%rd1], 16, %r4;", 0, []string{"source size of 17"}},
	})
}

func TestMbarrierFaults(t *testing.T) {
	checkFaults(t, []faultCase{
		{"not initialised", "mbarrier.arrive.shared::cta.b64 _, [%r91];", 0, []string{"no mbarrier has been initialised"}},
		{"wait on nothing", waitLoad, 0, []string{"no mbarrier has been initialised"}},
		{"too many arrivals", "@%p1 mbarrier.init.shared::cta.b64 [%r91], 4; bar.sync 0; @%p1 mbarrier.arrive.shared::cta.b64 _, [%r91], 5;", 0, []string{"5 arrivals", "expects 4 more"}},
		{"arrivals while bytes are missing", barrierOne + "@%p1 mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r91], 16; @%p1 mbarrier.arrive.shared::cta.b64 _, [%r91];", 0, []string{"1 arrivals", "expects 0 more"}},
		{"initialised twice", "mbarrier.init.shared::cta.b64 [%r91], 1;", 0, []string{"already initialised"}},
		{"count", "@%p1 mbarrier.init.shared::cta.b64 [%r91], 0;", 0, []string{"1 to 2^20-1"}},
		{"overwritten", barrierOne + "st.shared.b32 [%r91], %r1;", 0, []string{"generic access to the mbarrier"}},
		{"nobody arrives", barrierOne + waitLoad, 0, []string{"deadlock", "misses 1 of 1 arrivals", "try_wait"}},
		{"bytes never come", barrierOne + "@%p1 mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r91], 16; " + waitLoad, 0, []string{"deadlock", "16 bytes"}},
		{"invalidated under a copy", arriveAndLoad + "@%p1 mbarrier.inval.shared::cta.b64 [%r91]; bar.sync 1, 64;", 0, []string{"invalidated"}},
		{"queued arrival at nothing", "cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%r91];", 0, []string{"no mbarrier"}},
		{"queued arrival left behind", barrierOne + "@%p1 cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%r91];", 0, []string{"exits with the cp.async"}},
		{"misaligned", "@%p1 mbarrier.init.shared::cta.b64 [%r91+4], 1;", 0, []string{"misaligned"}},
	})
}

func TestBulkFaults(t *testing.T) {
	out := "@%p1 cp.async.bulk.global.shared::cta.bulk_group [%rd1], [%r90], 256; @%p1 cp.async.bulk.commit_group; "
	fill := "st.shared.v2.b32 [%r92], {%r1, %r1}; "
	at := "shl.b32 %r2, %r1, 3; add.s32 %r92, %r90, %r2; "
	checkFaults(t, []faultCase{
		{"read before the wait", arriveAndLoad + "ld.shared.b32 %r4, [%r90];", 0, []string{"target of an asynchronous copy in flight"}},
		{"write before the wait", arriveAndLoad + "st.shared.b32 [%r90+252], %r1;", 0, []string{"target of an asynchronous copy in flight"}},
		{"exit before the wait", arriveAndLoad, 0, []string{"exited with this bulk copy in flight"}},
		{"size", barrierOne + "@%p1 cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r90], [%rd1], 24, [%r91];", 0, []string{"multiples of 16"}},
		{"target out of range", barrierOne + "@%p1 cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r90], [%rd1], 16480, [%r91];", 0, []string{"out of range"}},
		{"source out of range", barrierOne + "@%p1 cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r90], [%rd1+65520], 32, [%r91];", 0, []string{"not allocated"}},
		{"over the mbarrier", barrierOne + "@%p1 cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r90+16368], [%rd1], 32, [%r91];", 0, []string{"overwrites the mbarrier"}},
		{"mbarrier not shown to the async proxy", "@%p1 mbarrier.init.shared::cta.b64 [%r91], 1; bar.sync 0; @%p1 cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r90], [%rd1], 16, [%r91];", 0, []string{"fence.mbarrier_init"}},
		{"over generic writes without a proxy fence", "@%p1 st.shared.b32 [%r90+240], %r1;" + arriveAndLoad, 0, []string{"the bulk copy overwrites", "thread 0 wrote"}},
		{"store without a proxy fence", at + fill + "bar.sync 0; " + out + "@%p1 cp.async.bulk.wait_group 0;", 0, []string{"fence.proxy.async"}},
		{"fence by the wrong thread", at + fill + "bar.sync 0; @%p1 fence.proxy.async; " + out + "@%p1 cp.async.bulk.wait_group 0;", 0, []string{"thread 1 wrote", "fence.proxy.async"}},
		{"fence by one of two warps that wrote a granule", "and.b32 %r2, %r1, 31; shl.b32 %r2, %r2, 2; add.s32 %r92, %r90, %r2; setp.lt.u32 %p4, %r1, 32; @!%p4 st.shared.b32 [%r92], %r1; bar.sync 0; @%p4 st.shared.b32 [%r92], %r1; @%p4 fence.proxy.async; bar.sync 0; " + out + "@%p1 cp.async.bulk.wait_group 0;", 64, []string{"thread 32 wrote", "fence.proxy.async"}},
		{"fence before the write", at + "fence.proxy.async; " + fill + "bar.sync 0; " + out + "@%p1 cp.async.bulk.wait_group 0;", 0, []string{"fence.proxy.async"}},
		{"source overwritten", at + fill + "fence.proxy.async; bar.sync 0; " + out + "@%p1 st.shared.b32 [%r90], %r1; @%p1 cp.async.bulk.wait_group 0;", 0, []string{"overwritten while"}},
		{"source overwritten by another thread", at + fill + "fence.proxy.async; bar.sync 0; " + out + "bar.sync 0; " + fill + "@%p1 cp.async.bulk.wait_group 0;", 0, []string{"overwritten while"}},
		{"wait before the commit", at + fill + "fence.proxy.async; bar.sync 0; " + strings.Replace(out, "@%p1 cp.async.bulk.commit_group;", "cp.async.bulk.wait_group.read 0;", 1), 0, []string{"wait_group.read"}},
		{"wait that leaves the group", at + fill + "fence.proxy.async; bar.sync 0; " + out + "cp.async.bulk.wait_group.read 1;", 0, []string{"wait_group.read"}},
		{"exit before the read", at + fill + "fence.proxy.async; bar.sync 0; " + out, 0, []string{"wait_group.read"}},
		{"source uninitialised by a copy", arriveAndLoad + out, 0, []string{"target of an asynchronous copy in flight"}},
	})
}

// wgmmaFrame zeroes the operands and prepares descriptors; the accumulators are %r40 to %r43.
const wgmmaFrame = `
	shl.b32 %r2, %r1, 4; add.s32 %r92, %r90, %r2; mov.b32 %r3, 0;
	st.shared.v4.b32 [%r92], {%r3, %r3, %r3, %r3}; st.shared.v4.b32 [%r92+2048], {%r3, %r3, %r3, %r3};
	st.shared.v4.b32 [%r92+4096], {%r3, %r3, %r3, %r3}; st.shared.v4.b32 [%r92+6144], {%r3, %r3, %r3, %r3};
	st.shared.v4.b32 [%r92+8192], {%r3, %r3, %r3, %r3};
	mov.b32 %r40, 0; mov.b32 %r41, 0; mov.b32 %r42, 0; mov.b32 %r43, 0; mov.b32 %r44, 0; mov.b32 %r45, 0;
	shr.u32 %r4, %r90, 4; or.b32 %r4, %r4, 65536; mov.b32 %r5, 0x40000040; mov.b64 %rd6, {%r4, %r5};
	add.s32 %r4, %r4, 512; mov.b64 %rd7, {%r4, %r5};
`

const (
	proxyFence = "fence.proxy.async; bar.sync 0; "
	wgFence    = "wgmma.fence.sync.aligned; "
	wgIssue    = "wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {%r40, %r41, %r42, %r43}, %rd6, %rd7, 1, 1, 1, 0, 0; "
	wgCommit   = "wgmma.commit_group.sync.aligned; "
	wgWait     = "wgmma.wait_group.sync.aligned 0; "
	wgRegs     = "wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {%r40, %r41, %r42, %r43}, {%r44, %r44, %r44, %r45}, %rd7, 1, 1, 1, 0; "
)

func TestWgmmaFrameRuns(t *testing.T) {
	// Values that come after a wgmma must not take the slots of its operands, read again or not.
	work := "add.s32 %r60, %r1, 1; add.s32 %r61, %r60, 1; add.s32 %r62, %r61, %r60; add.s32 %r63, %r62, %r61; st.global.v4.b32 [%rd1], {%r60, %r61, %r62, %r63};"
	for _, issue := range []string{wgIssue, wgRegs, wgIssue + wgIssue, wgRegs + wgIssue} {
		for _, after := range []string{"", "add.s32 %r2, %r40, %r41;"} {
			for seed := range uint64(6) {
				body := wgmmaFrame + proxyFence + wgFence + issue + wgCommit + work + wgWait + after
				if _, _, err := runBody(t, body, 128, Schedule{Seed: seed, Adversarial: seed > 0}); err != nil {
					t.Error(err)
				}
			}
		}
	}
}

func TestWgmmaFaults(t *testing.T) {
	frame := wgmmaFrame + proxyFence
	load := "mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r91], 256; cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r90], [%rd1], 256, [%r91]; "
	checkFaults(t, []faultCase{
		{"accumulator read in flight", frame + wgFence + wgIssue + wgCommit + "add.s32 %r2, %r40, 1;" + wgWait, 128, []string{"reads an accumulator of a wgmma in flight", "add.s32"}},
		{"accumulator stored in flight", frame + wgFence + wgIssue + wgCommit + "st.global.b32 [%rd1], %r43;" + wgWait, 128, []string{"reads an accumulator"}},
		{"accumulator written in flight", frame + wgFence + wgIssue + wgCommit + "mov.b32 %r42, 0;" + wgWait, 128, []string{"writes a register of a wgmma in flight"}},
		{"accumulator read without commit", frame + wgFence + wgIssue + wgWait + "add.s32 %r2, %r40, 1;", 128, []string{"reads an accumulator"}},
		{"A register written in flight", frame + wgFence + wgRegs + wgCommit + "mov.b32 %r45, 0;" + wgWait, 128, []string{"writes a register of a wgmma in flight"}},
		{"no fence at all", frame + wgIssue + wgCommit + wgWait, 128, []string{"no wgmma.fence"}},
		{"accumulator written after the fence", frame + wgFence + "mov.b32 %r41, 0;" + wgIssue + wgCommit + wgWait, 128, []string{"accumulator was written after the last wgmma.fence"}},
		{"A register written after the fence", frame + wgFence + "mov.b32 %r44, 0;" + wgRegs + wgCommit + wgWait, 128, []string{"A register was written after"}},
		{"A register loaded by a shuffle", frame + wgFence + "shfl.sync.bfly.b32 %r44, %r44, 1, 31, -1;" + wgRegs + wgCommit + wgWait, 128, []string{"A register was written after"}},
		{"A is an accumulator in flight", frame + wgFence + wgIssue + strings.ReplaceAll(strings.ReplaceAll(wgRegs, "%r44, %r44, %r44", "%r40, %r44, %r44"), "{%r40, %r41, %r42, %r43}", "{%r50, %r51, %r52, %r53}") + wgCommit + wgWait, 128, []string{"accumulator of a wgmma in flight"}},
		{"descriptor differs in a warp", frame + "cvt.u64.u32 %rd8, %r1; shr.u64 %rd8, %rd8, 4; add.s64 %rd7, %rd7, %rd8;" + wgFence + wgIssue, 128, []string{"descriptor of B differs inside the warp"}},
		{"descriptor differs in the warpgroup", frame + "cvt.u64.u32 %rd8, %r1; shr.u64 %rd8, %rd8, 6; shl.b64 %rd8, %rd8, 3; sub.s64 %rd7, %rd7, %rd8;" + wgFence + wgIssue + wgCommit + wgWait, 128, []string{"differs inside the warpgroup"}},
		{"one warp does less", frame + wgFence + wgIssue + "setp.lt.u32 %p4, %r1, 32; @%p4 bra A;" + wgIssue + "A:" + wgCommit + wgWait, 128, []string{"warpgroup instructions"}},
		{"half a warpgroup", frame + wgFence + wgIssue, 64, []string{"whole warpgroup"}},
		{"no proxy fence", wgmmaFrame + "bar.sync 0;" + wgFence + wgIssue, 128, []string{"through the generic proxy without fence.proxy.async"}},
		{"proxy fence by one thread", wgmmaFrame + "bar.sync 0; @%p1 fence.proxy.async; bar.sync 0;" + wgFence + wgIssue, 128, []string{"thread 1 wrote", "fence.proxy.async"}},
		{"operand overwritten", frame + wgFence + wgIssue + wgCommit + "st.shared.b32 [%r92], %r3;" + wgWait, 128, []string{"overwritten while a wgmma"}},
		{"operand overwritten by a copy", frame + barrierOne + wgFence + wgIssue + wgCommit + "@!%p1 bra A;" + load + "A:" + wgWait, 128, []string{"asynchronous copy overwrites", "wgmma"}},
		{"operand in flight", frame + arriveAndLoad + "bar.sync 0;" + wgFence + wgIssue, 128, []string{"wgmma reads", "in flight"}},
		{"exit in flight", frame + wgFence + wgIssue + wgCommit, 128, []string{"exits with the wgmma"}},
		{"operand out of range", frame + "mov.b64 %rd7, 0x4000004000013fff;" + wgFence + wgIssue, 128, []string{"out of range"}},
		{"base offset", frame + "mov.b64 %rd8, 0x2000000000000; or.b64 %rd7, %rd7, %rd8;" + wgFence + wgIssue, 128, []string{"base offset"}},
		{"scale-d differs", frame + wgFence + strings.Replace(wgIssue, "%rd7, 1,", "%rd7, %p2,", 1) + wgCommit + wgWait, 128, []string{"scale-d differs"}},
	})
}

func TestLaunchesThatNoDriverTakes(t *testing.T) {
	f := mustFunction(t, kernel("ret;"), "k")
	for _, c := range []struct {
		l    Launch
		want string
	}{
		{Launch{Grid: [3]int{1, 0, 1}, Block: [3]int{32, 1, 1}, Args: make([]byte, 8)}, "positive"},
		{Launch{Grid: [3]int{1, 1, 1}, Block: [3]int{1024, 2, 1}, Args: make([]byte, 8)}, "1024 threads"},
		{Launch{Grid: [3]int{1, 1, 1}, Block: [3]int{32, 1, 1}}, "argument bytes"},
		{Launch{Grid: [3]int{1, 1, 1}, Block: [3]int{32, 1, 1}, Args: make([]byte, 8), Shared: 228 << 10}, "shared bytes"},
	} {
		if _, err := f.Run(newArena(), c.l, Schedule{}); err == nil || !strings.Contains(err.Error(), c.want) || IsFault(err) {
			t.Errorf("%+v: error %v does not say %q", c.l, err, c.want)
		}
	}
	limited := mustFunction(t, strings.Replace(kernel("ret;"), ")\n{", ")\n.maxntid 64\n{", 1), "k")
	if _, err := limited.Run(newArena(), Launch{Grid: [3]int{1, 1, 1}, Block: [3]int{128, 1, 1}, Args: make([]byte, 8)}, Schedule{}); err == nil || !strings.Contains(err.Error(), ".maxntid") {
		t.Errorf("a block over .maxntid: %v", err)
	}
}
