package ptx

import (
	"fmt"
	"math/big"
	"math/bits"
	"testing"
)

// integerRows builds the rows of a three-register opcode for all widths.
func integerRows(op string, types string, want func(a, b uint64, n int) uint64) []row {
	var rows []row
	for _, n := range []int{16, 32, 64} {
		for _, c := range types {
			rows = append(rows, row{
				fmt.Sprintf("%s.%c%d %s, %s, %s;", op, c, n, reg(n, 8), reg(n, 4), reg(n, 5)),
				func(a, b, _ uint64) uint64 { return low(want(low(a, n), low(b, n), n), n) },
			})
		}
	}
	return rows
}

func TestIntegerArithmeticWrapsAtItsWidth(t *testing.T) {
	var rows []row
	rows = append(rows, integerRows("add", "us", func(a, b uint64, _ int) uint64 { return a + b })...)
	rows = append(rows, integerRows("sub", "us", func(a, b uint64, _ int) uint64 { return a - b })...)
	rows = append(rows, integerRows("mul.lo", "us", func(a, b uint64, _ int) uint64 { return a * b })...)
	rows = append(rows, integerRows("mul.hi", "u", func(a, b uint64, n int) uint64 {
		return highBits(new(big.Int).SetUint64(a), new(big.Int).SetUint64(b), n)
	})...)
	rows = append(rows, integerRows("mul.hi", "s", func(a, b uint64, n int) uint64 {
		return highBits(big.NewInt(signed(a, n)), big.NewInt(signed(b, n)), n)
	})...)
	rows = append(rows, integerRows("min", "u", func(a, b uint64, _ int) uint64 { return min(a, b) })...)
	rows = append(rows, integerRows("max", "u", func(a, b uint64, _ int) uint64 { return max(a, b) })...)
	rows = append(rows, integerRows("min", "s", func(a, b uint64, n int) uint64 { return uint64(min(signed(a, n), signed(b, n))) })...)
	rows = append(rows, integerRows("max", "s", func(a, b uint64, n int) uint64 { return uint64(max(signed(a, n), signed(b, n))) })...)
	checkRows(t, rows, integers(), nil)
}

func highBits(a, b *big.Int, n int) uint64 {
	p := new(big.Int).Mul(a, b)
	p.Rsh(p, uint(n))
	return new(big.Int).And(p, new(big.Int).SetUint64(^uint64(0))).Uint64()
}

func TestIntegerDivisionTruncates(t *testing.T) {
	quotient := func(a, b uint64, n int) uint64 {
		x, y := signed(a, n), signed(b, n)
		if y == 0 {
			return ^uint64(0)
		}
		q := new(big.Int).Quo(big.NewInt(x), big.NewInt(y))
		return uint64(q.Int64())
	}
	var rows []row
	rows = append(rows, integerRows("div", "s", quotient)...)
	rows = append(rows, integerRows("rem", "s", func(a, b uint64, n int) uint64 {
		if low(b, n) == 0 {
			return a
		}
		return a - quotient(a, b, n)*b
	})...)
	rows = append(rows, integerRows("div", "u", func(a, b uint64, _ int) uint64 {
		if b == 0 {
			return ^uint64(0)
		}
		return a / b
	})...)
	rows = append(rows, integerRows("rem", "u", func(a, b uint64, _ int) uint64 {
		if b == 0 {
			return a
		}
		return a % b
	})...)
	checkRows(t, rows, integers(), nil)
}

func TestMultiplyAddAndWideProducts(t *testing.T) {
	checkRows(t, []row{
		{"mad.lo.s32 %r8, %r4, %r5, %r6;", func(a, b, c uint64) uint64 { return low(a*b+c, 32) }},
		{"mad.lo.s16 %rs8, %rs4, %rs5, %rs6;", func(a, b, c uint64) uint64 { return low(a*b+c, 16) }},
		{"mad.lo.u64 %rd8, %rd4, %rd5, %rd6;", func(a, b, c uint64) uint64 { return a*b + c }},
		{"mad.hi.u32 %r8, %r4, %r5, %r6;", func(a, b, c uint64) uint64 { return low(low(a, 32)*low(b, 32)>>32+c, 32) }},
		{"mad.hi.s64 %rd8, %rd4, %rd5, %rd6;", func(a, b, c uint64) uint64 {
			return highBits(big.NewInt(int64(a)), big.NewInt(int64(b)), 64) + c
		}},
		{"mul.wide.u32 %rd8, %r4, %r5;", func(a, b, _ uint64) uint64 { return low(a, 32) * low(b, 32) }},
		{"mul.wide.s32 %rd8, %r4, %r5;", func(a, b, _ uint64) uint64 { return uint64(signed(a, 32) * signed(b, 32)) }},
		{"mul.wide.u16 %r8, %rs4, %rs5;", func(a, b, _ uint64) uint64 { return low(a, 16) * low(b, 16) }},
		{"mul.wide.s16 %r8, %rs4, %rs5;", func(a, b, _ uint64) uint64 { return low(uint64(signed(a, 16)*signed(b, 16)), 32) }},
		{"mad.wide.s32 %rd8, %r4, %r5, %rd6;", func(a, b, c uint64) uint64 { return uint64(signed(a, 32)*signed(b, 32)) + c }},
		{"mad.wide.u16 %r8, %rs4, %rs5, %r6;", func(a, b, c uint64) uint64 { return low(low(a, 16)*low(b, 16)+c, 32) }},
		{"add.s32 %r8, %r4, -7;", func(a, _, _ uint64) uint64 { return low(a-7, 32) }},
		{"neg.s32 %r8, %r4;", func(a, _, _ uint64) uint64 { return low(-a, 32) }},
		{"neg.s16 %rs8, %rs4;", func(a, _, _ uint64) uint64 { return low(-a, 16) }},
		{"neg.s64 %rd8, %rd4;", func(a, _, _ uint64) uint64 { return -a }},
		{"abs.s32 %r8, %r4;", func(a, _, _ uint64) uint64 { return low(uint64(max(signed(a, 32), -signed(a, 32))), 32) }},
		{"abs.s16 %rs8, %rs4;", func(a, _, _ uint64) uint64 { return low(uint64(max(signed(a, 16), -signed(a, 16))), 16) }},
		{"abs.s64 %rd8, %rd4;", func(a, _, _ uint64) uint64 { return uint64(max(int64(a), -int64(a))) }},
	}, integers(), nil)
}

