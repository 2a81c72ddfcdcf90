package cuda

import (
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/ringgrad/ringgrad/ops/internal/device/devicetest"
	"github.com/ringgrad/ringgrad/ops/internal/device/sim"
)

// fault is a way to spoil PTX: one place at a time that the pattern matches is changed, or all. Places are found by what is written
// there, so the faults survive recompilation.
type fault struct {
	name    string
	find    string // of one or more lines
	to      string
	picks   int    // at most so many places of a kernel, spread evenly; 0 changes all at once, as a mistake in the source would
	seeds   int    // of random schedules, where chance must help; 0 is 2
	escapes string // why nothing may come of some of them; "" where something must
}

// faults of all kernels.
var faults = []fault{
	// who waits for whom
	{name: "a barrier is left out", find: `^\s*bar\.sync\s+0;$`, picks: 3, seeds: 30},
	{name: "copies are not waited for", find: `^\s*cp\.async\.wait_all;$`, picks: 2},
	{name: "a turn is not waited for", find: `^(\s*ld\.acquire\.gpu.*\n.*setp.*\n).*bra.*$`, to: "$1", picks: 1, seeds: 20},
	{name: "a turn is not passed on", find: `^.*red\.release\.gpu.*$`, picks: 1},
	{name: "sums are not made visible before a turn is passed on", find: `^\s*fence\.acq_rel\.gpu;$`, picks: 1, seeds: 1,
		escapes: "the interpreter's memory has one order for all threads"},
	{name: "an mbarrier is not waited for", find: `^mbarrier\.try_wait(.*\n.*\n\}\n.*setp.*)\n.*bra.*$`, to: "mbarrier.try_wait$1", picks: 5, seeds: 8,
		escapes: "what is waited for may be there already, as other waits have it"},
	{name: "an mbarrier is not arrived at", find: `^.*mbarrier\.arrive\.shared.*$`, picks: 3},
	{name: "an mbarrier expects fewer bytes", find: `^(.*mbarrier\.arrive\.expect_tx.*, )(%\w+);$`, to: "${1}16;", picks: 3},
	{name: "a group of warps does not arrive", find: `^.*bar\.arrive .*$`, picks: 2},
	{name: "a group of warps is not waited for", find: `^\s*bar\.sync %.*$`, picks: 2,
		escapes: "forward's two groups take turns at the tensor cores for speed alone"},
	{name: "products are not waited for", find: `^.*wgmma\.wait_group\.sync\.aligned 0;$`, to: "wgmma.wait_group.sync.aligned 7;", picks: 3},
	{name: "products are not begun by a fence", find: `^.*wgmma\.fence.*$`, picks: 2, seeds: 1,
		escapes: "a fence is of no effect where nobody has touched the registers since the last"},
	{name: "products are not committed", find: `^.*wgmma\.commit_group.*$`, picks: 3},
	{name: "writes are not shown to the copy engine", find: `^.*fence\.proxy\.async\.shared.*$`, picks: 3, seeds: 1,
		escapes: "a later fence of the same thread may come in time"},
	{name: "copies out are not waited for", find: `^.*cp\.async\.bulk\.wait_group 0;$`, picks: 2},
	// what is multiplied with what
	{name: "a product is left out", find: `^.*(mma\.sync|wgmma\.mma_async).*$`, picks: 2},
	{name: "a matrix is not transposed", find: `^(.*ldmatrix.*)\.trans(.*)$`, to: "$1$2", picks: 1},
	{name: "operands in shared memory are transposed", find: `^(.*wgmma\.mma_async.*, 1, 1, 0, )0;$`, to: "${1}1;"},
	{name: "operands in shared memory are not transposed", find: `^(.*wgmma\.mma_async.*, 1, 1,(?: 0,)? )1;$`, to: "${1}0;"},
	{name: "a descriptor begins a row later", find: `^(\s*add\.s64\s+%rd\d+, %rd\d+, )(?:128|256|384|512);(\n(?:.*\n){0,5}?wgmma\.mma)`, to: "${1}136;$2", picks: 2},
	{name: "a chunk of a swizzled row is another's", find: `^(\s*xor\.b32\s+%r\d+, %r\d+, )(?:32|64|96);$`, to: "${1}16;", picks: 2},
	{name: "sums are not exchanged between lanes", find: `^(.*)shfl\.sync\.bfly\.b32 (%r\d+), (%r\d+),.*$`, to: "${1}mov.b32 $2, $3;"},
	{name: "sums are exchanged with the wrong lanes", find: `^(\s*shfl\.sync\.bfly\.b32 %r\d+, %r\d+, )%r\d+(,.*)$`, to: "${1}16$2"},
	{name: "a fused product is added the wrong way", find: `^(\s*fma\.rn(?:\.ftz)?\.f32\s+%r\d+, )(%r\d+), (%r\d+), (%r\d+);$`, to: "${1}$2, $4, $3;", picks: 2},
	// what is copied
	{name: "a copy is left out", find: `^.*cp\.async\.(cg|bulk)\.shared.*$`, picks: 3},
	{name: "a sum is left out", find: `^.*(red\.global\.add\.f32|cp\.reduce\.async\.bulk).*$`, picks: 2},
	{name: "a store is left out", find: `^.*st\.(shared|global)\S* .*$`, picks: 4},
	{name: "stores go four bytes further", find: `^(.*st\.shared\.b32\s+\[%r\w+\+)(\d+)(\].*)$`, to: "${1}4+$2$3", picks: 1},
	// what weights are
	{name: "comparisons with a mask are off by one", find: `^(\s*sub\.s32\s.*\n\s*setp\.)lt(\.u32\s.*)$`, to: "${1}le$2"},
	{name: "the largest logit is the smallest", find: `^(.*)max(\.ftz)?\.f32(\s.*)$`, to: "${1}min$2.f32$3"},
	{name: "a weight is not exponential", find: `^(.*)ex2\.approx\.ftz\.f32 (%r\d+), (%r\d+);$`, to: "${1}mov.b32 $2, $3;", picks: 2},
	{name: "a pair of weights is exchanged", find: `^(.*)cvt\.rn\.(bf16x2|f16x2)\.f32 (%r\d+), (%r\d+), (%r\d+);$`, to: "${1}cvt.rn.$2.f32 $3, $5, $4;", picks: 2},
	{name: "differences are sums", find: `^(\s*)sub((?:\.ftz)?\.f32\s.*)$`, to: "${1}add$2"},
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
	kernel, where string
	ptx           string
}

