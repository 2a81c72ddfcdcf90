package model

// chunkRows is how many rows go through the feed-forward net, or the head, at once: few, so that its activations take little memory
// however long the sequence; many, so that the matrix products seldom read the weights anew.
const chunkRows = 2048

// chunk is a range of rows.
type chunk struct{ from, to int }

// chunksOf cuts rows into ranges of at most limit, whose lengths differ by one at most.
func chunksOf(rows, limit int) []chunk {
	n := (rows + limit - 1) / limit
	list := make([]chunk, n)
	for i := range list {
		list[i] = chunk{rows * i / n, rows * (i + 1) / n}
	}
	return list
}

func (c chunk) rows() int { return c.to - c.from }

// of is the chunk's part of an array [rows, width].
func of[T any](c chunk, x []T, width int) []T { return x[c.from*width : c.to*width : c.to*width] }

// eachSize builds something for every number of rows that a chunk has.
func eachSize[V any](chunks []chunk, build func(rows int) (V, error)) (map[int]V, error) {
	sizes := map[int]V{}
	for _, c := range chunks {
		if _, ok := sizes[c.rows()]; ok {
			continue
		}
		v, err := build(c.rows())
		if err != nil {
			return nil, err
		}
		sizes[c.rows()] = v
	}
	return sizes, nil
}
