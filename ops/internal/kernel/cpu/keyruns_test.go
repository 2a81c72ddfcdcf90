package cpu

import "testing"

func TestKeyRunsCoverTheKeysInWholeTiles(t *testing.T) {
	for _, kvHeads := range []int{1, 2, 3, 4, 8} {
		for _, keys := range []int{1, 95, 96, 97, 500, 4096} {
			next := 0
			runs := keyRuns(kvHeads, keys)
			for _, r := range runs {
				if r.from != next || r.n <= 0 || r.from%tileKeys != 0 {
					t.Fatalf("%d KV heads, %d keys: runs %v do not follow one another in whole tiles", kvHeads, keys, runs)
				}
				next += r.n
			}
			if next != keys {
				t.Errorf("%d KV heads, %d keys: runs %v end at %d", kvHeads, keys, runs, next)
			}
			if tasks := len(runs) * kvHeads; keys >= 4*tileKeys && tasks < 4 {
				t.Errorf("%d KV heads, %d keys: %d tasks cannot keep the processors busy", kvHeads, keys, tasks)
			}
		}
	}
}
