// Package ring is exact attention over a sequence that is split over W ranks: the algorithm of one rank, forward and
// backward, on plain slices, generic over float32 and float64, without gorgonia. ops/ringattn makes a graph op of it;
// benchmarks and trainers may call it directly.
//
// Legend: B batch, S this rank's rows, H query heads, K KV heads, D head dim, Dv value dim, W ring size. Inputs and
// gradients are token-major ([B,S,H,D]); inside, arrays are head-major ([B,H,S,D]), and the keys and values of a block
// are one message.
package ring
