package ptx

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// inst is one decoded instruction.
type inst struct {
	exec     exec
	kind     kind
	guard    int32 // predicate slot, -1 without
	inverted bool
	uniform  bool  // bra.uni: all active lanes must go the same way
	matrix   bool  // wgmma: checks its registers itself
	shared   bool  // touches shared or global memory: the adversarial schedule may split the warp before it
	target   int   // of a branch
	table    []int // targets of brx.idx
	index    int32 // slot of its index
	line     int
	text     string
	reads    []int32 // slots of the 32-bit bank
	writes   []int32
	reads64  []int32 // and of the 64-bit bank
	writes64 []int32
	required func(w *warp, m uint32) uint32 // collectives: the lanes that must come together
}

// exec runs an instruction for the lanes of m, which is not empty.
type exec func(w *warp, m uint32)

// kind is how the run loop treats an instruction.
type kind uint8

const (
	kindPlain      kind = iota
	kindBranch          // bra
	kindSwitch          // brx.idx
	kindExit            // ret, exit
	kindCollective      // exec runs once all required lanes are here
	kindBarrier         // bar.sync: exec arrives, the fragment waits
	kindWait            // exec may park the fragment, which then runs the instruction again
	kindEnd             // behind the last instruction
)

// decoders has an entry per opcode.
var decoders map[string]func(*decoder)

func init() {
	decoders = map[string]func(*decoder){}
	for _, group := range []map[string]func(*decoder){
		moveDecoders, integerDecoders, bitDecoders, floatDecoders, compareDecoders, convertDecoders,
		memoryDecoders, atomicDecoders, controlDecoders, collectiveDecoders, matrixDecoders, asyncDecoders,
		mbarrierDecoders, wgmmaDecoders,
	} {
		maps.Copy(decoders, group)
	}
}

// decoder reads the operands of one instruction; the first error sticks.
type decoder struct {
	b    *builder
	op   []string // opcode and all modifiers
	mods []string // modifiers not yet consumed
	args []string
	in   inst
	err  error
}

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf(format, args...)
	}
}

// take consumes a modifier if it is there.
func (d *decoder) take(mods ...string) bool {
	i := slices.IndexFunc(d.mods, func(m string) bool { return slices.Contains(mods, m) })
	if i < 0 {
		return false
	}
	d.mods = slices.Concat(d.mods[:i], d.mods[i+1:])
	return true
}

// takeOne consumes whichever of the modifiers is there, or returns "".
func (d *decoder) takeOne(mods ...string) string {
	for _, m := range mods {
		if d.take(m) {
			return m
		}
	}
	return ""
}

// want consumes modifiers that must be there.
func (d *decoder) want(mods ...string) {
	for _, m := range mods {
		if !d.take(m) {
			d.fail("%s without .%s is not modelled", d.op[0], m)
		}
	}
}

// typ consumes the last modifier as a type.
func (d *decoder) typ() scalar {
	if len(d.mods) == 0 {
		d.fail("no type")
		return scalar{class: bitsClass, bits: 32, packed: 1}
	}
	last := d.mods[len(d.mods)-1]
	t, ok := scalars[last]
	if !ok {
		d.fail("unknown type .%s", last)
	}
	d.mods = d.mods[:len(d.mods)-1]
	return t
}

// unsupported reports a type the opcode does not have.
func (d *decoder) unsupported(t scalar) {
	d.fail("%s of type .%s is not modelled", d.op[0], t.name())
}

// arity checks the number of operands.
func (d *decoder) arity(least, most int) bool {
	if len(d.args) < least || len(d.args) > most {
		d.fail("%d operands; %s takes %d to %d", len(d.args), d.op[0], least, most)
	}
	return d.err == nil
}

// arg is operand i, or "" behind the last.
func (d *decoder) arg(i int) string {
	if i >= len(d.args) {
		d.fail("operand %d is missing", i+1)
		return "_"
	}
	return d.args[i]
}

// list splits {a, b} into its parts; a single operand is a list of one.
func list(s string) []string {
	if inner, ok := strings.CutPrefix(s, "{"); ok {
		return splitList(strings.TrimSuffix(inner, "}"))
	}
	return []string{s}
}
