package main

import (
	"math"

	"github.com/mmcloughlin/avo/operand"
)

// multiplyAdd writes multiplyAdd of primitives.go: two multiply-adds in turn, in as many independent chains as there are registers.
// Each chain ends up between two values that differ in most bits: never denormal, and not the same again and again, because a
// processor's clock depends on what its registers hold.
func (t *target) multiplyAdd() {
	t.function("multiplyAdd", "is multiplyAdd in "+t.isa+".", "n int) (flops int")
	registers := t.registers()
	chains, maps := registers[:len(registers)-4], registers[len(registers)-4:] // x becomes maps[0]·x + maps[1], then maps[2]·x + maps[3]
	values := []float64{1.37, -0.21, 0.7, 0.3, 0.9}
	bits := make([]uint64, len(values))
	for i, x := range values {
		bits[i] = math.Float64bits(x)
		if t.size == 4 {
			bits[i] = uint64(math.Float32bits(float32(x)))
		}
	}
	value := t.constants("multiplyAdd"+t.element(), bits)
	for i, r := range maps {
		t.load(value(i), r, false)
	}
	for _, x := range chains {
		t.load(value(len(maps)), x, false)
	}

	n, left, flops := t.number("n"), t.GP64(), t.GP64()
	t.XORQ(flops, flops)
	t.MOVQ(n, left)
	t.TESTQ(left, left)
	t.JLE(operand.LabelRef("counted"))
	t.Label("turn")
	for i := 0; i < len(maps); i += 2 {
		for _, x := range chains {
			t.fma213(maps[i+1], maps[i], x)
		}
	}
	t.DECQ(left)
	t.JNE(operand.LabelRef("turn"))
	t.MOVQ(operand.U32(2*2*len(chains)*t.lanes()), flops)
	t.IMULQ(n, flops)
	t.Label("counted")
	t.Store(flops, t.ReturnIndex(0))
	t.finish()
}
