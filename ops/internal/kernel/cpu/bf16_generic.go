package cpu

import "math"

// portablePairs is the pair primitives in Go: what the assembly is tested beside. Nobody attends with it, it is too slow.
func portablePairs() pairPrimitives {
	return pairPrimitives{
		name: "generic", product: productGeneric, narrow: narrowGeneric, zip: zipGeneric, turn: turnGeneric,
		weights: weightsGeneric, gradients: gradientsGeneric,
	}
}

// toBFloat16 rounds to nearest even; a NaN stays one, a denormal becomes 0.
func toBFloat16(x float32) uint16 {
	bits := math.Float32bits(x)
	switch {
	case x != x:
		return uint16(bits>>16 | 0x40)
	case bits&0x7f800000 == 0:
		return uint16(bits >> 16 & 0x8000)
	}
	return uint16((bits + 0x7fff + bits>>16&1) >> 16)
}

func fromBFloat16(x uint16) float32 { return math.Float32frombits(uint32(x) << 16) }

func pairOf(low, high float32) uint32 { return uint32(toBFloat16(low)) | uint32(toBFloat16(high))<<16 }

func productGeneric(c []float32, ldc int, a []uint32, lda int, b []uint32, ldb int, m, n, k int, acc bool) {
	for i := range m {
		row := c[i*ldc:][:n]
		if !acc {
			clear(row)
		}
		for p, pair := range a[i*lda:][:k] {
			low, high := math.Float32frombits(pair<<16), math.Float32frombits(pair&^0xffff)
			for j, y := range b[p*ldb:][:n] {
				row[j] = row[j] + high*math.Float32frombits(y&^0xffff) + low*math.Float32frombits(y<<16)
			}
		}
	}
}

func narrowGeneric(dst []uint16, src []float32) {
	for i, x := range src {
		dst[i] = toBFloat16(x)
	}
}

func zipGeneric(dst []uint32, even, odd []uint16) {
	clear(dst[:roundUp(len(even), lanes)])
	for j, x := range even {
		dst[j] = uint32(x) | uint32(odd[j])<<16
	}
}

func turnGeneric(dst []uint32, ldd int, src []uint32, lds int, rows, cols int) {
	for i := range rows {
		for j := range cols {
			dst[j*ldd+i] = src[i*lds+j]
		}
	}
}

func weightsGeneric(p []uint32, x, ref, sum []float32, width int, exponent float32) {
	for i := 0; i < len(x)/width; i += 2 {
		even, odd := x[i*width:][:width], x[(i+1)*width:][:width]
		for j, r := range ref[:width] {
			low, high := exp2Float32(exponent*even[j]+r), exp2Float32(exponent*odd[j]+r)
			p[i/2*width+j] = pairOf(low, high)
			sum[j] = sum[j] + low + high
		}
	}
}

func gradientsGeneric(p, ds, pairs []uint32, x, dp, ref, delta []float32, width int, exponent float32) {
	pRows, dsRows, pairRows := halves(p), halves(ds), halves(pairs)
	for i, s := range x {
		row, j := i/width, i%width
		e := exp2Float32(exponent*s + ref[j])
		d := float32(0)
		if e != 0 {
			d = e * (dp[i] - delta[j])
		}
		pRows[i], dsRows[i] = toBFloat16(e), toBFloat16(d)
		pairRows[(row/2*width+j)*2+row%2] = dsRows[i]
	}
}
