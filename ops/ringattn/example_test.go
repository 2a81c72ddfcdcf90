package ringattn_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/dist/local"
	"github.com/ringgrad/ringgrad/dist/shard"
	"github.com/ringgrad/ringgrad/ops"
	"github.com/ringgrad/ringgrad/ops/mask"
	"github.com/ringgrad/ringgrad/ops/ringattn"
	"github.com/ringgrad/ringgrad/ops/ringattn/ring"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// ramp is a matrix with the rows i, i+1/width, ...
func ramp(rows, width int) *tensor.Dense {
	data := make([]float64, rows*width)
	for i := range data {
		data[i] = float64(i) / float64(width)
	}
	return tensor.New(tensor.WithShape(rows, width), tensor.WithBacking(data))
}

// One ordinary graph: the op splits six positions over three ranks by itself.
func ExampleAttention() {
	g := gorgonia.NewGraph()
	x := gorgonia.NewMatrix(g, tensor.Float64, gorgonia.WithShape(6, 4), gorgonia.WithName("x"), gorgonia.WithValue(ramp(6, 4)))
	out, err := ringattn.Attention(x, x, x, ringattn.Config{NumHeads: 2, Causal: true, Devices: 3})
	if err != nil {
		fmt.Println(err)
		return
	}
	loss := gorgonia.Must(gorgonia.Sum(out))
	grads, err := gorgonia.Grad(loss, x)
	if err != nil {
		fmt.Println(err)
		return
	}
	machine := gorgonia.NewTapeMachine(g)
	if err := machine.RunAll(); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("out %v, loss %.4f, gradient %v\n", out.Shape(), loss.Value().Data(), grads[0].Shape())
	// Output: out (6, 4), loss 68.2783, gradient (6, 4)
}

// The handle tells what a run did.
func ExampleApply() {
	g := gorgonia.NewGraph()
	x := gorgonia.NewMatrix(g, tensor.Float64, gorgonia.WithShape(6, 4), gorgonia.WithName("x"), gorgonia.WithValue(ramp(6, 4)))
	_, op, err := ringattn.Apply(x, x, x, ringattn.Config{NumHeads: 2, NumKVHeads: 2, Devices: 3})
	if err != nil {
		fmt.Println(err)
		return
	}
	machine := gorgonia.NewTapeMachine(g)
	if err := machine.RunAll(); err != nil {
		fmt.Println(op.Err())
		return
	}
	forward, backward := op.Counts()
	sent := op.Ledger()[dist.ForwardKV]
	fmt.Printf("forward %d, backward %d, %d hops of a rank, %d bytes\n", forward, backward, sent.Hops, sent.Bytes)
	// Output: forward 1, backward 0, 2 hops of a rank, 768 bytes
}

// A graph on every rank, each over its own rows.
func ExampleConfig_comm() {
	const tokens = 6
	whole := ramp(tokens, 4)
	err := local.Run(context.Background(), 2, dist.Options{}, func(ctx context.Context, c *dist.Comm) error {
		s, err := shard.New(shard.Zigzag, tokens, c.Size())
		if err != nil {
			return err
		}
		rows := tensor.New(tensor.WithShape(s.Len(c.Rank()), 4),
			tensor.WithBacking(shard.Scatter(s, c.Rank(), whole.Float64s(), 4)))
		var machine gorgonia.VM
		err = ops.Build(func() error { // graphs are built one at a time
			g := gorgonia.NewGraph()
			x := gorgonia.NewMatrix(g, tensor.Float64, gorgonia.WithShape(rows.Shape()...), gorgonia.WithName("x"), gorgonia.WithValue(rows))
			_, err := ringattn.Attention(x, x, x, ringattn.Config{
				NumHeads: 1, Causal: true, Layout: s.Layout(), SeqLen: tokens, Comm: c, Context: ctx,
			})
			machine = gorgonia.NewTapeMachine(g)
			return err
		})
		if err != nil {
			return err
		}
		return machine.RunAll()
	})
	fmt.Println("error:", err)
	// Output: error: <nil>
}

