package cuda

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/ringgrad/ringgrad/ops/internal/device/devicetest"
	"github.com/ringgrad/ringgrad/ops/internal/device/sim"
	"github.com/ringgrad/ringgrad/ops/internal/kernel"
	"github.com/ringgrad/ringgrad/ops/internal/kernel/kerneltest"
)

// made is one set of kernels, and how thin a course it takes in the suite: what it costs the interpreter decides.
type made struct {
	family Family
	format Format
	width  int
	thin   int
}

func (m made) String() string { return fmt.Sprintf("%s/%v/d%d", m.family, m.format, m.width) }

// sets are all kernels.
func sets() (all []made) {
	for _, width := range []int{64, 128, 192, 256} {
		thin := []int{0, 1, 4, 9, 16}[width/64]
		all = append(all, made{SIMT, Float32, width, thin})
		for _, f := range []Format{BFloat16, Float16} {
			for _, family := range []Family{MMA, WGMMA} {
				if _, ok := geometries[family][width]; ok {
					all = append(all, made{family, f, width, thin})
				}
			}
		}
	}
	return slices.DeleteFunc(all, func(m made) bool {
		_, err := source(fileName(m.family, m.format, m.width))
		return err != nil
	})
}

// onHand are the sets that are for the device under test.
func onHand(t *testing.T, all []made) (some []made) {
	info := devicetest.UnderTest(t, sim.Config{})[0].Info()
	for _, m := range all {
		if m.family == WGMMA && (info.Major != 9 || info.Minor != 0) {
			t.Logf("SKIPPED: %v is not for %s", m, info.Arch())
			continue
		}
		some = append(some, m)
	}
	return some
}

// workshop makes engines, each with a device of its own, and closes them at the end of a test.
type workshop struct {
	t  *testing.T
	mu sync.Mutex
}

// kernel is attention of a set on a new device.
func (w *workshop) kernel(m made, c sim.Config, o Options) kernel.Attention[float32] {
	w.mu.Lock()
	defer w.mu.Unlock()
	if m.family == MMA {
		c.Major = 8 // a device that has no other; wgmma's has these too, for wide heads
	}
	k := newEngine(w.t, c, o).Attention(m.format)
	if m.width > 64 {
		return scatter(k, m.width)
	}
	return k
}

// TestKernelsConform holds every set of kernels to the suite that all kernels pass.
func TestKernelsConform(t *testing.T) {
	w := &workshop{t: t}
	for i, m := range onHand(t, sets()) {
		kerneltest.RunLight(t, m.String(), m.thin, func() kernel.Attention[float32] {
			return w.kernel(m, sim.Config{Seed: uint64(i)}, Options{})
		})
	}
}
