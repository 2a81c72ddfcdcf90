package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// module is one PTX file.
type module struct {
	path   string
	name   string // mma_bf16_d64
	family string // mma
	width  int    // DP, or 0 where the kernels take any
	arch   string // what it was compiled for: sm_80
	// threads of a block by function, as the kernel declares them.
	threads map[string]int
}

var (
	fileName  = regexp.MustCompile(`^([a-z]+)(?:_(?:bf16|f16))?(?:_d(\d+))?$`)
	archLine  = regexp.MustCompile(`(?m)^\.target\s+(sm_\w+)`)
	entryLine = regexp.MustCompile(`(?m)^\s*(?:\.visible\s+)?\.entry\s+(\w+)`)
	sizeLine  = regexp.MustCompile(`(?m)^\s*\.(?:max|req)ntid\s+(\d+)`)
)

// readModules reads every PTX file of a folder.
func readModules(dir string) ([]module, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.ptx"))
	if err != nil {
		return nil, err
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("gate: no PTX files in %s: run from the root of the repository, or name the folder with -ptx", dir)
	}
	var modules []module
	var errs []error
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		m, err := parseModule(strings.TrimSuffix(filepath.Base(path), ".ptx"), string(text))
		m.path = path
		modules, errs = append(modules, m), append(errs, err)
	}
	return modules, errors.Join(errs...)
}

func parseModule(name, text string) (module, error) {
	m := module{name: name, threads: map[string]int{}}
	parts := fileName.FindStringSubmatch(name)
	if parts == nil {
		return m, fmt.Errorf("gate: %s.ptx is not named as family, type and width: rename it, mma_bf16_d64.ptx for one", name)
	}
	m.family = parts[1]
	m.width, _ = strconv.Atoi(parts[2]) // no digits, no width
	arch := archLine.FindStringSubmatch(text)
	if arch == nil {
		return m, fmt.Errorf("gate: %s.ptx has no .target line: compile it again", name)
	}
	m.arch = arch[1]
	entries := entryLine.FindAllStringSubmatchIndex(text, -1)
	for i, e := range entries {
		end := len(text)
		if i+1 < len(entries) {
			end = entries[i+1][0]
		}
		function := text[e[2]:e[3]]
		size := sizeLine.FindStringSubmatch(text[e[1]:end])
		if size == nil {
			return m, fmt.Errorf("gate: %s of %s.ptx does not declare the threads of its block: add __launch_bounds__", function, name)
		}
		m.threads[function], _ = strconv.Atoi(size[1])
	}
	return m, nil
}

// targets are the architectures that run the module: those with an a run nowhere else, the others on all that came later.
func (m module) targets() []string {
	if strings.HasSuffix(m.arch, "a") {
		return []string{m.arch}
	}
	return []string{"sm_80", "sm_89", "sm_90", "sm_100"}
}
