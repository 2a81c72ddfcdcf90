package ringattn

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/dist/local"
	"github.com/ringgrad/ringgrad/dist/shard"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

func node(g *gorgonia.ExprGraph, name string, dt tensor.Dtype, shape ...int) *gorgonia.Node {
	return gorgonia.NewTensor(g, dt, len(shape), gorgonia.WithShape(shape...), gorgonia.WithName(name))
}

func TestBadUseIsANamedErrorWhenTheGraphIsBuilt(t *testing.T) {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	comm := dist.New(local.NewWorld(3)[1], dist.Options{})
	f64, f32 := tensor.Float64, tensor.Float32
	for _, c := range []struct {
		name    string
		q, k, v []int
		dtypes  [3]tensor.Dtype
		cfg     Config
		want    string
	}{
		{"dtype", []int{4, 2, 8}, []int{4, 2, 8}, []int{4, 2, 8}, [3]tensor.Dtype{f64, f32, f64}, Config{}, "dtypes float64, float32, float64"},
		{"integers", []int{4, 2, 8}, []int{4, 2, 8}, []int{4, 2, 8}, [3]tensor.Dtype{tensor.Int, tensor.Int, tensor.Int}, Config{}, "dtype int"},
		{"length", []int{4, 2, 8}, []int{5, 2, 8}, []int{4, 2, 8}, [3]tensor.Dtype{}, Config{}, "q, k, v have 4, 5, 4 rows"},
		{"dimensions", []int{4, 2, 8}, []int{4, 16}, []int{4, 2, 8}, [3]tensor.Dtype{}, Config{}, "3, 2, 3 dimensions"},
		{"vector", []int{4}, []int{4}, []int{4}, [3]tensor.Dtype{}, Config{}, "[S, H*D], [S, H, D] or [B, S, H, D]"},
		{"batch", []int{2, 4, 2, 8}, []int{1, 4, 2, 8}, []int{2, 4, 2, 8}, [3]tensor.Dtype{}, Config{}, "differ in batch"},
		{"heads", []int{4, 3, 8}, []int{4, 2, 8}, []int{4, 2, 8}, [3]tensor.Dtype{}, Config{}, "3 query heads are not a multiple of 2 KV heads"},
		{"config heads", []int{4, 16}, []int{4, 16}, []int{4, 16}, [3]tensor.Dtype{}, Config{NumHeads: 3, NumKVHeads: 2}, "NumHeads 3 is not a multiple of NumKVHeads 2"},
		{"kv heads", []int{4, 2, 8}, []int{4, 2, 8}, []int{4, 1, 8}, [3]tensor.Dtype{}, Config{}, "k has 2 heads, v has 1"},
		{"head dim", []int{4, 2, 8}, []int{4, 2, 6}, []int{4, 2, 8}, [3]tensor.Dtype{}, Config{}, "head dim 8, k has 6"},
		{"flat head dim", []int{4, 16}, []int{4, 10}, []int{4, 16}, [3]tensor.Dtype{}, Config{NumHeads: 2}, "head dim 8 (16 over 2 heads), k has 5"},
		{"wide head", []int{4, 2, 257}, []int{4, 2, 257}, []int{4, 2, 8}, [3]tensor.Dtype{}, Config{}, "head dim 257: give 1 to 256"},
		{"wide value", []int{4, 2, 8}, []int{4, 2, 8}, []int{4, 2, 300}, [3]tensor.Dtype{}, Config{}, "value head dim 300: give 1 to 256"},
		{"no heads", []int{4, 16}, []int{4, 16}, []int{4, 16}, [3]tensor.Dtype{}, Config{}, "set NumHeads"},
		{"uneven heads", []int{4, 15}, []int{4, 16}, []int{4, 16}, [3]tensor.Dtype{}, Config{NumHeads: 2}, "q is 15 wide, which is not a multiple of its 2 heads"},
		{"uneven batch", []int{5, 16}, []int{5, 16}, []int{5, 16}, [3]tensor.Dtype{}, Config{NumHeads: 2, Batch: 2}, "5 rows, which are not a multiple of Batch 2"},
		{"heads of nodes", []int{4, 2, 8}, []int{4, 2, 8}, []int{4, 2, 8}, [3]tensor.Dtype{}, Config{NumHeads: 4}, "NumHeads is 4, but the nodes"},
		{"both", []int{4, 2, 8}, []int{4, 2, 8}, []int{4, 2, 8}, [3]tensor.Dtype{}, Config{Comm: comm, Devices: 2, SeqLen: 12}, "Devices 2 and Comm are both set"},
		{"many devices", []int{4, 2, 8}, []int{4, 2, 8}, []int{4, 2, 8}, [3]tensor.Dtype{}, Config{Devices: 5000}, "Devices 5000 is over 1024"},
		{"negative", []int{4, 2, 8}, []int{4, 2, 8}, []int{4, 2, 8}, [3]tensor.Dtype{}, Config{Devices: -1}, "Devices -1 is negative"},
		{"layout", []int{4, 2, 8}, []int{4, 2, 8}, []int{4, 2, 8}, [3]tensor.Dtype{}, Config{Layout: "zagzig"}, "zagzig"},
		{"no length", []int{4, 2, 8}, []int{4, 2, 8}, []int{4, 2, 8}, [3]tensor.Dtype{}, Config{Comm: comm}, "SeqLen is 0"},
		{"shard", []int{4, 2, 8}, []int{4, 2, 8}, []int{4, 2, 8}, [3]tensor.Dtype{}, Config{Comm: comm, SeqLen: 15}, "rank 1 of 3 holds 5 of 15 positions (contiguous), but q (4, 2, 8) has 4 rows"},
		{"alone", []int{4, 2, 8}, []int{4, 2, 8}, []int{4, 2, 8}, [3]tensor.Dtype{}, Config{SeqLen: 5}, "holds 5 of 5 positions"},
		{"arithmetic", []int{4, 2, 8}, []int{4, 2, 8}, []int{4, 2, 8}, [3]tensor.Dtype{}, Config{DType: "half"}, `dtype "half"`},
		{"narrow", []int{4, 2, 8}, []int{4, 2, 8}, []int{4, 2, 8}, [3]tensor.Dtype{}, Config{DType: BFloat16}, "takes nodes of float32"},
		{"context", []int{4, 2, 8}, []int{4, 2, 8}, []int{4, 2, 8}, [3]tensor.Dtype{}, Config{Context: ended}, "context canceled"},
	} {
		g := gorgonia.NewGraph()
		dt := func(i int) tensor.Dtype {
			if c.dtypes[i].Type == nil {
				return f64
			}
			return c.dtypes[i]
		}
		_, err := Attention(node(g, "q", dt(0), c.q...), node(g, "k", dt(1), c.k...), node(g, "v", dt(2), c.v...), c.cfg)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "ringattn: ") {
			t.Errorf("%s: error %q, want it to contain %q", c.name, err, c.want)
		}
	}
}

