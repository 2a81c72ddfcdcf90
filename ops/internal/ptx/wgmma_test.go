package ptx

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// tile is an operand of a wgmma in shared memory: rows (of M or N) by 16 values of k, as the layouts of the PTX ISA
// lay it out, described here by tiles and not by addresses: an atom is 8 lines of `swizzle` bytes (16 without), whose
// 16-byte pieces are exchanged by xor with the line's number.
type tile struct {
	rows    int
	mnMajor bool
	swizzle int // bytes
	at      int // start in the dynamic shared array
}

// xor is the swizzle's permutation of the pieces in a line of an atom that starts on a multiple of 1024.
func (s tile) xor(line int) int {
	switch s.swizzle {
	case 128:
		return line % 8
	case 64:
		return line / 2 % 4
	case 32:
		return line / 4 % 2
	}
	return 0
}

// offset is the byte offset of an element: lines run over rows (K-major) or over k (MN-major).
func (s tile) offset(row, k int) int {
	line, across := row, k
	if s.mnMajor {
		line, across = k, row
	}
	piece, within := across/8, across%8*2
	if s.swizzle == 0 { // core matrices of 8 lines of 16 bytes; 128 bytes each
		lbo, sbo := s.offsets()
		if s.mnMajor {
			return s.at + line%8*16 + line/8*lbo + piece*sbo + within
		}
		return s.at + line%8*16 + line/8*sbo + piece*lbo + within
	}
	pieces := s.swizzle / 16
	lbo, sbo := s.offsets()
	at := s.at + line/8*sbo + line%8*s.swizzle
	if s.mnMajor {
		at += piece / pieces * lbo
	}
	return at + (piece%pieces^s.xor(line))*16 + within
}

// offsets are the leading and stride byte offsets; gaps between atoms show whether they are obeyed.
func (s tile) offsets() (lbo, sbo int) {
	switch {
	case s.swizzle == 0 && s.mnMajor:
		return (s.rows/8)*128 + 256, 128
	case s.swizzle == 0:
		return 128, 256 + 128
	case s.mnMajor:
		return 2 * 1024, 1024 // two groups of k per block of rows
	}
	return 0, 1024
}

func (s tile) descriptor() uint64 {
	lbo, sbo := s.offsets()
	mode := map[int]uint64{0: 0, 128: 1, 64: 2, 32: 3}[s.swizzle]
	return uint64(sharedBase+s.at)>>4 | uint64(lbo)>>4<<16 | uint64(sbo)>>4<<32 | mode<<62
}

// wgmmaCase is one instruction to check.
type wgmmaCase struct {
	n              int
	typ            string
	a, b           tile
	aFromRegisters bool
	scaleD         string // predicate or constant
	signA, signB   int
}

func (c wgmmaCase) String() string {
	return fmt.Sprintf("n%d %s A swizzle %d mn %v regs %v, B swizzle %d mn %v, D %s signs %d %d",
		c.n, c.typ, c.a.swizzle, c.a.mnMajor, c.aFromRegisters, c.b.swizzle, c.b.mnMajor, c.scaleD, c.signA, c.signB)
}

const (
	imageBytes = 96 << 10
	outWords   = 128 // per thread
)

// copyImage fills shared memory with the image that the parameter points to, through the generic proxy.
const copyImage = `
	mov.u32 %r2, %tid.x; mov.b64 %rd2, smem; cvt.u32.u64 %r3, %rd2;
	shl.b32 %r4, %r2, 4; add.s32 %r5, %r3, %r4; cvt.u64.u32 %rd3, %r4; add.s64 %rd3, %rd3, %rd1; mov.b32 %r6, 0;
	COPY:
	ld.global.v4.b32 {%r7, %r8, %r9, %r10}, [%rd3];
	st.shared.v4.b32 [%r5], {%r7, %r8, %r9, %r10};
	add.s32 %r5, %r5, 2048; add.s64 %rd3, %rd3, 2048; add.s32 %r6, %r6, 2048;
	setp.lt.s32 %p1, %r6, 98304; @%p1 bra COPY;
`

