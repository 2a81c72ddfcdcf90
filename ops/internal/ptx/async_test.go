package ptx

import (
	"encoding/binary"
	"fmt"
	"math"
	"testing"
)

// everySchedule runs a body under the plain schedule and several adversarial ones.
func everySchedule(t *testing.T, body string, threads int, fill func(data []byte), check func(t *testing.T, data []byte)) {
	t.Helper()
	f := mustFunction(t, kernel(addresses+body+"\nret;"), "k")
	for seed := range uint64(12) {
		m := newArena()
		at := m.alloc(64 << 10)
		if fill != nil {
			fill(m.bytes(at, 64<<10))
		}
		s := Schedule{Seed: seed, Adversarial: seed > 0}
		if _, err := f.Run(m, Launch{Grid: [3]int{1, 1, 1}, Block: [3]int{threads, 1, 1}, Shared: 16448, Args: args(at)}, s); err != nil {
			t.Fatalf("%+v: %v", s, err)
		}
		check(t, m.bytes(at, 64<<10))
		if t.Failed() {
			t.Fatalf("%+v", s)
		}
	}
}

func words(data []byte, from, n int) []uint32 {
	out := make([]uint32, n)
	for i := range out {
		out[i] = binary.LittleEndian.Uint32(data[from+4*i:])
	}
	return out
}

// count fills memory with its word indices.
func count(data []byte) {
	for i := range len(data) / 4 {
		binary.LittleEndian.PutUint32(data[4*i:], uint32(i))
	}
}

func TestCopyAsyncFillsAndZeroes(t *testing.T) {
	// Lane l copies 16 bytes of which l are read; the rest is zero.
	body := `
	shl.b32 %r2, %r1, 4; add.s32 %r3, %r90, %r2; cvt.u64.u32 %rd2, %r2; add.s64 %rd3, %rd1, %rd2;
	min.u32 %r4, %r1, 16;
	cp.async.cg.shared.global [%r3], [%rd3], 16, %r4; cp.async.commit_group; cp.async.wait_group 0;
	ld.shared.v4.b32 {%r5, %r6, %r7, %r8}, [%r3];
	st.global.v4.b32 [%rd3+4096], {%r5, %r6, %r7, %r8};`
	everySchedule(t, body, 32, count, func(t *testing.T, data []byte) {
		for i := range 512 {
			want := data[i]
			if i%16 >= i/16 {
				want = 0
			}
			if data[4096+i] != want {
				t.Errorf("byte %d = %d, want %d", i, data[4096+i], want)
			}
		}
	})
}

func TestCopyGroupsCompleteInOrder(t *testing.T) {
	// Three groups; after wait_group 1 the first two may be read.
	body := `
	shl.b32 %r2, %r1, 3; add.s32 %r3, %r90, %r2; cvt.u64.u32 %rd2, %r2; add.s64 %rd3, %rd1, %rd2;
	cp.async.ca.shared.global [%r3], [%rd3], 8; cp.async.commit_group;
	cp.async.ca.shared.global [%r3+512], [%rd3+512], 4; cp.async.ca.shared.global [%r3+516], [%rd3+516], 4; cp.async.commit_group;
	cp.async.ca.shared.global [%r3+1024], [%rd3+1024], 8; cp.async.commit_group;
	cp.async.wait_group 1;
	ld.shared.v2.b32 {%r4, %r5}, [%r3]; ld.shared.v2.b32 {%r6, %r7}, [%r3+512];
	cp.async.wait_all;
	ld.shared.v2.b32 {%r8, %r9}, [%r3+1024];
	st.global.v2.b32 [%rd3+4096], {%r4, %r5}; st.global.v2.b32 [%rd3+4608], {%r6, %r7}; st.global.v2.b32 [%rd3+5120], {%r8, %r9};`
	everySchedule(t, body, 64, count, func(t *testing.T, data []byte) {
		for i, v := range words(data, 4096, 384) {
			if v != uint32(i) {
				t.Errorf("word %d = %d", i, v)
			}
		}
	})
}

