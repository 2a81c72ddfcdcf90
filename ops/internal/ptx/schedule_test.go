package ptx

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// racyKernels work in the plain schedule, in which warps take turns in order and the lanes of a warp keep step, and
// are wrong. Each thread must store 7 to its word of global memory.
var racyKernels = map[string]struct {
	threads int
	body    string
	fix     string // what FIX must be for the kernel to be right
}{
	"between warps": {64, `
	setp.lt.u32 %p4, %r1, 32; shl.b32 %r2, %r1, 2; add.s32 %r3, %r90, %r2; mov.b32 %r4, 7;
	@%p4 st.shared.b32 [%r3], %r4;
	FIX
	@!%p4 ld.shared.b32 %r4, [%r3+-128];`, "bar.sync 0;"},
	"between the lanes of a warp": {32, `
	shl.b32 %r2, %r1, 2; add.s32 %r3, %r90, %r2; mov.b32 %r4, 7; xor.b32 %r5, %r2, 4; add.s32 %r5, %r5, %r90;
	st.shared.b32 [%r3], %r4;
	FIX
	ld.shared.b32 %r4, [%r5];`, "bar.warp.sync -1;"},
	"through a copy that another thread waits for": {64, `
	setp.lt.u32 %p4, %r1, 32; shl.b32 %r2, %r1, 2; add.s32 %r3, %r90, %r2; cvt.u64.u32 %rd2, %r2; add.s64 %rd3, %rd1, %rd2;
	mov.b32 %r4, 7; @%p4 st.global.b32 [%rd3+4096], %r4;
	@%p4 cp.async.ca.shared.global [%r3], [%rd3+4096], 4; cp.async.wait_all;
	FIX
	@!%p4 ld.shared.b32 %r4, [%r3+-128];`, "bar.sync 0;"},
	"overwriting before all have read": {64, `
	setp.lt.u32 %p4, %r1, 32; shl.b32 %r2, %r1, 2; add.s32 %r3, %r90, %r2; mov.b32 %r4, 7; mov.b32 %r6, 9;
	st.shared.b32 [%r3], %r4; bar.sync 0;
	xor.b32 %r5, %r2, 128; add.s32 %r5, %r5, %r90; @!%p4 ld.shared.b32 %r4, [%r5];
	FIX
	@%p4 st.shared.b32 [%r3], %r6;`, "bar.sync 0;"},
}

const storeResult = `
	mul.wide.u32 %rd10, %r1, 4; add.s64 %rd10, %rd10, %rd1; st.global.b32 [%rd10], %r4;`

// wrong runs a racy kernel and tells whether the result shows it.
func wrong(t *testing.T, name, fix string, s Schedule) bool {
	t.Helper()
	k := racyKernels[name]
	m, at, err := runBody(t, strings.Replace(k.body, "FIX", fix, 1)+storeResult, k.threads, s)
	if err != nil {
		return true
	}
	for i := range k.threads {
		if m.word(at+uint64(4*i)) != 7 {
			return true
		}
	}
	return false
}

func TestAdversarialScheduleFindsRacesThatThePlainOneHides(t *testing.T) {
	for name, k := range racyKernels {
		if wrong(t, name, "", Schedule{}) {
			t.Errorf("%s: the plain schedule shows the race; this test wants one that it hides", name)
		}
		found := 0
		for seed := range uint64(200) {
			if wrong(t, name, k.fix, Schedule{Seed: seed, Adversarial: true}) {
				t.Fatalf("%s: the right kernel is wrong with seed %d", name, seed)
			}
			if wrong(t, name, "", Schedule{Seed: seed, Adversarial: true}) {
				found++
			}
		}
		if found < 20 {
			t.Errorf("%s: found with %d of 200 seeds", name, found)
		}
	}
}

// turns is a kernel whose CTAs, of one warp, wait for their turn at a counter in global memory and apply x = 3x + cta.
const turns = `
	mov.u32 %r2, %ctaid.x;
	WAIT: ld.acquire.gpu.global.b32 %r3, [%rd1]; setp.ne.s32 %p3, %r3, %r2; @%p3 bra WAIT;
	bar.warp.sync -1;
	@!%p1 bra DONE;
	ld.global.b32 %r4, [%rd1+4]; mad.lo.s32 %r4, %r4, 3, %r2; st.global.b32 [%rd1+4], %r4;
	add.s32 %r3, %r3, 1; st.release.gpu.global.b32 [%rd1], %r3;
	DONE:`

