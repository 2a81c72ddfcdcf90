package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"sync"

	"github.com/ringgrad/ringgrad/ops/internal/kernel/cuda"
	"github.com/ringgrad/ringgrad/ops/internal/kernel/cuda/gate/sass"
)

// tools are paths of NVIDIA's programs.
type tools struct{ ptxas, nvdisasm string }

var versionLine = regexp.MustCompile(`release [\d.]+, V([\d.]+)`)

// version of ptxas, which the figures depend on.
func (t tools) version() (string, error) {
	out, err := exec.Command(t.ptxas, "--version").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("gate: %s: %w: name the assembler with -ptxas", t.ptxas, err)
	}
	m := versionLine.FindSubmatch(out)
	if m == nil {
		return "", fmt.Errorf("gate: %s --version gives no version; is it ptxas?", t.ptxas)
	}
	return string(m[1]), nil
}

// kernel is one function of a module on one target.
type kernel struct {
	module
	usage
	target  string
	threads int         // of a block
	launch  cuda.Launch // its tiles and dynamic shared memory
	known   bool        // whether the launch layer says so
	code    sass.Function
	mix     sass.Mix // of all its code
	remarks []remark
}

// assembleAll makes machine code of every module for every target, on all processors.
func assembleAll(t tools, modules []module) ([]kernel, error) {
	dir, err := os.MkdirTemp("", "gate")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	type job struct {
		m      module
		target string
	}
	var jobs []job
	for _, m := range modules {
		for _, target := range m.targets() {
			jobs = append(jobs, job{m, target})
		}
	}
	results, errs := make([][]kernel, len(jobs)), make([]error, len(jobs))
	slots := make(chan struct{}, runtime.NumCPU())
	var wg sync.WaitGroup
	for i, j := range jobs {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			results[i], errs[i] = t.assemble(j.m, j.target, dir)
		})
	}
	wg.Wait()
	var all []kernel
	for _, r := range results {
		all = append(all, r...)
	}
	slices.SortStableFunc(all, func(a, b kernel) int { return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.function, b.function)) })
	return all, errors.Join(errs...)
}

func (t tools) assemble(m module, target, dir string) ([]kernel, error) {
	cubin := filepath.Join(dir, m.name+"."+target+".cubin")
	out, err := exec.Command(t.ptxas, "-v", "-arch="+target, "-o", cubin, m.path).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("gate: ptxas refuses %s.ptx for %s: %w\n%s", m.name, target, err, out)
	}
	r := parseReport(string(out))
	command := exec.Command(t.nvdisasm, "-c", "-ndf", cubin)
	listing, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("gate: %s: %w: name the disassembler with -nvdisasm", command, err)
	}
	functions, err := sass.Parse(string(listing))
	if err != nil {
		return nil, fmt.Errorf("gate: %s for %s: %w", m.name, target, err)
	}
	return join(m, target, r, functions)
}

// join puts together what the assembler and the disassembler say of the functions of a module.
func join(m module, target string, r report, functions []sass.Function) ([]kernel, error) {
	code := map[string]sass.Function{}
	for _, f := range functions {
		code[f.Name] = f
	}
	var kernels []kernel
	for _, u := range r.usages {
		f, ok := code[u.function]
		threads, declared := m.threads[u.function]
		if !ok || !declared {
			return nil, fmt.Errorf("gate: %s of %s for %s is not in its machine code or not in its PTX; the listing changed its form", u.function, m.name, target)
		}
		k := kernel{module: m, usage: u, target: target, threads: threads, code: f, mix: sass.MixOf(f.Code)}
		k.launch, k.known = launchOf(m, u.function)
		for _, remark := range r.remarks {
			if remark.function == u.function || remark.function == "" {
				k.remarks = append(k.remarks, remark)
			}
		}
		kernels = append(kernels, k)
	}
	return kernels, nil
}
