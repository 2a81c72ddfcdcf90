package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ringgrad/ringgrad/dist/shard"
	"github.com/ringgrad/ringgrad/ops/ringattn/gradcheck"
	"github.com/ringgrad/ringgrad/ops/ringattn/ring"
)

// gradcheckFlags are the flags of `train gradcheck`; at most one of golden, model and config says what is checked.
type gradcheckFlags struct {
	golden, model, config  string
	set                    []string
	rings, layouts, dtypes []string
	travels                []string
	ulysses, innerRings    []string
	device                 string
	quick, full            bool
}

func newGradcheck(out *output) *cobra.Command {
	var f gradcheckFlags
	cmd := &cobra.Command{
		Use:   "gradcheck",
		Short: "Check gradients against dense attention, finite differences and golden files",
		Long: "gradcheck without --golden, --model or --config runs the built-in suite: attention round the ring against dense attention\n" +
			"in float64 and finite differences, its float32 error, and a model over W ranks against one.\n\n" +
			"Attention is checked in every combination of --ring, --layout, --dtype, --travel, --ulysses and --inner-ring. Groups and inner\n" +
			"rings that do not divide a ring or the heads of a case are an error of that case; in lists with a 1, such combinations are left out.",
		Example: "  train gradcheck --quick\n" +
			"  train gradcheck --golden testdata/golden --ring 1,2,3 --layout zigzag,striped\n" +
			"  train gradcheck --golden testdata/golden --ring 2,4 --layout balanced --travel kv,q --ulysses 1,2\n" +
			"  train gradcheck --config configs/long.yaml",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := notEmpty(cmd, "golden", "model", "config", "ring", "layout", "dtype", "travel", "ulysses", "inner-ring", "device"); err != nil {
				return err
			}
			o, err := f.options()
			if err != nil {
				return err
			}
			switch {
			case f.golden != "":
				return checkGolden(cmd.Context(), out, f.golden, o)
			case f.model != "":
				return checkModel(cmd.Context(), out, f.model, o)
			case f.config != "":
				return checkConfig(cmd.Context(), out, f)
			}
			return checkSuite(cmd.Context(), out, o)
		},
	}
	cmd.Flags().BoolVar(&f.quick, "quick", false, "the built-in suite in a few seconds")
	cmd.Flags().BoolVar(&f.full, "full", false, "the built-in suite with everything")
	cmd.Flags().StringVar(&f.golden, "golden", "", "check the golden case in `FILE`, or all in a folder")
	cmd.Flags().StringVar(&f.model, "model", "", "check a model folder `DIR` against its reference.safetensors")
	cmd.Flags().StringVar(&f.config, "config", "", "check the attention shape, layout and ring of the run in `FILE`")
	cmd.Flags().StringSliceVar(&f.rings, "ring", nil, "ring sizes, as in `1,2,3`")
	cmd.Flags().StringSliceVar(&f.layouts, "layout", nil, "some of `contiguous,zigzag,striped,balanced`")
	cmd.Flags().StringSliceVar(&f.dtypes, "dtype", nil, "some of `float64,float32`, and with --golden of bfloat16,float16 (float16 on GPUs)")
	cmd.Flags().StringVar(&f.device, "device", string(ring.CPU), "what computes attention: `cpu`, cuda, or sim, the kernels of GPUs run on the CPU; both without float64")
	cmd.Flags().StringSliceVar(&f.travels, "travel", nil, "what goes round the ring, some of `kv,q,auto`")
	cmd.Flags().StringSliceVar(&f.ulysses, "ulysses", nil, "ranks of a Ulysses group, as in `1,2`; 1 is none")
	cmd.Flags().StringSliceVar(&f.innerRings, "inner-ring", nil, "ranks of an inner ring of a double ring, as in `1,2`; 1 is a single ring")
	addSet(cmd, &f.set)
	return cmd
}

// notEmpty refuses flags given as "", as an unset shell variable leaves them: another check would run instead, and pass.
func notEmpty(cmd *cobra.Command, names ...string) error {
	for _, name := range names {
		if f := cmd.Flags().Lookup(name); f.Changed && strings.Trim(f.Value.String(), "[]") == "" {
			return fmt.Errorf("gradcheck: --%s is empty; give it a value or leave it out", name)
		}
	}
	return nil
}

// options turns the flags into what the checks take; empty lists mean their defaults.
func (f gradcheckFlags) options() (gradcheck.Options, error) {
	o := gradcheck.Options{Quick: f.quick, Full: f.full}
	if f.device != string(ring.CPU) {
		o.Device = ring.Device(f.device)
	}
	if err := f.clash(); err != nil {
		return o, err
	}
	var err error
	if o.Rings, err = ranks("ring", f.rings); err != nil {
		return o, err
	}
	if o.Ways, err = f.ways(); err != nil {
		return o, err
	}
	for _, text := range f.layouts {
		o.Layouts = append(o.Layouts, shard.Layout(strings.TrimSpace(text)))
	}
	for _, text := range f.dtypes {
		o.DTypes = append(o.DTypes, strings.TrimSpace(text))
	}
	if f.golden == "" {
		if err := o.RefuseNarrow(); err != nil {
			return o, err
		}
	}
	return o, o.Validate()
}

// ways are those through the ring; none without a flag.
func (f gradcheckFlags) ways() ([]gradcheck.Way, error) {
	if len(f.travels)+len(f.ulysses)+len(f.innerRings) == 0 {
		return nil, nil
	}
	ulysses, err := ranks("ulysses", f.ulysses)
	if err != nil {
		return nil, err
	}
	inner, err := ranks("inner-ring", f.innerRings)
	if err != nil {
		return nil, err
	}
	var travels []ring.Travel
	for _, text := range f.travels {
		travels = append(travels, ring.Travel(strings.TrimSpace(text)))
	}
	return gradcheck.Ways(travels, ulysses, inner), nil
}

// ranks reads a list of numbers of ranks.
func ranks(flag string, list []string) (all []int, err error) {
	for _, text := range list {
		n, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil || n < 1 {
			return nil, fmt.Errorf("gradcheck: --%s %q is not a number of ranks; give for example --%s 1,2", flag, text, flag)
		}
		all = append(all, n)
	}
	return all, nil
}

// clash finds flags that do not go together: a flag without effect would be a lie.
func (f gradcheckFlags) clash() error {
	subjects := 0
	for _, given := range []string{f.golden, f.model, f.config} {
		if given != "" {
			subjects++
		}
	}
	ways := len(f.travels) + len(f.ulysses) + len(f.innerRings)
	settings := len(f.rings) + len(f.layouts) + len(f.dtypes) + ways
	switch {
	case subjects > 1:
		return errors.New("gradcheck: --golden, --model and --config exclude each other; check one after the other")
	case subjects > 0 && (f.quick || f.full):
		return errors.New("gradcheck: --quick and --full belong to the built-in suite; leave them out")
	case f.model != "" && ways > 0:
		return errors.New("gradcheck: --travel, --ulysses and --inner-ring belong to the suite and to --golden; leave them out with --model")
	case f.config == "" && len(f.set) > 0:
		return errors.New("gradcheck: --set changes a config's keys; give --config FILE with it")
	case f.config != "" && f.device != string(ring.CPU):
		return errors.New("gradcheck: --config says the device itself; change it with --set device=DEVICE")
	case f.config != "" && settings > 0:
		return errors.New("gradcheck: --config says ring and layout itself; change them with --set context_parallel_size=N and --set ring_attn_func=LAYOUT")
	}
	return nil
}

func passed(ok bool) string {
	if ok {
		return "ok"
	}
	return "FAILED"
}
