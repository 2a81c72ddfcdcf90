package hf

import (
	"cmp"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
)

const defaultTheta = 10_000

// knownRoPEKeys are the members of a RoPE object that are understood, or known to mean nothing.
var knownRoPEKeys = []string{"rope_type", "type", "rope_theta", "factor", "low_freq_factor", "high_freq_factor", "attention_factor",
	"beta_fast", "beta_slow", "mscale", "mscale_all_dim", "truncate", "original_max_position_embeddings", "partial_rotary_factor", "finetuned"}

// ropePlace tells where a config keeps its RoPE. A non-null rope_scaling wins over rope_parameters, as in transformers.
func ropePlace(o object) string {
	if _, ok := o.get("rope_scaling"); ok {
		return "rope_scaling"
	}
	if o.has("rope_parameters") {
		return "rope_parameters"
	}
	if o.has("rope_theta") || o.has("rope_scaling") {
		return "rope_scaling"
	}
	return "rope_parameters"
}

// rope reads the RoPE of a config in either spelling. maxPositions is what an absent original_max_position_embeddings falls back to.
func (f *fields) rope(a architecture, maxPositions int) RoPE {
	theta := f.number("rope_theta", cmp.Or(a.theta, defaultTheta))
	place := ropePlace(f.o)
	if _, ok := f.o.get(place); !ok && !f.o.has("rope_theta") && a.modelType == "gpt_oss" {
		return gptOSSRoPE(theta)
	}
	inner := &fields{where: f.where + ": " + place}
	if raw, ok := f.o.get(place); ok {
		o, err := parseObject(raw)
		if err != nil {
			f.fail("%s: %w", place, err)
			return RoPE{Type: RoPEDefault, Theta: theta}
		}
		inner.o = o
	}
	if outer, ok := f.o.get("partial_rotary_factor"); ok && !inner.o.has("partial_rotary_factor") {
		inner.o.set("partial_rotary_factor", outer)
	}
	f.originalOutside(inner)
	r := inner.ropeObject(theta, maxPositions)
	f.errs = append(f.errs, inner.errs...)
	return r
}

// originalOutside moves an original_max_position_embeddings beside the RoPE object (as Phi3 writes it) into it.
func (f *fields) originalOutside(inner *fields) {
	const key = "original_max_position_embeddings"
	outside, ok := f.o.get(key)
	if !ok {
		return
	}
	if inside, ok := inner.o.get(key); ok && string(inside) != string(outside) {
		f.fail("%s is %s here and %s within the RoPE object; keep one of them", key, excerpt(outside), excerpt(inside))
	}
	inner.o.set(key, outside)
}

// ropeObject reads the members of a RoPE object.
func (f *fields) ropeObject(theta float64, maxPositions int) RoPE {
	for _, m := range f.o {
		if !slices.Contains(knownRoPEKeys, m.key) {
			f.fail("%s (%s) is not supported; types default, linear, llama3 and yarn are, with the keys %s", m.key, excerpt(m.value), strings.Join(knownRoPEKeys, ", "))
		}
	}
	if p := f.number("partial_rotary_factor", 1); p != 1 {
		f.fail("partial_rotary_factor %v is not supported; only 1 (the whole head is rotated) is", p)
	}
	r := RoPE{Type: f.word("rope_type", f.word("type", RoPEDefault)), Theta: f.number("rope_theta", theta)}
	if r.Theta <= 1 {
		f.fail("rope_theta is %v; it must be above 1", r.Theta)
	}
	switch r.Type {
	case RoPEDefault:
	case RoPELinear:
		r.Factor = f.factor()
	case RoPELlama3:
		r.Factor = f.factor()
		f.llama3(&r, maxPositions)
	case RoPEYaRN:
		f.yarn(&r, maxPositions)
	default:
		f.fail("RoPE type %q is not supported; use default, linear, llama3 or yarn", r.Type)
	}
	return r
}

// factor is required: transformers refuses a stretched RoPE without it too.
func (f *fields) factor() float64 {
	if _, ok := f.o.get("factor"); !ok {
		f.fail("factor is missing; give the ratio of the new context length to the original one")
		return 1
	}
	factor := f.number("factor", 1)
	if factor <= 0 {
		f.fail("factor is %v; it must be positive (new context length over original)", factor)
		return 1
	}
	return factor
}

func (f *fields) llama3(r *RoPE, maxPositions int) {
	r.OriginalMaxPositions = f.size("original_max_position_embeddings", maxPositions)
	r.LowFreqFactor, r.HighFreqFactor = f.required("low_freq_factor"), f.required("high_freq_factor")
	if r.LowFreqFactor <= 0 || r.HighFreqFactor <= r.LowFreqFactor {
		f.fail("low_freq_factor %v and high_freq_factor %v must satisfy 0 < low < high", r.LowFreqFactor, r.HighFreqFactor)
	}
}

func (f *fields) required(key string) float64 {
	if _, ok := f.o.get(key); !ok {
		f.fail("%s is missing; RoPE type llama3 needs it", key)
	}
	return f.number(key, 0)
}

