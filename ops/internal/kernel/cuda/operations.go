package cuda

import (
	"fmt"
	"math"

	"github.com/ringgrad/ringgrad/ops/internal/device"
)

// Carry is the state of queries between blocks: O rows of H heads, not normalised; M and L lines.
type Carry struct{ O, M, L device.Ptr }

// CarryBytes is the size of a carry in one piece.
func (s Shape) CarryBytes(rows int) int {
	return s.RowsBytes(s.Heads, rows) + 2*LineBytes(s.Heads, rows)
}

// CarryAt is a carry in one piece.
func (s Shape) CarryAt(p device.Ptr, rows int) Carry {
	m := p + device.Ptr(s.RowsBytes(s.Heads, rows))
	return Carry{O: p, M: m, L: m + device.Ptr(LineBytes(s.Heads, rows))}
}

// Strides say where the element of a row and a head, which is head Head of batch Batch, lies in a dense array: in elements.
type Strides struct{ Batch, Head, Row int }

// TokenMajor are the strides of [batch, rows, heads, dim].
func TokenMajor(rows, heads, dim int) Strides {
	return Strides{Batch: rows * heads * dim, Head: dim, Row: heads * dim}
}

// HeadMajor are the strides of [batch, heads, rows, dim].
func HeadMajor(rows, heads, dim int) Strides {
	return Strides{Batch: heads * rows * dim, Head: rows * dim, Row: dim}
}

func (s Strides) args() strided {
	return strided{int64(s.Batch), int64(s.Head), int64(s.Row)}
}

// Dense is an array as hosts have it, in device memory: float32, or 16-bit elements of the format where Halves is set (of Pack).
type Dense struct {
	Ptr          device.Ptr
	Strides      Strides
	Batch, Heads int // Heads of one batch
	Rows, Dim    int
	Halves       bool
}

// Pack rounds and lays out a dense array as an operand of shape s, at to, with its flag. Only the width and the format count of s.
func (e *Engine) Pack(st device.Stream, s Shape, to device.Ptr, from Dense) error {
	return e.pack(st, s, s.Format, to, from)
}

// PackRows lays out a dense float32 array as rows, which Delta takes. It has OperandBytes of Float32.
func (e *Engine) PackRows(st device.Stream, s Shape, to device.Ptr, from Dense) error {
	return e.pack(st, s, Float32, to, from)
}

func (e *Engine) pack(st device.Stream, s Shape, f Format, to device.Ptr, from Dense) error {
	s.Format = f
	heads, sp := from.Batch*from.Heads, PaddedRows(from.Rows)
	flag := to + device.Ptr(s.operandData(heads, from.Rows))
	if err := st.Fill(flag, 0, flagBytes/4); err != nil {
		return fmt.Errorf("cuda: pack: %w", err)
	}
	args := packArgs{
		from: from.Ptr, to: to, flag: flag, stride: from.Strides.args(),
		rows: int32(from.Rows), sp: int32(sp), dim: int32(from.Dim), dp: int32(s.Width()), heads: int32(from.Heads), halves: flagOf(from.Halves),
	}
	return e.start(st, simple{file: commonFile, name: "pack_" + layoutNames[f]}, [2]int{sp / rowUnit, heads}, bytesOf(&args))
}

// layoutNames are what operands are called in the names of kernels.
var layoutNames = [...]string{Float32: "rows", BFloat16: "bf16", Float16: "f16"}

// Unpack writes rows, times factor, out as a dense float32 array.
func (e *Engine) Unpack(st device.Stream, s Shape, to Dense, from device.Ptr, factor float32) error {
	sp := PaddedRows(to.Rows)
	args := unpackArgs{
		from: from, to: to.Ptr, stride: to.Strides.args(),
		rows: int32(to.Rows), sp: int32(sp), dim: int32(to.Dim), dp: int32(s.Width()), heads: int32(to.Heads), factor: factor,
	}
	return e.start(st, simple{file: commonFile, name: "unpack"}, [2]int{sp / rowUnit, to.Batch * to.Heads}, bytesOf(&args))
}

// Words are dropout's words of queries [H][SP] and of keys [H][NP]; both 0 where nothing is dropped.
type Words struct{ Queries, Keys device.Ptr }

// QueryWords writes the words of a block's queries [H][SP]; keys are dropout's keys, 64-bit words [H] on the device.
func (e *Engine) QueryWords(st device.Stream, b *Block, to, keys device.Ptr) error {
	args := wordsArgs{out: to, key: keys, position: b.table.qpos, n: int32(PaddedRows(b.Rows))}
	return e.words(st, b, &args)
}

