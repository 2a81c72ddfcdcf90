package eval

import (
	"fmt"
	"image/color"
	"os"
	"path/filepath"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
)

// Series is one named curve of loss by position.
type Series struct {
	Name string
	Bins []Bin
}

// palette holds colours that stay apart for the colour-blind (Okabe and Ito).
var palette = []color.Color{
	color.RGBA{R: 0xd5, G: 0x5e, A: 0xff},
	color.RGBA{R: 0x56, G: 0xb4, B: 0xe9, A: 0xff},
	color.RGBA{G: 0x9e, B: 0x73, A: 0xff},
	color.RGBA{R: 0xcc, G: 0x79, B: 0xa7, A: 0xff},
}

// Plot draws loss (nats per token) against position (tokens) and writes a PNG of 16 by 10 cm. The file appears whole or not at all.
func Plot(path, title string, series []Series) error {
	p := plot.New()
	p.Title.Text = title
	p.Title.Padding = vg.Points(6)
	p.X.Label.Text = "position in the document (tokens)"
	p.Y.Label.Text = "loss (nats per token)"
	p.Legend.Top = true
	p.Add(plotter.NewGrid())
	for i, s := range series {
		if err := addSeries(p, s, i); err != nil {
			return fmt.Errorf("eval: plot %s: %w", s.Name, err)
		}
	}
	fit(p, series)
	canvas := vgimg.PngCanvas{Canvas: vgimg.NewWith(vgimg.UseWH(16*vg.Centimeter, 10*vg.Centimeter), vgimg.UseDPI(144))}
	p.Draw(draw.New(canvas))
	return writePNG(path, canvas)
}

// fit starts the positions at 0, marks the edges of the bins, and leaves room for the legend above the curves.
func fit(p *plot.Plot, series []Series) {
	p.X.Min = 0
	p.Y.Max += 0.3 * (p.Y.Max - p.Y.Min)
	edges := plot.ConstantTicks{{Value: 0, Label: "0"}}
	for _, s := range series {
		for _, b := range s.Bins {
			if float64(b.To) > edges[len(edges)-1].Value {
				edges = append(edges, plot.Tick{Value: float64(b.To), Label: fmt.Sprint(b.To)})
				p.X.Max = max(p.X.Max, float64(b.To))
			}
		}
	}
	p.X.Tick.Marker = edges
}

func addSeries(p *plot.Plot, s Series, index int) error {
	points := make(plotter.XYs, 0, len(s.Bins))
	for _, b := range s.Bins {
		points = append(points, plotter.XY{X: float64(b.From+b.To) / 2, Y: b.Loss})
	}
	line, marks, err := plotter.NewLinePoints(points)
	if err != nil {
		return err
	}
	line.Color = palette[index%len(palette)]
	line.Width = vg.Points(1.6)
	marks.Color = line.Color
	marks.Shape = []draw.GlyphDrawer{draw.CircleGlyph{}, draw.BoxGlyph{}, draw.TriangleGlyph{}, draw.PyramidGlyph{}}[index%4]
	p.Add(line, marks)
	p.Legend.Add(s.Name, line, marks)
	return nil
}

func writePNG(path string, canvas vgimg.PngCanvas) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".plot-*.png")
	if err != nil {
		return fmt.Errorf("eval: plot: %w", err)
	}
	defer func() { _ = os.Remove(f.Name()) }()
	if _, err := canvas.WriteTo(f); err != nil {
		_ = f.Close()
		return fmt.Errorf("eval: plot %s: %w", path, err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("eval: plot %s: %w", path, err)
	}
	if err := os.Chmod(f.Name(), 0o644); err != nil {
		return fmt.Errorf("eval: plot %s: %w", path, err)
	}
	return os.Rename(f.Name(), path)
}