// plant makes the PTX of a fault, for every place picked.
func (f fault) plant(m made, ptx, kernel string) (all []spoilt) {
	from, to := entry(ptx, kernel)
	body, find := ptx[from:to], regexp.MustCompile(`(?m)`+f.find)
	places := find.FindAllStringSubmatchIndex(body, -1)
	if f.picks == 0 && len(places) > 0 {
		return []spoilt{{f, kernel, fmt.Sprintf("%v %s, all %d places", m, kernel, len(places)), ptx[:from] + find.ReplaceAllString(body, f.to) + ptx[to:]}}
	}
	picks := min(f.picks, len(places))
	for i := range picks {
		n := (2*i + 1) * len(places) / (2 * picks)
		at := places[n]
		change := string(find.ExpandString(nil, f.to, body, at))
		all = append(all, spoilt{
			f, kernel, fmt.Sprintf("%v %s, place %d of %d (%.60s)", m, kernel, n+1, len(places), strings.TrimSpace(body[at[0]:at[1]])),
			ptx[:from] + body[:at[0]] + change + body[at[1]:] + ptx[to:],
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
func (s spoilt) caught(m made, cases []example) string {
	configs := schedules(0)[:2]
	seeds := s.seeds
	if seeds == 0 {
		seeds = 2
	}
	for seed := range seeds {
		configs = append(configs, sim.Config{Seed: uint64(seed), Adversarial: true, Resident: 2 + seed%3})
	}
	for _, e := range cases {
		var first answers[float32]
		for n, c := range configs {
			got, err := s.solve(m, c, e.trial)
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

// solve does a trial with the spoilt kernels, on a device that may be lost by it.
func (s spoilt) solve(m made, c sim.Config, t trial) (answers[float32], error) {
	devices, err := sim.New(m.on(c))
	if err != nil {
		return answers[float32]{}, err
	}
	defer func() { _ = devices[0].Close() }()
	e, err := New(devices[0], Options{})
	if err != nil {
		return answers[float32]{}, err
	}
	e.modules.source = func(file string) (string, error) {
		if file == fileName(m.family, m.format, m.width) {
			return s.ptx, nil
		}
		return source(file)
	}
	return resident(t, e, m.format, s.kernel == "forward")
}

// TestFaultsAreCaught spoils the kernels one place at a time, and wants every fault to show.
func TestFaultsAreCaught(t *testing.T) {
	devicetest.SkipOnGPUs(t, "a fault may end the device, and the machine with it")
	cases := casesOf(kind{dim: 64, valueDim: 64, layered: true}, kind{dim: 64, valueDim: 64}, kind{dim: 64, valueDim: 64, logits: 40})
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
							how := s.caught(m, cases)
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
