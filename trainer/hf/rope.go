package hf

import "math"

// The RoPE types that are computed; transformers' others (dynamic, longrope, …) are refused when a config is read.
const (
	RoPEDefault = "default"
	RoPELinear  = "linear"
	RoPELlama3  = "llama3"
	RoPEYaRN    = "yarn"
)

// RoPE describes the rotary position embedding of a model (Su et al., arXiv:2104.09864) and how it is stretched beyond the
// positions the model was trained on. Fields that a type does not use are ignored; the zero value is a default RoPE but for Theta.
type RoPE struct {
	Type   string  // default, linear, llama3 or yarn; "" is default
	Theta  float64 // base of the wavelengths; 0 is 10,000
	Factor float64 // how many times longer the context becomes

	LowFreqFactor, HighFreqFactor float64 // llama3: wavelengths between original/high and original/low are blended

	AttentionFactor      float64 // yarn: multiplies cos and sin; 0: derived from Factor and the two mscales
	BetaFast, BetaSlow   float64 // yarn: rotations at the ends of the blended range; 0: 32 and 1
	MScale, MScaleAllDim float64 // yarn: weights of ln(Factor) in the derived attention factor; used when both are set
	NoTruncate           bool    // yarn: keep the ends of the blended range fractional (truncate: false)

	OriginalMaxPositions int // llama3, yarn: positions before stretching; 0: maxPositions
}

// InvFreq returns the headDim/2 inverse frequencies, in radians per position, and the factor that multiplies cos and sin. Like
// transformers' ROPE_INIT_FUNCTIONS, which models are trained with, it rounds to float32 where those do: angles are positions
// times these values, and at position 100,000 a difference in the last bit of a float32 is one in the third digit of the angle.
// Sources: linear, kaiokendev; llama3, the Llama 3.1 release; yarn, Peng et al., arXiv:2309.00071.
func (r RoPE) InvFreq(headDim, maxPositions int) (inv []float64, attentionScaling float64) {
	theta := r.Theta
	if theta == 0 {
		theta = defaultTheta
	}
	original := float64(maxPositions)
	if r.OriginalMaxPositions > 0 {
		original = float64(r.OriginalMaxPositions)
	}
	wave := make([]float32, headDim/2) // theta^(2i/headDim): positions per radian
	for i := range wave {
		wave[i] = float32(math.Pow(theta, float64(float32(2*i)/float32(headDim))))
	}
	inv, attentionScaling = make([]float64, len(wave)), 1
	switch r.Type {
	case RoPELinear:
		for i, w := range wave {
			inv[i] = float64(1 / w / float32(r.Factor))
		}
	case RoPELlama3:
		for i, w := range wave {
			inv[i] = float64(r.llama3(1/w, original))
		}
	case RoPEYaRN:
		factor := orDefault(r.Factor, float64(maxPositions)/original)
		r.yarn(inv, wave, yarnRange{theta: theta, original: original, factor: factor, dim: headDim})
		attentionScaling = r.attentionFactor(factor)
	default:
		for i, w := range wave {
			inv[i] = float64(1 / w)
		}
	}
	return inv, attentionScaling
}

// llama3 keeps short wavelengths, divides long ones by Factor and blends those between.
func (r RoPE) llama3(inv float32, original float64) float32 {
	wavelength := float32(2*math.Pi) / inv
	factor := float32(r.Factor)
	switch {
	case float64(wavelength) > original/r.LowFreqFactor:
		return inv / factor
	case float64(wavelength) < original/r.HighFreqFactor:
		return inv
	}
	smooth := (float32(original)/wavelength - float32(r.LowFreqFactor)) / float32(r.HighFreqFactor-r.LowFreqFactor)
	return (1-smooth)*inv/factor + smooth*inv
}

// yarnRange is what YaRN's blended range and its ends depend on.
type yarnRange struct {
	theta, original, factor float64
	dim                     int
}

// dimension is the pair of dimensions that turns the given number of times within the original context.
func (y yarnRange) dimension(rotations float64) float64 {
	return float64(y.dim) * math.Log(y.original/(rotations*2*math.Pi)) / (2 * math.Log(y.theta))
}

// yarn keeps the fast dimensions, divides the slow ones by Factor and blends those between along a straight line.
func (r RoPE) yarn(inv []float64, wave []float32, y yarnRange) {
	low, high := y.dimension(orDefault(r.BetaFast, 32)), y.dimension(orDefault(r.BetaSlow, 1))
	if !r.NoTruncate {
		low, high = math.Floor(low), math.Ceil(high)
	}
	low, high = max(low, 0), min(high, float64(y.dim-1))
	if low == high {
		high += 0.001 // as the paper's code: no division by zero
	}
	for i, w := range wave {
		slow := min(max((float32(i)-float32(low))/float32(high-low), 0), 1)
		keep := 1 - slow
		inv[i] = float64(1/(float32(y.factor)*w)*(1-keep) + 1/w*keep)
	}
}

// attentionFactor is YaRN's correction of the logits' temperature, 0.1 ln(s) + 1 unless the config says otherwise.
func (r RoPE) attentionFactor(factor float64) float64 {
	if r.AttentionFactor != 0 {
		return r.AttentionFactor
	}
	if r.MScale != 0 && r.MScaleAllDim != 0 {
		return temperature(factor, r.MScale) / temperature(factor, r.MScaleAllDim)
	}
	return temperature(factor, 1)
}

func temperature(factor, mscale float64) float64 {
	if factor <= 1 {
		return 1
	}
	return 0.1*mscale*math.Log(factor) + 1
}

func orDefault(x, fallback float64) float64 {
	if x == 0 {
		return fallback
	}
	return x
}