func runGrid(t *testing.T, body string, ctas int, s Schedule) (*arena, uint64, error) {
	t.Helper()
	f := mustFunction(t, kernel(addresses+body+"\nret;"), "k")
	m := newArena()
	at := m.alloc(4096)
	_, err := f.Run(m, Launch{Grid: [3]int{ctas, 1, 1}, Block: [3]int{32, 1, 1}, Shared: 16448, Args: args(at)}, s)
	return m, at, err
}

func TestCTAsWaitForEarlierOnes(t *testing.T) {
	want := uint32(0)
	for i := range uint32(12) {
		want = 3*want + i
	}
	for _, s := range []Schedule{{}, {Resident: 4}, {Resident: 12}, {Resident: 5, Adversarial: true, Seed: 3}, {Adversarial: true, Seed: 9}} {
		m, at, err := runGrid(t, turns, 12, s)
		if err != nil {
			t.Fatalf("%+v: %v", s, err)
		}
		if got := m.word(at + 4); got != want {
			t.Errorf("%+v: %d, want %d", s, got, want)
		}
	}
}

func TestWaitingForALaterCTANeedsItResident(t *testing.T) {
	// CTA 0 waits for CTA 1, which is legal only when both are resident.
	body := `
	mov.u32 %r2, %ctaid.x; setp.ne.s32 %p4, %r2, 0; @%p4 st.global.b32 [%rd1], 1; @%p4 bra END;
	WAIT: ld.volatile.global.b32 %r3, [%rd1]; setp.eq.s32 %p3, %r3, 0; @%p3 bra WAIT;
	END:`
	if _, _, err := runGrid(t, body, 2, Schedule{Resident: 2}); err != nil {
		t.Error(err)
	}
	if _, _, err := runGrid(t, body, 2, Schedule{}); err == nil || !strings.Contains(err.Error(), "has not started") {
		t.Errorf("one CTA after another: %v", err)
	}
}

func TestSameSeedGivesTheSameBits(t *testing.T) {
	// The order of float additions by atomics shows in the result, and in the order of tickets.
	body := `
	mov.u32 %r2, %ctaid.x; mad.lo.s32 %r3, %r2, 32, %r1; cvt.rn.f32.s32 %r4, %r3; rcp.rn.f32 %r4, %r4;
	setp.eq.s32 %p4, %r3, 0; @%p4 mov.b32 %r4, 0f3F800000;
	red.global.add.f32 [%rd1], %r4;
	@%p1 atom.global.add.u32 %r5, [%rd1+4], 1;
	@%p1 mul.wide.u32 %rd2, %r2, 4; @%p1 add.s64 %rd2, %rd2, %rd1; @%p1 st.global.b32 [%rd2+8], %r5;`
	seen := map[string]bool{}
	for seed := range uint64(8) {
		s := Schedule{Seed: seed, Adversarial: true, Resident: 8}
		var first []byte
		for range 2 {
			m, at, err := runGrid(t, body, 16, s)
			if err != nil {
				t.Fatal(err)
			}
			got := m.bytes(at, 4096)
			if first != nil && !bytes.Equal(first, got) {
				t.Errorf("seed %d gave two results", seed)
			}
			first = got
		}
		seen[string(first)] = true
	}
	if len(seen) < 2 {
		t.Error("8 seeds gave one result: the schedule does not change the order of CTAs")
	}
}

func TestLanesThatPartMeetAgain(t *testing.T) {
	// Loops of different lengths per lane, with nested branches: each lane adds up its own numbers.
	body := `
	mov.b32 %r4, 0; mov.b32 %r5, 0;
	LOOP: setp.ge.s32 %p3, %r5, %r1; @%p3 bra DONE;
	and.b32 %r6, %r5, 1; setp.eq.s32 %p4, %r6, 0; @%p4 bra EVEN;
	add.s32 %r4, %r4, %r5; bra NEXT;
	EVEN: add.s32 %r4, %r4, 1;
	NEXT: add.s32 %r5, %r5, 1; bra LOOP;
	DONE: shfl.sync.idx.b32 %r4, %r4, %r1, 31, -1;` + storeResult
	for _, s := range []Schedule{{}, {Adversarial: true, Seed: 1}} {
		m, at, err := runBody(t, body, 64, s)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 64 {
			want := uint32(0)
			for k := range uint32(i) {
				if k%2 == 1 {
					want += k
				} else {
					want++
				}
			}
			if got := m.word(at + uint64(4*i)); got != want {
				t.Errorf("%+v: thread %d = %d, want %d", s, i, got, want)
			}
		}
	}
}

