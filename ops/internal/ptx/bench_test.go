package ptx

import (
	"strings"
	"testing"
)

// benchKernels are loops of 1000 rounds whose bodies are typical of one kind of code.
var benchKernels = map[string]string{
	"softmax": `
	fma.rn.ftz.f32 %r10, %r11, %r12, %r13; ex2.approx.ftz.f32 %r14, %r10; add.ftz.f32 %r15, %r15, %r14;
	max.ftz.f32 %r16, %r16, %r11; mul.ftz.f32 %r17, %r17, %r12; fma.rn.ftz.f32 %r18, %r11, %r12, %r18;
	add.ftz.f32 %r19, %r19, %r14; mul.ftz.f32 %r20, %r14, %r12;`,
	"integer": `
	mad.lo.s32 %r10, %r2, %r3, %r4; shl.b32 %r11, %r10, 3; and.b32 %r12, %r11, 1016; xor.b32 %r13, %r12, %r2;
	mul.wide.u32 %rd10, %r13, 4; add.s64 %rd11, %rd10, %rd1; cvt.u32.u64 %r14, %rd11; setp.lt.s32 %p2, %r14, %r3;
	selp.b32 %r15, %r14, %r13, %p2; or.b32 %r16, %r15, 1; shr.u32 %r17, %r16, 2; sub.s32 %r18, %r17, %r2;`,
	"shared": `
	st.shared.b32 [%r5], %r10; ld.shared.v4.b32 {%r11, %r12, %r13, %r14}, [%r6]; ld.shared.b32 %r15, [%r5+4];
	st.shared.v2.b32 [%r7], {%r11, %r12};`,
	"mma": `
	ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r10, %r11, %r12, %r13}, [%r6];
	mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%r14, %r15, %r16, %r17}, {%r10, %r11, %r12, %r13}, {%r10, %r11}, {%r14, %r15, %r16, %r17};
	mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%r18, %r19, %r20, %r21}, {%r10, %r11, %r12, %r13}, {%r12, %r13}, {%r18, %r19, %r20, %r21};`,
}

const benchFrame = `
	mov.u32 %r1, %tid.x; mov.b32 %r2, 5; mov.b32 %r3, 77; mov.b32 %r4, 1000;
	mov.b32 %r10, 0f00000000; mov.b32 %r11, 0f3F000000; mov.b32 %r12, 0f3F800000; mov.b32 %r13, 0f3F800000;
	mov.b32 %r15, %r10; mov.b32 %r16, %r10; mov.b32 %r17, %r11; mov.b32 %r18, %r10; mov.b32 %r19, %r10;
	mov.b64 %rd4, smem; cvt.u32.u64 %r5, %rd4;
	shl.b32 %r6, %r1, 4; add.s32 %r6, %r6, %r5; shl.b32 %r7, %r1, 3; add.s32 %r7, %r7, %r5; shl.b32 %r8, %r1, 2; add.s32 %r5, %r5, %r8;
	LOOP:
	BODY
	add.s32 %r4, %r4, -1;
	setp.ne.s32 %p1, %r4, 0;
	@%p1 bra LOOP;
	ret;`

// BenchmarkInterpreter reports thread-instructions per second for code of several kinds.
func BenchmarkInterpreter(b *testing.B) {
	for _, name := range []string{"softmax", "integer", "shared", "mma"} {
		b.Run(name, func(b *testing.B) {
			f := mustFunction(b, kernel(strings.ReplaceAll(benchFrame, "BODY", benchKernels[name])), "k")
			m := newArena()
			at := m.alloc(16)
			var n int64
			for b.Loop() {
				stats, err := f.Run(m, Launch{Grid: [3]int{1, 1, 1}, Block: [3]int{128, 1, 1}, Shared: 4096, Args: args(at)}, Schedule{})
				if err != nil {
					b.Fatal(err)
				}
				n += stats.Instructions
			}
			b.ReportMetric(float64(n)/1e6/b.Elapsed().Seconds(), "Minstr/s")
		})
	}
}
