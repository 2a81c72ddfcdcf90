package bench_test

import (
	"context"
	"fmt"

	"github.com/ringgrad/ringgrad/ops/bench"
)

// A ring of four beside the kernel alone, in the same rounds.
func ExampleAttention_Measure() {
	a := bench.Attention{Seq: 256, HeadDim: 64, Heads: 2, KVHeads: 2, Causal: true, DType: "float32", Rings: []int{1, 4}, Layout: "zigzag"}
	report, err := a.Measure(context.Background(), bench.Options{Rounds: 1, Threads: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, r := range report.Results {
		fmt.Println(r.Pass, "over", r.Ring, r.OfGemmLoop > 0)
	}
	// Output:
	// forward over 1 true
	// backward over 1 true
	// forward over 4 true
	// backward over 4 true
}

func ExampleMatmul_Measure() {
	m := bench.Matmul{Products: []bench.Product{{M: 128, N: 128, K: 128, Trans: "nt"}}, DType: "float32"}
	report, err := m.Measure(context.Background(), bench.Options{Rounds: 1, Threads: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(report.Results[0].Trans, report.Results[0].OfFMAPeak > 0)
	// Output: nt true
}