// body is the kernel: copy, wgmma, store the accumulators. The accumulators start as 0.5.
func (c wgmmaCase) body() string {
	var b strings.Builder
	b.WriteString(copyImage + "fence.proxy.async; bar.sync 0;\n")
	b.WriteString("setp.eq.u32 %p2, %r2, %r2; setp.ne.u32 %p3, %r2, %r2;\n")
	var acc []string
	for i := range c.n / 2 {
		acc = append(acc, fmt.Sprintf("%%r%d", 40+i))
		fmt.Fprintf(&b, "mov.b32 %s, 0f3F000000;\n", acc[i])
	}
	fmt.Fprintf(&b, "mad.lo.s32 %%r11, %%r2, 16, 0; cvt.u64.u32 %%rd4, %%r11; add.s64 %%rd5, %%rd1, %%rd4;\n")
	fmt.Fprintf(&b, "ld.global.v4.b32 {%%r20, %%r21, %%r22, %%r23}, [%%rd5+%d];\n", imageBytes)
	fmt.Fprintf(&b, "mov.b64 %%rd6, %d; mov.b64 %%rd7, %d; wgmma.fence.sync.aligned;\n", int64(c.a.descriptor()), int64(c.b.descriptor()))
	a := "%rd6"
	trans := fmt.Sprintf("%d, %d", truth(c.a.mnMajor), truth(c.b.mnMajor))
	if c.aFromRegisters {
		a, trans = "{%r20, %r21, %r22, %r23}", fmt.Sprint(truth(c.b.mnMajor))
	}
	fmt.Fprintf(&b, "wgmma.mma_async.sync.aligned.m64n%dk16.f32.%s.%s {%s}, %s, %%rd7, %s, %d, %d, %s;\n",
		c.n, c.typ, c.typ, strings.Join(acc, ", "), a, c.scaleD, c.signA, c.signB, trans)
	b.WriteString("wgmma.commit_group.sync.aligned; wgmma.wait_group.sync.aligned 0;\n")
	fmt.Fprintf(&b, "mul.wide.u32 %%rd8, %%r2, %d; add.s64 %%rd8, %%rd8, %%rd1;\n", 4*outWords)
	for i, r := range acc {
		fmt.Fprintf(&b, "st.global.b32 [%%rd8+%d], %s;\n", imageBytes+2048+4*i, r)
	}
	return b.String() + "ret;"
}

func TestWgmmaIsAMatrixProductInEveryLayout(t *testing.T) {
	var cases []wgmmaCase
	plain := func(n int) wgmmaCase {
		return wgmmaCase{n: n, typ: "bf16", scaleD: "%p2", signA: 1, signB: 1,
			a: tile{rows: 64, swizzle: 128}, b: tile{rows: n, swizzle: 128, at: 32 << 10}}
	}
	for n := 8; n <= 256; n += 8 {
		cases = append(cases, plain(n))
	}
	for _, swizzle := range []int{0, 32, 64, 128} {
		for _, mn := range []bool{false, true} {
			for _, typ := range []string{"bf16", "f16"} {
				c := plain(128)
				c.typ = typ
				c.a.swizzle, c.a.mnMajor = swizzle, mn
				cases = append(cases, c)
				c = plain(192)
				c.typ = typ
				c.b.swizzle, c.b.mnMajor = swizzle, mn
				c.aFromRegisters = mn
				cases = append(cases, c)
			}
		}
	}
	for i, scale := range []string{"%p3", "0", "1"} {
		c := plain(64)
		c.scaleD, c.signA, c.signB = scale, 1-2*(i&1), 1-2*(i>>1)
		cases = append(cases, c)
		c.aFromRegisters = true
		cases = append(cases, c)
	}
	for _, c := range cases {
		if err := checkWgmma(t, c); err != nil {
			t.Errorf("%v: %v", c, err)
		}
	}
}

func checkWgmma(t *testing.T, c wgmmaCase) error {
	r := rand.New(rand.NewPCG(7, uint64(c.n)))
	encode := map[string]func(float64) uint64{"bf16": bfloat16.nearest, "f16": binary16.nearest}[c.typ]
	var a [64][16]float64
	b := make([][16]float64, c.n)
	image := make([]byte, imageBytes+2048)
	put := func(s tile, rows [][16]float64) {
		for i := range rows {
			for k := range 16 {
				binary.LittleEndian.PutUint16(image[s.offset(i, k):], uint16(encode(rows[i][k])))
			}
		}
	}
	for k := range 16 {
		for i := range a {
			a[i][k] = float64(r.IntN(33)-16) / 8
		}
		for j := range b {
			b[j][k] = float64(r.IntN(33)-16) / 8
		}
	}
	put(c.b, b)
	if !c.aFromRegisters {
		put(c.a, a[:])
	}
	fragment := mmaCase{k: 16, per: 2}
	for thread := range 128 {
		for i := range 4 {
			var v uint32
			for j := range 2 {
				row, col := fragment.fragmentA(thread%32, i, j)
				v |= uint32(encode(a[16*(thread/32)+row][col])) << (16 * j)
			}
			binary.LittleEndian.PutUint32(image[imageBytes+16*thread+4*i:], v)
		}
	}
	f := mustFunction(t, kernel(c.body()), "k")
	m := newArena()
	at := m.alloc(len(image) + 128*4*outWords)
	copy(m.bytes(at, len(image)), image)
	if _, err := f.Run(m, Launch{Grid: [3]int{1, 1, 1}, Block: [3]int{128, 1, 1}, Shared: imageBytes, Args: args(at)}, Schedule{}); err != nil {
		return err
	}
	for thread := range 128 {
		for i := range c.n / 2 {
			row, col := 16*(thread/32)+thread%32/4+8*(i/2%2), 8*(i/4)+2*(thread%4)+i%2
			want := 0.0
			if c.scaleD == "%p2" || c.scaleD == "1" {
				want = 0.5
			}
			for k := range 16 {
				want += float64(c.signA*c.signB) * a[row][k] * b[col][k]
			}
			got := float64(m.float(at + uint64(len(image)+thread*4*outWords+4*i)))
			if !(math.Abs(got-want) < 1e-4) {
				return fmt.Errorf("row %d column %d = %g, want %g", row, col, got, want)
			}
		}
	}
	return nil
}
