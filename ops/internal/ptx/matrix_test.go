package ptx

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// warpRun runs one warp of a body that loads the lane's 16 words of input into %r100 to %r115 and stores %r120 to
// %r135 as its 16 words of output. The body has 16 KiB of shared memory at the 32-bit address %r90.
func warpRun(t *testing.T, body string, in [32][16]uint32) [32][16]uint32 {
	t.Helper()
	var b strings.Builder
	b.WriteString("mov.u32 %r91, %tid.x; mul.wide.u32 %rd20, %r91, 128; add.s64 %rd20, %rd20, %rd1;\n")
	b.WriteString("mov.b64 %rd21, smem; cvt.u32.u64 %r90, %rd21;\n")
	for i := range 16 {
		fmt.Fprintf(&b, "ld.global.b32 %%r%d, [%%rd20+%d]; mov.b32 %%r%d, 0;\n", 100+i, 4*i, 120+i)
	}
	b.WriteString(body)
	for i := range 16 {
		fmt.Fprintf(&b, "st.global.b32 [%%rd20+%d], %%r%d;\n", 64+4*i, 120+i)
	}
	f := mustFunction(t, kernel(b.String()+"ret;"), "k")
	m := newArena()
	at := m.alloc(32 * 128)
	for l := range in {
		for i, v := range in[l] {
			binary.LittleEndian.PutUint32(m.bytes(at+uint64(128*l+4*i), 4), v)
		}
	}
	if _, err := f.Run(m, Launch{Grid: [3]int{1, 1, 1}, Block: [3]int{32, 1, 1}, Shared: 16384, Args: args(at)}, Schedule{}); err != nil {
		t.Fatal(err)
	}
	var out [32][16]uint32
	for l := range out {
		for i := range out[l] {
			out[l][i] = m.word(at + uint64(128*l+64+4*i))
		}
	}
	return out
}

// storeWords puts the lane's input words 0 to 7 to shared memory, 32 bytes per lane: 1 KiB in lane order.
const storeWords = `
	shl.b32 %r92, %r91, 5; add.s32 %r92, %r92, %r90;
	st.shared.v4.b32 [%r92], {%r100, %r101, %r102, %r103};
	st.shared.v4.b32 [%r92+16], {%r104, %r105, %r106, %r107};
	bar.warp.sync -1;
`

func numbered() (in [32][16]uint32) {
	for l := range in {
		for i := range 8 {
			k := uint32(16*l + 2*i) // index of the 16-bit element in shared memory
			in[l][i] = k | (k+1)<<16
		}
	}
	return in
}

func TestLdmatrixDistributesRows(t *testing.T) {
	for _, c := range []struct {
		name  string
		count int
		trans bool
	}{{"x1", 1, false}, {"x2", 2, false}, {"x4", 4, false}, {"x4.trans", 4, true}, {"x2.trans", 2, true}} {
		regs := []string{"%r120", "%r121", "%r122", "%r123"}[:c.count]
		// Row i of the matrices is at 32*i: matrices are 8 rows of 16 bytes, 32 bytes apart.
		got := warpRun(t, storeWords+fmt.Sprintf("ldmatrix.sync.aligned.m8n8.%s.shared.b16 {%s}, [%%r92];\n", c.name, strings.Join(regs, ", ")), numbered())
		for l := range 32 {
			for i := range c.count {
				element := func(row, col int) uint32 { return uint32(16*(8*i+row) + col) }
				g, q := l/4, l%4
				want := element(g, 2*q) | element(g, 2*q+1)<<16
				if c.trans {
					want = element(2*q, g) | element(2*q+1, g)<<16
				}
				if got[l][i] != want {
					t.Fatalf("%s: lane %d matrix %d = %#x, want %#x", c.name, l, i, got[l][i], want)
				}
			}
		}
	}
}

func TestStmatrixIsTheInverseOfLdmatrix(t *testing.T) {
	for _, trans := range []string{"", ".trans"} {
		body := storeWords + fmt.Sprintf(`
	ldmatrix.sync.aligned.m8n8.x4%s.shared.b16 {%%r1, %%r2, %%r3, %%r4}, [%%r92];
	add.s32 %%r93, %%r92, 4096;
	stmatrix.sync.aligned.m8n8.x4%s.shared.b16 [%%r93], {%%r1, %%r2, %%r3, %%r4};
	bar.warp.sync -1;
	ld.shared.v4.b32 {%%r120, %%r121, %%r122, %%r123}, [%%r93];
`, trans, trans)
		got := warpRun(t, body, numbered())
		want := numbered()
		for l := range 32 {
			if [4]uint32(got[l][:4]) != [4]uint32(want[l][:4]) {
				t.Fatalf("trans %q: lane %d stored %#x, want %#x", trans, l, got[l][:4], want[l][:4])
			}
		}
	}
}