func (f *fields) yarn(r *RoPE, maxPositions int) {
	r.OriginalMaxPositions = f.size("original_max_position_embeddings", maxPositions)
	if raw, ok := f.o.get("factor"); !ok && string(raw) == "null" {
		r.Factor = float64(maxPositions) / float64(r.OriginalMaxPositions)
	} else {
		r.Factor = f.factor()
	}
	r.AttentionFactor = f.number("attention_factor", 0)
	if _, ok := f.o.get("attention_factor"); ok && r.AttentionFactor <= 0 {
		f.fail("attention_factor is %v; it must be positive, or absent to be derived from factor", r.AttentionFactor)
	}
	r.BetaFast, r.BetaSlow = orDefault(f.number("beta_fast", 32), 32), orDefault(f.number("beta_slow", 1), 1)
	if r.BetaSlow < 0 || r.BetaFast < r.BetaSlow {
		f.fail("beta_fast %v and beta_slow %v must satisfy 0 < slow <= fast", r.BetaFast, r.BetaSlow)
	}
	r.MScale, r.MScaleAllDim = f.number("mscale", 0), f.number("mscale_all_dim", 0)
	r.NoTruncate = !f.flag("truncate", true)
}

// setRoPE writes r into a config in the spelling that the config has.
func setRoPE(o *object, r RoPE) {
	place := ropePlace(*o)
	inner := r.object()
	if place == "rope_parameters" {
		inner.set("rope_theta", float(r.Theta))
		o.remove("rope_theta")
		o.set(place, inner.raw())
	} else {
		o.set("rope_theta", float(r.Theta))
		if r.Type == RoPEDefault {
			o.set(place, json.RawMessage("null"))
		} else {
			o.set(place, spellType(*o, inner).raw())
		}
		o.remove("rope_parameters")
	}
	o.remove("original_max_position_embeddings")
}

// spellType calls the type by the older name "type" where the config did.
func spellType(o, inner object) object {
	raw, ok := o.get("rope_scaling")
	if !ok {
		return inner
	}
	before, err := parseObject(raw)
	if err == nil && before.has("type") {
		name, _ := inner.get("rope_type")
		if !before.has("rope_type") {
			inner.remove("rope_type")
		}
		inner.set("type", name)
	}
	return inner
}

// object holds the members that r's type uses, without the base.
func (r RoPE) object() object {
	o := object{{"rope_type", word(r.Type)}}
	if r.Type == RoPEDefault {
		return o
	}
	o.set("factor", float(r.Factor))
	if r.Type == RoPELinear {
		return o
	}
	o.set("original_max_position_embeddings", integer(r.OriginalMaxPositions))
	if r.Type == RoPELlama3 {
		o.set("low_freq_factor", float(r.LowFreqFactor))
		o.set("high_freq_factor", float(r.HighFreqFactor))
		return o
	}
	optional := []struct {
		key             string
		value, fallback float64
	}{
		{"attention_factor", r.AttentionFactor, 0}, {"beta_fast", r.BetaFast, 32}, {"beta_slow", r.BetaSlow, 1},
		{"mscale", r.MScale, 0}, {"mscale_all_dim", r.MScaleAllDim, 0},
	}
	for _, m := range optional {
		if m.value != m.fallback {
			o.set(m.key, float(m.value))
		}
	}
	if r.NoTruncate {
		o.set("truncate", json.RawMessage("false"))
	}
	return o
}

// normal fills in what the zero value means, so that two descriptions of the same RoPE are equal.
func (r RoPE) normal(maxPositions int) RoPE {
	n := RoPE{Type: r.Type, Theta: orDefault(r.Theta, defaultTheta)}
	if n.Type == "" {
		n.Type = RoPEDefault
	}
	if n.Type == RoPEDefault {
		return n
	}
	n.Factor = r.Factor
	if n.Type == RoPELinear {
		return n
	}
	n.OriginalMaxPositions = r.OriginalMaxPositions
	if n.OriginalMaxPositions == 0 {
		n.OriginalMaxPositions = maxPositions
	}
	if n.Type == RoPELlama3 {
		n.LowFreqFactor, n.HighFreqFactor = r.LowFreqFactor, r.HighFreqFactor
		return n
	}
	n.AttentionFactor, n.MScale, n.MScaleAllDim, n.NoTruncate = r.AttentionFactor, r.MScale, r.MScaleAllDim, r.NoTruncate
	n.BetaFast, n.BetaSlow = orDefault(r.BetaFast, 32), orDefault(r.BetaSlow, 1)
	n.Factor = orDefault(n.Factor, float64(maxPositions)/float64(n.OriginalMaxPositions))
	return n
}

func (o object) raw() json.RawMessage {
	text, err := o.text()
	if err != nil {
		panic("hf: a RoPE object of our own is not JSON: " + err.Error())
	}
	return text
}

func word(s string) json.RawMessage { return json.RawMessage(strconv.Quote(s)) }

func integer(n int) json.RawMessage { return json.RawMessage(strconv.Itoa(n)) }

// float writes a number as Python does: shortest, and never looking like a whole number.
func float(x float64) json.RawMessage {
	s := strconv.FormatFloat(x, 'f', -1, 64)
	if x != 0 && (x < 1e-4 || x >= 1e16) {
		s = strconv.FormatFloat(x, 'e', -1, 64)
	} else if !strings.Contains(s, ".") {
		s += ".0"
	}
	return json.RawMessage(s)
}