func TestLogicAndShifts(t *testing.T) {
	var rows []row
	rows = append(rows, integerRows("and", "b", func(a, b uint64, _ int) uint64 { return a & b })...)
	rows = append(rows, integerRows("or", "b", func(a, b uint64, _ int) uint64 { return a | b })...)
	rows = append(rows, integerRows("xor", "b", func(a, b uint64, _ int) uint64 { return a ^ b })...)
	for _, n := range []int{16, 32, 64} {
		rows = append(rows,
			row{fmt.Sprintf("shl.b%d %s, %s, %%r5;", n, reg(n, 8), reg(n, 4)), func(a, b, _ uint64) uint64 { return low(a<<min(low(b, 32), 64), n) }},
			row{fmt.Sprintf("shr.u%d %s, %s, %%r5;", n, reg(n, 8), reg(n, 4)), func(a, b, _ uint64) uint64 { return low(a, n) >> min(low(b, 32), 64) }},
			row{fmt.Sprintf("shr.s%d %s, %s, %%r5;", n, reg(n, 8), reg(n, 4)), func(a, b, _ uint64) uint64 {
				return low(uint64(signed(a, n)>>min(low(b, 32), 64)), n)
			}},
			row{fmt.Sprintf("not.b%d %s, %s;", n, reg(n, 8), reg(n, 4)), func(a, _, _ uint64) uint64 { return low(^a, n) }})
	}
	rows = append(rows,
		row{"shf.l.wrap.b32 %r8, %r4, %r5, %r6;", func(a, b, c uint64) uint64 { return low(b<<32|low(a, 32), 64) << (c & 31) >> 32 }},
		row{"shf.r.wrap.b32 %r8, %r4, %r5, %r6;", func(a, b, c uint64) uint64 { return low((b<<32|low(a, 32))>>(c&31), 32) }},
		row{"shf.l.clamp.b32 %r8, %r4, %r5, %r6;", func(a, b, c uint64) uint64 { return (b<<32 | low(a, 32)) << min(low(c, 32), 32) >> 32 }},
		row{"shf.r.clamp.b32 %r8, %r4, %r5, %r6;", func(a, b, c uint64) uint64 { return low((b<<32|low(a, 32))>>min(low(c, 32), 32), 32) }})
	checkRows(t, rows, integers(), nil)
}

// extract is bfe by single bits, as the ISA defines it.
func extract(a, b, c uint64, n int, sign bool) uint64 {
	pos, size := int(b&0xff), int(c&0xff)
	top := min(pos+size-1, n-1)
	fill := uint64(0)
	if sign && size > 0 {
		fill = a >> top & 1
	}
	var out uint64
	for i := range n {
		bit := fill
		if i < size && pos+i < n {
			bit = a >> (pos + i) & 1
		}
		out |= bit << i
	}
	return out
}

func insert(a, b, pos, size uint64, n int) uint64 {
	for i := uint64(0); i < size && pos+i < uint64(n); i++ {
		b = b&^(1<<(pos+i)) | (a>>i&1)<<(pos+i)
	}
	return b
}

