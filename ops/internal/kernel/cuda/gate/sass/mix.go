package sass

import (
	"maps"
	"strconv"
	"strings"
)

// Class groups instructions by what a reader of a table wants to tell apart.
type Class string

// The classes. What is in none of the others is Other.
const (
	HMMA       Class = "HMMA"
	HGMMA      Class = "HGMMA"
	Exp2       Class = "MUFU.EX2"
	Log2       Class = "MUFU.LG2"
	Reciprocal Class = "MUFU.RCP"
	Special    Class = "MUFU other" // and conversions that the special function unit does
	FFMA       Class = "FFMA"
	FADD       Class = "FADD"
	FMUL       Class = "FMUL"
	Minmax     Class = "FMNMX"
	Pack       Class = "F2FP" // two float32 to a pair of 16-bit floats
	IMAD       Class = "IMAD"
	ALU        Class = "ALU" // integers, logic, compares, selects
	Move       Class = "MOV"
	Uniform    Class = "uniform" // once per warp, in the uniform datapath
	LDS        Class = "LDS"
	STS        Class = "STS"
	LDSM       Class = "LDSM"
	STSM       Class = "STSM"
	Shuffle    Class = "SHFL"
	Load       Class = "LDG"
	Store      Class = "STG"
	AsyncCopy  Class = "LDGSTS"
	BulkCopy   Class = "UBLKCP" // and tensor copies
	Reduce     Class = "RED"    // and atomics
	BulkReduce Class = "UBLKRED"
	LocalLoad  Class = "LDL"
	LocalStore Class = "STL"
	Barrier    Class = "BAR" // of the block; SYNCS are those in shared memory
	Syncs      Class = "SYNCS"
	Branch     Class = "BRA"
	Other      Class = "other"
)

// Classes are all of them, in the order of tables.
var Classes = []Class{
	HMMA, HGMMA, Exp2, Log2, Reciprocal, Special, FFMA, FADD, FMUL, Minmax, Pack, IMAD, ALU, Move, Uniform, LDS, STS, LDSM, STSM, Shuffle, Load,
	Store, AsyncCopy, BulkCopy, Reduce, BulkReduce, LocalLoad, LocalStore, Barrier, Syncs, Branch, Other,
}

var byBase = classesByBase(map[Class]string{
	HMMA: "HMMA", HGMMA: "HGMMA", FFMA: "FFMA FFMA2", FADD: "FADD FADD2", FMUL: "FMUL FMUL2", Minmax: "FMNMX FMNMX3", Pack: "F2FP F2FPP",
	Special: "I2F F2I F2F FRND POPC FLO BREV I2FP F2IP", IMAD: "IMAD IMUL IDP",
	ALU: "IADD IADD3 LOP LOP3 SHF SHL SHR LEA ISETP FSETP FSEL SEL PRMT PLOP3 VIADD VIADDMNMX VIMNMX VIMNMX3 IABS IMNMX SGXT BMSK P2R R2P " +
		"FCHK ISCADD FSET VOTE PSETP",
	Move: "MOV CS2R R2UR S2R", LDS: "LDS", STS: "STS", LDSM: "LDSM", STSM: "STSM", Shuffle: "SHFL", Load: "LD LDG", Store: "ST STG",
	AsyncCopy: "LDGSTS", BulkCopy: "UBLKCP UTMALDG UTMASTG", Reduce: "RED REDG ATOM ATOMG ATOMS", BulkReduce: "UBLKRED UTMAREDG",
	LocalLoad: "LDL", LocalStore: "STL", Barrier: "BAR", Syncs: "SYNCS", Branch: "BRA BRX CALL RET",
})

func classesByBase(names map[Class]string) map[string]Class {
	m := map[string]Class{}
	for class, bases := range names {
		for base := range strings.FieldsSeq(bases) {
			m[base] = class
		}
	}
	return m
}

