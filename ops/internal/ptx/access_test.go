package ptx

import (
	"encoding/binary"
	"math"
	"strings"
	"testing"
)

func TestLoadsExtendToTheirRegister(t *testing.T) {
	// Memory holds 0x80 + lane bytes; every lane reads its 8 bytes.
	body := `
	mul.wide.u32 %rd2, %r1, 8; add.s64 %rd3, %rd1, %rd2; mul.wide.u32 %rd4, %r1, 128; add.s64 %rd4, %rd4, %rd1;
	ld.global.u8 %rs1, [%rd3]; ld.global.s8 %rs2, [%rd3]; ld.global.b8 %r2, [%rd3]; ld.global.s8 %r3, [%rd3+1]; ld.global.s8 %rd5, [%rd3];
	ld.global.u16 %rs3, [%rd3]; ld.global.s16 %r4, [%rd3]; ld.global.u16 %r5, [%rd3]; ld.global.s32 %rd6, [%rd3]; ld.global.u32 %rd7, [%rd3];
	cvt.u32.u16 %r6, %rs1; cvt.u32.u16 %r7, %rs2; cvt.u32.u16 %r8, %rs3;
	st.global.v4.b32 [%rd4+4096], {%r6, %r7, %r2, %r3}; st.global.v4.b32 [%rd4+4112], {%r8, %r4, %r5, %r5};
	st.global.v2.b64 [%rd4+4128], {%rd5, %rd6}; st.global.b64 [%rd4+4144], %rd7;
	st.global.b8 [%rd4+4152], %r3; st.global.b16 [%rd4+4154], %rs2; st.global.b8 [%rd4+4157], %rs1;`
	everySchedule(t, body, 16, func(data []byte) {
		for i := range 128 {
			data[i] = byte(0x80 + 5*i)
		}
	}, func(t *testing.T, data []byte) {
		for l := range 16 {
			b := data[8*l:]
			u16, u32 := binary.LittleEndian.Uint16(b), binary.LittleEndian.Uint32(b)
			out := data[4096+128*l:]
			want := []uint32{uint32(b[0]), uint32(uint16(int16(int8(b[0])))), uint32(b[0]), uint32(int32(int8(b[1]))), uint32(u16), uint32(int32(int16(u16))), uint32(u16), uint32(u16)}
			for i, w := range want {
				if got := binary.LittleEndian.Uint32(out[4*i:]); got != w {
					t.Errorf("lane %d value %d = %#x, want %#x", l, i, got, w)
				}
			}
			for i, w := range []uint64{uint64(int64(int8(b[0]))), uint64(int64(int32(u32))), uint64(u32)} {
				if got := binary.LittleEndian.Uint64(out[32+8*i:]); got != w {
					t.Errorf("lane %d wide value %d = %#x, want %#x", l, i, got, w)
				}
			}
			if out[56] != b[1] || int16(binary.LittleEndian.Uint16(out[58:])) != int16(int8(b[0])) || out[61] != b[0] || out[57] != 0 {
				t.Errorf("lane %d stored %x of %x", l, out[56:62], b[:2])
			}
		}
	})
}

func TestGenericAddressesFindTheirSpace(t *testing.T) {
	// Lanes of one warp store and load through generic pointers to global, shared and local memory.
	src := strings.Replace(kernel(addresses+`
	mov.b64 %rd5, depot; cvta.local.u64 %rd6, %rd5; cvta.shared.u64 %rd7, %rd20;
	mul.wide.u32 %rd8, %r1, 4; add.s64 %rd9, %rd1, %rd8; add.s64 %rd10, %rd7, %rd8;
	rem.u32 %r2, %r1, 3; setp.eq.s32 %p3, %r2, 0; setp.eq.s32 %p4, %r2, 1;
	selp.b64 %rd11, %rd9, %rd10, %p3; selp.b64 %rd11, %rd6, %rd11, %p4;
	add.s32 %r3, %r1, 500; st.b32 [%rd11], %r3; ld.b32 %r4, [%rd11];
	cvta.to.local.u64 %rd12, %rd6; @%p4 ld.local.b32 %r5, [%rd12]; @%p4 add.s32 %r4, %r4, %r5;
	cvta.to.shared.u64 %rd13, %rd10; setp.eq.s32 %p5, %r2, 2; @%p5 ld.shared.b32 %r5, [%rd13]; @%p5 add.s32 %r4, %r4, %r5;
	@%p3 ld.global.b32 %r5, [%rd9]; @%p3 add.s32 %r4, %r4, %r5;
	st.global.b32 [%rd9+4096], %r4; ret;`), "{\n", "{\n.local .align 8 .b8 depot[16];\n", 1)
	f := mustFunction(t, src, "k")
	if !f.UsesLocal() {
		t.Error("UsesLocal does not see the local array")
	}
	m := newArena()
	at := m.alloc(8192)
	if _, err := f.Run(m, Launch{Grid: [3]int{1, 1, 1}, Block: [3]int{32, 1, 1}, Shared: 16448, Args: args(at)}, Schedule{}); err != nil {
		t.Fatal(err)
	}
	for l := range 32 {
		if got := m.word(at + 4096 + uint64(4*l)); got != uint32(2*(500+l)) {
			t.Errorf("lane %d = %d", l, got)
		}
	}
}

