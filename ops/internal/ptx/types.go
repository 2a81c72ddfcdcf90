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
	packed int  // 1, or 2 for .f16x2 and .bf16x2
	ftz    bool // arithmetic of .f16 flushes denormals
}

var scalars = map[string]scalar{
	"b8": {class: bitsClass, bits: 8, packed: 1}, "b16": {class: bitsClass, bits: 16, packed: 1}, "b32": {class: bitsClass, bits: 32, packed: 1}, "b64": {class: bitsClass, bits: 64, packed: 1},
	"u8": {class: unsignedClass, bits: 8, packed: 1}, "u16": {class: unsignedClass, bits: 16, packed: 1}, "u32": {class: unsignedClass, bits: 32, packed: 1}, "u64": {class: unsignedClass, bits: 64, packed: 1},
	"s8": {class: signedClass, bits: 8, packed: 1}, "s16": {class: signedClass, bits: 16, packed: 1}, "s32": {class: signedClass, bits: 32, packed: 1}, "s64": {class: signedClass, bits: 64, packed: 1},
	"f16": {class: floatClass, bits: 16, packed: 1}, "f32": {class: floatClass, bits: 32, packed: 1}, "f64": {class: floatClass, bits: 64, packed: 1},
	"bf16": {class: bfloatClass, bits: 16, packed: 1}, "tf32": {class: tf32Class, bits: 32, packed: 1}, "pred": {class: predClass, bits: 1, packed: 1},
	"f16x2": {class: floatClass, bits: 16, packed: 2}, "bf16x2": {class: bfloatClass, bits: 16, packed: 2},
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
