// Command asm writes the assembly of package cpu: for each instruction set one
// .s file and one file with its Go declarations. From package cpu, run
//
//	go generate
//
// which is "go run -C asm ."; another folder to write to may follow. The command
// is a module of its own so that avo, the assembler library, is no dependency
// of those who use the kernels. What it writes is committed, and running it
// again must change nothing.
//
// avo 0.5 wants care in three places. Floating-point data is emitted as integer
// bits, because F32 of a whole number comes out as an integer. Vector registers
// are chosen here, because avo takes "x ^= x" for a read of x and then cannot
// allocate; it allocates the general registers. Immediates above 127 go through
// imm, because some instructions lack the 16-bit form avo would pick.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/pass"
	"github.com/mmcloughlin/avo/printer"
)

func main() {
	folder := ".." // avo has taken package flag for itself
	if len(os.Args) > 1 {
		folder = os.Args[1]
	}
	for _, isa := range []string{avx512, avx512BF16, amxBF16, avx2} {
		if err := generate(isa, folder); err != nil {
			fmt.Fprintf(os.Stderr, "asm: %s: %v\n", isa, err)
			os.Exit(1)
		}
	}
}

// generate writes all primitives of one instruction set.
func generate(isa, folder string) error {
	ctx := build.NewContext()
	ctx.ConstraintExpr("amd64,!purego")
	tables := map[string]operand.Mem{}
	for _, size := range []int{4, 8} {
		t := &target{Context: ctx, isa: isa, size: size, tables: tables}
		if isa == avx512BF16 {
			t.pairPrimitives()
			break
		}
		if isa == amxBF16 {
			t.tiles()
			break
		}
		t.tile("nn")
		t.tile("tn")
		t.expSub()
		t.columnMax()
		t.subMul()
		t.scaleRows()
		t.transpose()
		t.multiplyAdd()
		t.scoreMods()
		t.vectorPrimitives()
		if t.wide() {
			t.weigh()
		}
	}
	file, err := ctx.Result()
	if err != nil {
		return err
	}
	if err := pass.Compile.Execute(file); err != nil {
		return err
	}
	cfg := printer.Config{Argv: []string{"go", "generate"}, Pkg: "cpu"}
	name := filepath.Join(folder, strings.ToLower(isa)+"_amd64")
	for ext, p := range map[string]printer.Printer{".s": printer.NewGoAsm(cfg), ".go": printer.NewStubs(cfg)} {
		text, err := p.Print(file)
		if err != nil {
			return err
		}
		if err := os.WriteFile(name+ext, text, 0o644); err != nil {
			return err
		}
	}
	return nil
}
