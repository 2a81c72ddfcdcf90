package ptx

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// row is one instruction and what it must compute of the inputs a, b and c of a lane. The instruction reads %rd4 to
// %rd6 (64 bits), %r4 to %r6 or %rs4 to %rs6 (their low bits) and writes %rd8, %r8, %rs8 or %p1.
type row struct {
	text string
	want func(a, b, c uint64) uint64
}

const rowKernel = `
	mov.u32 %r1, %tid.x;
	mul.wide.u32 %rd2, %r1, 32;
	add.s64 %rd3, %rd1, %rd2;
	ld.global.v2.b64 {%rd4, %rd5}, [%rd3];
	ld.global.b64 %rd6, [%rd3+16];
	cvt.u32.u64 %r4, %rd4; cvt.u32.u64 %r5, %rd5; cvt.u32.u64 %r6, %rd6;
	cvt.u16.u64 %rs4, %rd4; cvt.u16.u64 %rs5, %rd5; cvt.u16.u64 %rs6, %rd6;
	mov.b64 %rd8, 123; mov.b32 %r8, 123; mov.b16 %rs8, 123; setp.eq.u32 %p1, %r1, %r1;
	and.b32 %r2, %r1, 5;
	setp.ne.u32 %p2, %r2, 5;
	INSTRUCTION
	RESULT
	st.global.b64 [%rd3+24], %rd8;
	ret;`

// results turns an output register into the 64 bits that the kernel stores.
var results = map[string]string{
	"%rd8": "", "%r8": "cvt.u64.u32 %rd8, %r8;", "%rs8": "cvt.u64.u16 %rd8, %rs8;", "%p1": "selp.b64 %rd8, 1, 0, %p1;",
}

// checkRows runs every instruction on rows of inputs, for whole warps and for a part of their lanes.
func checkRows(t *testing.T, rows []row, inputs [][3]uint64, same func(got, want uint64) bool) {
	t.Helper()
	for _, r := range rows {
		for _, guard := range []string{"", "@%p2 "} {
			checkRow(t, r, guard, inputs, same)
		}
	}
}

func checkRow(t *testing.T, r row, guard string, inputs [][3]uint64, same func(got, want uint64) bool) {
	t.Helper()
	out := "%p1"
	for name := range results {
		if strings.Contains(r.text, name) {
			out = name
		}
	}
	last := strings.LastIndex(r.text, "; ") + 1 // the guard is for the last of several instructions
	src := strings.Replace(kernel(rowKernel), "INSTRUCTION", r.text[:last]+guard+r.text[last:], 1)
	src = strings.Replace(src, "RESULT", results[out], 1)
	mod, err := Parse(src)
	if err != nil {
		t.Errorf("%s: %v", r.text, err)
		return
	}
	f, _ := mod.Function("k")
	for first := 0; first < len(inputs); first += 64 {
		part := inputs[first:min(first+64, len(inputs))]
		got, err := runRow(f, part)
		if err != nil {
			t.Errorf("%s: %v", r.text, err)
			return
		}
		for i, in := range part {
			want := r.want(in[0], in[1], in[2])
			if guard != "" && i&5 == 5 {
				want = map[string]uint64{"%p1": 1}[out]
				if out != "%p1" {
					want = 123
				}
			}
			if got[i] != want && (same == nil || !same(got[i], want)) {
				t.Errorf("%s%s of %#x, %#x, %#x = %#x, want %#x", guard, r.text, in[0], in[1], in[2], got[i], want)
				return
			}
		}
	}
}

func runRow(f *Function, inputs [][3]uint64) ([]uint64, error) {
	m := newArena()
	at := m.alloc(32 * len(inputs))
	for i, in := range inputs {
		for j, v := range in {
			binary.LittleEndian.PutUint64(m.bytes(at+uint64(32*i+8*j), 8), v)
		}
	}
	_, err := f.Run(m, Launch{Grid: [3]int{1, 1, 1}, Block: [3]int{len(inputs), 1, 1}, Args: args(at)}, Schedule{})
	got := make([]uint64, len(inputs))
	for i := range got {
		got[i] = binary.LittleEndian.Uint64(m.bytes(at+uint64(32*i+24), 8))
	}
	return got, err
}

// combine makes rows of inputs of all pairs of special values, with random third ones, and random rows.
func combine(special []uint64, random func(*rand.Rand) uint64) [][3]uint64 {
	r := rand.New(rand.NewPCG(1, 2))
	var out [][3]uint64
	for _, a := range special {
		for _, b := range special {
			out = append(out, [3]uint64{a, b, special[r.IntN(len(special))]})
		}
	}
	for range 200 {
		out = append(out, [3]uint64{random(r), random(r), random(r)})
	}
	return out
}

// integers covers every width: the low bits of a value are its narrower form.
func integers() [][3]uint64 {
	return combine([]uint64{0, 1, 2, 7, 31, 32, 63, 64, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff,
		0x7fffffffffffffff, 0x8000000000000000, 0xffffffffffffffff},
		func(r *rand.Rand) uint64 { return r.Uint64() >> r.IntN(64) })
}

// floats are bit patterns of float32 in the low half; the upper half is rubbish.
func floats() [][3]uint64 {
	var special []uint64
	for _, x := range []float64{0, 1, -1, 0.5, 1.5, -2.5, 3.5, 1e-3, 65504, 65520, 6e-8, 6.2e-5, 3e38, 1e-38, 1e-40, -1e-45, math.Inf(1), math.Inf(-1), math.NaN()} {
		special = append(special, uint64(math.Float32bits(float32(x))))
	}
	special = append(special, 1<<31)
	return combine(special, func(r *rand.Rand) uint64 {
		if r.IntN(2) == 0 {
			return uint64(r.Uint32())
		}
		return uint64(math.Float32bits(float32(r.NormFloat64())))
	})
}

// sameFloat accepts any NaN for a NaN.
func sameFloat(got, want uint64) bool {
	a, b := f32(uint32(got)), f32(uint32(want))
	return a != a && b != b
}

func signed(v uint64, bits int) int64 { return int64(v<<(64-bits)) >> (64 - bits) }

func low(v uint64, bits int) uint64 { return v << (64 - bits) >> (64 - bits) }

// reg names the input and output registers of a width.
func reg(bits int, i int) string {
	return fmt.Sprintf("%s%d", map[int]string{16: "%rs", 32: "%r", 64: "%rd"}[bits], i)
}
