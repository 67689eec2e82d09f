package report

import (
	"fmt"
	"image/color"
	"path/filepath"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"

	"github.com/vatwork/vatwork/bench/suite"
)

// colors of the systems.
var colors = map[string]color.Color{
	"vatwork":         color.RGBA{0x1b, 0x7a, 0x5a, 0xff},
	"vatwork-proxied": color.RGBA{0x8c, 0xc9, 0xb4, 0xff},
	"go-capnp":        color.RGBA{0x3b, 0x6e, 0xb5, 0xff},
	"grpc":            color.RGBA{0xc9, 0x7b, 0x2b, 0xff},
	"raw":             color.RGBA{0x9a, 0x9a, 0x9a, 0xff},
}

func plotFile(bench string) string { return bench + ".svg" }

// Plots draws one picture for each bench into folder, which must be there: bars of the time an operation takes.
func Plots(folder string, rows []suite.Row) error {
	return byBench(rows, func(bench string, rows []suite.Row) error {
		b := bars(rows)
		if len(b) == 0 {
			return nil
		}
		p, height, err := draw(bench, b)
		if err != nil {
			return err
		}
		return p.Save(9*vg.Inch, height, filepath.Join(folder, plotFile(bench)))
	})
}

// bars are the rows that a picture shows: those with a time.
func bars(rows []suite.Row) []suite.Row {
	return slices.DeleteFunc(slices.Clone(rows), func(r suite.Row) bool { return r.Micros <= 0 })
}

// draw draws one bar below the other, the first row on top, with the rows of one place close together.
func draw(bench string, rows []suite.Row) (*plot.Plot, vg.Length, error) {
	p := plot.New()
	p.Title.Text = bench + ": " + suite.What(bench)
	p.X.Label.Text = "µs for one operation (less is better)"
	p.X.Min = 0
	const thick = vg.Length(11)
	var ticks []plot.Tick
	for i, r := range rows {
		y := float64(len(rows) - 1 - i)
		bar, err := plotter.NewBarChart(plotter.Values{r.Micros}, thick)
		if err != nil {
			return nil, 0, err
		}
		bar.Horizontal = true
		bar.XMin = y
		bar.LineStyle.Width = 0
		bar.Color = colors[r.System]
		p.Add(bar)
		ticks = append(ticks, plot.Tick{Value: y, Label: fmt.Sprintf("%s, %s", cells([]suite.Row{r})[1][0], r.System)})
	}
	p.Y.Tick.Marker = plot.ConstantTicks(ticks)
	p.Y.Tick.Length = 0
	p.Y.Min, p.Y.Max = -0.7, float64(len(rows))-0.3
	return p, vg.Length(len(rows))*1.5*thick + 80, nil
}
