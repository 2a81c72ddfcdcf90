//go:build ringcuda && cgo

package nccl

import (
	"context"
	"sync"
	"testing"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/dist/disttest"
	"github.com/ringgrad/ringgrad/dist/hosts"
	"github.com/ringgrad/ringgrad/dist/local"
)

// plain hides what an engine between processes cannot do.
type plain struct{ dist.Engine }

// TestHostsRunOverTheEngine: processes with a GPU each are joined by it, and have ranks of their own on top.
func TestHostsRunOverTheEngine(t *testing.T) {
	const most = 2 // processes
	disttest.Suite{Sizes: []int{1, 2, 4}, Engines: func(t testing.TB, n int) []dist.Engine {
		processes := min(most, n)
		joined := make([]*hosts.World, processes)
		var all sync.WaitGroup
		for i, cpu := range local.NewWorld(processes) {
			all.Go(func() {
				wire, err := Open(context.Background(), plain{cpu}, Options{Device: i, Smallest: 1})
				if err != nil {
					t.Error(err)
					return
				}
				if joined[i], err = hosts.Join(context.Background(), wire, n/processes); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		t.Cleanup(func() {
			for _, w := range joined {
				all.Go(func() {
					if err := w.Close(); err != nil {
						t.Error(err)
					}
				})
			}
			all.Wait()
			tidy(t)
		})
		var engines []dist.Engine
		for _, w := range joined {
			engines = append(engines, w.Engines()...)
		}
		return engines
	}}.Run(t)
}

// TestTheEngineRunsOverHosts: the ranks of all processes have a GPU each, and hosts carries the small messages.
func TestTheEngineRunsOverHosts(t *testing.T) {
	disttest.Suite{Sizes: []int{2, 4}, Engines: func(t testing.TB, n int) []dist.Engine {
		const processes = 2
		joined, engines := make([]*hosts.World, processes), make([]dist.Engine, n)
		var all sync.WaitGroup
		for i, wire := range local.NewWorld(processes) {
			all.Go(func() {
				var err error
				if joined[i], err = hosts.Join(context.Background(), plain{wire}, n/processes); err != nil {
					t.Error(err)
					return
				}
				for _, cpu := range joined[i].Engines() {
					all.Go(func() {
						var err error
						if engines[cpu.Rank()], err = Open(context.Background(), cpu, Options{Device: cpu.Rank(), Smallest: 1}); err != nil {
							t.Error(err)
						}
					})
				}
			})
		}
		all.Wait()
		t.Cleanup(func() {
			for _, e := range engines {
				if err := e.Close(); err != nil {
					t.Error(err)
				}
			}
			for _, w := range joined {
				all.Go(func() { _ = w.Close() })
			}
			all.Wait()
			tidy(t)
		})
		return engines
	}}.Run(t)
}
