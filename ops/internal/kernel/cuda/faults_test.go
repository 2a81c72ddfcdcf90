package cuda

import (
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/ringgrad/ringgrad/ops/internal/device/devicetest"
	"github.com/ringgrad/ringgrad/ops/internal/kernel"
)

// fault is a way to spoil PTX: one place at a time that the pattern matches is changed. Places are found by what is written there, so
// the faults survive recompilation.
type fault struct {
	name    string
	find    string // of one or more lines
	to      string
	picks   int    // at most so many places of a kernel, spread evenly
	escapes string // why nothing may come of it; "" where something must
}

// faults of all kernels. What a place does may depend on the place: of some faults one place may be harmless.
var faults = []fault{
	// who waits for whom
	{name: "a barrier is left out", find: `^\s*bar\.sync\s+0;$`, picks: 4},
	{name: "copies are not waited for", find: `^\s*cp\.async\.wait_all;$`, picks: 3},
	{name: "a turn is not waited for", find: `^(\s*ld\.acquire\.gpu.*\n.*setp.*\n).*bra.*$`, to: "$1", picks: 1},
	{name: "a turn is not passed on", find: `^.*red\.release\.gpu.*$`, picks: 1},
	{name: "sums are not made visible before a turn is passed on", find: `^\s*fence\.acq_rel\.gpu;$`, picks: 1,
		escapes: "the interpreter's memory has one order for all threads"},
	{name: "an mbarrier is not waited for", find: `(?s)^mbarrier\.try_wait([^\n]*\n[^\n]*\n\}\n[^\n]*setp[^\n]*)\n[^\n]*bra[^\n]*$`, to: "mbarrier.try_wait$1", picks: 6},
	{name: "an mbarrier is not arrived at", find: `^.*mbarrier\.arrive\.shared.*$`, picks: 4},
	{name: "an mbarrier expects fewer bytes", find: `^(.*mbarrier\.arrive\.expect_tx.*, )(%\w+);$`, to: "${1}16;", picks: 4},
	{name: "a group of warps does not arrive", find: `^.*bar\.arrive .*$`, picks: 2},
	{name: "a group of warps is not waited for", find: `^\s*bar\.sync %.*$`, picks: 3},
	{name: "products are not waited for", find: `^.*wgmma\.wait_group\.sync\.aligned 0;$`, to: "wgmma.wait_group.sync.aligned 7;", picks: 4},
	{name: "products are not begun by a fence", find: `^.*wgmma\.fence.*$`, picks: 3},
	{name: "products are not committed", find: `^.*wgmma\.commit_group.*$`, picks: 3},
	{name: "writes are not shown to the copy engine", find: `^.*fence\.proxy\.async\.shared.*$`, picks: 2},
	{name: "copies out are not waited for", find: `^.*cp\.async\.bulk\.wait_group 0;$`, picks: 2},
	// what is multiplied with what
	{name: "a product is left out", find: `^.*(mma\.sync|wgmma\.mma_async).*$`, picks: 3},
	{name: "a matrix is not transposed", find: `^(.*ldmatrix.*)\.trans(.*)$`, to: "$1$2", picks: 2},
	{name: "an operand in shared memory is transposed", find: `^(.*wgmma\.mma_async.*, p, 1, 1(?:, 0)?), 0;$`, to: "$1, 1;", picks: 1},
	{name: "an operand in shared memory is not transposed", find: `^(.*wgmma\.mma_async.*, p, 1, 1(?:, 1)?), 1;$`, to: "$1, 0;", picks: 2},
	{name: "a chunk of a swizzled row is another's", find: `^(\s*xor\.b32\s+%r\d+, %r\d+, )(?:32|64|96);$`, to: "${1}16;", picks: 3},
	{name: "a sum is not exchanged between lanes", find: `^(.*)shfl\.sync\.bfly\.b32 (%r\d+), (%r\d+),.*$`, to: "${1}mov.b32 $2, $3;", picks: 4},
	{name: "a fused product is another row's", find: `^(\s*fma\.rn(?:\.ftz)?\.f32\s+%r\d+, )(%r\d+), (%r\d+), (%r\d+);$`, to: "${1}$2, $4, $3;", picks: 4},
	// what is copied
	{name: "a copy is left out", find: `^.*cp\.async\.(cg|bulk)\.shared.*$`, picks: 3},
	{name: "a sum is left out", find: `^.*(red\.global\.add\.f32|cp\.reduce\.async\.bulk).*$`, picks: 2},
	{name: "a store is left out", find: `^.*st\.(shared|global)\S* .*$`, picks: 5},
	{name: "a store goes four bytes further", find: `^(.*st\.shared\.b32\s+\[%r\w+\+)(\d+)(\].*)$`, to: "${1}4+$2$3", picks: 1},
	// what weights are
	{name: "a comparison with a mask is off by one", find: `^(\s*setp\.)lt(\.u32\s.*)$`, to: "${1}le$2", picks: 4},
	{name: "the largest logit is the smallest", find: `^(.*)max(\.ftz)?\.f32(\s.*)$`, to: "${1}min$2.f32$3", picks: 3},
	{name: "a weight is not exponential", find: `^(.*)ex2\.approx\.ftz\.f32 (%r\d+), (%r\d+);$`, to: "${1}mov.b32 $2, $3;", picks: 3},
	{name: "a weight is rounded down", find: `^(.*)cvt\.rn\.(bf16x2|f16x2)\.f32 (%r\d+), (%r\d+), (%r\d+);$`, to: "${1}cvt.rn.$2.f32 $3, $5, $4;", picks: 2},
	{name: "a difference is a sum", find: `^(\s*)sub((?:\.ftz)?\.f32\s.*)$`, to: "${1}add$2", picks: 3},
}

