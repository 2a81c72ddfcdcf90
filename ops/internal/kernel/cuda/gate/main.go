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
	"strings"
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
		_, err := io.WriteString(out, estimate(kernels)+estimateMixes(kernels))
		return err
	}
	text, wrong, err := o.check(kernels, version)
	if err != nil {
		return err
	}
	if _, err := io.WriteString(out, text); err != nil {
		return err
	}
	if wrong > 0 {
		return fmt.Errorf("gate: %d broken rules and stale tables", wrong)
	}
	return nil
}

// check says what is wrong with the kernels and with the committed tables, which it writes if told to, and how many things these are.
func (o options) check(kernels []kernel, version string) (text string, wrong int, err error) {
	lines := checkAll(kernels)
	fresh := map[string]string{"figures.md": figures(kernels, version), "estimate.md": estimate(kernels)}
	if o.write {
		err = o.writeTables(fresh)
	} else {
		var stale []string
		stale, err = o.staleTables(fresh)
		lines = append(lines, stale...)
	}
	wrong = len(lines)
	if wrong == 0 {
		lines = append(lines, fmt.Sprintf("gate: %d kernels and targets keep the rules, and the tables are theirs (ptxas %s)", len(kernels), version))
	}
	return strings.Join(lines, "\n") + "\n", wrong, err
}
