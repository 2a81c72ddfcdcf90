package supervise

import (
	"fmt"
	"strings"

	"github.com/ringgrad/ringgrad/trainer/config"
)

// flags are those of a training that stand in a launcher's command line.
type flags struct {
	config string
	set    []string
	resume string
}

// findFlags looks for them anywhere, as `--flag value` and `--flag=value`.
func findFlags(command []string) (f flags) {
	for i, arg := range command {
		name, value, joined := strings.Cut(arg, "=")
		if !joined && i+1 < len(command) {
			value = command[i+1]
		}
		switch name {
		case "--config":
			f.config = value
		case "--set":
			f.set = append(f.set, value)
		case "--resume":
			f.resume = value
		}
	}
	return f
}

// auto is what resumes the newest checkpoint where there is one, and begins where there is none.
const auto = "auto"

// Read finds the training that a command starts: with its config it returns the folder that the checkpoints appear in, and without
// a --config "". Hosts is the number that stands for {hosts}. A training that would not go on from its newest checkpoint is refused.
func Read(command []string, hosts int) (outputDir string, saves bool, err error) {
	f := findFlags(fill(command, HostfilePlace, hosts))
	if f.config == "" {
		return "", true, nil
	}
	cfg, err := config.Load(f.config, f.set)
	if err != nil {
		return "", false, err
	}
	resume := f.resume
	if resume == "" {
		resume = cfg.ResumeFromCheckpoint
	}
	switch resume {
	case auto, "latest":
	case "":
		return "", false, fmt.Errorf("supervise: %s does not resume: a restart would be refused, since %s holds a run then; add --set resume_from_checkpoint=auto to the command", f.config, cfg.OutputDir)
	default:
		return "", false, fmt.Errorf("supervise: the command resumes from %s at each start, so a restart would lose what came after; give --set resume_from_checkpoint=auto instead", resume)
	}
	return cfg.OutputDir, cfg.SaveSteps > 0, nil
}
