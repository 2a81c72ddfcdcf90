package mask_test

import (
	"fmt"

	"github.com/ringgrad/ringgrad/ops/mask"
)

// show prints which keys each query sees.
func show(s mask.Spec, tokens int) {
	for i := range tokens {
		for j := range tokens {
			if s.Visible(i, j) {
				fmt.Print("█")
			} else {
				fmt.Print(".")
			}
		}
		fmt.Println()
	}
}

// Two answers to one question, which do not see each other.
func ExampleSpec() {
	show(mask.Spec{Rectangles: []mask.Rectangle{
		{QueryFrom: 0, QueryTo: 4, KeyFrom: 0, KeyTo: 4, Kind: mask.Causal}, // question and first answer
		{QueryFrom: 4, QueryTo: 6, KeyFrom: 0, KeyTo: 2},                    // the second answer sees the question
		{QueryFrom: 4, QueryTo: 6, KeyFrom: 4, KeyTo: 6, Kind: mask.Causal}, // and itself
	}}, 6)
	// Output:
	// █.....
	// ██....
	// ███...
	// ████..
	// ██..█.
	// ██..██
}

// A sliding window within packed documents.
func ExampleNew() {
	s := mask.Spec{Causal: true, Window: &mask.Window{Left: 1, Right: mask.Unbounded}, CuSeqlens: []int{0, 4, 6}}
	show(s, 6)
	m, err := mask.New(s, 6)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("pairs:", m.Areas(0, 6, 6)[6])
	_, err = mask.New(mask.Spec{CuSeqlens: []int{0, 4}}, 6)
	fmt.Println(err)
	// Output:
	// █.....
	// ██....
	// .██...
	// ..██..
	// ....█.
	// ....██
	// pairs: 10
	// mask: cu_seqlens [0 4] ends at 4, the sequence has 6 tokens
}