// entry is the text of a kernel in PTX: from its line .entry to before the next one's.
func entry(ptx, name string) (from, to int) {
	begin := regexp.MustCompile(`(?m)^\S* ?\.entry (\w+)\(`)
	from, to = -1, len(ptx)
	for _, m := range begin.FindAllStringSubmatchIndex(ptx, -1) {
		switch {
		case ptx[m[2]:m[3]] == name:
			from = m[0]
		case from >= 0:
			return from, m[0]
		}
	}
	return from, to
}

// plain is PTX without the kernels that have extras, which halves what the interpreter must read.
func plain(ptx string) string {
	for _, name := range []string{"forward_extras", "backward_extras"} {
		if from, to := entry(ptx, name); from >= 0 {
			ptx = ptx[:from] + ptx[to:]
		}
	}
	return ptx
}

// spoilt is PTX with one fault.
type spoilt struct {
	fault
	where string
	ptx   string
}

// plant makes the PTX of a fault, for every place picked.
func (f fault) plant(m made, ptx, kernel string) (all []spoilt) {
	from, to := entry(ptx, kernel)
	body := ptx[from:to]
	find := regexp.MustCompile(`(?m)` + f.find)
	places := find.FindAllStringSubmatchIndex(body, -1)
	picks := min(f.picks, len(places))
	for i := range picks {
		n := (2*i + 1) * len(places) / (2 * picks)
		at := places[n]
		change := string(find.ExpandString(nil, f.to, body, at))
		line := 1 + strings.Count(ptx[:from+at[0]], "\n")
		all = append(all, spoilt{
			fault: f, where: fmt.Sprintf("%v %s, place %d of %d (line %d: %.60s)", m, kernel, n+1, len(places), line, strings.TrimSpace(body[at[0]:at[1]])),
			ptx: ptx[:from] + body[:at[0]] + change + body[at[1]:] + ptx[to:],
		})
	}
	return all
}

// example is a trial with what must come of it.
type example struct {
	trial
	want answers[float64]
}

func casesOf(kinds ...kind) (cases []example) {
	for _, k := range kinds {
		t := newTrial(k)
		cases = append(cases, example{t, expected(t)})
	}
	return cases
}

// caught returns how a fault shows: as an error of the device, in the figures, or in bits that depend on the schedule; "" if not.
func (s spoilt) caught(w *workshop, m made, cases []example) string {
	for _, e := range cases {
		var first answers[float32]
		for n, c := range append(schedules(5), schedules(6)[2]) {
			got, err := s.solve(w.kernel(m, c, Options{}), m, e.trial)
			if err == nil {
				err = compare(got, e.want, m.format)
			}
			if err == nil && n > 0 {
				err = first.sameBits(got)
			}
			if err != nil {
				return err.Error()
			}
			if n == 0 {
				first = got
			}
		}
	}
	return ""
}

// solve does a trial with the spoilt kernels.
func (s spoilt) solve(a kernel.Attention[float32], m made, t trial) (answers[float32], error) {
	engineOf(a).modules.source = func(file string) (string, error) {
		if file == fileName(m.family, m.format, m.width) {
			return s.ptx, nil
		}
		return source(file)
	}
	return solve(t, a), a.(kernel.Fallible).Err()
}

// engineOf is the engine of a kernel.
func engineOf(a kernel.Attention[float32]) *Engine {
	switch a := a.(type) {
	case Packed:
		return a.engine
	case *Attention:
		return a.engine
	}
	panic("cuda: not a kernel of an engine")
}

// TestFaultsAreCaught spoils the kernels one place at a time, and wants every fault to show.
func TestFaultsAreCaught(t *testing.T) {
	devicetest.SkipOnGPUs(t, "a fault may end the device, and the machine with it")
	w := &workshop{t: t}
	cases := casesOf(kind{dim: 64, valueDim: 64}, kind{dim: 64, valueDim: 64, layered: true}, kind{dim: 64, valueDim: 64, logits: 40})
	var mu sync.Mutex
	found := map[string]int{}
	t.Run("kernels", func(t *testing.T) {
		for _, m := range narrowSets() {
			if m.format == Float16 {
				continue // the same code
			}
			ptx, err := source(fileName(m.family, m.format, m.width))
			if err != nil {
				t.Fatal(err)
			}
			ptx = plain(ptx)
			for _, f := range faults {
				for _, name := range []string{"forward", "backward"} {
					for _, s := range f.plant(m, ptx, name) {
						found[f.name]++
						t.Run(s.name, func(t *testing.T) {
							t.Parallel()
							how := s.caught(w, m, cases)
							mu.Lock()
							defer mu.Unlock()
							switch {
							case how != "":
								t.Logf("%s: %.200s", s.where, how)
							case s.escapes != "":
								t.Logf("%s: not caught: %s", s.where, s.escapes)
							default:
								t.Errorf("%s: not caught", s.where)
							}
						})
					}
				}
			}
		}
	})
	for _, f := range faults {
		if found[f.name] == 0 {
			t.Errorf("no kernel has a place for the fault %q", f.name)
		}
	}
}
