// Command gate holds the CUDA kernels to their rules on a machine without a GPU. It assembles the committed PTX for every target with
// NVIDIA's assembler, reads registers, spills and shared memory from its report and the instructions from the machine code, and fails
// where a rule is broken or where the figures differ from the committed ones.
//
//	go run ./ops/internal/kernel/cuda/gate -ptxas PATH -nvdisasm PATH            check
//	go run ./ops/internal/kernel/cuda/gate -ptxas PATH -nvdisasm PATH -write     write figures.md and estimate.md anew
//	go run ./ops/internal/kernel/cuda/gate -ptxas PATH -nvdisasm PATH -estimate  print the predicted speed and what it is made of
//
// Both tools come in wheels of PyPI; .ci/cuda installs them.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// options are the flags.
type options struct {
	tools
	dir             string // of the PTX files and the tables
	write, estimate bool
}

func main() {
	var o options
	flag.StringVar(&o.ptxas, "ptxas", "ptxas", "NVIDIA's assembler of PTX")
	flag.StringVar(&o.nvdisasm, "nvdisasm", "nvdisasm", "NVIDIA's disassembler")
	flag.StringVar(&o.dir, "ptx", filepath.FromSlash("ops/internal/kernel/cuda/ptx"), "folder of the PTX files and of the tables")
	flag.BoolVar(&o.write, "write", false, "write the tables anew")
	flag.BoolVar(&o.estimate, "estimate", false, "print the predicted speed of the kernels, with the cycles of each resource")
	flag.Parse()
	if err := run(o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(o options, out io.Writer) error {
	version, err := o.version()
	if err != nil {
		return err
	}
	modules, err := readModules(o.dir)
	if err != nil {
		return err
	}
	kernels, err := assembleAll(o.tools, modules)
	if err != nil {
		return err
	}
	if o.estimate {
		return printEstimate(out, kernels)
	}
	broken := checkAll(kernels)
	for _, b := range broken {
		fmt.Fprintln(out, b)
	}
	tables := map[string]string{"figures.md": figures(kernels, version), "estimate.md": estimate(kernels)}
	stale, err := o.compare(out, tables)
	if err != nil {
		return err
	}
	if len(broken)+stale > 0 {
		return fmt.Errorf("gate: %d broken rules, %d stale tables", len(broken), stale)
	}
	fmt.Fprintf(out, "gate: %d kernels and targets of %d PTX files keep the rules, as in the committed figures (ptxas %s)\n", len(kernels), len(modules), version)
	return nil
}
