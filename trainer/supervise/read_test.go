package supervise

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// wantParts wants an error that says all of parts.
func wantParts(t *testing.T, err error, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("error %v does not say %q", err, part)
		}
	}
}

func TestHostfilesHaveALineAHost(t *testing.T) {
	hosts, err := ReadHosts(write(t, "hosts", "# the rack\nnode1 slots=2   # the first\n\n\tuser@node2\nnode3 # slots=9\n"))
	if want := []Host{{"node1", 2}, {"user@node2", 0}, {"node3", 0}}; err != nil || !slices.Equal(hosts, want) {
		t.Errorf("%+v, %v, want %+v", hosts, err, want)
	}
}

func TestHostfilesThatMakeNoSenseAreRefusedByLine(t *testing.T) {
	_, err := ReadHosts(write(t, "hosts", "a slots=2\nb slots=0\nc max=3\n-oProxyCommand=x\na\nd slots=1 slots=2\n"))
	wantParts(t, err, `hosts:2: "slots=0"`, `hosts:3: "max=3" is not understood; write: c slots=1`, "hosts:4: \"-oProxyCommand=x\" is no host's name",
		"hosts:5: a stands on line 1 already", `hosts:6: "slots=2"`)
	_, err = ReadHosts(write(t, "hosts", "# nobody\n"))
	wantParts(t, err, "names no host")
	_, err = ReadHosts("nowhere")
	wantParts(t, err, "nowhere")
}

const runConfig = `
model: {model_type: llama, hidden_size: 32, intermediate_size: 48, num_hidden_layers: 1, num_attention_heads: 4, num_key_value_heads: 2, vocab_size: 256}
tokenizer_config: bytes
datasets: [{path: text.jsonl}]
sequence_len: 64
max_steps: 4
save_steps: 2
output_dir: runs/one
`

func TestTheTrainingOfACommandIsFound(t *testing.T) {
	path := write(t, "run.yaml", runConfig)
	resumes := write(t, "run.yaml", runConfig+"resume_from_checkpoint: auto\n")
	for name, c := range map[string]struct {
		command []string
		want    Training
	}{
		"by --set":       {[]string{"mpirun", "train", "--config", path, "--set", "resume_from_checkpoint=auto"}, Training{true, "runs/one", 2}},
		"with =":         {[]string{"train", "--config=" + path, "--set=resume_from_checkpoint=auto", "--set=output_dir=b", "--set", "save_steps=0"}, Training{true, "b", 0}},
		"by --resume":    {[]string{"train", "--config", path, "--resume", "auto"}, Training{true, "runs/one", 2}},
		"by its config":  {[]string{"train", "--config", resumes}, Training{true, "runs/one", 2}},
		"hosts in place": {[]string{"train", "--config", resumes, "--set", "context_parallel_size={hosts}"}, Training{true, "runs/one", 2}},
		"hidden":         {[]string{"sh", "-c", "exec train --config " + path}, Training{}},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := Read(c.command, 4); err != nil || got != c.want {
				t.Errorf("%+v, %v, want %+v", got, err, c.want)
			}
		})
	}
}

func TestATrainingThatWouldNotGoOnIsRefused(t *testing.T) {
	path := write(t, "run.yaml", runConfig)
	for name, c := range map[string]struct {
		flags []string
		want  string
	}{
		"no resume":   {nil, "add --set resume_from_checkpoint=auto to the command"},
		"a folder":    {[]string{"--resume", "runs/one/checkpoint-2"}, "resumes from runs/one/checkpoint-2 at each start"},
		"flag first":  {[]string{"--resume", "old", "--set", "resume_from_checkpoint=auto"}, "resumes from old"},
		"bad config":  {[]string{"--set", "sequence_lem=4"}, "sequence_lem"},
		"too many":    {[]string{"--resume", "auto", "--set", "context_parallel_size={hosts}0000"}, "context_parallel_size"},
		"other file":  {[]string{"--config", "nowhere.yaml"}, "nowhere.yaml"},
		"empty value": {[]string{"--set", "resume_from_checkpoint="}, "does not resume"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Read(append([]string{"train", "--config", path}, c.flags...), 4)
			wantParts(t, err, c.want)
		})
	}
}

func TestAllThatIsWrongWithAConfigIsTold(t *testing.T) {
	_, err := New(Config{MaxHosts: 1, MinHosts: 2, MaxRestarts: -1, Stall: -1})
	wantParts(t, err, "there is no command", "output folder is not known", "at least 2 hosts and at most 1", "-1 restarts", "stall -1ns is negative")
	hosts := []Host{{Name: "a"}}
	_, err = New(Config{Command: []string{"run"}, OutputDir: "out", Hosts: hosts, MinHosts: 2, Probe: "true"})
	wantParts(t, err, "neither {hostfile} nor {hosts}", "mpirun --hostfile {hostfile}", "at least 2 hosts, of 1", `the probe "true" does not say {host}`)
	_, err = New(Config{Command: []string{"run", "-n{hosts}"}, OutputDir: "out"})
	wantParts(t, err, "no hosts are given")
	if _, err = New(Config{Command: []string{"run", "-n{hosts}"}, OutputDir: "out", Hosts: hosts}); err != nil {
		t.Error(err)
	}
}

func TestTheLastWordsAreThoseThatTellAnError(t *testing.T) {
	for name, c := range map[string]struct{ pieces, want string }{
		"a launcher's page":   {"step 1\n[1,0]<stderr>:train: step 7: loss is NaN\n-----\nmpirun has exited\n=====\n", "train: step 7: loss is NaN"},
		"no error":            {"one\ntwo\n\n-----\n", "two"},
		"no end of line":      {"one\ntw|o", "two"},
		"pieces":              {"tr|ain: a|\nb", "train: a"},
		"nothing":             {"", ""},
		"nothing to speak of": {"\n \n---", ""},
	} {
		t.Run(name, func(t *testing.T) {
			var to strings.Builder
			w := &words{to: &to}
			for piece := range strings.SplitSeq(c.pieces, "|") {
				if n, err := w.Write([]byte(piece)); n != len(piece) || err != nil {
					t.Error(n, err)
				}
			}
			if got := w.last(); got != c.want || to.String() != strings.ReplaceAll(c.pieces, "|", "") {
				t.Errorf("%q of %q, want %q", got, to.String(), c.want)
			}
		})
	}
	w := &words{}
	_, _ = w.Write([]byte("train: " + strings.Repeat("x", 1<<20)))
	if n := len(w.last()); n != longestLine {
		t.Errorf("%d bytes of a long line are kept, want %d", n, longestLine)
	}
}
