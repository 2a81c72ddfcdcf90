package scaling_test

import (
	"fmt"

	"github.com/ringgrad/ringgrad/trainer/estimate/scaling"
)

// A million tokens on 512 GPUs: a single ring waits for its links between hosts, a double ring hardly does.
func ExampleRun_Attention() {
	for _, layout := range scaling.Layouts() {
		r := scaling.Run{Machine: scaling.GPUs(), Model: scaling.Llama8B(), Tokens: 1 << 20, Ring: 512, Layout: layout}
		seconds, ideal := r.Attention()
		fmt.Printf("%s: %.0f ms a layer, %.0f %% of the ideal\n", layout, 1e3*seconds, 100*ideal/seconds)
	}
	// Output:
	// contiguous: 353 ms a layer, 41 % of the ideal
	// zigzag: 353 ms a layer, 41 % of the ideal
	// double ring: 161 ms a layer, 90 % of the ideal
	// Ulysses and a ring: 147 ms a layer, 98 % of the ideal
}
