// Package accel opens the devices of this machine, once a process, with an engine of package cuda on each.
package accel

import (
	"fmt"
	"os"
	"strings"
	"sync"

	"github.com/ringgrad/ringgrad/ops/internal/device"
	"github.com/ringgrad/ringgrad/ops/internal/device/cudriver"
	"github.com/ringgrad/ringgrad/ops/internal/device/sim"
	"github.com/ringgrad/ringgrad/ops/internal/kernel/cuda"
)

// Kinds of devices.
const (
	CUDA = "cuda"
	Sim  = "sim"
)

// opened has the engines of each kind, from the first use to the end of the process.
var opened registry

type registry struct {
	mu      sync.Mutex
	engines map[string][]*cuda.Engine
}

// Engines returns the engines of all devices of a kind, at least one.
func Engines(kind string) ([]*cuda.Engine, error) {
	opened.mu.Lock()
	defer opened.mu.Unlock()
	if e, ok := opened.engines[kind]; ok {
		return e, nil
	}
	devices, err := open(kind)
	if err != nil {
		return nil, err
	}
	engines, err := on(devices)
	if err != nil {
		return nil, err
	}
	opened.set(kind, engines)
	return engines, nil
}

func (r *registry) set(kind string, engines []*cuda.Engine) {
	if r.engines == nil {
		r.engines = map[string][]*cuda.Engine{}
	}
	r.engines[kind] = engines
}

// atomicsVariable, set to 1, lets dQ be added up in whatever order blocks of threads come to it: faster, but the last bits of runs differ.
const atomicsVariable = "RINGGRAD_CUDA_ATOMICS"

// optionsOf reads the environment.
func optionsOf() (cuda.Options, error) {
	switch v := os.Getenv(atomicsVariable); v {
	case "", "0":
		return cuda.Options{}, nil
	case "1":
		return cuda.Options{Fast: true}, nil
	default:
		return cuda.Options{}, fmt.Errorf("accel: %s is %q: give 1 for gradients whose bits need not repeat, or 0", atomicsVariable, v)
	}
}

// on makes an engine for each device.
func on(devices []device.Device) (engines []*cuda.Engine, err error) {
	options, err := optionsOf()
	if err != nil {
		return nil, err
	}
	for _, d := range devices {
		e, err := cuda.New(d, options)
		if err != nil {
			return nil, err
		}
		engines = append(engines, e)
	}
	return engines, nil
}

// Use puts engines in the place of those of a kind, until restore is called: tests bring devices of their own.
func Use(kind string, engines ...*cuda.Engine) (restore func()) {
	opened.mu.Lock()
	defer opened.mu.Unlock()
	before, had := opened.engines[kind]
	opened.set(kind, engines)
	return func() {
		opened.mu.Lock()
		defer opened.mu.Unlock()
		opened.engines[kind] = before
		if !had {
			delete(opened.engines, kind)
		}
	}
}

// simulated is how many devices sim has: enough for blocks to travel.
const simulated = 2

// open opens the devices of a kind.
func open(kind string) ([]device.Device, error) {
	switch kind {
	case Sim:
		return sim.New(sim.Config{Devices: simulated})
	case CUDA:
		devices, report := cudriver.Devices()
		if len(devices) == 0 {
			return nil, fmt.Errorf("accel: no GPU to use: %s: take device sim or cpu, or see train devices", whyNone(report))
		}
		return devices, nil
	}
	return nil, fmt.Errorf("accel: device %q: give %s or %s", kind, CUDA, Sim)
}

// whyNone says why there are no devices, or why each that was found is not used.
func whyNone(r cudriver.Report) string {
	if r.Why != "" {
		return r.Why
	}
	var all []string
	for _, f := range r.Found {
		all = append(all, fmt.Sprintf("%s: %s", f.Name, f.Why))
	}
	return strings.Join(all, "; ")
}