// Products in bfloat16, where the processor has them; float32 elsewhere.
func ExampleConfig_bfloat16() {
	attend := func(dtype ringattn.DType) error {
		g := gorgonia.NewGraph()
		x := gorgonia.NewTensor(g, tensor.Float32, 3, gorgonia.WithShape(8, 2, 16), gorgonia.WithName("x"), gorgonia.WithInit(gorgonia.GlorotN(1)))
		out, err := ringattn.Attention(x, x, x, ringattn.Config{Causal: true, Devices: 2, DType: dtype})
		if err != nil {
			return err
		}
		if err := gorgonia.NewTapeMachine(g).RunAll(); err != nil {
			return err
		}
		fmt.Println(out.Shape(), out.Dtype())
		return nil
	}
	err := attend(ringattn.BFloat16)
	if errors.Is(err, ringattn.ErrNoBFloat16) {
		err = attend("")
	}
	fmt.Println("error:", err)
	// Output:
	// (8, 2, 16) float32
	// error: <nil>
}

// A ring of three over GPUs, here simulated ones, in an ordinary graph: with ring.CUDA in the place of ring.Sim it runs on real ones.
func ExampleConfig_device() {
	attend := func(d ring.Device) []float32 {
		g := gorgonia.NewGraph()
		x := gorgonia.NewTensor(g, tensor.Float32, 3, gorgonia.WithShape(9, 2, 16), gorgonia.WithName("x"), gorgonia.WithInit(gorgonia.Ones()))
		out, err := ringattn.Attention(x, x, x, ringattn.Config{Causal: true, Devices: 3, Layout: shard.Zigzag, Device: d})
		if err != nil {
			panic(err)
		}
		if err := gorgonia.NewTapeMachine(g).RunAll(); err != nil {
			panic(err)
		}
		return out.Value().Data().([]float32)
	}
	fmt.Printf("%.3f %.3f\n", attend(ring.CPU)[100], attend(ring.Sim)[100])
	// Output: 1.000 1.000
}

// The dense reference, on plain slices.
func ExampleDense() {
	r := ringattn.Dense(ringattn.DenseInputs{
		Batch: 1, Tokens: 2, Heads: 1, KVHeads: 1, Dim: 1, ValueDim: 1, Causal: true,
		Q: []float64{0, 0}, K: []float64{1, 2}, V: []float64{10, 20}, DOut: []float64{1, 1},
	})
	fmt.Printf("out %.1f, lse %.3f, dV %.1f\n", r.Out, r.LSE, r.DV)
	// Output: out [10.0 15.0], lse [0.000 0.693], dV [1.5 0.5]
}

// Packed documents with a sliding window: the plan says what goes where, and nothing goes to a rank that does not see it.
func ExampleConfig_masks() {
	g := gorgonia.NewGraph()
	x := gorgonia.NewMatrix(g, tensor.Float64, gorgonia.WithShape(8, 4), gorgonia.WithName("x"), gorgonia.WithValue(ramp(8, 4)))
	_, op, err := ringattn.Apply(x, x, x, ringattn.Config{
		NumHeads: 2, Causal: true, Devices: 4, CuSeqlens: []int{0, 5, 5, 8}, Window: &mask.Window{Left: 2, Right: mask.Unbounded},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	machine := gorgonia.NewTapeMachine(g)
	if err := machine.RunAll(); err != nil {
		fmt.Println(err)
		return
	}
	for rank := range 4 {
		fmt.Printf("rank %d sends its keys to %d ranks\n", rank, op.Plan().Sends(rank, 8)[dist.ForwardKV].Hops)
	}
	// Output:
	// rank 0 sends its keys to 1 ranks
	// rank 1 sends its keys to 1 ranks
	// rank 2 sends its keys to 1 ranks
	// rank 3 sends its keys to 0 ranks
}
