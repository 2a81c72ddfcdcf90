//go:build !linux && !purego

package cpu

// hasAMX is false: only Linux is asked for the tiles.
func hasAMX() bool { return false }
