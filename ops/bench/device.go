package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/ringgrad/ringgrad/dist/trace"
	"github.com/ringgrad/ringgrad/ops/internal/accel"
	"github.com/ringgrad/ringgrad/ops/ringattn/ring"
)

// measureDevice takes the times that the devices take themselves, by events: from the first to the last operation of attention, without
// the host's copies. The last round's trace goes to a.Trace.
func (a Attention) measureDevice(ctx context.Context, o Options) (AttentionReport, error) {
	name, err := deviceName(a.Device)
	if err != nil {
		return AttentionReport{}, err
	}
	var report AttentionReport
	for _, n := range a.Rings {
		options, err := a.options(n)
		if err != nil {
			return AttentionReport{}, fmt.Errorf("bench: attention: %w", err)
		}
		times, err := a.rounds(ctx, n, o.Rounds)
		if err != nil {
			return AttentionReport{}, fmt.Errorf("bench: attention on %s: %w", a.Device, err)
		}
		forward, backward := a.Flops()
		for i, flops := range []float64{forward, backward} {
			wall, busy := median(times.wall[i]), median(times.busy[i])
			report.Results = append(report.Results, AttentionResult{
				Pass: []string{"forward", "backward"}[i], Device: string(a.Device), ISA: name,
				Seq: a.Seq, HeadDim: a.HeadDim, Heads: a.Heads, KVHeads: a.KVHeads, Causal: a.Causal,
				AttentionOptions: options, DType: a.DType, Ring: n, Layout: a.Layout,
				Figures: Figures{WallMS: 1e3 * wall, GFlops: flops / wall / 1e9, BusyMS: 1e3 * busy},
			})
		}
	}
	compareRings(report.Results)
	return report, nil
}

// deviceName says which devices run.
func deviceName(d ring.Device) (string, error) {
	engines, err := accel.Engines(string(d))
	if err != nil {
		return "", fmt.Errorf("bench: device %s: %w", d, err)
	}
	info := engines[0].Device().Info()
	return fmt.Sprintf("%d x %s, %s", len(engines), info.Name, info.Arch()), nil
}

// deviceTimes are seconds of forward and backward, a round each: from first to last, and with a device at work.
type deviceTimes struct{ wall, busy [2][]float64 }

// rounds measures a ring of n. The first pass is not counted: it loads kernels and takes memory.
func (a Attention) rounds(ctx context.Context, n, rounds int) (t deviceTimes, err error) {
	w, err := newRanks[float32](a, n)
	if err != nil {
		return t, err
	}
	for round := range rounds + 1 {
		for i, pass := range []func(context.Context) error{w.forward, w.backward} {
			r := &trace.Recorder{}
			if err := pass(trace.With(ctx, r)); err != nil {
				return t, err
			}
			if a.Trace != nil && round == rounds {
				a.Trace.Add(r.Spans()...)
			}
			if round > 0 {
				t.wall[i] = append(t.wall[i], seconds(r.Extent(trace.Compute)))
				t.busy[i] = append(t.busy[i], seconds(r.Busy(trace.Compute)))
			}
		}
	}
	return t, nil
}

// seconds of a time, at least a nanosecond: a ring may have nothing to do.
func seconds(d time.Duration) float64 { return max(d, 1).Seconds() }
