package main

import (
	"errors"
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/ringgrad/ringgrad/ops/bench"
	"github.com/ringgrad/ringgrad/ops/ringattn/ring"
)

// benchFlags are those of all measurements.
type benchFlags struct {
	device, dtype   string
	rounds, threads int
}

func newBench(out *output) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure attention, matrix products, training steps and hops of the ring against what the machine can do",
		Long: "bench compares with two loops that run in the same rounds, on as many cores: multiply-adds on\n" +
			"registers alone (the FMA peak), and tiles of a matrix product in the first-level cache (the GEMM\n" +
			"loop). Shares are those of the rates by processor time, which other programs on the machine do not\n" +
			"lengthen; all figures are medians of the rounds.\n" +
			"\n" +
			"A second table is the roofline: operations, the bytes that must pass between memory and processor,\n" +
			"and the lowest ceiling: the FMA peak, or the GEMM loop where that falls below 0.97 of the peak since\n" +
			"feeding the registers costs clock, or memory, whose rate is that of copying.",
		Example: "  train bench attention --seq 2048 --head-dim 64 --heads 8 --kv-heads 8 --causal\n" +
			"  train bench attention --seq 16384 --head-dim 64 --heads 4 --kv-heads 4 --causal --ring 1,8\n" +
			"  train bench matmul --m 2048 --n 2048 --k 2048 --trans nn,nt,tn\n" +
			"  train bench matmul --config configs/long.yaml\n" +
			"  train bench step --config configs/long.yaml\n" +
			"  train bench ring --ranks 4\n" +
			"  train bench memory --seq 16384 --head-dim 64 --heads 4 --ring 8\n" +
			"  RINGGRAD_ISA=avx2 train bench attention --seq 2048 --head-dim 64 --heads 8",
		RunE: func(*cobra.Command, []string) error {
			return errors.New("bench needs what to measure; train bench --help lists it")
		},
	}
	cmd.AddCommand(newBenchAttention(out), newBenchMatmul(out), newBenchStep(out), newBenchMemory(out), newBenchRing(out))
	for _, sub := range cmd.Commands() {
		sub.Args = noArguments
	}
	return cmd
}

func (f *benchFlags) add(cmd *cobra.Command, devices string) {
	cmd.Flags().StringVar(&f.device, "device", "cpu", devices)
	cmd.Flags().IntVar(&f.rounds, "rounds", 7, "rounds that the medians are of")
	cmd.Flags().IntVar(&f.threads, "threads", runtime.GOMAXPROCS(0), "threads, of the ceilings too")
}

func (f *benchFlags) addDType(cmd *cobra.Command, types string) {
	cmd.Flags().StringVar(&f.dtype, "dtype", "float32", types)
}

// onCPU describes the flag of what is measured on the CPU alone.
const onCPU = "where to run: `cpu`"

// needCPU refuses other devices.
func (f *benchFlags) needCPU() error {
	if f.device != string(ring.CPU) {
		return fmt.Errorf("bench: device %q: this is measured on the CPU; give cpu, or measure attention", f.device)
	}
	return nil
}

func (f *benchFlags) options() (bench.Options, error) {
	o := bench.Options{Rounds: f.rounds, Threads: f.threads}
	switch {
	case f.rounds < 1:
		return o, fmt.Errorf("bench: --rounds %d: give at least 1", f.rounds)
	case f.threads < 1:
		return o, fmt.Errorf("bench: --threads %d: give at least 1", f.threads)
	}
	return o, o.Validate()
}

// figureHeader names the columns of figureCells.
var figureHeader = []string{"ms", "Gflop/s", "a core-second", "of peak", "of loop", "busy ms"}

// rooflineHeader names the columns of rooflineCells.
var rooflineHeader = []string{"Gflop", "MB at least", "flop/byte", "ceiling", "limit", "of ceiling"}

func rooflineCells(f bench.Figures) []string {
	r := f.Roofline
	return []string{
		fmt.Sprintf("%.2f", r.Flops/1e9), fmt.Sprintf("%.2f", r.Bytes/1e6), fmt.Sprintf("%.0f", r.Intensity), fmt.Sprintf("%.0f", r.Ceiling),
		limitNames[r.Limit], fmt.Sprintf("%.3f", f.OfCeiling),
	}
}

var limitNames = map[string]string{"fma_peak": "FMA peak", "gemm_loop": "GEMM loop", "memory": "memory"}

func figureCells(f bench.Figures) []string {
	return []string{
		millis(f.WallMS), fmt.Sprintf("%.1f", f.GFlops), fmt.Sprintf("%.1f", f.GFlopsPerCoreSecond),
		fmt.Sprintf("%.3f", f.OfFMAPeak), fmt.Sprintf("%.3f", f.OfGemmLoop), millis(f.BusyMS),
	}
}

// millis keeps three digits without an exponent.
func millis(ms float64) string {
	switch {
	case ms >= 100:
		return thousands(int64(ms + 0.5))
	case ms >= 10:
		return fmt.Sprintf("%.1f", ms)
	}
	return fmt.Sprintf("%.3f", ms)
}

// printCeilings ends a table of figures.
func printCeilings(out *output, c bench.Ceilings, o bench.Options) error {
	return out.printf("Gflop a core-second: FMA peak %.0f on %s, %.0f on one; GEMM loop %.0f; medians of %s\n"+
		"memory: %.1f GB/s, read and written by all threads\n",
		c.FMAPeak, count(o.Threads, "thread"), c.FMAPeakOneCore, c.GemmLoop, count(o.Rounds, "round"), c.MemoryGBs)
}
