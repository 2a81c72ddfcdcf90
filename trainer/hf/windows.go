package hf

import (
	"encoding/json"
	"slices"
	"strconv"
)

// The names of layer_types.
const (
	fullAttention    = "full_attention"
	slidingAttention = "sliding_attention"
)

// pattern says which layers have the window where layer_types does not.
type pattern int

const (
	noLayer     pattern = iota // llama
	everyLayer                 // mistral, whatever layer_types says
	upperLayers                // qwen: from max_window_layers on, and only with use_sliding_window
	evenLayers                 // gemma2, gpt_oss: 0, 2, 4, …
)

// windows reads how many positions a query of each layer sees; nil where every layer sees all. As in transformers a window of w is
// the query's own position and the w-1 before it.
func (f *fields) windows(a architecture, layers int) []int {
	raw, has := f.o.get("sliding_window")
	if a.windows == noLayer && has {
		f.fail("sliding_window %s is not supported by model_type %s; remove the key if the model was trained without a window", excerpt(raw), a.modelType)
	}
	width := 0
	if has || !f.o.has("sliding_window") {
		width = f.size("sliding_window", a.window)
	}
	if a.windows == upperLayers && !f.flag("use_sliding_window", false) {
		width = 0
	}
	if a.windows == noLayer {
		width = 0
	}
	slides := f.sliding(a, layers, width)
	if !slices.Contains(slides, true) {
		return nil
	}
	windows := make([]int, layers)
	for i, s := range slides {
		if s {
			windows[i] = width
		}
	}
	return windows
}

// sliding tells which layers have a window. A width of 0 is none.
func (f *fields) sliding(a architecture, layers, width int) []bool {
	slides := make([]bool, layers)
	first := f.integer("max_window_layers", 28, 0, maxSize)
	for i := range slides {
		switch a.windows {
		case everyLayer:
			slides[i] = width > 0
		case upperLayers:
			slides[i] = width > 0 && i >= first
		case evenLayers:
			slides[i] = i%2 == 0
		}
	}
	if types := f.words("layer_types"); types != nil {
		f.layerTypes(a, types, slides)
	}
	if i := slices.Index(slides, true); i >= 0 && width == 0 {
		if a.windows == upperLayers {
			f.fail("layer_types[%d] %q needs a window; set use_sliding_window to true and sliding_window to its width, or make the layer %s", i, slidingAttention, fullAttention)
		} else {
			f.fail("sliding_window is null, but layer %d is of type %s; give its width, or list the layers in layer_types as %s", i, slidingAttention, fullAttention)
		}
		clear(slides)
	}
	return slides
}

// layerTypes takes over layer_types, if the model type has a choice.
func (f *fields) layerTypes(a architecture, types []string, slides []bool) {
	if len(types) != len(slides) {
		f.fail("layer_types names %d layers, but num_hidden_layers is %d", len(types), len(slides))
		return
	}
	for i, t := range types {
		slide := t == slidingAttention
		switch {
		case !slide && t != fullAttention:
			f.fail("layer_types[%d] %q is not supported; only %s and %s are", i, t, fullAttention, slidingAttention)
			return
		case slide != slides[i] && (a.windows == noLayer || a.windows == everyLayer):
			f.fail("layer_types[%d] %q is not supported by model_type %s, whose layers are all alike; remove layer_types, or set sliding_window to what it means", i, t, a.modelType)
			return
		}
		slides[i] = slide
	}
}

// writeWindows lists the windows of a config that has some.
func (c Config) writeWindows(put func(key string, value json.RawMessage)) {
	if c.Windows == nil {
		return
	}
	put("sliding_window", integer(slices.Max(c.Windows)))
	if c.ModelType == "mistral" {
		return
	}
	list := []byte{'['}
	for i, w := range c.Windows {
		if i > 0 {
			list = append(list, ',')
		}
		name := fullAttention
		if w > 0 {
			name = slidingAttention
		}
		list = strconv.AppendQuote(list, name)
	}
	put("layer_types", append(list, ']'))
}