func TestValidateReportsAllProblemsAtOnce(t *testing.T) {
	err := Config{NumHeads: -1, Devices: 5000, Layout: "x"}.Validate()
	for _, want := range []string{"NumHeads -1", "Devices 5000", `"x"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not name %s", err, want)
		}
	}
}

func TestBackwardWithoutAFreshForwardIsAnError(t *testing.T) {
	in := problem(1, gqa)
	x, err := newGraph(in, in.Tokens, 2, Config{Devices: 2})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := x.run(in); err != nil {
		t.Fatal(err)
	}
	values := []gorgonia.Value{x.q.Value(), x.k.Value(), x.v.Value(), x.dOut.Value()}
	_, err = x.op.backward(values[:3], values[3])
	if !errors.Is(err, ErrNoForward) || !errors.Is(x.op.Err(), ErrNoForward) {
		t.Errorf("a second backward gave %v, and Err %v", err, x.op.Err())
	}
	if _, err := (&takeOp{x.op, 0, 4}).Do(); !errors.Is(err, ErrNoForward) {
		t.Errorf("a second dK gave %v", err)
	}
}

func TestPanicInARunBecomesAStickyErrorAndFreesTheOtherRanks(t *testing.T) {
	in := problem(1, gqa)
	start := time.Now()
	err := local.Run(t.Context(), 3, dist.Options{}, func(ctx context.Context, c *dist.Comm) error {
		s, _ := shard.New(shard.Contiguous, in.Tokens, 3)
		x, err := newGraph(in, s.Len(c.Rank()), 2, Config{SeqLen: in.Tokens, Comm: c, Context: ctx})
		if err != nil {
			return err
		}
		if c.Rank() == 1 {
			x.op.engine = broken{x.op.engine}
		}
		if _, err := x.run(slice(in, s, c.Rank())); err == nil {
			t.Errorf("rank %d ended without an error", c.Rank())
		}
		return x.op.Err()
	})
	if err == nil || !strings.Contains(err.Error(), "planted panic") {
		t.Errorf("the ring's error is %v, want the cause", err)
	}
	if d := time.Since(start); d > 2*time.Second {
		t.Errorf("the others were freed after %v", d)
	}
}

func TestErrSaysWhichPeerWasLostInWhichHop(t *testing.T) {
	in := problem(1, gqa)
	s, err := shard.New(shard.Contiguous, in.Tokens, 3)
	if err != nil {
		t.Fatal(err)
	}
	err = local.Run(t.Context(), 3, dist.Options{}, func(ctx context.Context, c *dist.Comm) error {
		if c.Rank() == 1 {
			return nil // leaves without a word
		}
		x, err := newGraph(in, s.Len(c.Rank()), 2, Config{SeqLen: in.Tokens, Comm: c, Context: ctx})
		if err != nil {
			return err
		}
		_, _ = x.run(slice(in, s, c.Rank()))
		return x.op.Err()
	})
	var lost *dist.Error
	if !errors.Is(err, dist.ErrPeerLost) || !errors.As(err, &lost) || lost.Kind != dist.ForwardKV || lost.Hop != 1 || lost.Peer != 1 {
		t.Errorf("error %v", err)
	}
}

// broken is an engine that panics.
type broken struct{ engine }

func (broken) forward(context.Context, []gorgonia.Value, moment) (gorgonia.Value, error) {
	panic("planted panic")
}

func TestEndedContextStopsARunAndErrSeesThroughGorgonia(t *testing.T) {
	in := problem(1, gqa)
	x, err := newGraph(in, in.Tokens, 2, Config{Devices: 3})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	x.op.SetContext(ctx)
	if _, err := x.run(in); err == nil {
		t.Fatal("ran in an ended context")
	}
	if !errors.Is(x.op.Err(), context.Canceled) {
		t.Errorf("Err is %v, want context.Canceled inside", x.op.Err())
	}
	x.op.SetContext(context.Background())
	if _, err := x.run(in); err != nil {
		t.Errorf("with a new context: %v", err)
	}
	if x.op.Err() == nil {
		t.Error("Err has forgotten the first error")
	}
}