func TestCopiesReadTheirSourceLate(t *testing.T) {
	// The source changes after the copy is issued: the copy may read either value, and in the plain schedule it reads
	// the new one, because it reads as late as the wait allows.
	body := `
	shl.b32 %r2, %r1, 2; add.s32 %r3, %r90, %r2; cvt.u64.u32 %rd2, %r2; add.s64 %rd3, %rd1, %rd2;
	cp.async.ca.shared.global [%r3], [%rd3], 4; cp.async.commit_group;
	st.global.b32 [%rd3], 77; cp.async.wait_group 0;
	ld.shared.b32 %r4, [%r3];` + storeResult
	old := false
	f := mustFunction(t, kernel(addresses+body+"\nret;"), "k")
	for seed := range uint64(40) {
		m := newArena()
		at := m.alloc(4096)
		s := Schedule{Seed: seed, Adversarial: seed > 0}
		if _, err := f.Run(m, Launch{Grid: [3]int{1, 1, 1}, Block: [3]int{32, 1, 1}, Shared: 16448, Args: args(at)}, s); err != nil {
			t.Fatal(err)
		}
		for _, v := range words(m.bytes(at, 128), 0, 32) {
			if v != 77 && (v != 0 || seed == 0) {
				t.Fatalf("seed %d: %d", seed, v)
			}
			old = old || v == 0
		}
	}
	if !old {
		t.Error("no adversarial schedule completed a copy early")
	}
}

func TestSharedMemoryAndRegistersStartAsNaN(t *testing.T) {
	everySchedule(t, `
	shl.b32 %r2, %r1, 2; add.s32 %r3, %r90, %r2; ld.shared.b32 %r4, [%r3];
	testp.notanumber.f32 %p3, %r4; testp.notanumber.f32 %p4, %r77; and.pred %p3, %p3, %p4;
	selp.b32 %r4, 1, 0, %p3;`+storeResult, 32, nil, func(t *testing.T, data []byte) {
		for i, v := range words(data, 0, 32) {
			if v != 1 {
				t.Errorf("thread %d read a number", i)
			}
		}
	})
}

func TestBulkLoadCompletesTheMbarrier(t *testing.T) {
	body := arriveAndLoad + waitLoad + `
	shl.b32 %r2, %r1, 2; add.s32 %r3, %r90, %r2; ld.shared.b32 %r4, [%r3];` + storeResult
	everySchedule(t, body, 64, func(data []byte) {
		for i := range 64 {
			binary.LittleEndian.PutUint32(data[4*i:], uint32(1000+i))
		}
	}, func(t *testing.T, data []byte) {
		for i, v := range words(data, 0, 64) {
			if v != uint32(1000+i) {
				t.Errorf("thread %d read %d", i, v)
			}
		}
	})
}

// pipeline is a producer warp that fills two stages by bulk copies and a consumer warp that adds them up, with full and
// empty mbarriers, for 8 rounds of 128 bytes.
const pipeline = `
	@%p1 mbarrier.init.shared::cta.b64 [%r91], 1; @%p1 mbarrier.init.shared::cta.b64 [%r91+8], 1;
	@%p1 mbarrier.init.shared::cta.b64 [%r91+16], 32; @%p1 mbarrier.init.shared::cta.b64 [%r91+24], 32;
	fence.mbarrier_init.release.cluster; bar.sync 0;
	mov.b32 %r10, 0; mov.b32 %r4, 0;
	setp.ge.u32 %p4, %r1, 32; @%p4 bra CONSUMER;
	@!%p1 bra END;
	PRODUCE:
	and.b32 %r11, %r10, 1; shl.b32 %r12, %r11, 3; add.s32 %r12, %r12, %r91; shl.b32 %r13, %r11, 7; add.s32 %r13, %r13, %r90;
	shr.u32 %r14, %r10, 1; and.b32 %r14, %r14, 1; xor.b32 %r14, %r14, 1;
	P: mbarrier.try_wait.parity.shared::cta.b64 %p3, [%r12+16], %r14; @!%p3 bra P;
	mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r12], 128;
	mul.wide.u32 %rd2, %r10, 128; add.s64 %rd2, %rd2, %rd1;
	cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r13], [%rd2+1024], 128, [%r12];
	add.s32 %r10, %r10, 1; setp.lt.u32 %p3, %r10, 8; @%p3 bra PRODUCE;
	bra END;
	CONSUMER:
	and.b32 %r11, %r10, 1; shl.b32 %r12, %r11, 3; add.s32 %r12, %r12, %r91; shl.b32 %r13, %r11, 7; add.s32 %r13, %r13, %r90;
	shr.u32 %r14, %r10, 1; and.b32 %r14, %r14, 1;
	C: mbarrier.try_wait.parity.shared::cta.b64 %p3, [%r12], %r14; @!%p3 bra C;
	shl.b32 %r15, %r1, 2; add.s32 %r15, %r15, %r13; ld.shared.b32 %r16, [%r15+-128]; mad.lo.s32 %r4, %r4, 3, %r16;
	RELEASE
	add.s32 %r10, %r10, 1; setp.lt.u32 %p3, %r10, 8; @%p3 bra CONSUMER;
	END:`

