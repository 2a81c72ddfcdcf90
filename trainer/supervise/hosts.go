package supervise

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Host is a line of a hostfile.
type Host struct {
	Name  string
	Slots int // ranks that it takes; 0 where nothing is said
}

// String is the host's line.
func (h Host) String() string {
	if h.Slots == 0 {
		return h.Name
	}
	return fmt.Sprintf("%s slots=%d", h.Name, h.Slots)
}

// ReadHosts reads a hostfile: a line `NAME [slots=N]` a host, behind # comments.
func ReadHosts(path string) ([]Host, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("supervise: the hostfile cannot be read: %w", err)
	}
	var hosts []Host
	var errs []error
	lineOf := map[string]int{}
	number := 0
	for line := range strings.Lines(string(text)) {
		number++
		line, _, _ = strings.Cut(line, "#")
		if strings.TrimSpace(line) == "" {
			continue
		}
		h, err := parseHost(line)
		if first, twice := lineOf[h.Name]; err == nil && twice {
			err = fmt.Errorf("%s stands on line %d already; give a host once, with slots=N", h.Name, first)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("supervise: %s:%d: %w", path, number, err))
			continue
		}
		lineOf[h.Name] = number
		hosts = append(hosts, h)
	}
	if len(hosts) == 0 && len(errs) == 0 {
		return nil, fmt.Errorf("supervise: %s names no host; write a line each, such as: node1 slots=1", path)
	}
	return hosts, errors.Join(errs...)
}

func parseHost(line string) (Host, error) {
	fields := strings.Fields(line)
	h := Host{Name: fields[0]}
	if strings.HasPrefix(h.Name, "-") { // ssh would take it for a flag
		return h, fmt.Errorf("%q is no host's name", h.Name)
	}
	for _, field := range fields[1:] {
		digits, slots := strings.CutPrefix(field, "slots=")
		n, err := strconv.Atoi(digits)
		if !slots || err != nil || n < 1 || h.Slots > 0 {
			return h, fmt.Errorf("%q is not understood; write: %s slots=1", field, h.Name)
		}
		h.Slots = n
	}
	return h, nil
}

// writeHosts writes the lines of hosts to a temporary file.
func writeHosts(hosts []Host) (path string, err error) {
	f, err := os.CreateTemp("", "train-hosts-*")
	if err != nil {
		return "", fmt.Errorf("supervise: the hostfile of a start: %w", err)
	}
	var b strings.Builder
	for _, h := range hosts {
		b.WriteString(h.String() + "\n")
	}
	_, err = f.WriteString(b.String())
	if err := errors.Join(err, f.Close()); err != nil {
		_ = os.Remove(f.Name())
		return "", fmt.Errorf("supervise: the hostfile of a start: %w", err)
	}
	return f.Name(), nil
}

func names(hosts []Host) []string {
	list := make([]string, len(hosts))
	for i, h := range hosts {
		list[i] = h.Name
	}
	return list
}

// fill puts the hosts of a start into the command.
func fill(command []string, hostfile string, hosts int) []string {
	r := strings.NewReplacer(HostfilePlace, hostfile, HostsPlace, strconv.Itoa(hosts))
	filled := make([]string, len(command))
	for i, arg := range command {
		filled[i] = r.Replace(arg)
	}
	return filled
}
