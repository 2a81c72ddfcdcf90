package trainer

import (
	"context"
	"fmt"

	"github.com/ringgrad/ringgrad/trainer/eval"
	"github.com/ringgrad/ringgrad/trainer/model"
)

// Position compares losses by position on held-back long documents: what the model could do before this run with the full
// context, what it could do within its short window on the same tokens, and what it can do after.
type Position struct {
	Documents int         `json:"documents"`
	Tokens    int         `json:"tokens"`
	Window    int         `json:"window"`
	Before    eval.Result `json:"before"`
	Windowed  eval.Result `json:"before_window"`
	After     eval.Result `json:"after"`
	Plot      string      `json:"plot"`
}

func (p *Position) draw() error {
	return eval.Plot(p.Plot, fmt.Sprintf("Loss by position, %d held-back documents", p.Documents), []eval.Series{
		{Name: "before, full context", Bins: p.Before.ByPosition},
		{Name: fmt.Sprintf("before, window of %d", p.Window), Bins: p.Windowed.ByPosition},
		{Name: "after, full context", Bins: p.After.ByPosition},
	})
}

// measureBefore evaluates the model that the run starts from. The window is measured on the base model as it was, without the
// run's RoPE scaling. A resumed run takes what the first one measured.
func (w *worker) measureBefore(ctx context.Context) error {
	r := w.run
	if len(r.longDocuments) == 0 || r.state.position != nil {
		return nil
	}
	before, err := eval.Ring(ctx, w.model, w.ring, r.longDocuments, w.evalOptions("before, full context"))
	if err != nil {
		return err
	}
	o := w.modelOptions()
	o.UlyssesSize, o.InnerRing = 1, 1 // a rank alone
	short, err := model.New(r.baseModel, r.params, nil, o)
	if err != nil {
		return err
	}
	defer func() { _ = short.Close() }() // only memory
	window := eval.Window{Size: r.cfg.LossByPositionWindow}
	windowed, err := eval.Sliding(ctx, short, w.world, r.longDocuments, window, w.evalOptions(fmt.Sprintf("before, window of %d", window.Size)))
	if err != nil {
		return err
	}
	if w.leads() {
		r.state.position = &Position{Documents: len(r.longDocuments), Tokens: before.Tokens, Window: window.Size, Before: before, Windowed: windowed}
	}
	return nil
}

// measureAfter completes the table with the trained model, on the root; nil when none was asked for.
func (w *worker) measureAfter(ctx context.Context) (*Position, error) {
	r := w.run
	if len(r.longDocuments) == 0 {
		return nil, nil
	}
	after, err := eval.Ring(ctx, w.model, w.ring, r.longDocuments, w.evalOptions("after, full context"))
	if err != nil {
		return nil, err
	}
	if !w.root() {
		return nil, nil
	}
	position := *r.state.position
	position.After = after
	return &position, nil
}

func (w *worker) evalOptions(what string) eval.Options {
	o := eval.Options{Stop: w.stop, Rings: w.evaluating()}
	if measuring := w.run.observer.Measuring; measuring != nil {
		o.Progress = func(done, total int) { measuring(what, done, total) }
	}
	return o
}
