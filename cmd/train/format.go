package main

import (
	"fmt"
	"math"
	"strings"
)

// thousands writes 1234567 as 1,234,567.
func thousands(n int64) string {
	s := fmt.Sprint(n)
	var b strings.Builder
	for i, r := range s {
		if i > 0 && (len(s)-i)%3 == 0 && s[i-1] != '-' {
			b.WriteByte(',')
		}
		b.WriteRune(r)
	}
	return b.String()
}

// positions writes a bin of a table by position.
func positions(from, to int) string {
	return thousands(int64(from)) + " – " + thousands(int64(to))
}

// bytesText writes a size with a binary unit.
func bytesText(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB"}
	x, i := float64(n), 0
	for x >= 1024 && i < len(units)-1 {
		x /= 1024
		i++
	}
	if i == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", x, units[i])
}

// count writes a number of things: 1 rank, 2 ranks.
func count(n int, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return thousands(int64(n)) + " " + thing
}

// figureText writes an error; the checks report one that is not finite as the largest number, which JSON has.
func figureText(x float64) string {
	if math.IsNaN(x) || x >= math.MaxFloat64 {
		return "NaN"
	}
	return fmt.Sprintf("%.1e", x)
}