func TestConvergedLoopsCostOneInstructionPerWarp(t *testing.T) {
	// Lanes part once and meet: afterwards the warp must run as one, or the count of instructions is not what it is.
	body := `
	@%p2 bra A; add.s32 %r2, %r1, 1; A:
	mov.b32 %r3, 100; L: add.s32 %r3, %r3, -1; setp.ne.s32 %p3, %r3, 0; @%p3 bra L;`
	f := mustFunction(t, kernel(addresses+body+"ret;"), "k")
	m := newArena()
	stats, err := f.Run(m, Launch{Grid: [3]int{1, 1, 1}, Block: [3]int{32, 1, 1}, Shared: 16448, Args: args(m.alloc(64))}, Schedule{})
	if err != nil {
		t.Fatal(err)
	}
	// 2 of the frame, 6 of the addresses, the branch, 16 lanes of the add, mov, 100 rounds of 3, ret.
	if want := int64(32*(2+6+1) + 16 + 32*(1+300+1)); stats.Instructions != want {
		t.Errorf("%d thread-instructions, want %d", stats.Instructions, want)
	}
}

func TestSwitchTablesSendLanesToTheirTargets(t *testing.T) {
	body := `
	and.b32 %r2, %r1, 3; mov.b32 %r4, 0;
	T: .branchtargets A, B, C, B;
	brx.idx %r2, T;
	A: add.s32 %r4, %r4, 100;
	B: add.s32 %r4, %r4, 10;
	C: add.s32 %r4, %r4, 1;` + storeResult
	m, at, err := runBody(t, body, 32, Schedule{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 32 {
		if got, want := m.word(at+uint64(4*i)), []uint32{111, 11, 1, 11}[i%4]; got != want {
			t.Errorf("thread %d = %d, want %d", i, got, want)
		}
	}
}

func TestSpecialRegisters(t *testing.T) {
	for name, want := range map[string]func(thread, lane int) uint32{
		"%tid.x":    func(thread, _ int) uint32 { return uint32(thread % 8) },
		"%tid.y":    func(thread, _ int) uint32 { return uint32(thread / 8 % 3) },
		"%tid.z":    func(thread, _ int) uint32 { return uint32(thread / 24) },
		"%ntid.y":   func(int, int) uint32 { return 3 },
		"%nctaid.x": func(int, int) uint32 { return 2 }, "%nctaid.y": func(int, int) uint32 { return 3 }, "%nwarpid": func(int, int) uint32 { return 2 },
		"%dynamic_smem_size": func(int, int) uint32 { return 0 }, "%total_smem_size": func(int, int) uint32 { return 0 }, "%nsmid": func(int, int) uint32 { return 1 },
		"%laneid": func(_, lane int) uint32 { return uint32(lane) }, "%warpid": func(thread, _ int) uint32 { return uint32(thread / 32) },
		"%lanemask_lt": func(_, lane int) uint32 { return 1<<lane - 1 }, "%lanemask_ge": func(_, lane int) uint32 { return ^uint32(0) << lane },
		"%lanemask_gt": func(_, lane int) uint32 { return ^uint32(0) << lane << 1 }, "%lanemask_eq": func(_, lane int) uint32 { return 1 << lane },
		"%lanemask_le": func(_, lane int) uint32 { return 2<<lane - 1 },
		"%smid":        func(int, int) uint32 { return 0 }, "WARP_SZ": func(int, int) uint32 { return 32 },
	} {
		body := fmt.Sprintf(`
	mov.u32 %%r2, %%tid.x; mov.u32 %%r3, %%tid.y; mov.u32 %%r4, %%tid.z; mad.lo.s32 %%r3, %%r4, 3, %%r3; mad.lo.s32 %%r1, %%r3, 8, %%r2;
	mov.u32 %%r4, %s;`, name) + storeResult
		f := mustFunction(t, kernel(body+"ret;"), "k")
		m := newArena()
		at := m.alloc(4096)
		if _, err := f.Run(m, Launch{Grid: [3]int{2, 3, 1}, Block: [3]int{8, 3, 2}, Args: args(at)}, Schedule{}); err != nil {
			t.Fatal(err)
		}
		for thread := range 48 {
			if got, w := m.word(at+uint64(4*thread)), want(thread, thread%32); got != w {
				t.Errorf("%s of thread %d = %d, want %d", name, thread, got, w)
			}
		}
	}
}

func TestCTAsCoverTheGridInLinearOrder(t *testing.T) {
	// Every CTA takes a ticket and stores its coordinates there.
	f := mustFunction(t, kernel(`
	mov.u32 %r2, %ctaid.x; mov.u32 %r3, %ctaid.y; mov.u32 %r4, %ctaid.z;
	atom.global.add.u32 %r5, [%rd1], 1; mul.wide.u32 %rd2, %r5, 16; add.s64 %rd2, %rd2, %rd1; st.global.v4.b32 [%rd2+16], {%r2, %r3, %r4, %r5}; ret;`), "k")
	m := newArena()
	at := m.alloc(4096)
	if _, err := f.Run(m, Launch{Grid: [3]int{2, 3, 4}, Block: [3]int{1, 1, 1}, Args: args(at)}, Schedule{}); err != nil {
		t.Fatal(err)
	}
	for i := range 24 {
		want := [4]uint32{uint32(i % 2), uint32(i / 2 % 3), uint32(i / 6), uint32(i)}
		if got := [4]uint32(words(m.bytes(at, 4096), 16+16*i, 4)); got != want {
			t.Errorf("CTA %d is %v, want %v", i, got, want)
		}
	}
}

func TestBarrierDoesNotWaitForLanesAndWarpsThatHaveExited(t *testing.T) {
	// Threads from 40 on return before the barrier: a part of warp 1 and all of warp 2.
	body := `
	setp.lt.u32 %p4, %r1, 40; @%p4 bra STAY; ret;
	STAY: shl.b32 %r2, %r1, 2; add.s32 %r3, %r90, %r2; st.shared.b32 [%r3], %r1;
	bar.sync 0;
	mov.b32 %r5, 39; sub.s32 %r5, %r5, %r1; shl.b32 %r5, %r5, 2; add.s32 %r5, %r5, %r90; ld.shared.b32 %r4, [%r5];` + storeResult
	everySchedule(t, body, 96, nil, func(t *testing.T, data []byte) {
		for i, v := range words(data, 0, 40) {
			if v != uint32(39-i) {
				t.Errorf("thread %d read %d", i, v)
			}
		}
	})
}

func TestGuardedCollectivesTakeTheLanesOfTheGuard(t *testing.T) {
	body := `
	mov.b32 %r4, 5; @%p2 shfl.sync.bfly.b32 %r4, %r1, 1, 31, 65535; @!%p2 vote.sync.ballot.b32 %r4, %p2, 0xffff0000;
	@%p2 bar.warp.sync 65535;` + storeResult
	everySchedule(t, body, 32, nil, func(t *testing.T, data []byte) {
		for i, v := range words(data, 0, 32) {
			if want := uint32(i^1) * uint32(truth(i < 16)); v != want {
				t.Errorf("lane %d = %d, want %d", i, v, want)
			}
		}
	})
}

func TestInternalErrorsAreNoPanics(t *testing.T) {
	f := mustFunction(t, kernel("add.s32 %r1, %r1, 1; ret;"), "k")
	broken := *f
	broken.code = append([]inst(nil), f.code...)
	broken.code[2].exec = func(*warp, uint32) { panic("broken invariant") }
	_, err := broken.Run(newArena(), Launch{Grid: [3]int{1, 1, 1}, Block: [3]int{32, 1, 1}, Args: make([]byte, 8)}, Schedule{})
	if err == nil || IsFault(err) || !strings.Contains(err.Error(), "broken invariant") || !strings.Contains(err.Error(), "add.s32") {
		t.Errorf("error %v", err)
	}
}

func TestRunsOfOneFunctionAreIndependent(t *testing.T) {
	f := mustFunction(t, kernel(addresses+strings.Replace(racyKernels["between warps"].body, "FIX", "bar.sync 0;", 1)+storeResult+"ret;"), "k")
	done := make(chan error)
	for seed := range uint64(4) {
		go func() {
			m := newArena()
			at := m.alloc(4096)
			_, err := f.Run(m, Launch{Grid: [3]int{8, 1, 1}, Block: [3]int{64, 1, 1}, Shared: 16448, Args: args(at)}, Schedule{Seed: seed, Adversarial: true, Resident: 3})
			if err == nil && m.word(at+40) != 7 {
				err = fmt.Errorf("seed %d: wrong result", seed)
			}
			done <- err
		}()
	}
	for range 4 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestUnalignedBarriersMeetAtDifferentPlaces(t *testing.T) {
	// Half of each warp waits at one instruction, half at another; the last warp has 8 threads.
	body := `
	and.b32 %r2, %r1, 4; setp.eq.s32 %p3, %r2, 0; shl.b32 %r2, %r1, 2; add.s32 %r3, %r90, %r2; st.shared.b32 [%r3], %r1;
	@%p3 bra A; barrier.sync 3; bra B; A: barrier.sync 3; B:
	mov.b32 %r5, 71; sub.s32 %r5, %r5, %r1; shl.b32 %r5, %r5, 2; add.s32 %r5, %r5, %r90; ld.shared.b32 %r4, [%r5];` + storeResult
	everySchedule(t, body, 72, nil, func(t *testing.T, data []byte) {
		for i, v := range words(data, 0, 72) {
			if v != uint32(71-i) {
				t.Errorf("thread %d read %d", i, v)
			}
		}
	})
}
