package ptx

import (
	"fmt"
	"testing"
)

func TestSetpComparesIntegers(t *testing.T) {
	relations := map[string]func(x, y int64) bool{
		"eq": func(x, y int64) bool { return x == y }, "ne": func(x, y int64) bool { return x != y },
		"lt": func(x, y int64) bool { return x < y }, "le": func(x, y int64) bool { return x <= y },
		"gt": func(x, y int64) bool { return x > y }, "ge": func(x, y int64) bool { return x >= y },
	}
	var rows []row
	for name, holds := range relations {
		for _, n := range []int{16, 32, 64} {
			rows = append(rows,
				row{fmt.Sprintf("setp.%s.s%d %%p1, %s, %s;", name, n, reg(n, 4), reg(n, 5)), func(a, b, _ uint64) uint64 {
					return truth(holds(signed(a, n), signed(b, n)))
				}},
				row{fmt.Sprintf("setp.%s.u%d %%p1, %s, %s;", name, n, reg(n, 4), reg(n, 5)), func(a, b, _ uint64) uint64 {
					// Unsigned order is signed order with the top bits flipped.
					top := uint64(1) << 63
					return truth(holds(int64(low(a, n)^top), int64(low(b, n)^top)))
				}})
		}
	}
	checkRows(t, rows, integers(), nil)
}

func truth(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

func TestSetpComparesFloats(t *testing.T) {
	ordered := map[string]func(x, y float32) bool{
		"eq": func(x, y float32) bool { return x == y }, "ne": func(x, y float32) bool { return x < y || x > y },
		"lt": func(x, y float32) bool { return x < y }, "le": func(x, y float32) bool { return x <= y },
		"gt": func(x, y float32) bool { return x > y }, "ge": func(x, y float32) bool { return x >= y },
	}
	nan := func(x, y float32) bool { return x != x || y != y }
	var rows []row
	for name, holds := range ordered {
		rows = append(rows,
			row{"setp." + name + ".f32 %p1, %r4, %r5;", func(a, b, _ uint64) uint64 { return truth(holds(f32(uint32(a)), f32(uint32(b)))) }},
			row{"setp." + name + "u.f32 %p1, %r4, %r5;", func(a, b, _ uint64) uint64 {
				x, y := f32(uint32(a)), f32(uint32(b))
				return truth(holds(x, y) || nan(x, y))
			}},
			row{"setp." + name + ".ftz.f32 %p1, %r4, %r5;", func(a, b, _ uint64) uint64 {
				return truth(holds(f32(flushed(uint32(a))), f32(flushed(uint32(b)))))
			}})
	}
	rows = append(rows,
		row{"setp.num.f32 %p1, %r4, %r5;", func(a, b, _ uint64) uint64 { return truth(!nan(f32(uint32(a)), f32(uint32(b)))) }},
		row{"setp.nan.f32 %p1, %r4, %r5;", func(a, b, _ uint64) uint64 { return truth(nan(f32(uint32(a)), f32(uint32(b)))) }},
		row{"setp.lt.bf16 %p1, %rs4, %rs5;", func(a, b, _ uint64) uint64 {
			return truth(bfloat16.value(low(a, 16)) < bfloat16.value(low(b, 16)))
		}})
	checkRows(t, rows, floats(), nil)
}

func TestSetpCombinesAndNegates(t *testing.T) {
	c := "setp.lt.s32 %p3, %r6, 0; "
	less := func(a, b uint64) bool { return signed(a, 32) < signed(b, 32) }
	neg := func(c uint64) bool { return signed(c, 32) < 0 }
	checkRows(t, []row{
		{c + "setp.lt.and.s32 %p1, %r4, %r5, %p3;", func(a, b, c uint64) uint64 { return truth(less(a, b) && neg(c)) }},
		{c + "setp.lt.or.s32 %p1, %r4, %r5, !%p3;", func(a, b, c uint64) uint64 { return truth(less(a, b) || !neg(c)) }},
		{c + "setp.lt.xor.s32 %p1, %r4, %r5, %p3;", func(a, b, c uint64) uint64 { return truth(less(a, b) != neg(c)) }},
		{c + "setp.lt.and.s32 %p4|%p1, %r4, %r5, %p3;", func(a, b, c uint64) uint64 { return truth(!less(a, b) && neg(c)) }},
		{c + "setp.lt.s32 %p4|%p1, %r4, %r5;", func(a, b, _ uint64) uint64 { return truth(!less(a, b)) }},
		{c + "setp.lt.s32 %p4, %r4, %r5; and.pred %p1, %p4, %p3;", func(a, b, c uint64) uint64 { return truth(less(a, b) && neg(c)) }},
		{c + "setp.lt.s32 %p4, %r4, %r5; xor.pred %p1, %p4, %p3;", func(a, b, c uint64) uint64 { return truth(less(a, b) != neg(c)) }},
		{c + "setp.lt.s32 %p4, %r4, %r5; or.pred %p1, %p4, %p3;", func(a, b, c uint64) uint64 { return truth(less(a, b) || neg(c)) }},
		{c + "not.pred %p1, %p3;", func(_, _, c uint64) uint64 { return truth(!neg(c)) }},
		{c + "mov.pred %p1, %p3;", func(_, _, c uint64) uint64 { return truth(neg(c)) }},
	}, integers(), nil)
}

func TestSelections(t *testing.T) {
	checkRows(t, []row{
		{"setp.lt.s32 %p3, %r6, 0; selp.b32 %r8, %r4, %r5, %p3;", func(a, b, c uint64) uint64 {
			if signed(c, 32) < 0 {
				return low(a, 32)
			}
			return low(b, 32)
		}},
		{"slct.b32.s32 %r8, %r4, %r5, %r6;", func(a, b, c uint64) uint64 {
			if signed(c, 32) >= 0 {
				return low(a, 32)
			}
			return low(b, 32)
		}},
		{"slct.u64.f32 %rd8, %rd4, %rd5, %r6;", func(a, b, c uint64) uint64 {
			if f32(uint32(c)) >= 0 {
				return a
			}
			return b
		}},
	}, integers(), nil)
}
