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

// Training is what a command line says about the training that it starts.
type Training struct {
	Found     bool   // there is a --config
	OutputDir string // where its checkpoints appear
	SaveSteps int    // steps between them; 0: there are none
}

// Read finds the training that a command starts. Hosts is the number that stands for {hosts}. A training that would not go on from its
// newest checkpoint is refused, and so is a config that is wrong.
func Read(command []string, hosts int) (Training, error) {
	f := findFlags(fill(command, HostfilePlace, hosts))
	if f.config == "" {
		return Training{}, nil
	}
	cfg, err := config.Load(f.config, f.set)
	if err != nil {
		return Training{}, err
	}
	resume := f.resume
	if resume == "" {
		resume = cfg.ResumeFromCheckpoint
	}
	switch resume {
	case "auto", "latest":
		return Training{Found: true, OutputDir: cfg.OutputDir, SaveSteps: cfg.SaveSteps}, nil
	case "":
		return Training{}, fmt.Errorf("supervise: %s does not resume: a restart would be refused, since output_dir %s holds a run then; add --set resume_from_checkpoint=auto to the command", f.config, cfg.OutputDir)
	}
	return Training{}, fmt.Errorf("supervise: the command resumes from %s at each start, so a restart would lose what came after it; give resume_from_checkpoint=auto instead", resume)
}
