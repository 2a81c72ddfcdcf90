package estimate

import (
	"fmt"
	"regexp"
	"strconv"
)

// rateForm is a number, a prefix, bits or bytes, and "a second", as makers of networks write it: 25GB/s, 200Gbps, 1Gbit/s.
var rateForm = regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)?) ?([kKMGT]i?)?(B/s|bit/s|b/s|bps)$`)

// factors of prefixes. A rate has decimal ones; those of memory are taken at their word.
var factors = map[string]float64{"": 1, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "ki": 1 << 10, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40}

// ParseRate reads a rate as bytes a second: 25GB/s is 25e9, 200Gbps and 200Gbit/s are an eighth of 200e9.
func ParseRate(text string) (bytesPerSecond float64, err error) {
	parts := rateForm.FindStringSubmatch(text)
	if parts == nil {
		return 0, fmt.Errorf("estimate: %q is no rate with its unit, such as 25GB/s, 200Gbps or 1Gbit/s", text)
	}
	number, err := strconv.ParseFloat(parts[1], 64)
	if err != nil {
		return 0, fmt.Errorf("estimate: rate: %w", err)
	}
	rate := number * factors[parts[2]]
	if parts[3] != "B/s" {
		rate /= 8
	}
	if rate <= 0 {
		return 0, fmt.Errorf("estimate: a rate of %s moves nothing; give more than 0", text)
	}
	return rate, nil
}

// RateText writes a rate for people: 125 MB/s.
func RateText(bytesPerSecond float64) string {
	for _, unit := range []struct {
		name string
		size float64
	}{{"TB/s", 1e12}, {"GB/s", 1e9}, {"MB/s", 1e6}, {"kB/s", 1e3}} {
		if bytesPerSecond >= unit.size {
			return strconv.FormatFloat(bytesPerSecond/unit.size, 'g', 4, 64) + " " + unit.name
		}
	}
	return strconv.FormatFloat(bytesPerSecond, 'g', 4, 64) + " B/s"
}