func TestPipelineOfTwoStages(t *testing.T) {
	body := replaceOnce(t, pipeline, "RELEASE", "mbarrier.arrive.shared::cta.b64 _, [%r12+16];") + storeResult
	everySchedule(t, body, 64, count, func(t *testing.T, data []byte) {
		for i, v := range words(data, 128, 32) {
			want := uint32(0)
			for k := range uint32(8) {
				want = 3*want + 256 + 32*k + uint32(i)
			}
			if v != want {
				t.Errorf("lane %d = %d, want %d", i, v, want)
			}
		}
	})
}

func TestReleasingAStageBeforeReadingItIsFound(t *testing.T) {
	// The consumer arrives at the empty barrier before it reads the stage.
	early := replaceOnce(t, pipeline, "shl.b32 %r15, %r1, 2;", "mbarrier.arrive.shared::cta.b64 _, [%r12+16]; shl.b32 %r15, %r1, 2;")
	body := replaceOnce(t, early, "RELEASE", "") + storeResult
	found := 0
	for seed := range uint64(60) {
		m, at, err := runBody(t, body, 64, Schedule{Seed: seed, Adversarial: true})
		if err != nil {
			found++
			continue
		}
		_ = m.bytes(at, 4)
	}
	if found < 10 {
		t.Errorf("found with %d of 60 seeds", found)
	}
}

func TestArrivalAfterCopies(t *testing.T) {
	// Every thread copies and lets the completion of its copies arrive at the mbarrier; all then read others' data.
	body := `
	@%p1 mbarrier.init.shared::cta.b64 [%r91], 64; bar.sync 0;
	shl.b32 %r2, %r1, 2; add.s32 %r3, %r90, %r2; cvt.u64.u32 %rd2, %r2; add.s64 %rd3, %rd1, %rd2;
	cp.async.ca.shared.global [%r3], [%rd3+1024], 4;
	cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%r91];` + waitLoad + `
	xor.b32 %r2, %r2, 132; add.s32 %r3, %r90, %r2; ld.shared.b32 %r4, [%r3];` + storeResult
	everySchedule(t, body, 64, count, func(t *testing.T, data []byte) {
		for i, v := range words(data, 0, 64) {
			if v != uint32(256+i^33) {
				t.Errorf("thread %d read %d", i, v)
			}
		}
	})
}

