package cuda

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// manifest is what build.sh says of the PTX files: by name, what they were made of.
type manifest struct {
	Modules map[string]struct {
		Arch    string
		Sources map[string]string // to their sha256
		SHA256  string
	}
}

// TestPTXIsOfTheseSources wants every file to be what build.sh made, of the sources as they are now.
func TestPTXIsOfTheseSources(t *testing.T) {
	b, err := os.ReadFile("ptx/manifest.json")
	if err != nil {
		t.Fatal(err)
	}
	var m manifest
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("ptx/*.ptx")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range files {
		name := strings.TrimSuffix(filepath.Base(f), ".ptx")
		names = append(names, name)
		module, ok := m.Modules[name]
		if !ok {
			t.Errorf("the manifest does not have %s: run kernels/build.sh", f)
		}
		if got := digest(t, f); got != module.SHA256 {
			t.Errorf("%s is not what build.sh made: run kernels/build.sh", f)
		}
		for source, want := range module.Sources {
			if digest(t, filepath.Join("kernels", source)) != want {
				t.Errorf("%s was made of another %s: run kernels/build.sh", f, source)
			}
		}
		if ptx, err := source(name); err != nil || !strings.Contains(ptx, ".target "+module.Arch+"\n") {
			t.Errorf("%s is not for %s: %v", f, module.Arch, err)
		}
	}
	for name := range m.Modules {
		if !slices.Contains(names, name) {
			t.Errorf("the manifest has %s, which is not there", name)
		}
	}
}

func digest(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// TestEveryShapeHasKernels wants PTX for all head dims and formats, with every kernel that may be launched.
func TestEveryShapeHasKernels(t *testing.T) {
	has := func(file string, names ...string) {
		ptx, err := source(file)
		if err != nil {
			t.Error(err)
			return
		}
		for _, name := range names {
			if !strings.Contains(ptx, ".entry "+name+"(") {
				t.Errorf("%s has no kernel %s", file, name)
			}
		}
	}
	has(commonFile, "pack_rows", "pack_bf16", "pack_f16", "unpack", "finish", "delta", "merge", "add", "words")
	for _, layout := range layoutNames {
		has(carefulFile, "careful_forward_"+layout, "careful_query_"+layout, "careful_key_"+layout)
	}
	for family, widths := range geometries {
		for width := range widths {
			formats := []Format{BFloat16, Float16}
			if family == SIMT {
				formats = []Format{Float32}
			}
			for _, f := range formats {
				has(fileName(family, f, width), "forward", "forward_extras", "backward", "backward_extras")
			}
		}
	}
	for _, family := range []Family{SIMT, MMA} {
		for width := columnUnit; width <= 256; width += columnUnit {
			if _, ok := geometries[family][width]; !ok {
				t.Errorf("%s has no kernels of width %d", family, width)
			}
		}
	}
}
