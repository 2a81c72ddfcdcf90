package data_test

import (
	"fmt"

	"github.com/ringgrad/ringgrad/trainer/data"
	"github.com/ringgrad/ringgrad/trainer/tokenizer"
)

func ExampleOpen() {
	tok, err := tokenizer.Load("../../testdata/bytes")
	if err != nil {
		fmt.Println(err)
		return
	}
	set, err := data.Open(data.Options{Sources: []data.Source{{Path: "testdata/two.jsonl"}}, Tokenizer: tok, SequenceLen: 8})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(set.Counts)
	batch, err := data.NewLoader(set.Train, data.LoaderOptions{MicroBatch: 2}).Next()
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(batch.IDs)
	fmt.Println(batch.Labels)
	// Output:
	// 2 documents, 1 file, 15 tokens, 1 truncated, 2 tokens cut away
	// [97 32 108 111 110 103 101 114 115 104 111 114 116 0 0 0]
	// [32 108 111 110 103 101 114 -100 104 111 114 116 -100 -100 -100 -100]
}