func TestMbarrierStatesAndTransactions(t *testing.T) {
	// Tokens of arrive; test_wait before and after; expect_tx and complete_tx by hand.
	body := `
	mov.b32 %r4, 0;
	@!%p1 bra END;
	mbarrier.init.shared::cta.b64 [%r91], 2;
	mbarrier.arrive.shared::cta.b64 %rd2, [%r91];
	mbarrier.test_wait.shared::cta.b64 %p3, [%r91], %rd2; @%p3 add.s32 %r4, %r4, 1;
	mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [%r91], 32;
	mbarrier.arrive.release.cta.shared::cta.b64 %rd3, [%r91];
	mbarrier.test_wait.shared::cta.b64 %p3, [%r91], %rd2; @%p3 add.s32 %r4, %r4, 2;
	mbarrier.complete_tx.relaxed.cta.shared::cta.b64 [%r91], 32;
	mbarrier.test_wait.shared::cta.b64 %p3, [%r91], %rd2; @%p3 add.s32 %r4, %r4, 4;
	mbarrier.test_wait.parity.shared::cta.b64 %p3, [%r91], 0; @%p3 add.s32 %r4, %r4, 8;
	mbarrier.test_wait.parity.shared::cta.b64 %p3, [%r91], 1; @%p3 add.s32 %r4, %r4, 16;
	mbarrier.arrive.shared::cta.b64 _, [%r91], 2;
	mbarrier.test_wait.parity.acquire.cta.shared::cta.b64 %p3, [%r91], 1; @%p3 add.s32 %r4, %r4, 32;
	mbarrier.inval.shared::cta.b64 [%r91]; st.shared.b64 [%r91], %rd2;
	END:` + storeResult
	everySchedule(t, body, 32, nil, func(t *testing.T, data []byte) {
		if v := words(data, 0, 1)[0]; v != 4+8+32 {
			t.Errorf("tests gave %b", v)
		}
	})
}

func TestBulkStoreAndReduction(t *testing.T) {
	body := `
	shl.b32 %r2, %r1, 2; add.s32 %r3, %r90, %r2; cvt.rn.f32.s32 %r4, %r1; st.shared.b32 [%r3], %r4;
	fence.proxy.async.shared::cta; bar.sync 0;
	@!%p1 bra END;
	cp.async.bulk.global.shared::cta.bulk_group [%rd1], [%r90], 256; cp.async.bulk.commit_group;
	cp.reduce.async.bulk.global.shared::cta.bulk_group.add.f32 [%rd1+1024], [%r90], 256; cp.async.bulk.commit_group;
	cp.async.bulk.wait_group.read 0;
	st.shared.b32 [%r90], 0f42C80000; fence.proxy.async;
	cp.reduce.async.bulk.global.shared::cta.bulk_group.add.f32 [%rd1+1024], [%r90], 256; cp.async.bulk.commit_group;
	cp.async.bulk.wait_group 0;
	END:`
	everySchedule(t, body, 64, func(data []byte) {
		for i := range 64 {
			binary.LittleEndian.PutUint32(data[1024+4*i:], math.Float32bits(0.5))
		}
	}, func(t *testing.T, data []byte) {
		for i := range 64 {
			stored, added := f32(words(data, 4*i, 1)[0]), f32(words(data, 1024+4*i, 1)[0])
			want := 0.5 + 2*float32(i)
			if i == 0 {
				want = 100.5
			}
			if stored != float32(i) || added != want {
				t.Errorf("element %d: stored %g, reduced to %g, want %g", i, stored, added, want)
			}
		}
	})
}

func TestBulkStoreTakesEffectAsLateAsItsWaitAllows(t *testing.T) {
	body := `
	@!%p1 bra END;
	mov.b32 %r2, 5; st.shared.v4.b32 [%r90], {%r2, %r2, %r2, %r2}; fence.proxy.async;
	cp.async.bulk.global.shared::cta.bulk_group [%rd1], [%r90], 16; cp.async.bulk.commit_group;
	cp.async.bulk.wait_group.read 0;
	ld.global.b32 %r4, [%rd1];
	cp.async.bulk.wait_group 0;
	ld.global.b32 %r5, [%rd1]; st.global.v2.b32 [%rd1+64], {%r4, %r5};
	END:`
	m, at, err := runBody(t, body, 32, Schedule{})
	if err != nil {
		t.Fatal(err)
	}
	if before, after := m.word(at+64), m.word(at+68); before != 0 || after != 5 {
		t.Errorf("read %d after wait_group.read and %d after wait_group", before, after)
	}
}

