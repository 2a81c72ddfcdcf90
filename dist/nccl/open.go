//go:build ringcuda && cgo

package nccl

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/ringgrad/ringgrad/dist"
)

// Open joins the ranks of a CPU engine on their GPUs. All of them call it, and either all get an engine or all an error that names the
// rank which could not. The CPU engine belongs to the new one from then on, and is closed by it; where Open fails it is as before.
func Open(ctx context.Context, cpu dist.Engine, o Options) (dist.Engine, error) {
	e, err := newEngine(cpu, o)
	if agreed := e.agree(ctx, err); agreed != nil {
		return nil, errors.Join(agreed, e.stop())
	}
	return e, nil
}

// newEngine is what a rank can do alone. With an error comes an engine that can agree and stop.
func newEngine(cpu dist.Engine, o Options) (*engine, error) {
	o.EnsureDefaults()
	e := &engine{cpu: cpu, smallest: o.Smallest, peers: map[int]*peer{}}
	e.life, e.end = context.WithCancelCause(context.Background())
	if err := o.Validate(); err != nil {
		return e, err
	}
	var err error
	if e.library, err = openLibrary(o.Library); err != nil {
		return e, err
	}
	if e.device, err = openDevice(o.Device); err != nil {
		return e, err
	}
	if e.out, err = e.newPorter(); err != nil {
		return e, err
	}
	e.in, err = e.newPorter()
	return e, err
}

// standing is what the ranks tell each other before they begin.
type standing struct {
	Failed   string `json:",omitempty"`
	Version  int    // of NCCL
	GPU      string // its UUID
	Smallest int
}

// agree compares the ranks, of which this one may have failed.
func (e *engine) agree(ctx context.Context, own error) error {
	s := standing{Smallest: e.smallest}
	if own != nil {
		own = fmt.Errorf("nccl: rank %d: %w", e.Rank(), own)
		s.Failed = own.Error()
	} else {
		s.Version, s.GPU = e.library.version, fmt.Sprintf("%x", e.device.uuid)
	}
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	all, err := dist.AllGather(ctx, dist.New(e.cpu, dist.Options{}), text)
	if own != nil {
		return own
	}
	if err != nil {
		return fmt.Errorf("nccl: what the other ranks have: %w", err)
	}
	ranks := make([]standing, len(all))
	for i, b := range all {
		if err := json.Unmarshal(b, &ranks[i]); err != nil {
			return fmt.Errorf("nccl: what rank %d has: %w", i, err)
		}
	}
	return disagreement(ranks)
}

// disagreement names what NCCL would refuse, or would hang on.
func disagreement(ranks []standing) error {
	for _, s := range ranks {
		if s.Failed != "" {
			return errors.New(s.Failed)
		}
	}
	cards := map[string]int{}
	for i, s := range ranks {
		if s.Version != ranks[0].Version {
			return fmt.Errorf("nccl: rank 0 has NCCL %s and rank %d %s: install one version", versionText(ranks[0].Version), i, versionText(s.Version))
		}
		if s.Smallest != ranks[0].Smallest {
			return fmt.Errorf("nccl: rank 0 sends messages from %d bytes on by NCCL and rank %d from %d: set Smallest alike", ranks[0].Smallest, i, s.Smallest)
		}
		if other, taken := cards[s.GPU]; taken {
			return fmt.Errorf("nccl: ranks %d and %d have the same GPU (%s): NCCL wants one for each rank", other, i, s.GPU)
		}
		cards[s.GPU] = i
	}
	return nil
}