// mmaCase is a shape and type of mma.sync with its fragments as the PTX ISA draws them.
type mmaCase struct {
	name      string
	k, per    int // columns of A; elements in a register
	encode    func(float64) uint64
	bits      int
	a, b      int // registers
	tolerance float64
}

// fragmentA is row and column of element j of register i of A in lane l.
func (c mmaCase) fragmentA(l, i, j int) (row, col int) {
	return l/4 + 8*(i%2), c.per*(l%4) + j + 4*c.per*(i/2)
}

// fragmentB is row (k) and column (n) of element j of register i of B.
func (c mmaCase) fragmentB(l, i, j int) (row, col int) { return c.per*(l%4) + j + 4*c.per*i, l / 4 }

func TestMMAIsAMatrixProduct(t *testing.T) {
	float := func(x float64) uint64 { return uint64(math.Float32bits(float32(x))) }
	for _, c := range []mmaCase{
		{"m16n8k16.row.col.f32.bf16.bf16.f32", 16, 2, bfloat16.nearest, 16, 4, 2, 1e-5},
		{"m16n8k8.row.col.f32.bf16.bf16.f32", 8, 2, bfloat16.nearest, 16, 2, 1, 1e-5},
		{"m16n8k16.row.col.f32.f16.f16.f32", 16, 2, binary16.nearest, 16, 4, 2, 1e-5},
		{"m16n8k8.row.col.f32.f16.f16.f32", 8, 2, binary16.nearest, 16, 2, 1, 1e-5},
		{"m16n8k8.row.col.f32.tf32.tf32.f32", 8, 1, float, 32, 4, 2, 1e-5},
		{"m16n8k4.row.col.f32.tf32.tf32.f32", 4, 1, float, 32, 2, 1, 1e-5},
	} {
		t.Run(c.name, func(t *testing.T) { checkMMA(t, c) })
	}
}

func checkMMA(t *testing.T, c mmaCase) {
	r := rand.New(rand.NewPCG(5, 6))
	var a [16][16]float64
	var b [16][8]float64
	var acc [16][8]float64
	small := func() float64 { return float64(r.IntN(65)-32) / 16 } // exact in every format
	for i := range 16 {
		for j := range 16 {
			a[i][j] = small()
		}
		for j := range 8 {
			b[i][j], acc[i][j] = small(), small()
		}
	}
	var in [32][16]uint32
	for l := range in {
		for i := range c.a {
			for j := range c.per {
				row, col := c.fragmentA(l, i, j)
				in[l][i] |= uint32(c.encode(a[row][col])) << (c.bits * j)
			}
		}
		for i := range c.b {
			for j := range c.per {
				row, col := c.fragmentB(l, i, j)
				in[l][4+i] |= uint32(c.encode(b[row][col])) << (c.bits * j)
			}
		}
		for e := range 4 {
			in[l][6+e] = math.Float32bits(float32(acc[l/4+8*(e/2)][2*(l%4)+e%2]))
		}
	}
	aRegs := strings.Join([]string{"%r100", "%r101", "%r102", "%r103"}[:c.a], ",")
	bRegs := strings.Join([]string{"%r104", "%r105"}[:c.b], ",")
	got := warpRun(t, fmt.Sprintf("mma.sync.aligned.%s {%%r120,%%r121,%%r122,%%r123}, {%s}, {%s}, {%%r106,%%r107,%%r108,%%r109};\n", c.name, aRegs, bRegs), in)
	for l := range 32 {
		for e := range 4 {
			row, col := l/4+8*(e/2), 2*(l%4)+e%2
			want := acc[row][col]
			for k := range c.k {
				want += a[row][k] * b[k][col]
			}
			if x := float64(f32(got[l][e])); math.Abs(x-want) > c.tolerance*(1+math.Abs(want)) {
				t.Fatalf("row %d column %d = %g, want %g", row, col, x, want)
			}
		}
	}
}

func TestMMAIgnoresTheLowBitsOfTF32(t *testing.T) {
	var in [32][16]uint32
	for l := range in {
		in[l] = [16]uint32{0x3f801fff, 0x3f801fff, 0x3f800001, 0x3f800001, 0x3f801fff, 0x3f801fff}
	}
	got := warpRun(t, "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%r120,%r121,%r122,%r123}, {%r100,%r101,%r102,%r103}, {%r104,%r105}, {%r106,%r106,%r106,%r106};\n", in)
	if x := f32(got[0][0]); x != 8 {
		t.Errorf("8 products of truncated ones = %g", x)
	}
}
