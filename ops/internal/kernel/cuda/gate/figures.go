package main

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ringgrad/ringgrad/ops/internal/kernel/cuda/gate/sass"
)

const figuresHead = `# Figures of the kernels

Written by ` + "`go run ./ops/internal/kernel/cuda/gate -write`" + ` with ptxas %s, which CI runs again. One line for a kernel and a
target: registers of a thread, bytes spilled, bytes of shared memory (static and dynamic) and warps of a block, blocks that fit on an
SM together; then instructions of its machine code: of the tensor cores (HMMA or HGMMA), of the special function unit (MUFU), loads
and stores of local memory; and the remarks of ptxas (C7519: it had to put in a warpgroup.arrive).

| kernel | function | target | registers | spilled | shared | warps | blocks | tensor | MUFU | local | instructions | remarks |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
`

// figures is the table that is committed beside the PTX.
func figures(kernels []kernel, version string) string {
	var b strings.Builder
	fmt.Fprintf(&b, figuresHead, version)
	for _, k := range kernels {
		fmt.Fprintf(&b, "| %s | %s | %s | %d | %d | %d | %d | %d | %d | %d | %d | %d | %s |\n", k.name, k.function, k.target,
			k.registers, k.spillStore+k.spillLoad, k.shared+k.launch.Shared, k.threads/32, k.blocksPerSM(),
			k.mix.Sum(sass.HMMA, sass.HGMMA), k.mix.Sum(sass.Exp2, sass.Log2, sass.Reciprocal, sass.Special),
			k.mix.Sum(sass.LocalLoad, sass.LocalStore), k.mix.Issued, k.remarkCodes())
	}
	return b.String()
}

// remarkCodes are like "7 C7519".
func (k kernel) remarkCodes() string {
	var codes []string
	count := map[string]int{}
	for _, r := range k.remarks {
		if count[r.code] == 0 {
			codes = append(codes, r.code)
		}
		count[r.code]++
	}
	for i, code := range codes {
		codes[i] = fmt.Sprintf("%d %s", count[code], code)
	}
	return strings.Join(codes, ", ")
}

func (o options) writeTables(tables map[string]string) error {
	for name, text := range tables {
		if err := os.WriteFile(filepath.Join(o.dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// staleTables shows for every committed table that is not the fresh one what differs.
func (o options) staleTables(fresh map[string]string) (stale []string, err error) {
	for _, name := range slices.Sorted(maps.Keys(fresh)) {
		path := filepath.Join(o.dir, name)
		committed, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if diff := difference(string(committed), fresh[name]); diff != "" {
			stale = append(stale, fmt.Sprintf("STALE %s (run gate with -write, look at the change and commit it):\n%s", path, diff))
		}
	}
	return stale, nil
}

// difference lists the lines of a that b lacks after a minus, and those of b that a lacks after a plus.
func difference(a, b string) string {
	var d strings.Builder
	missing := func(sign, from, in string) {
		has := map[string]bool{}
		for line := range strings.Lines(in) {
			has[line] = true
		}
		for line := range strings.Lines(from) {
			if !has[line] {
				fmt.Fprintf(&d, "%s %s\n", sign, strings.TrimSuffix(line, "\n"))
			}
		}
	}
	missing("-", a, b)
	missing("+", b, a)
	if d.Len() == 0 && a != b {
		return "the same lines, in another order\n"
	}
	return d.String()
}
