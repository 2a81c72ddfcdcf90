package ops

import "fmt"

// Labels are what CrossEntropy compares with, and where it leaves what the scalar node is too coarse for. Set them before each
// run, read NLL, Sum and Count after it. One Labels serves one CrossEntropy.
type Labels struct {
	// Scale is the factor of the loss node and so of all gradients, for example 1/(labelled tokens of all ranks and
	// micro-batches). 0 stands for 1. NLL and Sum are not scaled.
	Scale float64
	// ForwardOnly leaves the gradients out, two thirds of the work. A backward after such a run is an error.
	ForwardOnly bool

	ids   []int32
	nll   []float64
	sum   float64
	count int
}

// NewLabels makes the labels of N rows, all ignored until set.
func NewLabels(rows int) *Labels {
	l := &Labels{ids: make([]int32, max(rows, 0)), nll: make([]float64, max(rows, 0))}
	for i := range l.ids {
		l.ids[i] = -1
	}
	return l
}

// Set copies one label per row. A negative label (transformers' -100) leaves its row out of the loss.
func (l *Labels) Set(ids []int32) error {
	if len(ids) != len(l.ids) {
		return fmt.Errorf("ops: labels: got %d labels for %d rows: set one per row", len(ids), len(l.ids))
	}
	copy(l.ids, ids)
	return nil
}

// NLL is the negative log-likelihood in nats of each row's label in the last run, 0 where the row is ignored. The next run
// overwrites it.
func (l *Labels) NLL() []float64 { return l.nll }

// Sum is the sum of NLL over the labelled rows, in float64 and in order.
func (l *Labels) Sum() float64 { return l.sum }

// Count is the number of labelled rows of the last run.
func (l *Labels) Count() int { return l.count }

func (l *Labels) scale() float64 {
	if l.Scale == 0 {
		return 1
	}
	return l.Scale
}

// labelled lists the rows that have a label, after checking the labels against the vocabulary, and starts the results anew.
func (l *Labels) labelled(vocabulary int) ([]int, error) {
	clear(l.nll)
	l.sum, l.count = 0, 0
	var rows []int
	for i, id := range l.ids {
		if int(id) >= vocabulary {
			return nil, fmt.Errorf("row %d has label %d, the vocabulary has %d: use the model's own tokenizer: %w", i, id, vocabulary, ErrToken)
		}
		if id >= 0 {
			rows = append(rows, i)
		}
	}
	return rows, nil
}
