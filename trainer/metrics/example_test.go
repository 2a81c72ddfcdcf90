package metrics_test

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/ringgrad/ringgrad/trainer/metrics"
)

func ExampleOpen() {
	dir, err := os.MkdirTemp("", "metrics")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(dir) }()
	path := filepath.Join(dir, "metrics.jsonl")

	// A run is killed after step 2; its newest checkpoint is that of step 1.
	first, err := metrics.Open(path, 0)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(first.Eval(metrics.Eval{Step: 1, EvalLoss: 2.5}), first.Eval(metrics.Eval{Step: 2, EvalLoss: 2.25}), first.Close())

	// The resumed run takes step 2 again.
	second, err := metrics.Open(path, 1)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(second.Eval(metrics.Eval{Step: 2, EvalLoss: 2.25}), second.Close())
	text, err := os.ReadFile(path)
	fmt.Print(string(text), err)
	// Output:
	// <nil> <nil> <nil>
	// <nil> <nil>
	// {"step":1,"eval_loss":2.5,"eval_tokens":0,"eval_seconds":0}
	// {"step":2,"eval_loss":2.25,"eval_tokens":0,"eval_seconds":0}
	// <nil>
}
