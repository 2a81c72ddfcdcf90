package cuda

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// constants are where the sources of a family have what geometries lists: queries, keys, threads and shared bytes of forward and of
// backward.
var constants = map[Family]struct{ include, arch, version, forward, backward string }{
	SIMT: {"simt.cu", "sm_80", "+ptx70", "kTile, kTile, kForeThreads, ((2*kStageFloats+kTile*kWeightPitch)*4)", "kTile, kTile, kBackThreads, ((2*kStageFloats+kTile*kWeightPitch)*4)"},
	MMA: {"mma.cu", "sm_80", "+ptx70",
		"ForwardShape<kDim>::kQueries, ForwardShape<kDim>::kKeys, ForwardShape<kDim>::kThreads, ForwardShape<kDim>::kBytes",
		"BackwardShape<kDim>::kQueries, BackwardShape<kDim>::kKeys, BackwardShape<kDim>::kThreads, BackwardShape<kDim>::kBytes"},
	WGMMA: {"wgmma.cu", "sm_90a", "+ptx80",
		"fwd::kQueries, fwd::kKeys, fwd::kThreads, fwd::kShared", "bwd::kQueries, bwd::kKeys, bwd::kThreads, bwd::kShared"},
}

// TestGeometriesAreTheSources asks clang for the constants, where there is one.
func TestGeometriesAreTheSources(t *testing.T) {
	clang, err := exec.LookPath("clang-22")
	if err != nil {
		t.Skip("no clang-22 here")
	}
	for family, widths := range geometries {
		c := constants[family]
		for width, g := range widths {
			source := fmt.Sprintf("#include %q\nextern \"C\" { __device__ int probe[] = {0x7f7f7f7f, (int)%s, (int)%s}; }\n",
				c.include, strings.ReplaceAll(c.forward, ", ", ", (int)"), strings.ReplaceAll(c.backward, ", ", ", (int)"))
			file := filepath.Join(t.TempDir(), "probe.cu")
			if err := os.WriteFile(file, []byte(source), 0o600); err != nil {
				t.Fatal(err)
			}
			out, err := exec.Command(clang, "-x", "cuda", "--cuda-device-only", "-nocudainc", "-nocudalib", "-nogpulib", "--cuda-gpu-arch="+c.arch,
				"-Xclang", "-target-feature", "-Xclang", c.version, "-std=c++17", "-O0", "-Xclang", "-disable-llvm-passes", "-Ikernels", fmt.Sprintf("-DDP=%d", width), "-DTYPE_BF16",
				"-S", "-emit-llvm", "-o", "-", file).CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			got := strings.Join(regexp.MustCompile(`(?m)@probe = .*$`).FindAllString(string(out), 1), "")
			got = strings.Join(regexp.MustCompile(`i32 (\d+)`).FindAllString(got, -1), " ")
			f, b := g.forward, g.backward
			want := fmt.Sprintf("i32 2139062143 i32 %d i32 %d i32 %d i32 %d i32 %d i32 %d i32 %d i32 %d",
				f.queries, f.keys, f.threads, f.shared, b.queries, b.keys, b.threads, b.shared)
			if got != want {
				t.Errorf("%s of width %d: the sources have %q, geometries %q", family, width, got, want)
			}
		}
	}
}
