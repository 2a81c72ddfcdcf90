package model

import (
	"math"

	"github.com/ringgrad/ringgrad/dist/shard"
	"github.com/ringgrad/ringgrad/ops"
	"github.com/ringgrad/ringgrad/trainer/hf"
)

// rotations makes the RoPE table of a rank's rows, which stand at the global positions the layout gives them. Angles, cosines and
// sines are rounded to float32 as in transformers, with which models were trained; see hf.RoPE.InvFreq.
func rotations(cfg hf.Config, s shard.Sharding, rank, batch int) (*ops.RoPETable, error) {
	inv, scaling := cfg.RoPE.InvFreq(cfg.HeadDim, cfg.MaxPositionEmbeddings)
	positions := positionsOf(s, rank)
	half := len(inv)
	cos, sin := make([]float64, 0, batch*len(positions)*half), make([]float64, 0, batch*len(positions)*half)
	for range batch {
		for _, p := range positions {
			for _, f := range inv {
				c, s := math.Cos(float64(float32(p)*float32(f))), math.Sin(float64(float32(p)*float32(f)))
				cos = append(cos, float64(float32(c)*float32(scaling)))
				sin = append(sin, float64(float32(s)*float32(scaling)))
			}
		}
	}
	table := ops.NewRoPETable(batch*len(positions), half)
	return table, table.Set(cos, sin)
}

// positionsOf lists the global positions of a rank's rows; a rank without rows has padding at position 0.
func positionsOf(s shard.Sharding, rank int) []int {
	if s.Len(rank) == 0 {
		return []int{0}
	}
	var positions []int
	for _, segment := range s.Segments(rank) {
		for i := range segment.Count {
			positions = append(positions, segment.At(i))
		}
	}
	return positions
}