// KeyWords writes the words of a block's keys [H][NP].
func (e *Engine) KeyWords(st device.Stream, b *Block, to, keys device.Ptr) error {
	args := wordsArgs{out: to, key: keys, position: b.table.kpos, n: int32(PaddedRows(b.Keys)), keys: 1}
	return e.words(st, b, &args)
}

func (e *Engine) words(st device.Stream, b *Block, args *wordsArgs) error {
	blocks := (int(args.n) + simpleThreads - 1) / simpleThreads
	return e.start(st, simple{file: commonFile, name: "words"}, [2]int{blocks, b.Heads}, bytesOf(args))
}

// Forward is what one block of keys does to a carry. Q, K and V are operands.
type Forward struct {
	Carry   Carry
	Q, K, V device.Ptr
	Words   Words
	First   bool // the carry holds nothing, and is written
}

// Forward folds the keys of a block into the carry.
func (e *Engine) Forward(st device.Stream, b *Block, f Forward) error {
	if b.Rows == 0 || b.Empty() && !f.First {
		return nil
	}
	args := forwardArgs{
		q: f.Q, k: f.K, v: f.V, o: f.Carry.O, m: f.Carry.M, l: f.Carry.L, start: b.table.forwardStart, tile: b.table.forwardTile,
		score: b.score(f.Words), sp: int32(PaddedRows(b.Rows)), np: int32(PaddedRows(b.Keys)),
		heads: int32(b.Heads), group: int32(b.Heads / b.KVHeads), first: flagOf(f.First),
	}
	grid := [2]int{int(args.sp) / b.kernels.forward.queries, b.Heads}
	if err := e.fast(st, b, pass{"forward", b.kernels.forward, grid, bytesOf(&args)}); err != nil {
		return err
	}
	careful := carefulArgs[forwardArgs]{call: args, dp: int32(b.Width())}
	return e.start(st, b.careful("forward"), b.lines(), bytesOf(&careful))
}

// Backward is what one block gives to the gradients. Q, K, V and DOut are operands; High, Low and Delta lines of the whole rows, from
// Finish and Delta; DQ, DK, DV rows of H, K and K heads.
type Backward struct {
	Q, K, V, DOut    device.Ptr
	High, Low, Delta device.Ptr
	DQ, DK, DV       device.Ptr
	Turns            device.Ptr // TurnsBytes of scratch that no other stream uses
	Words            Words
	Fresh            bool // DK and DV are overwritten; DQ is always added to
}

// Backward adds the gradients of a block.
func (e *Engine) Backward(st device.Stream, b *Block, g Backward) error {
	if b.Keys == 0 || b.Empty() && !g.Fresh {
		return nil
	}
	if !e.options.Fast {
		if err := st.Fill(g.Turns, 0, b.TurnsBytes(b.Rows)/4); err != nil {
			return fmt.Errorf("cuda: backward: %w", err)
		}
	}
	args := backwardArgs{
		q: g.Q, k: g.K, v: g.V, dO: g.DOut, high: g.High, low: g.Low, delta: g.Delta, dq: g.DQ, dk: g.DK, dv: g.DV,
		start: b.table.backwardStart, tile: b.table.backwardTile, turn: b.table.backwardTurn, turns: g.Turns,
		score: b.score(g.Words), sp: int32(PaddedRows(b.Rows)), np: int32(PaddedRows(b.Keys)),
		heads: int32(b.Heads), group: int32(b.Heads / b.KVHeads), fresh: flagOf(g.Fresh), ordered: flagOf(!e.options.Fast),
	}
	grid := [2]int{int(args.np) / b.kernels.backward.keys, b.KVHeads}
	if err := e.fast(st, b, pass{"backward", b.kernels.backward, grid, bytesOf(&args)}); err != nil {
		return err
	}
	careful := carefulArgs[backwardArgs]{call: args, dp: int32(b.Width())}
	if err := e.start(st, b.careful("query"), b.lines(), bytesOf(&careful)); err != nil {
		return err
	}
	return e.start(st, b.careful("key"), [2]int{PaddedRows(b.Keys) / rowUnit, b.KVHeads}, bytesOf(&careful))
}

// score is what makes logits in this block.
func (b *Block) score(w Words) scoreArgs {
	of := b.of
	s := scoreArgs{
		span: b.table.span, qpos: b.table.qpos, kpos: b.table.kpos, layers: int32(b.table.layers),
		keep: 1, scale: float32(of.Scale * math.Log2E), natural: float32(of.Scale),
	}
	if of.Softcap != 0 {
		s.softcap, s.inner = float32(of.Softcap*math.Log2E), float32(of.Scale/of.Softcap)
	}
	if len(of.Slopes) > 0 {
		s.slope, s.alibi = b.table.slope, 1
	}
	if d := of.Dropout; d.Threshold != 0 {
		s.threshold, s.keep, s.qword, s.kword = d.Threshold, float32(d.Scale()), w.Queries, w.Keys
	}
	return s
}

