package overlap

import (
	"context"
	"fmt"
	"time"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/dist/trace"
)

// trace records one hop of all ranks, if anybody wants it: compute from its start to its end, the copy from Shift to the arrival, which
// another goroutine waits for. Clocks of hosts differ, so times count from a barrier, and the trace is off by as much as that is.
func (m *meter) trace(ctx context.Context, mib int) error {
	wanted := 0.0
	if m.cfg.Trace != nil {
		wanted = 1
	}
	votes, err := slowest(ctx, m.c, []float64{wanted}) // rank 0's recorder may be the only one
	if err != nil || votes[0] == 0 {
		return err
	}
	if err := dist.Barrier(ctx, m.c); err != nil {
		return err
	}
	start := time.Now()
	since := func() float64 { return time.Since(start).Seconds() }
	next := m.shift()
	arrived := make(chan error, 1)
	var times [3]float64 // end of the copy, which begins at 0; start and end of compute
	go func() {
		_, err := next.Wait(ctx)
		times[0] = since()
		arrived <- err
	}()
	times[1] = since()
	m.work(m.units)
	times[2] = since()
	if err := <-arrived; err != nil {
		return err
	}
	if err := m.arrived(ctx, next); err != nil {
		return err
	}
	return m.gather(ctx, fmt.Sprintf("%d MiB", mib), start, times[:])
}

// gather enters the spans of all ranks in the recorder of rank 0.
func (m *meter) gather(ctx context.Context, name string, start time.Time, times []float64) error {
	hosts, err := dist.AllGather(ctx, m.c, []byte(dist.Hostname()))
	if err != nil {
		return err
	}
	all, err := dist.AllGather(ctx, m.c, times)
	if err != nil || m.c.Rank() != 0 || m.cfg.Trace == nil {
		return err
	}
	for rank, t := range all {
		span := func(stream string, from, to float64) trace.Span {
			return trace.Span{Device: string(hosts[rank]), Rank: rank, Stream: stream, Name: name, Start: start.Add(duration(from)), Duration: duration(to - from)}
		}
		m.cfg.Trace.Add(span(trace.Copy, 0, t[0]), span(trace.Compute, t[1], t[2]))
	}
	return nil
}

func duration(seconds float64) time.Duration { return time.Duration(seconds * float64(time.Second)) }
