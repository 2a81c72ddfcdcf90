package trainer

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ringgrad/ringgrad/dist"
)

// fact is something that all processes of a run must have alike.
type fact struct{ Name, Value string }

// facts are what this process has, in an order in which the first difference is the most telling.
func (r *run) facts() ([]fact, error) {
	program, err := programSum()
	if err != nil {
		return nil, fmt.Errorf("trainer: this program cannot be read to compare it with those of the other processes: %w", err)
	}
	keys, err := json.Marshal(r.cfg)
	if err != nil {
		return nil, err
	}
	var values map[string]json.RawMessage
	if err := json.Unmarshal(keys, &values); err != nil {
		return nil, err
	}
	list := []fact{{"the program (its SHA-256)", program}}
	for name, value := range values {
		list = append(list, fact{"config key " + name, string(value)})
	}
	slices.SortFunc(list[1:], func(a, b fact) int { return strings.Compare(a.Name, b.Name) })
	for _, f := range modelFields(r.model) {
		list = append(list, fact{"the model's " + f.name, fmt.Sprint(f.value)})
	}
	return append(list,
		fact{"training data (their SHA-256)", r.dataState().SHA256},
		fact{"held-back data (their SHA-256)", sum(r.data.Val)},
		fact{"the checkpoint to continue", r.continued()},
		fact{"weights (their CRC-32C)", r.weightsSum()},
	), nil
}

// programSum identifies the running program.
func programSum() (string, error) {
	path, err := os.Executable()
	if err != nil {
		return "", err
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// continued names the checkpoint that was resumed, without its folder, which hosts may spell in their own way.
func (r *run) continued() string {
	if r.resumedFrom == "" {
		return "none"
	}
	return fmt.Sprintf("%s, step %d", filepath.Base(r.resumedFrom), r.state.step)
}

// weightsSum is of all parameters, in their order: against an accident, and as fast as memory.
func (r *run) weightsSum() string {
	sum, table := uint32(0), crc32.MakeTable(crc32.Castagnoli)
	var bytes []byte
	for _, p := range r.params.All() {
		for part := range slices.Chunk(p.Data, 1<<14) {
			bytes = bytes[:0]
			for _, x := range part {
				bytes = binary.LittleEndian.AppendUint32(bytes, math.Float32bits(x))
			}
			sum = crc32.Update(sum, table, bytes)
		}
	}
	return fmt.Sprintf("%08x", sum)
}

// agree compares this process with all others, and names the first difference to the first process.
func (r *run) agree(ctx context.Context, processes dist.Engine) error {
	own, err := r.facts()
	if err != nil {
		return err
	}
	text, err := json.Marshal(append(own, fact{"host", dist.Hostname()}))
	if err != nil {
		return err
	}
	all, err := dist.AllGather(ctx, dist.New(processes, dist.Options{Timeout: r.timeout}), text)
	if err != nil {
		return fmt.Errorf("trainer: processes could not compare what they have: %w", err)
	}
	lists := make([][]fact, len(all))
	for i, text := range all {
		if err := json.Unmarshal(text, &lists[i]); err != nil {
			return fmt.Errorf("trainer: process %d sends no facts: %w; start the same program everywhere", i, err)
		}
	}
	for i, list := range lists {
		if err := difference(list, lists[0], i); err != nil {
			return err
		}
	}
	return nil
}

// difference compares two processes' facts, of which the last is the host.
func difference(list, first []fact, process int) error {
	n := len(first) - 1
	if len(list)-1 != n {
		return fmt.Errorf("trainer: process %d and process 0 are of different versions; start the same program everywhere", process)
	}
	for i, f := range list[:n] {
		if f == first[i] {
			continue
		}
		return fmt.Errorf("trainer: %s differs: process %d on %s has %s, process 0 on %s has %s; start all processes with the same program, config and data",
			f.Name, process, list[n].Value, shortened(f.Value), first[n].Value, shortened(first[i].Value))
	}
	return nil
}

func shortened(text string) string {
	const most = 200
	if len(text) > most {
		return text[:most] + "…"
	}
	return text
}
