package config

import (
	"strings"
	"testing"
)

func TestMemoryIsWrittenAsItIsRead(t *testing.T) {
	for text, want := range map[string]Bytes{"0B": 0, "1B": 1, "900MB": 900e6, "1.5GiB": 3 << 29, "6656MiB": 6656 << 20, "2TB": 2e12, "1023kB": 1_023_000} {
		got := parse(t, minimal+"memory_limit: "+text+"\n").MemoryLimit
		if got != want {
			t.Errorf("%s is %d bytes, want %d", text, got, want)
		}
		if again, err := ParseBytes(got.String()); again != got || err != nil {
			t.Errorf("%d bytes are written %s, which is read as %d, %v", got, got, again, err)
		}
	}
	c := parse(t, minimal, "memory_limit=3GiB")
	if text := string(c.YAML()); !strings.Contains(text, "memory_limit: 3GiB\n") {
		t.Errorf("3GiB is missing in\n%s", text)
	}
}

func TestMemoryNeedsAUnit(t *testing.T) {
	for _, text := range []string{"4", "4g", "-1GB", "4 GB", "1e3MB", "99999999TB", "[1GB]"} {
		_, err := Parse("run.yaml", []byte(minimal+"memory_limit: "+text+"\n"), nil)
		if err == nil || !strings.Contains(err.Error(), "memory_limit must be an amount of memory with its unit") {
			t.Errorf("%s: %v", text, err)
		}
	}
}
