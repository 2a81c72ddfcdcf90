package main

import (
	"encoding/json"
	"math"
	"runtime"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/ringgrad/ringgrad/trainer/estimate"
)

// hosted runs an estimate of the test's config for several hosts.
func hosted(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	return command(t, append([]string{"estimate", "--config", writeConfig(t, estimatedConfig), "--gflops", "100"}, args...)...)
}

func TestEstimateForHostsPrintsWhatScriptsRead(t *testing.T) {
	status, stdout, stderr := hosted(t, "--json", "--hosts", "2", "--link", "1Gbit/s", "--latency", "50us", "--set", "data_parallel_size=2")
	if status != 0 || stderr != "" {
		t.Fatalf("status %d, stderr %q", status, stderr)
	}
	var p struct {
		Hosts        int              `json:"hosts"`
		RanksPerHost int              `json:"ranks_per_host"`
		Link         float64          `json:"link_bytes_per_second"`
		Latency      float64          `json:"latency_seconds"`
		Memory       int64            `json:"host_memory_bytes"`
		LinkBytes    map[string]int64 `json:"link_bytes_per_step"`
		Exposed      float64          `json:"exposed_seconds"`
		Hidden       float64          `json:"hidden_seconds"`
		Seconds      float64          `json:"seconds_per_step"`
		Tokens       float64          `json:"tokens_per_second"`
		Best         map[string]any   `json:"best"`
	}
	if err := json.Unmarshal([]byte(stdout), &p); err != nil {
		t.Fatalf("%v in %s", err, stdout)
	}
	// A ring is on each host: nothing but gradients crosses, 8 ranks' 1,214,080 floats, 4·4/8 of them twice.
	if want := int64(2 * 2 * 4 * 1214080); len(p.LinkBytes) != 1 || p.LinkBytes["collective"] != want {
		t.Errorf("%v over a link, want %d bytes of sums", p.LinkBytes, want)
	}
	if p.Hosts != 2 || p.RanksPerHost != 4 || p.Link != 125e6 || p.Latency != 50e-6 || p.Memory < 3*4*1214080 || p.Exposed <= 0 || p.Hidden < 0 {
		t.Errorf("%+v", p)
	}
	if want := 2 * 4096 / p.Seconds; math.Abs(p.Tokens-want) > 1e-6*want {
		t.Errorf("%v tokens a second, want %v", p.Tokens, want)
	}
	for _, key := range []string{"ring_attn_func", "ring_travel", "ulysses_size", "ring_inner_size", "data_parallel_size", "context_parallel_size", "seconds_per_step"} {
		if _, ok := p.Best[key]; !ok {
			t.Errorf("best lacks %s: %v", key, p.Best)
		}
	}
}

// TestEstimateForHostsTakesTheirPartOfThisMachine.
func TestEstimateForHostsTakesTheirPartOfThisMachine(t *testing.T) {
	h := hostsFlags{cores: float64(runtime.NumCPU()) / 2}
	if got, want := h.share(estimate.Speed{Products: 100, Attention: 60}), (estimate.Speed{Products: 50, Attention: 30}); got != want {
		t.Errorf("half of the cores do %+v, want %+v", got, want)
	}
}

func TestEstimateWithoutHostsSaysNothingOfThem(t *testing.T) {
	_, stdout, _ := hosted(t, "--json")
	for _, key := range []string{`"hosts"`, `"best"`, `"link_bytes_per_second"`} {
		if strings.Contains(stdout, key) {
			t.Errorf("%s in %s", key, stdout)
		}
	}
}

func TestEstimateForHostsPrintsTables(t *testing.T) {
	status, stdout, stderr := hosted(t, "--hosts", "4", "--link", "10Gbit/s", "--set", "ring_attn_func=contiguous", "--set", "memory_limit=1MB")
	if status != 0 {
		t.Fatalf("status %d: %s", status, stderr)
	}
	for line := range strings.Lines(stdout) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > tableWidth {
			t.Errorf("a line has %d columns: %s", n, line)
		}
	}
	words := strings.Join(strings.Fields(stdout), " ")
	for _, part := range []string{
		"over a host's link", "sums of gradients", "4 hosts of 1 rank, mesh 1 x 4 (data x context), link 1.25 GB/s", "communication adds",
		"layouts: ring_attn_func", "% less", "a run is refused", "s a step",
	} {
		if !strings.Contains(words, part) {
			t.Errorf("%q is missing in\n%s", part, stdout)
		}
	}
}

func TestEstimateForHostsRefusesWhatItCannotRead(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"no link":       {[]string{"--hosts", "4"}, "--hosts needs --link"},
		"no hosts":      {[]string{"--link", "1Gbit/s"}, "give --hosts"},
		"hosts of none": {[]string{"--hosts", "0", "--link", "1Gbit/s"}, "--hosts 0: give at least 1"},
		"odd link":      {[]string{"--hosts", "4", "--link", "fast"}, `"fast" is no rate with its unit`},
		"odd copy":      {[]string{"--hosts", "4", "--link", "1Gbit/s", "--copy", "7"}, `--copy: estimate: "7" is no rate`},
		"no cores":      {[]string{"--hosts", "4", "--link", "1Gbit/s", "--cores", "0"}, "--cores 0: give how many a host has"},
		"cores of none": {[]string{"--cores", "4"}, "give --hosts"},
		"past":          {[]string{"--hosts", "4", "--link", "1Gbit/s", "--latency", "-1us"}, "a latency of -1e-06"},
		"uneven":        {[]string{"--hosts", "3", "--link", "1Gbit/s"}, "cannot be dealt to 3 hosts evenly; take 1, 2 or 4 hosts"},
	} {
		t.Run(name, func(t *testing.T) {
			status, stdout, stderr := hosted(t, c.args...)
			if status != exitUsage || stdout != "" || !strings.Contains(stderr, c.want) {
				t.Errorf("status %d, stdout %q, stderr %q: want status 2 and %q", status, stdout, stderr, c.want)
			}
		})
	}
}