func TestModuleVariables(t *testing.T) {
	src := strings.Replace(kernel(`
	mov.u32 %r1, %tid.x; mul.wide.u32 %rd2, %r1, 4; mov.b64 %rd3, table; add.s64 %rd4, %rd3, %rd2; ld.const.b32 %r2, [%rd4];
	ld.const.b32 %r3, [table+8]; add.ftz.f32 %r4, %r2, %r3;
	setp.eq.s32 %p1, %r1, 0; @%p1 ld.global.b32 %r5, [counter]; @%p1 add.s32 %r5, %r5, 1; @%p1 st.global.b32 [counter], %r5; @%p1 st.global.b32 [%rd1+64], %r5;
	mov.b64 %rd5, own; cvt.u32.u64 %r6, %rd5; add.s32 %r6, %r6, 8; and.b32 %r6, %r6, 15; @%p1 st.global.b32 [%rd1+68], %r6;
	add.s64 %rd4, %rd1, %rd2; st.global.b32 [%rd4], %r4; ret;`),
		".visible", ".visible .const .align 4 .b8 table[16] = {0, 0, 192, 63, 0, 0, 32, 64, 0, 0, 96, 64, 0, 0, 144, 64};\n.visible .global .align 4 .u32 counter = 7;\n.shared .align 16 .b8 own[24];\n.visible", 1)
	f := mustFunction(t, src, "k")
	if f.SharedBytes() != 24 {
		t.Errorf("%d static shared bytes, want 24", f.SharedBytes())
	}
	for range 2 { // the module's variables start anew in every run
		m := newArena()
		at := m.alloc(256)
		if _, err := f.Run(m, Launch{Grid: [3]int{1, 1, 1}, Block: [3]int{4, 1, 1}, Args: args(at)}, Schedule{}); err != nil {
			t.Fatal(err)
		}
		for i, want := range []float32{1.5 + 3.5, 2.5 + 3.5, 7, 8} {
			if got := m.float(at + uint64(4*i)); got != want {
				t.Errorf("thread %d: %g, want %g", i, got, want)
			}
		}
		if got := m.word(at + 64); got != 8 {
			t.Errorf("counter = %d", got)
		}
		if got := m.word(at + 68); got != 8 {
			t.Errorf("the shared variable is not aligned to 16: %d", got)
		}
	}
}

func TestParametersOfEveryKind(t *testing.T) {
	src := head + `
.visible .entry k(
	.param .align 8 .b8 k_param_0[20],
	.param .u64 .ptr .global .align 4 k_param_1,
	.param .f32 k_param_2,
	.param .u16 k_param_3
)
{
	.reg .b32 %r<8>; .reg .b64 %rd<8>; .reg .b16 %rs<4>;
	mov.b64 %rd1, k_param_0; ld.param.b64 %rd2, [k_param_1]; ld.param.b32 %r1, [k_param_2]; ld.param.u16 %rs1, [k_param_3];
	ld.param.v2.b32 {%r2, %r3}, [k_param_0+8]; ld.param.b32 %r4, [%rd1+16]; cvta.param.u64 %rd3, %rd1; ld.b32 %r5, [%rd3+4];
	cvt.u32.u16 %r6, %rs1;
	st.global.v4.b32 [%rd2], {%r1, %r2, %r3, %r4}; st.global.v2.b32 [%rd2+16], {%r5, %r6}; ret;
}`
	f := mustFunction(t, src, "k")
	if f.ArgBytes() != 38 {
		t.Fatalf("%d argument bytes, want 20 + 4 + 8 + 4 + 2", f.ArgBytes())
	}
	m := newArena()
	at := m.alloc(64)
	block := append(args(1, 2, 3, 4, 5, 0), args(at, float32(2.5), 99)...)[:38]
	if _, err := f.Run(m, Launch{Grid: [3]int{1, 1, 1}, Block: [3]int{1, 1, 1}, Args: block}, Schedule{}); err != nil {
		t.Fatal(err)
	}
	for i, want := range []uint32{math.Float32bits(2.5), 3, 4, 5, 2, 99} {
		if got := m.word(at + uint64(4*i)); got != want {
			t.Errorf("value %d = %#x, want %#x", i, got, want)
		}
	}
}

