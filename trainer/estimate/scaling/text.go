package scaling

import "fmt"

// lengthText writes a number of tokens: 128k, 16M.
func lengthText(tokens float64) string {
	if tokens >= m {
		return fmt.Sprintf("%.0fM", tokens/m)
	}
	return fmt.Sprintf("%.0fk", tokens/k)
}

// msText writes seconds as milliseconds of three figures.
func msText(s float64) string {
	if ms := 1e3 * s; ms < 100 {
		return fmt.Sprintf("%.1f", ms)
	}
	return fmt.Sprintf("%.0f", 1e3*s)
}

func secondsText(s float64) string {
	switch {
	case s < 0.1:
		return fmt.Sprintf("%.3f", s)
	case s < 10:
		return fmt.Sprintf("%.2f", s)
	case s < 1000:
		return fmt.Sprintf("%.1f", s)
	}
	return fmt.Sprintf("%.0f", s)
}

func percentText(share float64) string { return fmt.Sprintf("%.0f %%", 100*share) }

// bytesText writes a decimal unit, as networks have it.
func bytesText(n float64) string {
	switch {
	case n >= 1e12:
		return fmt.Sprintf("%.1f TB", n/1e12)
	case n >= 1e9:
		return fmt.Sprintf("%.0f GB", n/1e9)
	case n >= 1e6:
		return fmt.Sprintf("%.0f MB", n/1e6)
	}
	return fmt.Sprintf("%.0f B", n)
}

// countText writes a large number of things: 12, 4.6k, 609M.
func countText(n float64) string {
	switch {
	case n >= 1e8:
		return fmt.Sprintf("%.0fM", n/1e6)
	case n >= 1e6:
		return fmt.Sprintf("%.1fM", n/1e6)
	case n >= 1e4:
		return fmt.Sprintf("%.0fk", n/1e3)
	}
	return fmt.Sprintf("%.0f", n)
}
