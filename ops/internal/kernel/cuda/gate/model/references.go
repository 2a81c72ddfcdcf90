package model

import "github.com/ringgrad/ringgrad/ops/internal/kernel/cuda/gate/sass"

// Reference is a published kernel: its main loop, counted in its machine code as the gate counts ours, and the TFLOP/s that its authors
// measured on an H100 SXM with 16,384 tokens (figures of the FlashAttention-3 paper and repository).
type Reference struct {
	Name      string
	Tile      Tile
	Loop      Loop
	Published float64
	Causal    bool
}

// References are what Overlap was fitted to. The machine code is that of two wheels of PyPI: FlashAttention-3 of xformers 0.0.31 (sm_90a)
// and FlashAttention-2 of xformers 0.0.25.post1 (sm_90), bf16, lengths that are multiples of the tiles; causal: the loop of full tiles.
func References() []Reference {
	return []Reference{
		{"FA3 forward d64", Tile{192, 192, 64, false}, Loop{hgmma(1572864, 81920, counts{
			issued: 614, shared: 6144, alu: 15, minmax: 100, pack: 48, ffma: 98, fadd: 96, fmul: 36, exp2: 98, shuffle: 4, imad: 4}), 12, 1}, 497, false},
		{"FA3 forward d64 causal", Tile{192, 128, 64, false}, Loop{hgmma(1048576, 40960, counts{
			issued: 417, alu: 13, minmax: 68, pack: 32, ffma: 66, fadd: 64, fmul: 36, exp2: 66, shuffle: 4, imad: 4}), 12, 1}, 473, true},
		{"FA3 forward d128", Tile{128, 176, 128, false}, Loop{hgmma(2883584, 106496, counts{
			issued: 573, alu: 10, minmax: 92, pack: 44, ffma: 90, fadd: 88, fmul: 68, exp2: 90, shuffle: 4, imad: 3}), 8, 1}, 648, false},
		{"FA3 forward d128 causal", Tile{128, 128, 128, false}, Loop{hgmma(2097152, 81920, counts{
			issued: 455, alu: 10, minmax: 68, pack: 32, ffma: 66, fadd: 64, fmul: 68, exp2: 66, shuffle: 4, imad: 4}), 8, 1}, 616, true},
		{"FA3 backward d64", Tile{128, 128, 64, true}, Loop{hgmma(2621440, 114688, counts{
			issued: 705, shared: 9216, alu: 88, pack: 64, ffma: 64, fadd: 64, fmul: 64, exp2: 64, shuffle: 64, imad: 12}), 8, 1}, 474, false},
		{"FA3 backward d128", Tile{80, 128, 128, true}, Loop{hgmma(3276800, 151552, counts{
			issued: 506, shared: 12800, alu: 49, pack: 40, ffma: 40, fadd: 40, fmul: 40, exp2: 40, imad: 6}), 8, 1}, 561, false},
		{"FA2 forward d64", Tile{128, 128, 64, false}, Loop{hmma(524288, counts{
			issued: 1116, shared: 41344, alu: 26, minmax: 136, pack: 64, ffma: 132, fadd: 128, fmul: 72, exp2: 132, shuffle: 8, imad: 4}), 4, 2}, 324, false},
		{"FA2 forward d128", Tile{128, 64, 128, false}, Loop{hmma(524288, counts{
			issued: 880, shared: 45440, alu: 18, minmax: 72, pack: 32, ffma: 68, fadd: 64, fmul: 136, exp2: 68, shuffle: 8, imad: 4}), 4, 2}, 370, false},
		{"FA2 backward d64", Tile{128, 128, 64, true}, Loop{hmma(655360, counts{
			issued: 1096, shared: 86784, alu: 111, pack: 64, ffma: 64, fadd: 64, fmul: 68, exp2: 64, imad: 48}), 8, 1}, 291, false},
		{"FA2 backward d128", Tile{64, 128, 128, true}, Loop{hmma(655360, counts{
			issued: 880, shared: 82688, alu: 101, pack: 32, ffma: 32, fadd: 32, fmul: 36, exp2: 32, imad: 32}), 8, 1}, 322, false},
	}
}

// counts are instructions of a warp in one turn, and the bytes that it moves to and from shared memory.
type counts struct{ issued, shared, alu, minmax, pack, ffma, fadd, fmul, exp2, shuffle, imad int }

func (c counts) mix(fma int) sass.Mix {
	return sass.Mix{Issued: c.issued, FMA: fma, SharedBytes: c.shared, Count: map[sass.Class]int{
		sass.ALU: c.alu, sass.Minmax: c.minmax, sass.Pack: c.pack, sass.FFMA: c.ffma, sass.FADD: c.fadd, sass.FMUL: c.fmul,
		sass.Exp2: c.exp2, sass.Shuffle: c.shuffle, sass.IMAD: c.imad,
	}}
}

func hmma(fma int, c counts) sass.Mix {
	m := c.mix(fma)
	m.Count[sass.HMMA] = fma / 2048
	return m
}

func hgmma(fma, operands int, c counts) sass.Mix {
	m := c.mix(fma)
	m.Count[sass.HGMMA], m.OperandBytes = 1, operands
	return m
}
