package ptx

import "fmt"

// class is the kind of a scalar type.
type class uint8

const (
	bitsClass class = iota // .b8 to .b64
	unsignedClass
	signedClass
	floatClass // .f16, .f32, .f64
	bfloatClass
	tf32Class
	predClass
)

// scalar is a PTX type: its class, the width of one element in bits, and how many elements a register packs.
type scalar struct {
	class  class
	bits   int
	packed int // 1, or 2 for .f16x2 and .bf16x2
}

var scalars = map[string]scalar{
	"b8": {bitsClass, 8, 1}, "b16": {bitsClass, 16, 1}, "b32": {bitsClass, 32, 1}, "b64": {bitsClass, 64, 1},
	"u8": {unsignedClass, 8, 1}, "u16": {unsignedClass, 16, 1}, "u32": {unsignedClass, 32, 1}, "u64": {unsignedClass, 64, 1},
	"s8": {signedClass, 8, 1}, "s16": {signedClass, 16, 1}, "s32": {signedClass, 32, 1}, "s64": {signedClass, 64, 1},
	"f16": {floatClass, 16, 1}, "f32": {floatClass, 32, 1}, "f64": {floatClass, 64, 1},
	"bf16": {bfloatClass, 16, 1}, "tf32": {tf32Class, 32, 1}, "pred": {predClass, 1, 1},
	"f16x2": {floatClass, 16, 2}, "bf16x2": {bfloatClass, 16, 2},
}

// width is the register width in bits.
func (t scalar) width() int { return t.bits * t.packed }

// integer tells whether the type is plain bits or an integer.
func (t scalar) integer() bool { return t.class <= signedClass }

func (t scalar) signed() bool { return t.class == signedClass }

func (t scalar) isF32() bool { return t.class == floatClass && t.bits == 32 }

func (t scalar) isHalf() bool {
	return (t.class == floatClass || t.class == bfloatClass) && t.bits == 16
}

// name is the type as PTX writes it.
func (t scalar) name() string {
	for n, s := range scalars {
		if s == t {
			return n
		}
	}
	return fmt.Sprintf("?%d", t.bits)
}