func TestBitFields(t *testing.T) {
	var rows []row
	for _, n := range []int{32, 64} {
		rows = append(rows,
			row{fmt.Sprintf("bfe.u%d %s, %s, %%r5, %%r6;", n, reg(n, 8), reg(n, 4)), func(a, b, c uint64) uint64 { return extract(low(a, n), b, c, n, false) }},
			row{fmt.Sprintf("bfe.s%d %s, %s, %%r5, %%r6;", n, reg(n, 8), reg(n, 4)), func(a, b, c uint64) uint64 { return extract(low(a, n), b, c, n, true) }},
			row{fmt.Sprintf("bfi.b%d %s, %s, %s, %%r6, 9;", n, reg(n, 8), reg(n, 4), reg(n, 5)), func(a, b, c uint64) uint64 { return low(insert(a, b, c&0xff, 9, n), n) }},
			row{fmt.Sprintf("bfi.b%d %s, %s, %s, 3, %%r6;", n, reg(n, 8), reg(n, 4), reg(n, 5)), func(a, b, c uint64) uint64 { return low(insert(a, b, 3, c&0xff, n), n) }},
			row{fmt.Sprintf("popc.b%d %%r8, %s;", n, reg(n, 4)), func(a, _, _ uint64) uint64 { return uint64(bits.OnesCount64(low(a, n))) }},
			row{fmt.Sprintf("clz.b%d %%r8, %s;", n, reg(n, 4)), func(a, _, _ uint64) uint64 { return uint64(bits.LeadingZeros64(low(a, n)) - 64 + n) }},
			row{fmt.Sprintf("bfind.u%d %%r8, %s;", n, reg(n, 4)), func(a, _, _ uint64) uint64 { return low(uint64(bits.Len64(low(a, n))-1), 32) }},
			row{fmt.Sprintf("bfind.s%d %%r8, %s;", n, reg(n, 4)), func(a, _, _ uint64) uint64 {
				v := signed(a, n)
				return low(uint64(bits.Len64(uint64(max(v, ^v)))-1), 32)
			}},
			row{fmt.Sprintf("bfind.shiftamt.u%d %%r8, %s;", n, reg(n, 4)), func(a, _, _ uint64) uint64 {
				if low(a, n) == 0 {
					return 0xffffffff
				}
				return uint64(n - bits.Len64(low(a, n)))
			}},
			row{fmt.Sprintf("brev.b%d %s, %s;", n, reg(n, 8), reg(n, 4)), func(a, _, _ uint64) (out uint64) {
				for i := range n {
					out |= a >> i & 1 << (n - 1 - i)
				}
				return out
			}})
	}
	checkRows(t, rows, integers(), nil)
}

func TestPermuteAndTruthTables(t *testing.T) {
	checkRows(t, []row{
		{"prmt.b32 %r8, %r4, %r5, 0x5140;", func(a, b, _ uint64) uint64 {
			return a&0xff | b&0xff<<8 | a>>8&0xff<<16 | b>>8&0xff<<24
		}},
		{"prmt.b32 %r8, %r4, %r5, 0x0123;", func(a, _, _ uint64) uint64 { return uint64(bits.ReverseBytes32(uint32(a))) }},
		{"prmt.b32 %r8, %r4, %r5, 0xfb38;", func(a, b, _ uint64) uint64 {
			sign := func(v uint64) uint64 { return v >> 7 & 1 * 0xff }
			return sign(a) | a>>24&0xff<<8 | sign(a>>24)<<16 | sign(b>>24)<<24
		}},
		{"lop3.b32 %r8, %r4, %r5, %r6, 0xca;", func(a, b, c uint64) uint64 { return low(a&b|^a&c, 32) }},
		{"lop3.b32 %r8, %r4, %r5, %r6, 0x96;", func(a, b, c uint64) uint64 { return low(a^b^c, 32) }},
		{"lop3.b32 %r8, %r4, %r5, %r6, 0xe8;", func(a, b, c uint64) uint64 { return low(a&b|a&c|b&c, 32) }},
	}, integers(), nil)
}

func TestMovePacksAndUnpacks(t *testing.T) {
	checkRows(t, []row{
		{"mov.b32 %r8, {%rs4, %rs5};", func(a, b, _ uint64) uint64 { return low(a, 16) | low(b, 16)<<16 }},
		{"mov.b64 %rd8, {%r4, %r5};", func(a, b, _ uint64) uint64 { return low(a, 32) | b<<32 }},
		{"mov.b64 %rd8, {%rs4, %rs5, %rs6, %rs4};", func(a, b, c uint64) uint64 {
			return low(a, 16) | low(b, 16)<<16 | low(c, 16)<<32 | a<<48
		}},
		{"mov.b32 {%rs1, %rs8}, %r4;", func(a, _, _ uint64) uint64 { return low(a, 32) >> 16 }},
		{"mov.b64 {%r8, %r3}, %rd4;", func(a, _, _ uint64) uint64 { return low(a, 32) }},
		{"mov.b64 {_, %r8}, %rd4;", func(a, _, _ uint64) uint64 { return a >> 32 }},
		{"mov.f32 %r8, 0f3F800000;", func(_, _, _ uint64) uint64 { return 0x3f800000 }},
		{"mov.b64 %rd8, -2;", func(_, _, _ uint64) uint64 { return ^uint64(1) }},
	}, integers(), nil)
}
