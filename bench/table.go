package main

import (
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// row is one line of the result.
type row struct {
	scenario, what, value, spread, note string
}

func (r row) String() string {
	return strings.Join([]string{r.scenario, r.what, r.value, r.spread, r.note}, "  ")
}

func printTable(w io.Writer, rows []row) {
	cpu := "unknown processor"
	if out, err := exec.Command("sh", "-c", "grep -m1 'model name' /proc/cpuinfo | cut -d: -f2").Output(); err == nil {
		cpu = strings.TrimSpace(string(out))
	}
	fmt.Fprintf(w, "\n%s, %d processors, %s, %s\n\n", cpu, runtime.NumCPU(), runtime.Version(), time.Now().Format(time.DateOnly))
	t := tabwriter.NewWriter(w, 0, 4, 1, ' ', 0)
	fmt.Fprintln(t, "| scenario\t| what\t| value\t| spread\t| note\t|")
	fmt.Fprintln(t, "|---\t|---\t|---\t|---\t|---\t|")
	for _, r := range rows {
		fmt.Fprintf(t, "| %s\t| %s\t| %s\t| %s\t| %s\t|\n", r.scenario, r.what, r.value, r.spread, r.note)
	}
	t.Flush()
}

// sample is a set of measurements of one thing.
type sample []float64

// quantile returns the q-th quantile, by the nearest rank.
func (s sample) quantile(q float64) float64 {
	if len(s) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s))
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

func (s sample) median() float64 { return s.quantile(0.5) }

// quartiles is how the sample spreads.
func (s sample) quartiles() string {
	return fmt.Sprintf("%.2f-%.2f", s.quantile(0.25), s.quantile(0.75))
}
