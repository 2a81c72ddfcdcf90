// Package ops holds the gorgonia ops of a transformer layer, forward and backward, in float32 and float64.
package ops
