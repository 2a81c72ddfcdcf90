package cuda

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// layouts are the fields of args.h, in order, with the offsets that clang gives them, and the sizes.
var layouts = []struct {
	name    string
	of      any
	fields  string
	offsets []int
	size    int
}{
	{"Score", scoreArgs{}, "span qpos kpos qword kword slope layers threshold keep scale softcap inner natural alibi",
		[]int{0, 8, 16, 24, 32, 40, 48, 52, 56, 60, 64, 68, 72, 76}, 80},
	{"ForwardArgs", forwardArgs{}, "q k v o m l start tile score SP NP heads group first",
		[]int{0, 8, 16, 24, 32, 40, 48, 56, 64, 144, 148, 152, 156, 160}, 168},
	{"BackwardArgs", backwardArgs{}, "q k v dO high low delta dq dk dv start tile turn turns score SP NP heads group fresh ordered",
		[]int{0, 8, 16, 24, 32, 40, 48, 56, 64, 72, 80, 88, 96, 104, 112, 192, 196, 200, 204, 208, 212}, 216},
	{"CarefulForwardArgs", carefulArgs[forwardArgs]{}, "call DP", []int{0, 168}, 176},
	{"CarefulBackwardArgs", carefulArgs[backwardArgs]{}, "call DP", []int{0, 216}, 224},
	{"Strided", strided{}, "batch head row", []int{0, 8, 16}, 24},
	{"PackArgs", packArgs{}, "from to flag stride rows SP dim DP heads halves", []int{0, 8, 16, 24, 48, 52, 56, 60, 64, 68}, 72},
	{"UnpackArgs", unpackArgs{}, "from to stride rows SP dim DP heads factor", []int{0, 8, 16, 40, 44, 48, 52, 56, 60}, 64},
	{"FinishArgs", finishArgs{}, "o m l out high low sink keep SP DP", []int{0, 8, 16, 24, 32, 40, 48, 56, 60, 64}, 72},
	{"DeltaArgs", deltaArgs{}, "out dO delta SP DP", []int{0, 8, 16, 24, 28}, 32},
	{"MergeArgs", mergeArgs{}, "o m l o2 m2 l2 SP DP", []int{0, 8, 16, 24, 32, 40, 48, 52}, 56},
	{"AddArgs", addArgs{}, "to from n", []int{0, 8, 16}, 24},
	{"WordsArgs", wordsArgs{}, "out key position n keys", []int{0, 8, 16, 24, 28}, 32},
}

func TestArgumentsLieAsTheTableSays(t *testing.T) {
	for _, l := range layouts {
		s, names := reflect.TypeOf(l.of), strings.Fields(l.fields)
		if int(s.Size()) != l.size {
			t.Errorf("%s has %d bytes, want %d", l.name, s.Size(), l.size)
		}
		n := 0
		for f := range s.Fields() {
			if f.Name == "_" {
				continue
			}
			if n == len(names) || !strings.EqualFold(f.Name, names[n]) || int(f.Offset) != l.offsets[n] {
				t.Errorf("%s: field %d is %s at %d, want %s at %v", l.name, n, f.Name, f.Offset, names, l.offsets)
				break
			}
			n++
		}
		if n != len(names) {
			t.Errorf("%s has %d fields, want %d", l.name, n, len(names))
		}
	}
}

// TestTableIsWhatTheCompilerMakes asks clang for the offsets, where there is one.
func TestTableIsWhatTheCompilerMakes(t *testing.T) {
	clang, err := exec.LookPath("clang-22")
	if err != nil {
		t.Skip("no clang-22 here; the table holds what it said")
	}
	source, want := "#include \"args.h\"\n", map[string]string{}
	for _, l := range layouts {
		source += fmt.Sprintf("extern \"C\" { __device__ unsigned char %s_[] = {", l.name)
		for f := range strings.FieldsSeq(l.fields) {
			source += fmt.Sprintf("__builtin_offsetof(%s, %s), ", l.name, f)
		}
		source += fmt.Sprintf("sizeof(%s)}; }\n", l.name)
		want[l.name] = strings.Trim(strings.ReplaceAll(fmt.Sprint(append(l.offsets, l.size)), " ", ", "), "[]")
	}
	file := filepath.Join(t.TempDir(), "probe.cu")
	if err := os.WriteFile(file, []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(clang, "-x", "cuda", "--cuda-device-only", "-nocudainc", "-nocudalib", "-nogpulib", "--cuda-gpu-arch=sm_80",
		"-Xclang", "-target-feature", "-Xclang", "+ptx70", "-std=c++17", "-Ikernels", "-S", "-o", "-", file).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	got := map[string]string{}
	for _, m := range regexp.MustCompile(`(\w+)_\[\d+\] = \{([^}]*)\}`).FindAllStringSubmatch(string(out), -1) {
		got[m[1]] = m[2]
	}
	for name, offsets := range want {
		if got[name] != offsets {
			t.Errorf("%s: clang has offsets %q, the table %q", name, got[name], offsets)
		}
	}
}
