package scaling_test

import (
	"os"
	"strings"
	"testing"

	"github.com/ringgrad/ringgrad/trainer/estimate/scaling"
)

// TestTheDocumentHoldsWhatTheCommandPrints: tables and their titles. After a change of the model, paste what
// go run ./trainer/estimate/scaling/table prints.
func TestTheDocumentHoldsWhatTheCommandPrints(t *testing.T) {
	data, err := os.ReadFile("../../../docs/scaling.md")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(data), "\r\n", "\n")
	rows := 0
	for _, table := range scaling.Tables() {
		if !strings.Contains(text, "## "+table.Title+"\n") || !strings.Contains(text, "\n\n"+table.Markdown+"\n") {
			t.Errorf("docs/scaling.md lacks the table %q as the command prints it", table.Title)
		}
		rows += strings.Count(table.Markdown, "\n")
	}
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "| ") {
			rows--
		}
	}
	if rows != 0 {
		t.Errorf("docs/scaling.md has %d rows of tables that the command does not print", -rows)
	}
}