// Class of an instruction.
func (in Instruction) Class() Class {
	base := in.Base()
	if class, ok := byBase[base]; ok {
		return class
	}
	switch {
	case strings.HasPrefix(in.Op, "MUFU.EX2"):
		return Exp2
	case strings.HasPrefix(in.Op, "MUFU.LG2"):
		return Log2
	case strings.HasPrefix(in.Op, "MUFU.RCP"):
		return Reciprocal
	case base == "MUFU":
		return Special
	case base[0] == 'U' || base == "S2UR" || base == "R2UR":
		return Uniform
	}
	return Other
}

// Mix is what some code does: instructions by class, and what its tensor instructions and its accesses to shared memory move.
type Mix struct {
	Count  map[Class]int
	Issued int // all instructions of a warp
	// FMA are multiply-adds of the tensor cores: of a warp for HMMA, of a warpgroup for HGMMA.
	FMA int
	// SharedBytes pass between a warp and shared memory; OperandBytes are what HGMMA reads of it for a warpgroup.
	SharedBytes, OperandBytes int
}

// MixOf counts code.
func MixOf(code []Instruction) Mix {
	m := Mix{Count: map[Class]int{}}
	for _, in := range code {
		m.add(in)
	}
	return m
}

func (m *Mix) add(in Instruction) {
	if in.Base() == "NOP" {
		return
	}
	class := in.Class()
	m.Count[class]++
	m.Issued++
	switch class {
	case HMMA, HGMMA:
		shape := in.shape()
		m.FMA += shape.fma()
		m.OperandBytes += shape.operandBytes(in.Args)
	case LDS, STS, LDSM, STSM, AsyncCopy:
		m.SharedBytes += 32 * in.laneBytes()
	}
}

// plus is what m does and n times what o does.
func (m Mix) plus(o Mix, n int) Mix {
	sum := Mix{
		Count: maps.Clone(m.Count), Issued: m.Issued + n*o.Issued, FMA: m.FMA + n*o.FMA,
		SharedBytes: m.SharedBytes + n*o.SharedBytes, OperandBytes: m.OperandBytes + n*o.OperandBytes,
	}
	for class, count := range o.Count {
		sum.Count[class] += n * count
	}
	return sum
}

// Sum adds up classes.
func (m Mix) Sum(classes ...Class) int {
	n := 0
	for _, class := range classes {
		n += m.Count[class]
	}
	return n
}

// laneBytes are the bytes that a lane of a warp moves, at least the 4 whose place smaller ones take.
func (in Instruction) laneBytes() int {
	if base := in.Base(); base == "LDSM" || base == "STSM" {
		const matrix = 4 // of 8x8 16-bit elements
		switch {
		case strings.HasSuffix(in.Op, ".4"):
			return 4 * matrix
		case strings.HasSuffix(in.Op, ".2"):
			return 2 * matrix
		}
		return matrix
	}
	for part := range strings.SplitSeq(in.Op, ".") {
		switch part {
		case "128":
			return 16
		case "64":
			return 8
		}
	}
	return 4
}

// tile is the shape of a tensor instruction, of 16-bit elements with float32 sums.
type tile struct{ m, n, k int }

// shape reads .16816 and .64x128x16.
func (in Instruction) shape() tile {
	for part := range strings.SplitSeq(in.Op, ".") {
		switch {
		case part == "16816":
			return tile{16, 8, 16}
		case part == "1688":
			return tile{16, 8, 8}
		case strings.Count(part, "x") == 2:
			sizes := strings.Split(part, "x")
			var t tile
			for i, to := range []*int{&t.m, &t.n, &t.k} {
				*to, _ = strconv.Atoi(sizes[i])
			}
			return t
		}
	}
	return tile{}
}

func (t tile) fma() int { return t.m * t.n * t.k }

// operandBytes are read of shared memory: both operands, or only B where A is in registers. HMMA has both in registers.
func (t tile) operandBytes(args string) int {
	if t.m != 64 {
		return 0
	}
	bytes := t.n * t.k * 2
	if fields := strings.Split(args, ","); len(fields) > 1 && strings.HasPrefix(strings.TrimSpace(fields[1]), "gdesc") {
		bytes += t.m * t.k * 2
	}
	return bytes
}
