package main

import (
	"strings"
	"testing"

	"github.com/ringgrad/ringgrad/ops/internal/kernel/cuda"
	"github.com/ringgrad/ringgrad/ops/internal/kernel/cuda/gate/sass"
)

// looping is a kernel of one warp whose loop multiplies 16 queries by 8 keys of 16 columns twice, and has one branch that a full tile skips.
func looping(t *testing.T, function string) kernel {
	t.Helper()
	const listing = "\t.section\t.text.forward,\"ax\"\n" + `.L_x_1:
        /*0000*/                   HMMA.16816.F32.BF16 R12, R8, R10, R12 ;
        /*0010*/               @P1 BRA ` + "`(.L_x_2)" + ` ;
        /*0020*/                   FSEL R12, R12, -INF , P2 ;
        /*0030*/                   FSEL R13, R13, -INF , P2 ;
.L_x_2:
        /*0040*/                   HMMA.16816.F32.BF16 R12, R8, R10, R12 ;
        /*0050*/               @P3 BRA ` + "`(.L_x_1)" + ` ;
        /*0060*/                   EXIT ;
`
	functions, err := sass.Parse(listing)
	if err != nil {
		t.Fatal(err)
	}
	return kernel{
		module: module{name: "mma_bf16_d16", family: "mma", width: 16}, usage: usage{function: function, registers: 32}, target: "sm_90",
		threads: 32, launch: cuda.Launch{Queries: 16, Keys: 8, Threads: 32}, known: true, code: functions[0], mix: sass.MixOf(functions[0].Code),
	}
}

func TestPredictionsAreOfTheMainLoop(t *testing.T) {
	list, unfound := predictions([]kernel{looping(t, "forward"), looping(t, "forward_extras")})
	if len(list) != 2 || len(unfound) != 0 {
		t.Fatalf("%d predictions, unfound %q", len(list), unfound)
	}
	plain, extra := list[0], list[1]
	if plain.Pairs != 1 || plain.Full.Mix.Count[sass.ALU] != 0 || plain.Partial.Mix.Count[sass.ALU] != 2 {
		t.Errorf("plain: %v pairs, full %v, partial %v", plain.Pairs, plain.Full.Mix.Count, plain.Partial.Mix.Count)
	}
	if extra.Full.Mix.Count[sass.ALU] != 2 {
		t.Errorf("extras: a full tile has %v, want all branches", extra.Full.Mix.Count)
	}
}

func TestPredictionsNameWhatTheyCannotPredict(t *testing.T) {
	k := looping(t, "forward")
	k.launch.Keys = 24
	list, unfound := predictions([]kernel{k})
	if len(list) != 0 || len(unfound) != 1 || unfound[0] != "mma_bf16_d16 forward" {
		t.Errorf("%d predictions, unfound %q", len(list), unfound)
	}
	if text := estimate([]kernel{k}); !strings.Contains(text, "Not predicted, because no loop does a pair of tiles: mma_bf16_d16 forward.") {
		t.Errorf("the table does not say so:\n%s", text)
	}
}

func TestPredictionsAreOfHopperAlone(t *testing.T) {
	ada, half, unknown := looping(t, "forward"), looping(t, "forward"), looping(t, "forward")
	ada.target, half.name, unknown.known = "sm_89", "mma_f16_d16", false
	if list, unfound := predictions([]kernel{ada, half, unknown}); len(list)+len(unfound) != 0 {
		t.Errorf("%d predictions, unfound %q", len(list), unfound)
	}
}

func TestTheCopyingWarpgroupDoesNotCompute(t *testing.T) {
	k := looping(t, "forward")
	k.threads = 384
	if got := k.mathWarps(); got != 12 {
		t.Errorf("%d warps, want 12", got)
	}
	k.code.Code = append(k.code.Code, sass.Instruction{Op: "USETMAXREG.DEALLOC.CTAPOOL"})
	if got := k.mathWarps(); got != 8 {
		t.Errorf("%d warps with a warpgroup that gives its registers away, want 8", got)
	}
}
