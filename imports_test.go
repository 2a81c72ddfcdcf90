package ringgrad

import (
	"bytes"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const module = "github.com/ringgrad/ringgrad/"

// rule forbids imports (by prefix) to packages (by prefix).
type rule struct {
	from      string
	forbidden []string
	why       string
}

var rules = []rule{
	{"dist", []string{"gorgonia.org", module + "ops", module + "trainer", module + "cmd"}, "communication knows nothing of graphs or training"},
	{"dist/shard", []string{module, "gorgonia.org", "golang.org"}, "who holds which position is plain arithmetic, shared by all"},
	{"ops", []string{module + "trainer", module + "cmd", "github.com/spf13", "github.com/olekukonko"}, "ops are embedded in other people's models"},
	{"ops/internal/kernel", []string{"gorgonia.org", module + "dist", module + "trainer"}, "kernels work on slices"},
	{"trainer", []string{"github.com/spf13", "github.com/olekukonko", "github.com/schollz", module + "cmd", module + "dist/mpi", module + "dist/nccl"}, "the trainer has no terminal and no concrete transport but the embedded one"},
	{"trainer/config", []string{"gorgonia.org", module + "ops"}, "configs are read without a graph"},
	{"trainer/tokenizer", []string{"gorgonia.org", module}, "tokenizers stand alone"},
	{"trainer/hf", []string{"gorgonia.org", module + "ops", module + "dist"}, "model folders are read without a graph"},
}

// allowed are the exceptions: kernels and ops may not import what is below, but a package may import its own parts.
func allowed(pkg, imported string) bool {
	return strings.HasPrefix(imported, module+pkg+"/") || imported == module+pkg
}

// TestImports keeps imports pointing down only.
func TestImports(t *testing.T) {
	for pkg, imports := range goList(t, "{{.ImportPath}} {{join .Imports \" \"}}") {
		for _, r := range rules {
			if pkg != r.from && !strings.HasPrefix(pkg, r.from+"/") {
				continue
			}
			for _, imported := range imports {
				for _, prefix := range r.forbidden {
					if strings.HasPrefix(imported, prefix) && !allowed(pkg, imported) && !allowed(r.from, imported) {
						t.Errorf("%s imports %s: %s", pkg, imported, r.why)
					}
				}
			}
		}
	}
}

// TestOnlyTheCommandImportsTheTerminal keeps flags, tables and bars in cmd/train.
func TestOnlyTheCommandImportsTheTerminal(t *testing.T) {
	for pkg, imports := range goList(t, "{{.ImportPath}} {{join .Imports \" \"}}") {
		for _, imported := range imports {
			for _, prefix := range []string{"github.com/spf13/cobra", "github.com/olekukonko/tablewriter", "github.com/schollz/progressbar"} {
				if strings.HasPrefix(imported, prefix) && pkg != "cmd/train" {
					t.Errorf("%s imports %s: only cmd/train may", pkg, imported)
				}
			}
		}
	}
}

// TestOnlyTheDriverImportsCU keeps package cu behind device/cudriver, and cgo there and in the engine of NCCL, also in files that are built
// with the tag alone.
func TestOnlyTheDriverImportsCU(t *testing.T) {
	const driver, engine = "ops/internal/device/cudriver", "dist/nccl"
	below := func(pkg, root string) bool { return pkg == root || strings.HasPrefix(pkg, root+"/") }
	found := false
	for pkg, imports := range goList(t, "{{.ImportPath}} {{join .Imports \" \"}} {{join .TestImports \" \"}}", "-tags", "ringcuda") {
		for _, imported := range imports {
			if imported == "C" || imported == "gorgonia.org/cu" {
				found = found || below(pkg, driver)
				if !below(pkg, driver) && (imported != "C" || !below(pkg, engine)) {
					t.Errorf("%s imports %s: only %s and what is below it may, and cgo %s", pkg, imported, driver, engine)
				}
			}
		}
	}
	if !found {
		t.Error("no package imports cu: the rule looks in the wrong place")
	}
}

// TestNoPackageIsCalledUtil refuses names that say nothing.
func TestNoPackageIsCalledUtil(t *testing.T) {
	for pkg := range goList(t, "{{.ImportPath}}") {
		switch filepath.Base(pkg) {
		case "util", "utils", "common", "helpers", "types":
			t.Errorf("%s: name a package by what it gives", pkg)
		}
	}
}

// TestEveryPackageHasAComment wants a sentence that begins with the package's name.
func TestEveryPackageHasAComment(t *testing.T) {
	for pkg := range goList(t, "{{.ImportPath}}") {
		files, err := filepath.Glob(filepath.Join(filepath.FromSlash(pkg), "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		if len(files) > 0 && !documented(t, files) {
			t.Errorf("%s has no package comment", pkg)
		}
	}
}

func documented(t *testing.T, files []string) bool {
	t.Helper()
	onlyTests := true
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		onlyTests = false
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.PackageClauseOnly|parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		if f.Doc != nil {
			return true
		}
	}
	return onlyTests
}

// goList maps every package of the module, by its path below the module, to the fields that follow it on its line.
// Without arguments it is of the default build, without cgo.
func goList(t *testing.T, format string, arguments ...string) map[string][]string {
	t.Helper()
	cgo := "CGO_ENABLED=0"
	if len(arguments) > 0 {
		cgo = "CGO_ENABLED=1"
	}
	cmd := exec.Command("go", append(append([]string{"list", "-f", format}, arguments...), "./...")...)
	cmd.Env = append(os.Environ(), cgo)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Skipf("SKIPPED the import rules: go list: %v: %s", err, stderr.String())
	}
	packages := map[string][]string{}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		if len(fields) > 0 {
			packages[strings.TrimPrefix(fields[0], module)] = fields[1:]
		}
	}
	delete(packages, strings.TrimSuffix(module, "/"))
	return packages
}
