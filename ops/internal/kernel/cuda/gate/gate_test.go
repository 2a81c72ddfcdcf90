package main

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/ringgrad/ringgrad/ops/internal/kernel/cuda"
	"github.com/ringgrad/ringgrad/ops/internal/kernel/cuda/gate/sass"
)

const ptxText = `//
.version 7.0
.target sm_80
.address_size 64

.visible .entry backward(
	.param .align 8 .b8 backward_param_0[216]
)
.maxntid 256, 1, 1
{
	ret;
}
	// .globl	forward
.visible .entry forward(
	.param .align 8 .b8 forward_param_0[176]
)
.maxntid 128
.minnctapersm 2
{
	ret;
}
`

func TestModuleIsReadFromNameAndText(t *testing.T) {
	m, err := parseModule("mma_bf16_d64", ptxText)
	if err != nil {
		t.Fatal(err)
	}
	want := module{name: "mma_bf16_d64", family: "mma", width: 64, arch: "sm_80", threads: map[string]int{"forward": 128, "backward": 256}}
	if !reflect.DeepEqual(m, want) {
		t.Errorf("%+v, want %+v", m, want)
	}
	if got := len(m.targets()); got != 4 {
		t.Errorf("sm_80 goes to %d targets, want 4", got)
	}
	m.arch = "sm_90a"
	if got := m.targets(); !reflect.DeepEqual(got, []string{"sm_90a"}) {
		t.Errorf("sm_90a goes to %v", got)
	}
}

