package trainer

import (
	"context"
	"fmt"
	"time"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/dist/shard"
	"github.com/ringgrad/ringgrad/ops/ringattn/ring"
	"github.com/ringgrad/ringgrad/trainer/config"
	"github.com/ringgrad/ringgrad/trainer/data"
	"github.com/ringgrad/ringgrad/trainer/model"
)

// batches is where a rank's micro-batches come from; every rank reads the same ones.
type batches interface {
	Next() (data.Batch, error)
	State() data.Cursor // the place of the next batch
}

var _ batches = (*data.Loader)(nil)

// worker is one rank of a run: its own model graphs and its own place in the data, over the state its process shares.
type worker struct {
	mesh
	run     *run
	model   *model.Model[float32]
	batches batches
	stop    func() bool

	waitedForSums time.Duration // after backward passes, for what was not added yet

	began     time.Time // of the step loop, at beganStep
	beganStep int
}

func newWorker(ctx context.Context, r *run, comm *dist.Comm, stop func() bool) (*worker, error) {
	w := &worker{run: r, stop: stop}
	var err error
	if w.mesh, err = newMesh(ctx, comm, r.cfg, r.dealt.ranks); err != nil {
		return nil, err
	}
	if w.model, err = model.New(r.model, r.params, w.ring, w.modelOptions()); err != nil {
		return nil, err
	}
	if r.feed != nil {
		w.batches = r.feed(comm.Rank())
		return w, nil
	}
	loader := r.loader()
	if err := loader.Restore(r.state.cursor); err != nil {
		return nil, fmt.Errorf("trainer: %w", err)
	}
	w.batches = loader
	return w, nil
}

// loader is at the beginning of the training data.
func (r *run) loader() *data.Loader {
	return data.NewLoader(r.data.Train, data.LoaderOptions{
		MicroBatch: r.cfg.MicroBatchSize,
		Seed:       r.cfg.Seed,
		Shuffle:    r.cfg.ShuffleMergedDatasets,
		PackLength: r.packLength(),
	})
}

func (w *worker) modelOptions() model.Options {
	o := ringOptions(w.run.cfg)
	o.Dropout, o.DropoutSeed, o.Checkpoint = w.run.dropout(), uint64(w.run.cfg.Seed), w.run.cfg.GradientCheckpointing
	if w.leads() {
		o.Entered = w.run.tracker.enter
	}
	return o
}

// ringOptions are those of a model that say how its attention goes round the ring.
func ringOptions(c config.Config) model.Options {
	return model.Options{
		Layout: shard.Layout(c.RingAttnFunc), Device: ring.Device(c.Device), AttentionDType: attentionDType(c),
		Travel: ring.Travel(c.RingTravel), UlyssesSize: c.UlyssesSize, InnerRing: c.RingInnerSize,
	}
}

// dropout of attention weights: the config's, or else the model's own.
func (r *run) dropout() float64 {
	if p := r.cfg.AttentionDropout; p != nil {
		return *p
	}
	return r.model.AttentionDropout
}

// root is the rank that writes the run's files and tells people.
func (w *worker) root() bool { return w.world.Rank() == 0 }

// own are the micro-batches of the own ring: of every data_parallel_size one.
func (w *worker) own(all []model.Batch) []model.Batch {
	var own []model.Batch
	for i := w.data; i < len(all); i += w.rings {
		own = append(own, all[i])
	}
	return own
}

// nextBatches reads the micro-batches of a step, those of all rings.
func (w *worker) nextBatches(step int) ([]model.Batch, error) {
	list := make([]model.Batch, w.run.cfg.GradientAccumulationSteps*w.rings)
	for i := range list {
		b, err := w.batches.Next()
		if err != nil {
			return nil, fmt.Errorf("trainer: %w", err)
		}
		list[i] = toModel(b)
		list[i].Step = uint64(step*len(list) + i)
	}
	return list, nil
}

func toModel(b data.Batch) model.Batch {
	return model.Batch{IDs: b.IDs, Labels: b.Labels, B: b.B, T: b.T, Documents: b.Documents}
}

// ringWait is how long this rank has waited for what goes round the ring, for Ulysses' exchanges, and for sums over processes, so far.
func (w *worker) ringWait() time.Duration {
	total := w.waitedForSums
	for kind, entry := range w.ring.Ledger().Snapshot() {
		if kind != dist.Collective {
			total += entry.Wait
		}
	}
	return total
}