func TestBulkStoreMayOutliveItsCTA(t *testing.T) {
	// Only the read is waited for: the effect comes at the end of the launch.
	body := `
	mov.u32 %r5, %ctaid.x;
	@!%p1 bra END;
	mov.b32 %r2, 0f3F800000; st.shared.v4.b32 [%r90], {%r2, %r2, %r2, %r2}; fence.proxy.async;
	cp.reduce.async.bulk.global.shared::cta.bulk_group.add.f32 [%rd1], [%r90], 16; cp.async.bulk.commit_group;
	cp.async.bulk.wait_group.read 0;
	ld.global.b32 %r4, [%rd1]; mul.wide.u32 %rd2, %r5, 4; add.s64 %rd2, %rd2, %rd1; st.global.b32 [%rd2+64], %r4;
	END:`
	for _, s := range []Schedule{{}, {Adversarial: true, Seed: 2, Resident: 2}} {
		m, at, err := runGrid(t, body, 4, s)
		if err != nil {
			t.Fatal(err)
		}
		if sum, seen := m.float(at), m.float(at+64+12); sum != 4 || seen != 0 && !s.Adversarial {
			t.Errorf("sum %g, the last CTA saw %g", sum, seen)
		}
	}
}

func TestNamedBarriersBetweenProducerAndConsumer(t *testing.T) {
	// Warp 0 produces, warp 1 consumes; barrier 1 says full, barrier 2 says empty.
	body := `
	mov.b32 %r10, 0; mov.b32 %r4, 0; shl.b32 %r2, %r1, 2; and.b32 %r2, %r2, 124; add.s32 %r3, %r90, %r2;
	setp.ge.u32 %p4, %r1, 32; @%p4 bra CONSUMER;
	PRODUCER:
	mad.lo.s32 %r5, %r10, 100, %r1; st.shared.b32 [%r3], %r5;
	bar.arrive 1, 64; bar.sync 2, 64;
	add.s32 %r10, %r10, 1; setp.lt.u32 %p3, %r10, 5; @%p3 bra PRODUCER;
	bra END;
	CONSUMER:
	bar.sync 1, 64; ld.shared.b32 %r5, [%r3]; mad.lo.s32 %r4, %r4, 7, %r5; bar.arrive 2, 64;
	add.s32 %r10, %r10, 1; setp.lt.u32 %p3, %r10, 5; @%p3 bra CONSUMER;
	END:` + storeResult
	everySchedule(t, body, 64, nil, func(t *testing.T, data []byte) {
		for i, v := range words(data, 128, 32) {
			want := uint32(0)
			for k := range uint32(5) {
				want = 7*want + 100*k + uint32(i)
			}
			if v != want {
				t.Errorf("lane %d = %d, want %d", i, v, want)
			}
		}
	})
}

func TestReductionBarriers(t *testing.T) {
	body := `
	setp.lt.u32 %p3, %r1, 40; bar.red.popc.u32 %r4, 0, %p3;
	bar.red.and.pred %p4, 0, %p3; bar.red.or.pred %p5, 0, %p3;
	@%p4 add.s32 %r4, %r4, 1000; @%p5 add.s32 %r4, %r4, 2000;` + storeResult
	everySchedule(t, body, 96, nil, func(t *testing.T, data []byte) {
		for i, v := range words(data, 0, 96) {
			if v != 2040 {
				t.Errorf("thread %d: %d", i, v)
			}
		}
	})
}

func TestBulkReductionsOfOtherTypes(t *testing.T) {
	// Each adds 4 words to words of global memory that hold the same.
	for typ, words4 := range map[string][2]uint32{
		"u32": {0x80000001, 2}, "s32": {0xffffffff, 0xfffffffe}, "noftz.f16": {0x3c004000, 0x40004400}, "noftz.bf16": {0x3f804000, 0x40004080},
	} {
		body := fmt.Sprintf(`
	@!%%p1 bra END;
	mov.b32 %%r2, %d; st.shared.v4.b32 [%%r90], {%%r2, %%r2, %%r2, %%r2}; st.global.v4.b32 [%%rd1], {%%r2, %%r2, %%r2, %%r2}; fence.proxy.async;
	cp.reduce.async.bulk.global.shared::cta.bulk_group.add.%s [%%rd1], [%%r90], 16; cp.async.bulk.commit_group; cp.async.bulk.wait_group 0;
	END:`, words4[0], typ)
		everySchedule(t, body, 32, nil, func(t *testing.T, data []byte) {
			for _, v := range words(data, 0, 4) {
				if v != words4[1] {
					t.Errorf("%s: %#x, want %#x", typ, v, words4[1])
				}
			}
		})
	}
}