func TestModuleRefusesWhatItCannotRead(t *testing.T) {
	for name, text := range map[string]string{
		"Mma-64": ptxText, "mma_d64": strings.Replace(ptxText, ".target", ".tgt", 1), "simt_d64": strings.Replace(ptxText, ".maxntid 128", "", 1),
	} {
		if _, err := parseModule(name, text); err == nil || !strings.HasPrefix(err.Error(), "gate: ") {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

const reportText = `ptxas info    : (C7519) warpgroup.arrive is injected in around line 87 by compiler to allow use of registers in GMMA in function 'forward'
ptxas info    : (C7510) Potential Performance Loss: wgmma.mma_async instructions are serialized due to insufficient register resources for the wgmma pipeline in the function 'backward'
ptxas warning : Value of threads per SM for entry backward is out of range. .minnctapersm will be ignored
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'backward' for 'sm_90a'
ptxas info    : Function properties for backward
    104 bytes stack frame, 100 bytes spill stores, 96 bytes spill loads
ptxas info    : Used 255 registers, used 2 barriers, 104 bytes cumulative stack size, 464 bytes cmem[0]
ptxas info    : Compile time = 173.971 ms
ptxas info    : Compiling entry function 'forward' for 'sm_90a'
ptxas info    : Function properties for forward
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 240 registers, used 1 barriers, 1024 bytes smem
`

func TestReportIsReadInFull(t *testing.T) {
	r := parseReport(reportText)
	want := []usage{
		{function: "backward", registers: 255, barriers: 2, stack: 104, spillStore: 100, spillLoad: 96},
		{function: "forward", registers: 240, barriers: 1, shared: 1024},
	}
	if !reflect.DeepEqual(r.usages, want) {
		t.Errorf("%+v, want %+v", r.usages, want)
	}
	var remarks []string
	for _, m := range r.remarks {
		remarks = append(remarks, m.code+" "+m.function)
	}
	if want := []string{"C7519 forward", "C7510 backward", " "}; !reflect.DeepEqual(remarks, want) {
		t.Errorf("remarks %q, want %q", remarks, want)
	}
	if !r.remarks[2].warning || r.remarks[1].warning {
		t.Errorf("remarks %+v: the last is a warning", r.remarks)
	}
}

// sound is a kernel that keeps all rules.
func sound() kernel {
	return kernel{
		module: module{name: "wgmma_bf16_d128", family: "wgmma", width: 128}, usage: usage{function: "forward", registers: 168, shared: 1024},
		target: "sm_90a", threads: 384, launch: cuda.Launch{Queries: 128, Keys: 128, Threads: 384, Shared: 200 << 10}, known: true,
		mix: sass.Mix{Count: map[sass.Class]int{sass.HGMMA: 16}},
	}
}

func TestEveryRuleCanBreak(t *testing.T) {
	if broken := checkAll([]kernel{sound()}); len(broken) != 0 {
		t.Fatalf("the sound kernel breaks rules: %q", broken)
	}
	for name, c := range map[string]struct {
		breakIt func(k *kernel)
		want    string
	}{
		"spills":     {func(k *kernel) { k.spillStore = 8 }, "8 bytes of spill stores, 0 of spill loads, with 168 registers"},
		"local":      {func(k *kernel) { k.mix.Count[sass.LocalLoad] = 3 }, "3 local loads and stores"},
		"stack":      {func(k *kernel) { k.stack = 16 }, "16 bytes of stack"},
		"tensor":     {func(k *kernel) { delete(k.mix.Count, sass.HGMMA) }, "no HGMMA"},
		"serialised": {func(k *kernel) { k.remarks = []remark{{code: "C7510", text: "serialized"}} }, "C7510 serialized"},
		"warning":    {func(k *kernel) { k.remarks = []remark{{text: "odd", warning: true}} }, "odd"},
		"shared":     {func(k *kernel) { k.launch.Shared = 227 << 10 }, "233472 bytes of shared memory (1024 static, 232448 dynamic), 232448 is the most on sm_90a"},
		"registers":  {func(k *kernel) { k.registers = 176 }, "176 registers of 384 threads are 67584 of a block, 65536 is the most"},
		"threads":    {func(k *kernel) { k.launch.Threads = 256 }, "256 threads launched, 384 declared"},
	} {
		k := sound()
		c.breakIt(&k)
		broken := checkAll([]kernel{k})
		if len(broken) != 1 || !strings.Contains(broken[0], c.want) || !strings.Contains(broken[0], "wgmma_bf16_d128 forward sm_90a") {
			t.Errorf("%s: %q, want one line with %q", name, broken, c.want)
		}
	}
}

func TestRulesLetThroughWhatIsAllowed(t *testing.T) {
	wide, noted, plain, careful := sound(), sound(), sound(), sound()
	careful.family, careful.width, careful.spillStore, careful.spillLoad = "careful", 0, 4, 4
	wide.width, wide.spillStore, wide.spillLoad, wide.mix.Count[sass.LocalStore] = 256, 100, 100, 40
	noted.remarks = []remark{{code: "C7519", text: "warpgroup.arrive is injected"}}
	plain.family, plain.function, plain.known, plain.mix.Count = "common", "pack_bf16", false, map[sass.Class]int{}
	if broken := checkAll([]kernel{wide, noted, plain, careful}); len(broken) != 0 {
		t.Errorf("broken: %q", broken)
	}
}

func TestBlocksPerSMFollowTheScarcest(t *testing.T) {
	for name, c := range map[string]struct {
		registers, threads, shared int
		target                     string
		want                       int
	}{
		"registers":      {245, 128, 0, "sm_80", 2},
		"shared":         {100, 128, 80 << 10, "sm_90", 2},
		"shared of Ada":  {100, 128, 80 << 10, "sm_89", 1},
		"threads":        {32, 1024, 0, "sm_80", 2},
		"blocks":         {16, 32, 0, "sm_80", 32},
		"exactly shared": {100, 128, 113 << 10, "sm_90", 2},
		"just too large": {100, 128, 113<<10 + 1, "sm_90", 1},
	} {
		k := kernel{usage: usage{registers: c.registers}, threads: c.threads, target: c.target, launch: cuda.Launch{Shared: c.shared}}
		if got := k.blocksPerSM(); got != c.want {
			t.Errorf("%s: %d blocks, want %d", name, got, c.want)
		}
	}
}

func TestCheckShowsWhatChanged(t *testing.T) {
	k := sound()
	o := options{dir: t.TempDir(), write: true}
	if text, wrong, err := o.check([]kernel{k}, "12.9.86"); wrong != 0 || err != nil {
		t.Fatalf("writing: %v, %s", err, text)
	}
	o.write = false
	if text, wrong, err := o.check([]kernel{k}, "12.9.86"); wrong != 0 || err != nil || !strings.Contains(text, "1 kernels and targets keep") {
		t.Fatalf("the tables just written: %d wrong, %v, %s", wrong, err, text)
	}
	k.registers = 160
	text, wrong, err := o.check([]kernel{k}, "12.9.86")
	if wrong != 1 || err != nil {
		t.Fatalf("%d wrong, %v", wrong, err)
	}
	for _, want := range []string{"STALE " + filepath.Join(o.dir, "figures.md"), "\n- | wgmma_bf16_d128 | forward | sm_90a | 168 |", "\n+ | wgmma_bf16_d128 | forward | sm_90a | 160 |"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if got := difference("a\nb\n", "b\na\n"); got == "" {
		t.Error("lines in another order count as the same")
	}
}

func TestRunNamesAMissingTool(t *testing.T) {
	err := run(options{tools: tools{ptxas: filepath.Join(t.TempDir(), "ptxas")}}, &bytes.Buffer{})
	if err == nil || !strings.Contains(err.Error(), "-ptxas") {
		t.Errorf("error %v, want one that names the flag", err)
	}
}

func TestReadModulesNamesAnEmptyFolder(t *testing.T) {
	if _, err := readModules(t.TempDir()); err == nil || !strings.Contains(err.Error(), "-ptx") {
		t.Errorf("error %v, want one that names the flag", err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "mma_bf16_d64.ptx"), []byte(ptxText), 0o600); err != nil {
		t.Fatal(err)
	}
	if modules, err := readModules(dir); err != nil || len(modules) != 1 || modules[0].path == "" {
		t.Errorf("%v, %v", modules, err)
	}
}