func TestAtomicsCountEveryLane(t *testing.T) {
	body := `
	atom.global.add.u32 %r2, [%rd1], 1;
	red.global.add.f32 [%rd1+4], 0f3F000000;
	atom.global.max.s32 %r3, [%rd1+8], %r1; red.global.min.s32 [%rd1+12], %r1; red.relaxed.gpu.global.or.b32 [%rd1+16], %r1;
	mov.b64 %rd2, 3; atom.global.add.u64 %rd3, [%rd1+24], %rd2;
	mov.b32 %r5, 1; atom.acq_rel.gpu.global.cas.b32 %r6, [%rd1+32], 0, %r5; atom.global.exch.b32 %r7, [%rd1+36], 9;
	red.global.add.v4.f32 [%rd1+48], {0f3F800000, 0f40000000, 0f3F800000, 0f40000000};
	atom.global.inc.u32 %r8, [%rd1+64], 9;
	mov.b32 %r10, 0x3f804000; red.global.add.noftz.bf16x2 [%rd1+72], %r10; mov.b32 %r10, 0x3c004000; red.global.add.noftz.f16x2 [%rd1+76], %r10;
	red.global.xor.b32 [%rd1+80], %r1; atom.global.dec.u32 %r10, [%rd1+84], 9; atom.global.min.s32 %r10, [%rd1+88], -5;
	@%p1 st.shared.b32 [%r90], 0; bar.sync 0; atom.shared.add.u32 %r9, [%r90], 2; bar.sync 0; ld.shared.b32 %r9, [%r90]; @%p1 st.global.b32 [%rd1+68], %r9;
	bar.sync 0; cvta.shared.u64 %rd5, %rd20; atom.add.u32 %r9, [%rd5], 1;
	mul.wide.u32 %rd4, %r1, 4; add.s64 %rd4, %rd4, %rd1; st.global.b32 [%rd4+1024], %r2; st.global.b32 [%rd4+2048], %r6;`
	everySchedule(t, body, 64, nil, func(t *testing.T, data []byte) {
		got := words(data, 0, 23)
		want := []uint32{64, math.Float32bits(32), 63, 0, 63, 0, 192, 0, 1, 9, 0, 0, math.Float32bits(64), math.Float32bits(128), math.Float32bits(64), math.Float32bits(128), 4, 128, 0x42804300, 0x54005800, 0, 6, 0xfffffffb}
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("word %d = %d, want %d", i, got[i], want[i])
			}
		}
		tickets, winners := map[uint32]bool{}, 0
		for i := range 64 {
			tickets[words(data, 1024+4*i, 1)[0]] = true
			if words(data, 2048+4*i, 1)[0] == 0 {
				winners++
			}
		}
		if len(tickets) != 64 || winners != 1 {
			t.Errorf("%d different tickets, %d threads won the exchange", len(tickets), winners)
		}
	})
}

func TestClocksGrow(t *testing.T) {
	body := `
	mov.u64 %rd2, %globaltimer; mov.u32 %r2, %clock; nanosleep.u32 100; mov.u64 %rd3, %globaltimer; mov.u32 %r3, %clock;
	setp.lt.u64 %p3, %rd2, %rd3; setp.lt.and.u32 %p3, %r2, %r3, %p3; selp.b32 %r4, 1, 0, %p3;` + storeResult
	everySchedule(t, body, 32, nil, func(t *testing.T, data []byte) {
		if words(data, 0, 1)[0] != 1 {
			t.Error("a clock did not grow")
		}
	})
}

func TestFencesAndHintsParse(t *testing.T) {
	body := `
	membar.gl; membar.cta; membar.sys; fence.acq_rel.gpu; fence.sc.sys; fence.proxy.async; fence.proxy.async.global; fence.proxy.async.shared::cta; fence.proxy.alias;
	griddepcontrol.wait; griddepcontrol.launch_dependents; prefetch.global.L2 [%rd1]; cp.async.bulk.prefetch.L2.global [%rd1], 64;
	ld.global.nc.L1::no_allocate.L2::128B.b32 %r2, [%rd1]; st.relaxed.gpu.global.b32 [%rd1+4096], %r2; st.global.wt.b32 [%rd1+4096], %r2;
	.pragma "nounroll"; .loc 1 2 3
	mov.b32 %r4, 1;` + storeResult
	everySchedule(t, body, 32, nil, func(t *testing.T, data []byte) {
		if words(data, 0, 1)[0] != 1 {
			t.Error("the kernel did not end")
		}
	})
}
