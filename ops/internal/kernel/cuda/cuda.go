// Package cuda attends blocks on CUDA devices: it lays arrays out as the kernels want them, lists the tiles that a mask leaves, picks
// the kernels that suit the device and launches them. The kernels are PTX, compiled from kernels/ and embedded; the device may be a
// GPU (device/cudriver) or the interpreter (device/sim), which needs none.
//
//	kernel.Block ── Prepare ──> Block: kernels, tile lists and positions in the device's memory, kept for the next pass
//
//	host rows ── Pack ──> tiles ┐
//	                            ├─ Forward, once a block of keys ──> carry ── Finish ──> out, high and low
//	packed keys and values ─────┘                                                          │
//	dOut ── Pack ──> tiles, rows ── Delta, Backward, once a block of keys ──> dQ, dK, dV ── Unpack ──> host rows
//
// Engine has these as operations on arrays that stay on the device, for a ring whose blocks travel from device to device; Attention
// is a kernel.Attention of them, with slices of the host going in and out of every call.
//
// Legend: H query heads, K KV heads (a batch is folded into both), S query rows, N key rows, SP and NP those rounded up to 128, D and
// Dv the head dims, DP the larger one rounded up to 64. Logarithms on the device are to base 2.
package cuda

import (
	"errors"
	"fmt"

	"github.com/ringgrad/ringgrad/ops/internal/kernel"
)

// Format is the type in which queries, keys, values and output gradients are multiplied. Sums are of float32 in all.
type Format uint8

// The formats.
const (
	Float32 Format = iota
	BFloat16
	Float16
)

var formatNames = [...]string{Float32: "f32", BFloat16: "bf16", Float16: "f16"}

// String is the name as in the names of PTX files.
func (f Format) String() string {
	if int(f) < len(formatNames) {
		return formatNames[f]
	}
	return fmt.Sprintf("format %d", uint8(f))
}

// size is the bytes of an element.
func (f Format) size() int {
	if f == Float32 {
		return 4
	}
	return 2
}

// Family is how kernels multiply.
type Family string

// The families. Best picks by device and format.
const (
	Best  Family = ""
	SIMT  Family = "simt"  // float32 on the ordinary units
	MMA   Family = "mma"   // tensor cores, from compute capability 8.0 on
	WGMMA Family = "wgmma" // tensor cores of Hopper, compute capability 9.0 alone
)

// Options of an Engine. The zero value is usable.
type Options struct {
	// Fast lets the gradients of queries be added up in whatever order blocks of threads come to it: faster where few blocks are in
	// flight, but the last bits differ from run to run. Otherwise they are added in turns, and bits repeat.
	Fast bool
	// Family, if not Best, is what must be used; Prepare fails where the device or the format does not have it.
	Family Family
	// Tables is how many tile lists are kept on the device that no Block uses; 0 is DefaultTables.
	Tables int
}

// DefaultTables suits a ring of 32 ranks and a change of masks at every step.
const DefaultTables = 64

// EnsureDefaults replaces zeros.
func (o *Options) EnsureDefaults() {
	if o.Tables == 0 {
		o.Tables = DefaultTables
	}
}

// Validate reports what cannot be honoured.
func (o *Options) Validate() error {
	var errs []error
	switch o.Family {
	case Best, SIMT, MMA, WGMMA:
	default:
		errs = append(errs, fmt.Errorf("cuda: family %q is not known: give simt, mma, wgmma or nothing", o.Family))
	}
	if o.Tables < 0 {
		errs = append(errs, fmt.Errorf("cuda: %d tables to keep: give at least 0", o.Tables))
	}
	return errors.Join(errs...)
}

// ErrFloat64 says that float64 was asked of a device.
var ErrFloat64 = errors.New("float64 runs on the CPU: take float32, or no device")

// ErrUnsupported says that a device has no kernels for what was asked.
var ErrUnsupported = errors.New("not supported by the device")

// MaxPosition is the largest global position of a query or a key.
const MaxPosition = 1<<31 - 2

// Shape is what the arrays of a call have in common.
type Shape struct {
	Heads, KVHeads int // H and K, the batch included
	Dim, ValueDim  int // D and Dv
	Format         Format
}

// ShapeOf is the shape of a block's arrays.
func ShapeOf(b kernel.Block, f Format) Shape {
	return Shape{Heads: b.Heads, KVHeads: b.KVHeads, Dim: b.Dim, ValueDim: b.ValueDim, Format: f}
}

// Validate reports sizes that no kernel takes.
func (s Shape) Validate() error {
	switch {
	case s.Heads < 1 || s.KVHeads < 1 || s.Heads%s.KVHeads != 0:
		return fmt.Errorf("cuda: %d query heads and %d KV heads: give a positive multiple", s.Heads, s.KVHeads)
	case s.Dim < 1 || s.Dim > kernel.MaxDim || s.ValueDim < 1 || s.ValueDim > kernel.MaxDim:
		return fmt.Errorf("cuda: head dims %d and %d: give 1 to %d", s.Dim, s.ValueDim, kernel.MaxDim)
	case s.Format > Float16:
		return fmt.Errorf("cuda: %v is not known: give Float32, BFloat16 or Float16", s.Format)
	}
	return nil
}

// Width is DP.
func (s Shape) Width() int { return roundUp(max(s.Dim, s.ValueDim), columnUnit) }

// What arrays are padded to, in rows and columns; pieces of memory begin at multiples of pieceUnit bytes.
const (
	rowUnit    = 128
	columnUnit = 64
	pieceUnit  = 256
	flagBytes  = 16
	leastTile  = 64 // rows of the smallest tile of a kernel
)

// PaddedRows is SP of S rows.
func PaddedRows(rows int) int { return roundUp(rows, rowUnit) }

func roundUp(n, unit int) int { return (n + unit - 1) / unit * unit }

// OperandBytes is the size of q, k, v or dO as kernels multiply it: tiles, or for Float32 rows, with the flag behind them. It is a
// multiple of 256, so that operands can lie one behind the other in a message.
func (s Shape) OperandBytes(heads, rows int) int {
	return roundUp(s.operandData(heads, rows)+flagBytes, pieceUnit)
}

func (s Shape) operandData(heads, rows int) int {
	return heads * PaddedRows(rows) * s.Width() * s.Format.size()
}

// KVBytes is the size of the keys and values of a block, which travel as one piece: k, and v from OperandBytes(KVHeads, keys) on.
func (s Shape) KVBytes(keys int) int { return 2 * s.OperandBytes(s.KVHeads, keys) }

// RowsBytes is the size of a float32 array [heads][SP][DP]: o, out, dO for Delta, dq, dk or dv.
func (s Shape) RowsBytes(heads, rows int) int { return 4 * heads * PaddedRows(rows) * s.Width() }

// TurnsBytes is the size of Backward's Turns for so many queries, whatever the kernel: a word for each tile, of at least 64 queries.
func (s Shape) TurnsBytes(rows int) int { return 4 * s.Heads * max(PaddedRows(rows)/leastTile, 1) }

// LineBytes is the size of an array [heads][SP] of words: m, l, high, low, delta, or dropout words.
func LineBytes(heads, rows int) int { return 4 * heads * PaddedRows(rows) }
