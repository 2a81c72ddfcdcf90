package ringattn

import (
	"slices"
	"strings"
	"testing"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/dist/shard"
)

func TestReplayedForwardGivesTheGradientsWithoutGoingRoundTheRing(t *testing.T) {
	for _, devices := range []int{1, 3} {
		a, b := problem(1, gqa), problem(2, gqa)
		x, err := newGraph(a, a.Tokens, 2, Config{Devices: devices, Layout: shard.Zigzag})
		if err != nil {
			t.Fatal(err)
		}
		var saved [2]Saved
		for i, in := range []DenseInputs{a, b} { // two layers forward
			if _, err := x.run(in); err != nil {
				t.Fatal(err)
			}
			saved[i] = x.op.Saved()
		}
		for i, in := range []DenseInputs{b, a} { // and backward
			x.op.Replay(saved[1-i])
			got, err := x.run(in)
			if err != nil {
				t.Fatal(err)
			}
			requireEqual(t, "replay", got, Dense(in))
		}
		if f, back := x.op.Counts(); f != 2 || back != 4 {
			t.Errorf("%d forwards and %d backwards, want 2 and 4", f, back)
		}
		n := a.Tokens * a.Heads * (a.ValueDim + 2) * 8 // O, LSE, and what rounding took from LSE
		if got := saved[0].Bytes(); got != int64(n) {
			t.Errorf("Saved holds %d bytes, want %d", got, n)
		}
		// the replay was for one run
		got, err := x.run(a)
		if err != nil {
			t.Fatal(err)
		}
		requireEqual(t, "after the replay", got, Dense(a))
	}
}

func TestReplayedForwardSendsNothing(t *testing.T) {
	in := problem(1, gqa)
	x, err := newGraph(in, in.Tokens, 2, Config{Devices: 3})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := x.run(in); err != nil {
		t.Fatal(err)
	}
	x.op.Replay(x.op.Saved())
	if _, err := x.run(in); err != nil {
		t.Fatal(err)
	}
	if e := x.op.Ledger()[dist.ForwardKV]; e.Hops != 0 {
		t.Errorf("the replayed forward made %d hops", e.Hops)
	}
}

func TestSavedOutlivesWhatTheGraphDoesToTheOutput(t *testing.T) {
	in := problem(1, gqa)
	x, err := newGraph(in, in.Tokens, 2, Config{Devices: 2})
	if err != nil {
		t.Fatal(err)
	}
	first, err := x.run(in)
	if err != nil {
		t.Fatal(err)
	}
	saved := x.op.Saved()
	out := x.out.Value().Data().([]float64)
	for i := range out {
		out[i] = 99
	}
	x.op.Replay(saved)
	again, err := x.run(in)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(again.Out, first.Out) || !slices.Equal(again.DQ, first.DQ) {
		t.Error("writing into the output has changed what was saved")
	}
}

func TestReplayOfWhatAnotherOpSavedIsAnError(t *testing.T) {
	in := problem(1, gqa)
	x, err := newGraph(in, in.Tokens, 2, Config{Devices: 2})
	if err != nil {
		t.Fatal(err)
	}
	y, err := newGraph(in, in.Tokens, 2, Config{Devices: 3})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := y.run(in); err != nil {
		t.Fatal(err)
	}
	for _, s := range []Saved{{}, y.op.Saved()} {
		x.op.Replay(s)
		if _, err := x.run(in); err == nil || !strings.Contains(err.Error(), "replayed Saved") {
			t.Errorf("error %v", err)
		}
	}
}
