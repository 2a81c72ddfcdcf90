// Package ringattn is ring attention as an op for gorgonia graphs: exact softmax attention, forward and backward, over a
// sequence that is split over W ranks, in memory O(T/W) a rank.
//
// # One changed line
//
// A model that computes attention from q, k and v uses the op instead:
//
//	out, err := ringattn.Attention(q, k, v, ringattn.Config{NumHeads: 8, NumKVHeads: 2, Causal: true, Devices: 4})
//
// The nodes are token-major, all of 2, 3 or 4 dimensions:
//
//	q  [S, H*D]   [S, H, D]   [B, S, H, D]      H query heads of dim D
//	k  [S, K*D]   [S, K, D]   [B, S, K, D]      K KV heads; H is a multiple of K
//	v  [S, K*Dv]  [S, K, Dv]  [B, S, K, Dv]     values may have another width
//	out [S, H*Dv] [S, H, Dv]  [B, S, H, Dv]
//
// With Devices the node holds the whole sequence, S = T; the op splits it over so many ranks inside this process, runs
// them, and puts the result together. Both of gorgonia's machines work: the TapeMachine with Grad and Backpropagate, and
// the LispMachine.
//
// # A graph on every rank
//
// Where the model itself is split over ranks (SPMD), each rank builds its graph over its own rows and passes its
// communicator; SeqLen is the length T of the whole sequence, and the rows are those of the shard.Sharding:
//
//	err := local.Run(ctx, 4, dist.Options{}, func(ctx context.Context, c *dist.Comm) error {
//		... // q, k, v nodes of Sharding.Len(c.Rank()) rows
//		out, err := ringattn.Attention(q, k, v, ringattn.Config{
//			NumHeads: 8, NumKVHeads: 2, Causal: true, Layout: shard.Zigzag, SeqLen: T, Comm: c, Context: ctx,
//		})
//		...
//	})
//
// All ranks run their graphs together. Graphs must be built one at a time in a process (ops.BuildMutex), and ranks must
// not share a *tensor.Dense, only the slice behind it. gorgonia has no empty tensors: a rank whose shard is empty passes
// nodes of one row per sequence, whose contents do not matter and whose output and gradients are 0.
//
// # What travels where
//
// Forward, W = 4. Each rank keeps its queries and a carry (O, m, l) for them, and folds in one block of keys and values
// after the other, while the next block arrives. W-1 hops; O and the log-sum-exp (LSE) of every row are saved.
//
//	      K,V →        K,V →        K,V →
//	rank 0 ───── rank 1 ───── rank 2 ───── rank 3 ─┐
//	  ▲────────────────────────────────────────────┘
//	step   rank 0   rank 1   rank 2   rank 3        (whose K,V each works on)
//	  0      0        1        2        3
//	  1      3        0        1        2
//	  2      2        3        0        1
//	  3      1        2        3        0
//
// Backward. Keys and values travel the other way, so that the first foreign block is the one that arrived last in
// forward. P is computed anew from LSE. dQ stays; dK and dV of a block follow it, hop by hop, until they are at home.
// W-1 hops of K,V and W-1 hops of dK,dV; half of the own (diagonal) block hides the first, the other half the last.
//
//	     ← K,V        ← K,V        ← K,V
//	     ← dK,dV      ← dK,dV      ← dK,dV
//	rank 0 ───── rank 1 ───── rank 2 ───── rank 3 ─┐
//	  └────────────────────────────────────────────▲
//	step   rank 0   rank 1   rank 2   rank 3
//	  0      0 ½      1 ½      2 ½      3 ½         own block, first half: K,V hop 1 is on its way
//	  1      1        2        3        0           dK,dV of each block are born where it is first worked on
//	  2      2        3        0        1
//	  3      3        0        1        2
//	  4      0 ½      1 ½      2 ½      3 ½         own block, second half: dK,dV hop 3 brings them home
//
// K and V are never repeated for grouped queries, neither in memory nor on the wire, and nothing is padded: any T and any
// W go together, with shards that are uneven, of one token, or empty.
//
// # Masks
//
// Which keys a query sees: Causal, Window (sliding, one side or both), CuSeqlens (packed documents) and Mask (rectangles of queries
// by keys, see package mask), in global positions, so that they mean the same on every rank. What is seen is scored with Softcap, ALiBiSlopes
// and Sinks, and thinned by Dropout. All of it goes together, with every layout, ring, dtype and travel:
//
//	Config{Causal: true, CuSeqlens: []int{0, 900, 900, 4096}, Window: &mask.Window{Left: 1023, Right: mask.Unbounded}, Softcap: 50}
//
// The ring uses the mask: every rank makes the same plan of who needs whose block (Op.Plan). A block goes from one rank that needs it to the
// next and skips the others, what nobody sees is neither sent nor computed, and gradients go home from the last that added to them. W-1
// hops of a rank are the most there are.
//
//	window of a shard's length, W = 4              documents within shards
//	rank 0 ───▶ rank 1 ───▶ rank 2 ───▶ rank 3     nothing is sent
//
// # Other ways round
//
// Travel ring.Q turns it round: K and V stay at home, and Q travels with its carry, in backward Q, dO, LSE and δ with dQ; fewer bytes
// where queries are few (Chunk) or KV heads many. UlyssesSize makes groups of ranks exchange rows for heads before the ring (all-to-all),
// and InnerRing a double ring: blocks go round an inner ring of neighbours before they enter the next, whose first rank gets them a whole
// round ahead.
//
// # Which rank holds what
//
// Config.Layout, with 8 positions over 2 ranks; under a causal mask zigzag and striped give all ranks the same work.
//
//	contiguous   rank 0: 0 1 2 3   rank 1: 4 5 6 7
//	zigzag       rank 0: 0 1 6 7   rank 1: 2 3 4 5
//	striped      rank 0: 0 2 4 6   rank 1: 1 3 5 7
//	balanced     as even as possible in rows and in visible pairs: causal gives zigzag, packed documents whatever is even
//
// # Numbers
//
// float64 and float32, carried in that type over all hops; dQ is summed over the blocks in float64, so that the error does
// not grow with W. Sums are made in a fixed order: a run repeats its bits. A row that sees no key has output 0, LSE -Inf
// and gradients 0. The reference is Dense, and gradcheck is the proof.
//
// # Errors
//
// What can be known when the graph is built is an error of Attention: mismatches of dtype, length, heads, shard or config.
// When a graph runs, gorgonia's error hides the op's from errors.Is; Op.Err has it. An error or panic on one rank aborts
// the others.
//
// # The parts
//
//	ringattn            the op: Attention, Apply, Config, Op; Dense, the reference
//	ringattn/ring       the algorithm of one rank on plain slices, without gorgonia
//	ringattn/gradcheck  golden files, the built-in suite, finite differences for any graph
//
// Sources: Liu, Zaharia, Abbeel, Ring Attention with Blockwise Transformers (arXiv 2310.01889); Brandon et al., Striped
// Attention (arXiv 2311.09431); Dao, FlashAttention-2 (arXiv 2307.08691); Jacobs et al., DeepSpeed Ulysses (arXiv 2309.14509); Press et al.,
// ALiBi (arXiv 2108.12409); Gu et al., LoongTrain (arXiv 2406.18485) for the double ring.
package ringattn
