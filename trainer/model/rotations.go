package model

import (
	"math"

	"github.com/ringgrad/ringgrad/ops"
	"github.com/ringgrad/ringgrad/trainer/hf"
)

// newRotations makes the RoPE table of a rank's rows.
func newRotations(cfg hf.Config, rows int) *ops.RoPETable {
	inv, _ := cfg.RoPE.InvFreq(cfg.HeadDim, cfg.MaxPositionEmbeddings)
	return ops.NewRoPETable(rows, len(inv))
}

// rotate sets the table to the rows' positions. Angles, cosines and sines are rounded to float32 as in transformers, with which models
// were trained; see hf.RoPE.InvFreq.
func rotate(table *ops.RoPETable, cfg hf.Config, positions []int) error {
	inv, scaling := cfg.RoPE.InvFreq(cfg.HeadDim, cfg.MaxPositionEmbeddings)
	half := len(inv)
	cos, sin := make([]float64, 0, len(positions)*half), make([]float64, 0, len(positions)*half)
	for _, p := range positions {
		for _, f := range inv {
			c, s := math.Cos(float64(float32(p)*float32(f))), math.Sin(float64(float32(p)*float32(f)))
			cos = append(cos, float64(float32(c)*float32(scaling)))
			sin = append(sin, float64(float32(s)*float32(scaling)))
		}
	}
	return table.Set(cos, sin)
}
