// Package bench measures attention and matrix products against what the processor can do at all.
//
// On a machine that others use too, and whose clock moves, a rate by itself says little. So a sample is compared with two loops that
// run right before and after it: multiply-adds on registers alone (the peak), and tiles of a matrix product in the first-level cache
// (what a kernel made of such tiles can reach where feeding the registers costs clock). Rounds go through all measurements in turn:
//
//	round 1   peak loop   forward   peak loop   backward   peak loop   ...
//	round 2   peak loop   forward   peak loop   backward   peak loop   ...
//
// and every figure is the median of the rounds. Ratios are those of rates by the processor time of the process, which others
// cannot lengthen by taking the processor away; the wall time is reported beside them.
//
// Attention counts 4·T²·D·H operations forward for T positions and H query heads of D, half of it when causal, and 2.5 times that
// backward; with windows or documents, those of the visible pairs. A matrix product counts 2·M·N·K.
//
// Attention with options can be set against plain causal attention, whose passes then run right after its own in every round. The
// ratio is that of the two rates: what the options cost for each visible pair.
package bench