// extras reports whether a block needs more than the plain kernels have.
func (b *Block) extras() bool {
	return b.of.Softcap != 0 || len(b.of.Slopes) > 0 || b.of.Dropout.Threshold != 0
}

// Finish normalises a carry: out (rows; may be c.O), and high and low, whose sum is the log2 of each row's softmax denominator. Sinks,
// if any, are [H] logits times log2(e) on the device.
func (e *Engine) Finish(st device.Stream, b *Block, f Finish) error {
	args := finishArgs{
		o: f.Carry.O, m: f.Carry.M, l: f.Carry.L, out: f.Out, high: f.High, low: f.Low, sink: f.Sinks,
		keep: float32(b.of.Dropout.Scale()), sp: int32(PaddedRows(b.Rows)), dp: int32(b.Width()),
	}
	return e.start(st, simple{file: commonFile, name: "finish"}, b.lines(), bytesOf(&args))
}

// Finish is what a carry becomes.
type Finish struct {
	Carry          Carry
	Out, High, Low device.Ptr
	Sinks          device.Ptr
}

// lines is the grid of kernels that work on rows of queries alone.
func (b *Block) lines() [2]int { return [2]int{PaddedRows(b.Rows) / rowUnit, b.Heads} }

// Delta is what rowsum(dO∘out) is computed of; Out and DOut are rows, Delta is a line.
type Delta struct{ Out, DOut, Delta device.Ptr }

// Delta writes rowsum(dO∘out).
func (e *Engine) Delta(st device.Stream, b *Block, d Delta) error {
	args := deltaArgs{out: d.Out, dO: d.DOut, delta: d.Delta, sp: int32(PaddedRows(b.Rows)), dp: int32(b.Width())}
	return e.start(st, simple{file: commonFile, name: "delta"}, b.lines(), bytesOf(&args))
}

// Merge folds a carry of the same queries over other keys into c.
func (e *Engine) Merge(st device.Stream, b *Block, c, other Carry) error {
	args := mergeArgs{o: c.O, m: c.M, l: c.L, o2: other.O, m2: other.M, l2: other.L, sp: int32(PaddedRows(b.Rows)), dp: int32(b.Width())}
	return e.start(st, simple{file: commonFile, name: "merge"}, b.lines(), bytesOf(&args))
}

// Add adds n floats, a multiple of 4.
func (e *Engine) Add(st device.Stream, to, from device.Ptr, n int) error {
	const each = 4 * simpleThreads // of a block
	args := addArgs{to: to, from: from, n: int64(n)}
	blocks := min((n+each-1)/each, 8*max(e.dev.Info().Processors, 1))
	return e.start(st, simple{file: commonFile, name: "add"}, [2]int{blocks, 1}, bytesOf(&args))
}

func flagOf(b bool) int32 {
	if b {
		return 1
	}
	return 0
}

// The PTX files of kernels that all families share.
const (
	commonFile  = "common"
	carefulFile = "careful"
)

// simpleThreads is the threads of a block of the common kernels.
const simpleThreads = 256

// simple is a kernel without dynamic shared memory.
type simple struct{ file, name string }

func (e *Engine) start(st device.Stream, k simple, grid [2]int, args []byte) error {
	return e.launch(st, k, launch{threads: simpleThreads}, grid, args)
}

func (e *Engine) launch(st device.Stream, k simple, how launch, grid [2]int, args []byte) error {
	if grid[0] == 0 || grid[1] == 0 {
		return nil
	}
	f, err := e.modules.function(k.file, k.name, how.shared)
	if err != nil {
		return err
	}
	l := device.Launch{Grid: [3]int{grid[0], grid[1], 1}, Block: how.threads, Shared: how.shared, Args: args}
	if err := st.Launch(f, l); err != nil {
		return fmt.Errorf("cuda: %s of %s: %w", k.name, k.file, err)
	}
	return nil
}

// fast launches a kernel of the block's family. It returns at once where an operand is not finite; the careful kernels, which are
// launched behind it, where all are.
func (e *Engine) fast(st device.Stream, b *Block, p pass) error {
	if b.extras() {
		p.name += "_extras"
	}
	return e.launch(st, simple{b.kernels.file, p.name}, p.how, p.grid, p.args)
}

// pass is a pass of attention: its name, how its kernel is started, and the argument.
type pass struct {
	name string
	how  launch
	grid [2]int
	args []byte
}

// careful is a careful kernel for the block's format.
func (b *Block) careful(pass string) simple {
	return simple{carefulFile, "careful_" + pass + "_" + layoutNames[b.Format]}
}
