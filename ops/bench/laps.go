package bench

import "time"

// Laps measures work that somebody else drives, such as the steps of a training: the same work between each Start and Stop.
type Laps struct {
	cost     cost
	ceilings *ceilings

	began  ceiling
	watch  stopwatch
	sample sample
	around ceiling
	kept   rounds
}

// NewLaps measures float32 work of so many operations a lap, for which memory passes so many bytes at least. Nothing else may run
// on the threads between Stop and Start, when the ceilings are measured.
func NewLaps(flops, bytes float64, threads int) *Laps {
	return &Laps{cost: cost{flops, bytes}, ceilings: newCeilings[float32](threads, "float32")}
}

// Start begins a lap.
func (l *Laps) Start() {
	l.ceilings.alone()
	l.began = l.ceilings.sample()
	l.watch = startWatch()
}

// Stop ends a lap and returns its wall time. Keep takes it into the figures; without, it is forgotten.
func (l *Laps) Stop() time.Duration {
	l.sample = l.watch.read(1)
	l.around = l.began.and(l.ceilings.sample())
	return time.Duration(l.sample.wall * float64(time.Second))
}

// Keep counts the lap that Stop has ended.
func (l *Laps) Keep() { l.kept.add(l.sample, l.cost.flops, l.around) }

// Kept is the number of laps that count.
func (l *Laps) Kept() int { return len(l.kept.wall) }

// Figures are the medians over the laps that were kept, of which there must be one.
func (l *Laps) Figures() (Figures, Ceilings) {
	limits := l.ceilings.medians()
	return l.kept.figures(l.cost, limits, len(l.ceilings.peakLoops)), limits
}
