package config

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
)

// Bytes is an amount of memory, written with its unit: 900MB, 1.5GiB.
type Bytes int64

// byteUnits from the largest on.
var byteUnits = []struct {
	name string
	size Bytes
}{
	{"TiB", 1 << 40}, {"TB", 1e12}, {"GiB", 1 << 30}, {"GB", 1e9}, {"MiB", 1 << 20}, {"MB", 1e6}, {"KiB", 1 << 10}, {"kB", 1e3}, {"B", 1},
}

// bytesPattern is what ParseBytes reads.
const bytesPattern = `^([0-9]+(?:\.[0-9]+)?)([kMGT]B|[KMGT]iB|B)$`

var bytesForm = regexp.MustCompile(bytesPattern)

// ParseBytes reads what String writes.
func ParseBytes(text string) (Bytes, error) {
	parts := bytesForm.FindStringSubmatch(text)
	if parts == nil {
		return 0, fmt.Errorf("config: %q is no amount of memory with its unit, such as 900MB or 1.5GiB", text)
	}
	number, err := strconv.ParseFloat(parts[1], 64)
	if err != nil {
		return 0, fmt.Errorf("config: %w", err)
	}
	for _, u := range byteUnits {
		if bytes := number * float64(u.size); u.name == parts[2] && bytes < math.MaxInt64 {
			return Bytes(bytes), nil
		}
	}
	return 0, fmt.Errorf("config: %s is more than 8 EiB", text)
}

// String writes the amount exactly, in the largest unit of which it is a whole number.
func (b Bytes) String() string {
	for _, u := range byteUnits {
		if b >= u.size && b%u.size == 0 {
			return strconv.FormatInt(int64(b/u.size), 10) + u.name
		}
	}
	return strconv.FormatInt(int64(b), 10) + "B"
}

// Rounded writes the amount for people: 5.9GiB, 812MiB.
func (b Bytes) Rounded() string {
	if b < 1<<30 {
		return fmt.Sprintf("%.0fMiB", float64(b)/(1<<20))
	}
	return fmt.Sprintf("%.1fGiB", float64(b)/(1<<30))
}
